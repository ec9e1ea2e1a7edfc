"""The study of the published sampler: its grid, its cells on the stand-in digits, what it compares with what."""

from dataclasses import replace

import numpy as np
import pytest

from svae_repro.distributions import PowerSpherical, VonMisesFisher
from svae_repro.experiments import mnist_vae, vmf_training
from svae_repro.experiments.vmf_training import ESTIMATORS, PRESETS, claims, differences, lost, run_cells, with_exact
from svae_repro.store import Results
from svae_repro.study import Job
from svae_repro.training import Schedule

TINY = replace(
    PRESETS["smoke"],
    hidden=(8,),
    train_size=200,
    validation_size=50,
    test_size=60,
    samples=5,
    labelled=(20,),
    schedule=Schedule(warmup_epochs=1, patience=1, max_epochs=1),
)


def outcomes(estimator, seeds=(0,), d=4):
    configuration = {"d": d, "estimator": estimator}
    return run_cells(Job(configuration, list(seeds), TINY, vmf_training.load_data("standin", TINY)))


def test_the_paper_preset_is_that_of_table_1_and_leaves_the_exact_models_to_it():
    ours, table1 = PRESETS["paper"], mnist_vae.PRESETS["paper"]
    assert set(ours.dims) <= set(table1.dims) and ours.seeds <= table1.seeds
    same = replace(table1, dims=ours.dims, seeds=ours.seeds)
    assert all(getattr(ours, name) == value for name, value in vars(same).items())
    assert len(vmf_training.configurations(ours)) == 9 and "exact" not in ours.estimators


def test_the_exact_estimator_is_the_s_vae_of_table_1():
    (ours,), job = outcomes("exact"), Job({"d": 4, "space": "s"}, [0], TINY, mnist_vae.load_data("standin", TINY))
    (theirs,) = mnist_vae.run_cells(job)
    assert {name: ours.metrics[name] for name in theirs.metrics} == theirs.metrics


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_cell_has_its_metrics(estimator):
    first, second = outcomes(estimator, [0, 3])
    metrics = first.metrics
    assert metrics["ELBO"] == pytest.approx(metrics["RE"] - metrics["KL"])
    assert metrics["ELBO"] < 0 < metrics["KL"]
    low, middle, high = metrics["concentration"]
    assert 1 < low <= middle <= high
    assert 0 < metrics["mean_length"] < 1
    assert ("reported" in metrics) == (estimator == "published")
    assert set(first.arrays) == set(second.arrays) == {"validation_curve"}
    assert metrics["LL"] != second.metrics["LL"]


@pytest.mark.parametrize("estimator, law", [("published", VonMisesFisher), ("power", PowerSpherical)])
def test_models_are_scored_by_an_exact_law(estimator, law, monkeypatch):
    seen = []
    score = mnist_vae.score
    monkeypatch.setattr(
        mnist_vae, "score", lambda job, model, fitted: seen.append(model.space) or score(job, model, fitted)
    )
    outcomes(estimator)
    assert seen[0].family is law


def cell(d, estimator, seed, ll):
    return {"configuration": {"d": d, "estimator": estimator}, "seed": seed, "metrics": {"LL": ll}}


def results(gaps, preset="quick"):
    cells = [cell(d, "exact", seed, -100.0 + seed) for d in PRESETS[preset].dims for seed in range(4)]
    cells += [
        cell(d, name, seed, -100.0 + seed + gap)
        for d in PRESETS[preset].dims
        for name, g in gaps.items()
        for seed, gap in enumerate(g)
    ]
    return Results("vmf_training", preset, False, cells, 1)


def test_differences_pair_the_seeds():
    found = results({"published": [-1.0, -2.0]})
    assert differences(found, 5, "published", "LL") == pytest.approx([-1, -2])
    assert differences(found, 5, "power", "LL").size == 0


def test_claims_say_whether_the_log_likelihood_moves():
    found = claims(
        results({"uncorrected": [0.1, -0.1, 0.05, -0.04], "published": [-2.0, -2.1, -1.9, -2.0], "power": [1.0]})
    )
    assert [verdict for _, verdict, _ in found] == ["does not move", "moves", "open"]
    assert "d=5: -2.00 ± 0.08 (n=4)" in found[1][2]
    assert [verdict for _, verdict, _ in claims(results({}))] == ["open"] * 3
    # Two runs that differ so much show nothing, which is not to say that there is nothing.
    assert claims(results({"published": [-1.0, -9.0]}))[1][1] == "open"


def test_a_run_far_below_the_exact_ones_is_lost_and_moves_the_table():
    """The exact runs have LL -100 to -97: another one falls below -114.2 once in 1200 times (t = 10.9, 3 df)."""
    mixed = results({"published": [-0.5, -15.0, -17.0]})  # LL -100.5, -114, -115
    assert [lost(mixed, d, "published") for d in (5, 40)] == [1, 1]
    assert lost(mixed, 5, "power") == 0
    (_, verdict, numbers) = claims(mixed)[1]
    assert verdict == "moves" and "d=40: -10.83 ± 9.00 (n=3, 1 lost)" in numbers
    assert lost(results({"published": [-40.0]}), 5, "published") == 0  # nothing is concluded from a single run


def test_the_exact_cells_of_the_paper_preset_come_from_table_1(home, monkeypatch):
    table1 = Results(
        "mnist_vae",
        "paper",
        False,
        [
            {"configuration": {"d": d, "space": s}, "seed": 0, "metrics": {"LL": -1.0 * d}}
            for d in (2, 5, 40)
            for s in "es"
        ],
        1,
    )
    monkeypatch.setattr(vmf_training.store, "load", lambda *_: table1)
    merged = with_exact(Results("vmf_training", "paper", False, [cell(5, "power", 0, -7.0)], 1))
    assert differences(merged, 5, "power", "LL") == pytest.approx([-2])
    assert [c["configuration"]["d"] for c in merged.where(estimator="exact")] == [5, 40]
    quick = results({})
    assert with_exact(quick) is quick
    assert np.isfinite(differences(merged, 40, "exact", "LL")).all()
