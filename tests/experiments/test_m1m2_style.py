"""Other styles for the model of Table 3: its models and protocol, its cells on the stand-in digits, its claims."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import kl_divergence
from torch.nn.functional import softplus

from svae_repro.experiments import m1m2, m1m2_style
from svae_repro.experiments.m1m2_style import (
    CLAIMS,
    PRESETS,
    TIED,
    claims,
    configurations,
    differences,
    latent_space,
    models,
    run_cells,
)
from svae_repro.spaces import space
from svae_repro.store import Results
from svae_repro.study import Job

TINY = replace(PRESETS["smoke"], hidden=(8,), train_size=200, validation_size=50, test_size=60)


def outcomes(name, seeds, settings=TINY):
    z1, z2 = models(4)[name]
    return run_cells(Job({"d": 4, "z1": z1, "z2": z2}, seeds, settings, m1m2_style.load_data("standin", settings)))


def test_the_styles_differ_in_their_number_of_concentrations_alone():
    names = models(10)
    assert len(configurations(PRESETS["paper"])) == len(names) == 6
    spaces = {name: (latent_space(z1), latent_space(z2)) for name, (z1, z2) in names.items()}
    assert all(z1.dim == z2.dim == 10 for z1, z2 in spaces.values())
    concentrations = {name: z2.n_params - z2.ambient_dim for name, (_, z2) in spaces.items()}
    assert concentrations == {"N+N": 10, "N+S": 1, "S+N": 10, "S+S": 1, "S+P": 5, "S+T": 1}


def test_tied_spheres_are_the_product_with_equal_concentrations():
    tied, free = latent_space("s2s2s2" + TIED), space("s2s2s2")
    params = torch.randn(2, 7, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    directions, raw = params[..., :9].unflatten(-1, (3, 3)), params[..., 9:]
    q = tied.posterior(params)
    same = free.posterior(torch.cat([torch.cat([directions[..., i, :], raw], dim=-1) for i in range(3)], dim=-1))
    z, other = (p.rsample((5,), torch.Generator().manual_seed(1)) for p in (q, same))
    assert z.shape == (5, 2, 7, 9)
    torch.testing.assert_close(z, other)
    torch.testing.assert_close(q.log_prob(z), same.log_prob(z))
    prior = tied.prior(dtype=params.dtype)
    torch.testing.assert_close(kl_divergence(q, prior), kl_divergence(same, free.prior(dtype=params.dtype)))
    lengths = q.mean.unflatten(-1, (3, 3)).norm(dim=-1)  # depend on the concentration alone
    torch.testing.assert_close(lengths, lengths[..., :1].expand_as(lengths))
    kappa = softplus(raw.squeeze(-1)) + 1
    torch.testing.assert_close(lengths[..., 0], 1 / kappa.tanh() - 1 / kappa)


def test_the_paper_preset_is_the_beginning_of_table_3():
    ours, theirs = PRESETS["paper"], m1m2.PRESETS["paper"]
    assert ours.schedule == replace(theirs.schedule, patience=None, max_epochs=20)
    assert ours.seeds == theirs.seeds and set(ours.dims) <= set(theirs.dims) and set(ours.alphas) <= set(theirs.alphas)
    same = replace(theirs, dims=ours.dims, alphas=ours.alphas, schedule=ours.schedule)
    assert vars(ours) == vars(same)


@pytest.mark.parametrize("topology", m1m2.TOPOLOGIES)
def test_a_model_of_table_3_is_that_of_table_3(topology):
    """The same numbers, where the training is as long and alpha is given."""
    data = m1m2.load_data("standin", TINY)
    table3 = m1m2.run_cells(Job({"dim_z1": 4, "dim_z2": 4, "topology": topology}, [0, 3], TINY, data))
    for ours, theirs in zip(outcomes(topology, [0, 3]), table3, strict=True):
        assert ours.metrics == {name: value for name, value in theirs.metrics.items() if name != "pilot_accuracy"}
        assert ours.arrays == {}


@pytest.mark.parametrize("model", ["S+P", "S+T"])
def test_a_style_on_several_spheres_trains(model):
    first, second = outcomes(model, [0, 3])
    assert first.metrics["style_KL"] > 0 and first.metrics["accuracy"] != second.metrics["accuracy"]


def results(accuracies):
    """Cells of the paper preset with accuracies in per cent by model."""
    cells = [
        {"configuration": {"d": 10, "z1": z1, "z2": z2}, "seed": seed, "metrics": {"accuracy": value / 100}}
        for name, (z1, z2) in models(10).items()
        for seed, value in enumerate(accuracies.get(name, []))
    ]
    return Results("m1m2_style", "paper", False, cells, 30)


def test_differences_are_those_of_the_seeds_that_both_have():
    found = results({"S+N": [90, 91, 92], "S+S": [84, 86]})
    assert differences(found, models(10)["S+N"], models(10)["S+S"]) == pytest.approx([6, 5])


def test_the_claims_are_tested_in_pairs():
    level = [90.0, 91.0, 92.0, 93.0, 94.0]

    def above(points):
        return [value + points + wiggle for value, wiggle in zip(level, (0.1, 0, -0.1, 0.2, 0), strict=True)]

    accuracies = {
        "N+N": above(5),
        "N+S": level,
        "S+N": above(6),
        "S+S": level,
        "S+P": [*(value + 5 for value in level[:4]), 98.9],
        "S+T": above(-1),
    }
    found = claims(results(accuracies))
    assert [word for _, word, _ in found] == ["yes", "yes", "no", "yes"]
    numbers = found[0][2]
    assert numbers.startswith("accuracy in points: S¹⁰ + ℝ¹⁰ − (S¹⁰ + S¹⁰) +6.04 ± 0.11 (n=5")
    accuracies["N+S"] = above(5)[::-1]  # in pairs anything between -4 and 4
    assert [word for _, word, _ in claims(results(accuracies))] == ["partly", "yes", "no", "yes"]
    accuracies |= {"S+P": [*(value + 6 for value in level[:4]), 100.2], "S+N": above(0)}
    assert [word for _, word, _ in claims(results(accuracies))] == ["not shown", "yes", "yes", "yes"]


def test_claims_are_open_until_every_model_has_two_runs():
    found = claims(results({"S+N": [90.1, 91], "S+S": [80, 81], "S+P": [85]}))
    assert [claim for claim, *_ in found] == list(CLAIMS)
    assert [word for _, word, _ in found] == ["open"] * 4
    assert found[0][2].startswith("S¹⁰ + ℝ¹⁰ − (S¹⁰ + S¹⁰) +10.05")
