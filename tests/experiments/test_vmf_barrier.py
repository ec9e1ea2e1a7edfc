"""The first epochs of many trainings: the protocol is that of vmf_training, the rates and their verdicts by SciPy."""

from dataclasses import replace

import pytest
from scipy import stats

from svae_repro.experiments import vmf_barrier, vmf_training
from svae_repro.experiments.vmf_barrier import PRESETS, claims, limits, stuck
from svae_repro.store import Results
from svae_repro.study import Job
from svae_repro.training import Schedule

TINY = replace(
    PRESETS["smoke"], hidden=(8,), train_size=200, validation_size=50, test_size=60, schedule=Schedule(max_epochs=2)
)


def outcomes(estimator, seeds, study=vmf_barrier, settings=TINY):
    configuration = {"d": 20, "estimator": estimator}
    return study.run_cells(Job(configuration, seeds, settings, study.load_data("standin", settings)))


def test_the_paper_preset_is_the_beginning_of_the_trainings_of_vmf_training():
    ours, whole = PRESETS["paper"], vmf_training.PRESETS["paper"]
    assert ours.schedule == replace(whole.schedule, max_epochs=3) and ours.schedule.warmup_epochs == 100
    same = replace(whole, schedule=ours.schedule, seeds=ours.seeds, estimators=ours.estimators)
    assert vars(ours) == vars(same)
    assert {"exact", "published"} <= set(ours.estimators)


def test_quick_is_half_of_the_papers_first_epoch_in_eighths():
    quick, paper = PRESETS["quick"], PRESETS["paper"]
    assert 8 * quick.train_size == 50_000 and quick.schedule.max_epochs == 4
    assert quick.schedule.kl_weight(8) == pytest.approx(paper.schedule.kl_weight(1))


@pytest.mark.parametrize("estimator", PRESETS["paper"].estimators)
def test_a_cell_is_a_training_of_vmf_training_broken_off(estimator):
    """Same seeds, same weights, same order of the data: where that study ends after as many epochs, so does this."""
    ours = outcomes(estimator, [0, 3])
    longer = replace(
        vmf_training.PRESETS["smoke"],
        **{name: getattr(TINY, name) for name in ("hidden", "train_size", "validation_size", "test_size", "schedule")},
        labelled=(20,),
    )
    theirs = outcomes(estimator, [0, 3], vmf_training, longer)
    for one, other in zip(ours, theirs, strict=True):
        assert one.metrics["concentration"] == other.metrics["concentration"]
        assert one.metrics["validation_loss"] == pytest.approx(other.arrays["validation_curve"][-1])
    assert ours[0].metrics != ours[1].metrics


def results(counts, runs=20):
    """``counts``: estimator -> how many of its runs are stuck, for each dimension of the paper preset."""
    cells = [
        {
            "configuration": {"d": d, "estimator": estimator},
            "seed": seed,
            "metrics": {"concentration": [5.0, 10.9 if seed < count else 11.1, 900.0]},
        }
        for estimator, by_dimension in counts.items()
        for d, count in zip(PRESETS["paper"].dims, by_dimension, strict=True)
        for seed in range(runs)
    ]
    return Results("vmf_barrier", "paper", False, cells, 1)


def test_a_run_is_stuck_by_the_median_of_its_concentrations():
    found = results({"published": (0, 3, 20)})
    assert [stuck(found, d, "published") for d in (5, 20, 40)] == [(0, 20), (3, 20), (20, 20)]
    assert stuck(found, 40, "exact") == (0, 0)


@pytest.mark.parametrize("count, runs", [(0, 20), (1, 20), (9, 20), (20, 20), (2, 3)])
def test_limits_are_clopper_and_pearsons(count, runs):
    expected = stats.binomtest(count, runs).proportion_ci(0.98, method="exact")
    assert limits(count, runs) == pytest.approx((expected.low, expected.high), abs=1e-12)
    low, high = limits(count, runs)  # at either one the tail beyond what was counted has 1 %
    assert low == 0 if count == 0 else stats.binom.sf(count - 1, runs, low) == pytest.approx(0.01)
    assert high == 1 if count == runs else stats.binom.cdf(count, runs, high) == pytest.approx(0.01)


def test_claims_compare_the_rates_with_the_exact_samplers():
    none = (0, 0, 0)
    verdicts = {
        (0, 0, 9): "some stuck",  # Fisher's p = 0.0006
        (0, 0, 7): "open",  # p = 0.004, above a third of 0.01
        (0, 1, 0): "open",  # up to 29 % at 99 %
        none: "few or none stuck",  # up to 21 %
    }
    for counts, verdict in verdicts.items():
        found = claims(results({"exact": none, "published": counts, "uncorrected": none}))
        assert {title.split()[3]: word for title, word, _ in found} == {
            "published": verdict,
            "exact": "few or none stuck",
        }
    assert "d=40: 0 of 20 stuck, exact 0 of 20" in found[-1][2]
    assert [word for _, word, _ in claims(results({}))] == ["open", "open"]
    # As often with the exact sampler: not the sampler's doing, and not shown to be rare.
    assert claims(results({"exact": (0, 0, 9), "published": (0, 0, 9)}))[1][1] == "open"
