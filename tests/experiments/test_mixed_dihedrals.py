"""Mixed curvature on dihedrals: equal dimensions, cells on the torsion chains against the blog study's, claims."""

from dataclasses import replace

import pytest

from svae_repro.experiments import blog_qm9
from svae_repro.experiments.mixed_dihedrals import (
    CIRCLES,
    CLAIMS,
    PLANES,
    PRESETS,
    SPHERES,
    TOGETHER,
    claims,
    configurations,
    load_data,
    run_cells,
)
from svae_repro.spaces import space
from svae_repro.study import Job
from tests.experiments.test_mixed import around, results

TINY = replace(PRESETS["smoke"], train_size=200, validation_size=50, test_size=60, samples=200)
DATA = load_data("standin", TINY)


def outcomes(name, seeds=(0,), curvature="fixed"):
    configuration = {"d": space(name).dim, "space": name, "curvature": curvature}
    return run_cells(Job(configuration, list(seeds), TINY, DATA))


def test_all_spaces_have_ten_dimensions_and_the_paper_preset_five_seeds():
    for settings in PRESETS.values():
        assert {c["d"] for c in configurations(settings)} == {space(c["space"]).dim for c in configurations(settings)}
        assert settings.dims == (10,) and "e10" in settings.spaces
    paper = PRESETS["paper"]
    assert len(configurations(paper)) == 7 + 1 and paper.seeds == 5
    assert paper.train_size is paper.validation_size is paper.test_size is None


def test_a_single_space_is_the_blogs_model():
    """The same weights, batches and scores; only the log-likelihood and the factors are added."""
    (ours,) = outcomes("h10", (3,))
    (theirs,) = blog_qm9.run_cells(Job({"d": 10, "likelihood": "von-mises", "model": "h"}, [3], TINY, DATA))
    assert theirs.metrics.items() <= ours.metrics.items()
    assert ours.metrics.keys() - theirs.metrics.keys() == {"LL", "factor_kl", "factor_curvature"}
    assert set(ours.arrays) == {"validation_curve"}


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


def test_claims_are_judged_one_by_one():
    found = claims(results(VALUES, "mixed_dihedrals"))
    assert [claim for claim, _, _ in found] == list(CLAIMS)
    assert [word for _, word, _ in found] == ["yes", "partly", "no", "not shown", "not shown"]
    assert "(S¹)¹⁰ − ℝ¹⁰ +1.00" in found[0][2] and "(S²)⁵ − S¹⁰ -0.50" in found[1][2]


def test_claims_are_open_while_spaces_are_missing():
    assert [word for _, word, _ in claims(results({}, "mixed_dihedrals"))] == ["open"] * 5
    without = {name: values for name, values in VALUES.items() if name != SPHERES}
    assert [word for _, word, _ in claims(results(without, "mixed_dihedrals"))][:2] == ["yes", "open"]
