"""Mixed curvature on dihedrals: equal dimensions, cells on the torsion chains against the blog study's, claims."""

from dataclasses import replace

import pytest
import torch

from svae_repro import evaluation
from svae_repro.experiments import blog_qm9
from svae_repro.experiments.mixed_dihedrals import (
    CIRCLES,
    CLAIMS,
    PLANES,
    PRESETS,
    SPHERES,
    TOGETHER,
    best,
    claims,
    configurations,
    load_data,
    run_cells,
    schedules,
)
from svae_repro.spaces import space
from svae_repro.study import Job
from tests.experiments.test_mixed import around, results

TINY = replace(PRESETS["smoke"], train_size=200, validation_size=50, test_size=60, samples=200)
DATA = load_data("standin", TINY)


def outcomes(name, seeds=(0,), curvature="fixed", warmup=0):
    configuration = {"d": space(name).dim, "space": name, "curvature": curvature, "warmup": warmup}
    return run_cells(Job(configuration, list(seeds), TINY, DATA))


def of_the_blog(model, seed, warmup=0):
    """The outcome of `blog_qm9` for the same data."""
    settings = replace(TINY, schedule=replace(TINY.schedule, warmup_epochs=warmup))
    (outcome,) = blog_qm9.run_cells(Job({"d": 10, "likelihood": "von-mises", "model": model}, [seed], settings, DATA))
    return outcome


def test_all_spaces_have_ten_dimensions_and_the_paper_preset_five_seeds():
    for settings in PRESETS.values():
        assert {c["d"] for c in configurations(settings)} == {space(c["space"]).dim for c in configurations(settings)}
        assert settings.dims == (10,) and "e10" in settings.spaces
    paper = PRESETS["paper"]
    assert len(configurations(paper)) == 2 * (7 + 1) and paper.seeds == 5
    assert paper.train_size is paper.validation_size is paper.test_size is None


def test_a_single_space_is_the_blogs_model():
    """The same weights, batches and scores; only the log-likelihood and the factors are added."""
    (ours,) = outcomes("h10", (3,))
    theirs = of_the_blog("h", 3)
    assert theirs.metrics.items() <= ours.metrics.items()
    assert ours.metrics.keys() - theirs.metrics.keys() == {"LL", "validation_LL", "factor_kl", "factor_curvature"}
    assert set(ours.arrays) == {"validation_curve"}


def test_the_validation_likelihood_is_that_of_the_validation_molecules(monkeypatch):
    def sums(model, batch, size, *rest):
        return {"LL": batch(torch.arange(size).expand(model.runs, -1)).double().sum((1, 2))}

    monkeypatch.setattr(evaluation, "log_likelihood", sums)
    (found,) = outcomes("e10")
    assert found.metrics["LL"] == DATA.test.encode().double().sum().item()
    assert found.metrics["validation_LL"] == DATA.validation.encode().double().sum().item() != found.metrics["LL"]


@pytest.mark.parametrize("name", [CIRCLES, SPHERES, "e10"])
def test_the_factors_divergences_add_up(name):
    for outcome in outcomes(name, (0, 2)):
        assert len(outcome.metrics["factor_kl"]) == len(outcome.metrics["factor_curvature"]) == max(1, name.count("s"))
        assert sum(outcome.metrics["factor_kl"]) == pytest.approx(outcome.metrics["KL"], rel=1e-5)
        assert outcome.metrics["LL"] > outcome.metrics["ELBO"]


def test_runs_in_lockstep_are_those_trained_alone():
    for together, seed in zip(outcomes(TOGETHER, (2, 0), "learned"), (2, 0), strict=True):
        (alone,) = outcomes(TOGETHER, (seed,), "learned")
        for key in ("LL", "ELBO", "factor_kl", "factor_curvature"):  # float32: another order of addition
            assert together.metrics[key] == pytest.approx(alone.metrics[key], rel=1e-4), key
        flat, round_, hyperbolic = together.metrics["factor_curvature"]
        assert flat == 0 and round_ > 0 > hyperbolic and round_ != 1 and hyperbolic != -1


VALUES = {
    **{"e10": around(-7), "s10": around(-9), "h10": around(-8)},
    **{CIRCLES: around(-6, 0.07), SPHERES: around(-9.5, 0.07), PLANES: around(-8.5, 0.07)},
    **{TOGETHER: around(-7.01, 0.5), TOGETHER + "*": around(-6.5, 0.4)},
}


def both(values, validation=(-0.2, -0.1)):
    """Cells with these LLs under the second schedule and a nat less under the first, and these validation LLs."""
    found = results(values, "mixed_dihedrals")
    cells = []
    for cell in found.cells:
        for warmup, value, less in zip(PRESETS["paper"].warmups, validation, (1, 0), strict=True):
            metrics = cell["metrics"] | {"LL": cell["metrics"]["LL"] - less, "validation_LL": value}
            cells.append(cell | {"configuration": cell["configuration"] | {"warmup": warmup}, "metrics": metrics})
    return replace(found, cells=cells)


def test_the_warmup_is_that_of_the_configuration():
    (with_it,), (without,) = outcomes("e10", warmup=2), outcomes("e10")
    assert with_it.metrics["ELBO"] == of_the_blog("e", 0, warmup=2).metrics["ELBO"] != without.metrics["ELBO"]


def test_the_schedule_is_chosen_by_the_validation_likelihood_and_by_nothing_else():
    found = both({"e10": [-7.0, -8.0]})
    assert [cell["metrics"]["LL"] for cell in best(found).cells] == [-7.0, -8.0]
    assert [cell["metrics"]["LL"] for cell in best(both({"e10": [-7.0, -8.0]}, (-0.1, -0.2))).cells] == [-8.0, -9.0]
    assert [c["seed"] for c in best(replace(found, cells=found.cells[1:])).cells] == [1]
    assert schedules(found).splitlines() == [
        "| space | LL, warm-up 0 | LL, warm-up 10 | warm-up 10 chosen |",
        "| --- | --- | --- | --- |",
        "| ℝ¹⁰ | -8.50 | -7.50 | 2 of 2 |",
    ]
    assert schedules(replace(found, cells=found.cells[1:])).endswith("| -9.00 | -7.50 | 1 of 1 |")


def test_claims_are_judged_one_by_one():
    found = claims(both(VALUES))
    assert [claim for claim, _, _ in found] == list(CLAIMS)
    assert [word for _, word, _ in found] == ["yes", "partly", "no", "not shown", "not shown"]
    assert "(S¹)¹⁰ − ℝ¹⁰ +1.00" in found[0][2] and "(S²)⁵ − S¹⁰ -0.50" in found[1][2]


def test_claims_are_open_while_spaces_are_missing():
    assert [word for _, word, _ in claims(both({}))] == ["open"] * 5
    without = {name: values for name, values in VALUES.items() if name != SPHERES}
    assert [word for _, word, _ in claims(both(without))][:2] == ["yes", "open"]
