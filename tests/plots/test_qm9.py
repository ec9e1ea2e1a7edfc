"""Figures of the QM9 study: what they show, from cells and arrays with known content."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from svae_repro import plots
from svae_repro.data.qm9 import SLOTS
from svae_repro.dihedrals import molecule, torsion_chain
from svae_repro.experiments.blog_qm9 import BINS, PRESETS, configurations
from svae_repro.store import Outcome, Results, cell_path, read_cell, write_cell
from tests.handmade import PROVENANCE

TORSIONS = (60.0, 180.0, -75.5)
KINDS = configurations(PRESETS["paper"])
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_figure_is_left():
    """In place of the folder's fixture: these tests look at figures and save none."""
    yield
    plt.close("all")


def metrics(place: int, seed: int) -> dict:
    return {
        "angular_error": 20.0 + place + seed,
        "circular_correlation": 0.5 + place / 100,
        "constant_error": 65.0,
        "rarity_correlation": -0.25,
    }


def arrays(seed: int) -> dict[str, np.ndarray]:
    found = {
        "validation_curve": np.array([11.0, 10.0, 9.5 - seed], np.float32),
        "range_count": np.arange(BINS),
        "range_error": np.linspace(10, 45, BINS) + seed,
        "error_histogram": np.arange(180)[::-1],
    }
    if seed == 0:
        angle = RNG.uniform(-np.pi, np.pi, (50, SLOTS)).astype(np.float16)
        matrix = np.full((SLOTS, SLOTS), np.nan, np.float32)
        matrix[:3, :3] = 0.3
        example = molecule(np.full(6, 6), torsion_chain(np.radians(TORSIONS)))
        found |= {f"molecule_{name}": value for name, value in vars(example).items()}
        found |= {"angle": angle, "predicted": -angle, "present": np.ones((50, SLOTS), bool)}
        found |= {"true_matrix": matrix, "predicted_matrix": 2 * matrix}
    return found


def results(folder, kinds=KINDS, seeds=2) -> Results:
    """Every configuration of ``kinds``, stored as a study would."""
    cells = []
    for place, configuration in enumerate(kinds):
        for seed in range(seeds):
            path = cell_path(folder, "blog_qm9", configuration, seed)
            write_cell(path, "blog_qm9", configuration, seed, Outcome(metrics(place, seed), arrays(seed)), PROVENANCE)
            cells.append(read_cell(path))
    return Results("blog_qm9", "paper", False, cells, len(cells))


def drawn(axes) -> dict[str, list[np.ndarray]]:
    """Label -> y values of the lines of that label."""
    found = {}
    for line in axes.lines:
        found.setdefault(line.get_label(), []).append(np.asarray(line.get_ydata(), float))
    return found


def test_the_molecule_has_a_newman_projection_for_each_dihedral():
    figure = plots.qm9_molecule(arrays(0))
    left, *projections = figure.axes
    assert [text.get_text() for text in left.texts][-3:] == ["1", "2", "3"]
    titles = [axes.get_title() for axes in projections]
    assert [title.split("\n")[1] for title in titles] == ["60.0°", "180.0°", "−75.5°"]
    assert "C$_{0}$–C$_{1}$–C$_{2}$–C$_{3}$" in titles[0]
    for axes, torsion in zip(projections, TORSIONS, strict=True):
        x, y = axes.lines[1].get_data()  # the bond behind, clockwise from the one in front
        assert np.degrees(np.arctan2(x[1], y[1])) % 360 == pytest.approx(torsion % 360)
        assert np.hypot(x, y) == pytest.approx([0.5, 1])


def test_the_molecule_is_not_drawn_as_its_mirror_image():
    stored = arrays(0)
    left = plots.qm9_molecule(stored).axes[0]
    points = np.concatenate([scatter.get_offsets() for scatter in left.collections])
    depth = np.array([scatter.get_zorder() for scatter in left.collections])
    turned = np.column_stack([points, depth])
    original = stored["molecule_positions"]
    corners = [np.stack([p[k] - p[0] for k in (1, 2, 3)]) for p in (original, turned)]
    assert np.linalg.det(corners[0]) == pytest.approx(np.linalg.det(corners[1]), rel=1e-6)  # its sign above all


def test_losses_have_a_panel_for_each_likelihood_and_dimension(home):
    figure = plots.qm9_losses(results(home))
    assert [axes.get_title() for axes in figure.axes] == [
        f"{name}, d = {d}" for name in ("von Mises likelihood", "cosine loss, as in the post") for d in (2, 5, 10)
    ]
    for axes, models in zip(figure.axes, [3] * 3 + [4] * 3, strict=True):
        lines = drawn(axes)
        assert len(lines) == models + 1 and len(lines["_"]) == models  # the second seed has no name
        np.testing.assert_allclose(lines["Euclidean"], [[11, 10, 9.5]])
        np.testing.assert_allclose(lines["_"][0], [11, 10, 8.5])


def test_scores_show_every_run_and_the_constant(home):
    stored = results(home)
    errors, _, correlations, _ = plots.qm9_scores(stored).axes
    lines = drawn(errors)
    np.testing.assert_allclose(lines["Euclidean"], [[20, 21], [27, 28], [34, 35]])  # d = 2, 5, 10
    np.testing.assert_allclose(lines["Hyperbolic"], [[22, 23], [29, 30], [36, 37]])
    assert any(np.allclose(y, 65) for ys in lines.values() for y in ys)
    np.testing.assert_allclose(drawn(correlations)["Spherical"][0], [0.51, 0.51])


def test_figures_are_drawn_from_a_single_cell(home):
    stored = results(home, kinds=[{"d": 5, "likelihood": "von-mises", "model": "s"}], seeds=1)
    assert len(plots.qm9_losses(stored).axes) == 1
    assert len(plots.qm9_scores(stored).axes) == 2
    assert len(plots.qm9_error_distribution(stored, 5).axes) == 2
    assert len(plots.qm9_ranges(stored, "von-mises", 5).axes) == 3


def of_model(model):
    return {"model": model, "likelihood": "von-mises", "d": 10}


def test_matrices_leave_out_unused_slots_and_the_diagonal():
    figure = plots.qm9_matrices([(of_model(model), arrays(0)) for model in "eh"])
    assert figure.get_suptitle().endswith(": von Mises likelihood, d = 10, seed 0")
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["true angles", "Euclidean, predicted", "Hyperbolic, predicted"]
    for axes, value in zip(figure.axes, (0.3, 0.6, 0.6), strict=False):
        shown = np.ma.filled(axes.images[0].get_array(), np.nan)
        np.testing.assert_allclose(shown, np.where(np.eye(3), np.nan, value), rtol=1e-6)
        assert axes.texts[0].get_text() == f"r.m.s. {value:.2f}"


def test_circles_put_truth_outside_and_predictions_inside():
    stored = arrays(0)
    figure = plots.qm9_circles([(of_model("e"), stored)])
    (above, below), (legend,) = figure.axes, figure.legends
    points = {line.get_marker(): np.array(line.get_data()) for line in above.lines}
    meaning = {handle.get_label(): points[handle.get_marker()] for handle in legend.legend_handles}
    assert np.hypot(*meaning["true"]) == pytest.approx(1) and np.hypot(*meaning["predicted"]) == pytest.approx(0.7)
    np.testing.assert_allclose(meaning["true"] * [[0.7], [-0.7]], meaning["predicted"], atol=1e-6)  # minus the angle
    counts = 10 ** below.images[0].get_array() - 1
    assert counts.sum() == pytest.approx(50 * SLOTS) and np.fliplr(np.eye(72))[counts > 0.5].mean() > 0.9


def test_the_error_distribution_adds_up_to_all_angles(home):
    above, _, below, _ = plots.qm9_error_distribution(results(home), 2).axes
    assert drawn(above)["Euclidean"][0].sum() == pytest.approx(100)
    cumulative = drawn(below)["Spherical"][0]
    assert cumulative[0] == 0 and cumulative[-1] == pytest.approx(100)
    assert cumulative[90] == pytest.approx(100 * np.arange(180)[::-1][:90].sum() / np.arange(180).sum())


def test_ranges_show_means_over_seeds_and_leave_out_the_empty_one(home):
    above, below, right = plots.qm9_ranges(results(home), "cosine", 10).axes
    error = drawn(above)["Hyperbolic, the post's objective"][0]
    assert np.isnan(error[0])  # no angle there
    np.testing.assert_allclose(error[1:], np.linspace(10, 45, BINS)[1:] + 0.5, rtol=1e-6)
    assert [bar.get_height() for bar in below.patches if bar.get_width() == 10] == list(range(BINS))
    assert "Euclidean: rank correlation −0.25" in drawn(right)
