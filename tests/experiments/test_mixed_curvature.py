"""Mixed curvature on MNIST: equal dimensions, cells on the stand-in digits, divergence by factor, claims."""

from dataclasses import replace

import pytest

from svae_repro.experiments import mixed_curvature
from svae_repro.experiments.mixed_curvature import (
    PRESETS,
    PRODUCTS,
    SINGLE,
    accuracy,
    claims,
    configurations,
    load_data,
    run_cells,
)
from svae_repro.spaces import space
from svae_repro.study import Job, select
from tests.experiments.test_mixed import around, results

TINY = replace(
    PRESETS["smoke"], train_size=200, validation_size=50, test_size=60, labelled=(50,), binarisation="threshold"
)


def outcomes(name, seeds=(0,), curvature="fixed"):
    configuration = {"d": space(name).dim, "space": name, "curvature": curvature}
    return run_cells(Job(configuration, list(seeds), TINY, load_data("standin", TINY)))


def test_spaces_that_are_compared_have_the_same_dimension():
    for d in (6, 40):
        assert {space(name).dim for name in (*SINGLE[d], *PRODUCTS[d])} == {d}
    for settings in PRESETS.values():
        grid = configurations(settings)
        assert {c["d"] for c in grid} == set(settings.dims)
        assert all({c["space"] for c in select(grid, {"d": str(d)})} >= {SINGLE[d][0]} for d in settings.dims)
    assert len(configurations(PRESETS["paper"])) == 13 + 6 and PRESETS["paper"].seeds >= 2


@pytest.mark.parametrize("name, factors", [("e2s2s2", 3), ("s6", 1), ("e6", 1)])
def test_the_factors_divergences_add_up(name, factors):
    """Exactly: these have closed forms, and a threshold makes the images the same every time."""
    for outcome in outcomes(name, (0, 2)):
        assert len(outcome.metrics["factor_kl"]) == factors
        assert sum(outcome.metrics["factor_kl"]) == pytest.approx(outcome.metrics["KL"], rel=1e-5)
        assert set(outcome.arrays) == {"validation_curve"}


def test_a_hyperbolic_factors_divergence_is_an_estimate_of_the_same():
    (outcome,) = outcomes("e2s2h2")
    assert sum(outcome.metrics["factor_kl"]) == pytest.approx(outcome.metrics["KL"], abs=0.3)  # one sample of 60 images
    assert (
        outcome.metrics["LL"] > outcome.metrics["ELBO"] == pytest.approx(outcome.metrics["RE"] - outcome.metrics["KL"])
    )


def test_learned_curvatures_are_those_of_each_run():
    """Two runs in lockstep and each alone: scores, divergences and curvatures agree, and curvatures have moved."""
    together = outcomes("e2s2h2", (0, 2), "learned")
    for outcome, seed in zip(together, (0, 2), strict=True):
        (alone,) = outcomes("e2s2h2", (seed,), "learned")
        flat, round_, hyperbolic = outcome.metrics["factor_curvature"]
        assert flat == 0 and round_ > 0 > hyperbolic and round_ != 1 and hyperbolic != -1
        for key in ("factor_curvature", "factor_kl", "ELBO", "LL"):
            assert outcome.metrics[key] == pytest.approx(alone.metrics[key], rel=1e-4), key
        assert outcome.metrics["knn"] == alone.metrics["knn"]
    assert together[0].metrics["factor_curvature"] != together[1].metrics["factor_curvature"]
    assert outcomes("e2s2h2")[0].metrics["factor_curvature"] == [0, 1, -1]


def test_claims_need_a_significant_difference_of_the_right_sign():
    values = {
        **{"e6": around(-90), "s6": around(-92), "h6": around(-91)},
        **{"e2s2h2": around(-89, 0.07), "s2" * 3: around(-93, 0.07), "h2" * 3: around(-90, 0.07)},
        **{"s8" * 5: around(-86, 0.07), "s2" * 20: around(-86, 0.07)},
        **{"e40": around(-80), "s40": around(-95), "s4" * 10: around(-85, 0.07), "s20" * 2: around(-95, -0.05)},
    }
    verdicts = claims(results(values))
    assert [word for _, word, _ in verdicts] == ["partly", "no", "yes", "partly", "open"]
    assert "(S⁴)¹⁰ − S⁴⁰ +10.00" in verdicts[0][2] and "n=4" in verdicts[0][2]
    values["e40"] = around(-85.01, -0.07)
    assert claims(results(values))[1][1] == "yes"
    values["e40"] = around(-84.9, -0.35)
    assert claims(results(values))[1][1] == "not shown"  # behind, but not shown to be
    values["h6*"] = around(-80, 0.09)
    assert claims(results(values))[4][1] == "open"  # while other spaces are missing
    values |= {name + "*": around(-80, 0.09) for name in mixed_curvature.LEARNED}
    learned = claims(results(values))[4]
    assert learned[1] == "yes" and "ℍ⁶, learned − ℍ⁶ +11.00" in learned[2]


def test_the_accuracy_is_that_of_the_most_labels():
    assert accuracy({"knn": {"1000": [0.8, 0.9], "600": [0.3]}}) == pytest.approx(85)


def test_claims_are_open_without_two_pairs():
    assert [word for _, word, _ in claims(results({}))] == ["open"] * 5
    assert [word for _, word, _ in claims(results({name: [-90.0] for name in PRESETS["paper"].spaces}))] == ["open"] * 5
