"""Figures of notebook 07 from the smallest measurements and from made-up cells."""

import numpy as np
import pytest

from svae_repro import plots
from svae_repro.experiments import vmf_checks, vmf_training
from svae_repro.store import Results

SMOKE = vmf_checks.PRESETS["smoke"]
PLACE = Results("vmf_checks", "smoke", False, [], 4)


@pytest.fixture(scope="module")
def gradients():
    return vmf_checks.gradients(SMOKE, 0, "cpu")


def test_bias_is_relative_and_has_error_bars(home, gradients):
    figure = plots.gradient_bias(gradients)
    assert [axes.get_title() for axes in figure.axes] == ["m = 2 ($S^{1}$)", "m = 5 ($S^{4}$)", "m = 21 ($S^{20}$)"]
    implicit = figure.axes[0].containers[3]
    i = list(vmf_checks.ESTIMATORS).index("implicit")
    assert implicit.get_label() == "implicit"
    assert implicit.lines[0].get_ydata() == pytest.approx(gradients["mean"][i, 0] / gradients["exact"][0] - 1)
    assert len({c.lines[0].get_marker() for c in figure.axes[0].containers}) == 4  # not by colour alone
    plots.save(figure, "name", PLACE)


def test_noise_of_power_spherical_is_relative_to_its_own_gradient(home, gradients):
    figure = plots.gradient_spread(gradients)
    i = list(vmf_checks.ESTIMATORS).index("power")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[1].lines}
    expected = gradients["deviation"][i, 1] / gradients["exact_power"][1]
    assert lines["Power Spherical, implicit"] == pytest.approx(expected)
    plots.save(figure, "name", PLACE)


def test_the_map_hatches_where_the_sign_is_wrong(home):
    arrays = vmf_checks.sampler(SMOKE, 0, "cpu")
    figure = plots.sampler_map(arrays)
    blend = figure.axes[2]
    assert blend.get_title() == "the same around the blend"
    (hatched,) = [collection for collection in blend.collections if collection.get_hatch()]
    near = (arrays["kappa"] >= 9.5) & (arrays["kappa"] <= 11.5)
    wrong = arrays["published_slope"][:, near] < 0
    assert wrong.any() and hatched.get_array().count() == wrong.sum() < wrong.size
    assert hatched.get_alpha() is None and (hatched.get_edgecolor() == 1).all()  # to be seen: white on dark brown
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert said.count("wrong sign") == 2
    plots.save(figure, "name", PLACE)


def test_errors_are_powers_of_ten_and_crosses(home):
    error = np.full((7, 9, 6, 2), 1e-7)
    error[0, 0, 0], error[1, 0, 0], error[2, 0, 0] = np.nan, np.inf, 0.9
    largest = np.array(400)
    arrays = {"error": error, "m": np.arange(9), "kappa": np.arange(6), "largest": largest}
    figure = plots.bessel_errors(arrays, 0)
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["×", "×", "0", *["−7"] * 4]
    plots.save(figure, "name", PLACE)
    arrays |= {"frontier_kappa": np.array([1.0, 2.0]), "frontier": np.array([[[40, 30], [401, 60]]] * 3)}
    figure = plots.bessel_frontier(arrays)
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([40, np.nan], nan_ok=True)
    plots.save(figure, "name", PLACE)


@pytest.mark.parametrize("runs", [1, 3])
def test_the_effect_pairs_the_seeds(home, runs):
    cells = [
        {
            "configuration": {"d": d, "estimator": name},
            "seed": seed,
            "metrics": {"LL": -100.0 - 2 * i + seed} | ({"concentration": [5, 9, 12]} if d == 5 else {}),
        }
        for d in (5, 40)
        for i, name in enumerate(vmf_training.ESTIMATORS)
        for seed in range(runs)
    ]
    figure = plots.training_effect(Results("vmf_training", "quick", False, cells, 1))
    left, right = figure.axes
    drawn = [line.get_ydata() for line in left.lines if line.get_marker() in "v^P"]
    assert sorted(np.concatenate(drawn)) == pytest.approx(np.repeat([-6, -4, -2], 2 * runs))
    means = [container.lines[0].get_ydata()[0] for container in left.containers]
    assert means == pytest.approx([-2, -2, -4, -4, -6, -6] if runs > 1 else [])
    assert len(right.containers) == 3 * runs  # d = 5 only; Power Spherical has another scale
    plots.save(figure, "name", PLACE)


def test_no_mean_is_drawn_where_a_run_is_lost(home):
    cells = [
        {"configuration": {"d": d, "estimator": name}, "seed": seed, "metrics": {"LL": -100 + seed / 10 - loss}}
        for d, published in ((20, (1, 1, 1)), (40, (0, 0, 70)))
        for name, losses in (("exact", (0, 0, 0)), ("published", published))
        for seed, loss in enumerate(losses)
    ]
    figure = plots.training_effect(Results("vmf_training", "paper", False, cells, 1))
    (mean,) = figure.axes[0].containers
    assert mean.lines[0].get_ydata()[0] == pytest.approx(-1)
    plots.save(figure, "name", PLACE)


def test_the_effect_names_each_estimator_once_and_leaves_out_what_has_only_exact_runs(home):
    """d = 20 has none but exact runs, d = 5 none by Power Spherical."""
    cells = [
        {
            "configuration": {"d": d, "estimator": name},
            "seed": 0,
            "metrics": {"LL": -100.0, "concentration": [5, 9, 12]},
        }
        for d, names in ((2, ["exact"]), (5, ["exact", "published"]), (40, list(vmf_training.ESTIMATORS)))
        for name in names
    ]
    figure = plots.training_effect(Results("vmf_training", "quick", False, cells, 1))
    left, right = figure.axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["d = 5", "d = 40"]
    names = {key: name for key, (_, _, name) in vmf_training.ESTIMATORS.items()}
    for axes, missing in ((left, "exact"), (right, "power")):
        shown = [text.get_text() for text in axes.get_legend().get_texts() if "blend" not in text.get_text()]
        assert sorted(shown) == sorted(name for key, name in names.items() if key != missing)
    plots.save(figure, "name", PLACE)


@pytest.mark.parametrize("runs", [1, 4])
def test_the_barrier_shows_each_run_and_counts_the_stuck(home, runs):
    """Of the runs with the published sampler those of even seeds are stuck."""
    cells = [
        {
            "configuration": {"d": d, "estimator": name},
            "seed": seed,
            "metrics": {"concentration": [5, 9.0 if name == "published" and seed % 2 == 0 else 300.0 + seed, 900]},
        }
        for d in (5, 40)
        for name in ("exact", "published")
        for seed in range(runs)
    ]
    figure = plots.barrier(Results("vmf_barrier", "quick", False, cells, 1))
    (axes,) = figure.axes
    assert sum(len(line.get_xdata()) for line in axes.lines) == len(cells)
    assert len({line.get_marker() for line in axes.lines if len(line.get_xdata())}) == 2  # not by colour alone
    stuck = (runs + 1) // 2
    assert [text.get_text() for text in axes.texts] == [f"{count} of {runs}\nbelow" for count in (0, 0, stuck, stuck)]
    plots.save(figure, "name", PLACE)
