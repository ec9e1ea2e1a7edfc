"""Figures of mixed curvature: rows in order, gaps where the pairs are, bars as high as the divergences."""

import matplotlib.pyplot as plt
import pytest

from svae_repro import plots
from svae_repro.plots.mixed import kind
from svae_repro.spaces import space
from svae_repro.store import Results


def cell(name, seed, likelihood, divergences, curvature="fixed"):
    metrics = {"LL": likelihood, "ELBO": likelihood - 2, "KL": sum(divergences)}
    metrics["factor_kl"] = divergences
    configuration = {"d": space(name).dim, "space": name, "curvature": curvature}
    return {"configuration": configuration, "seed": seed, "metrics": metrics}


CELLS = [
    *(cell("e6", seed, value, [12.0]) for seed, value in enumerate([-90.0, -91.0])),
    *(
        cell("s2s2s2", seed, value, kl)
        for seed, value, kl in ((0, -88.0, [1.0, 5.0, 3.0]), (1, -90.5, [6.0, 2.0, 4.0]))
    ),
    cell("e2s2h2", 0, -89.0, [1.0, 2.0, 3.0], "learned"),
    cell("s40", 0, -120.0, [9.0]),
]


@pytest.fixture
def results():
    yield Results("mixed_curvature", "quick", False, CELLS, 9)
    left = plt.get_fignums()
    plt.close("all")
    assert left == []


def test_gaps_stand_where_their_pairs_say_the_best_on_top(home, results):
    figure = plots.mixed_gaps(results)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["ℝ² × S² × ℍ², learned", "(S²)³", "ℝ⁶"]
    drawn = [list(line.get_xdata()) for line in left.lines if line.get_linestyle() == "None"]
    assert drawn == [[1.0], [1.0], [2.0, 0.5], [1.25], [0.0, 0.0], [0.0]]
    assert left.lines[0].get_markerfacecolor() == "white" != left.lines[2].get_markerfacecolor()
    assert right.get_title() == "d = 40" and len(right.lines[0].get_xdata()) == 0  # nothing to compare it with
    plots.save(figure, "gaps", results)


def test_bars_are_as_high_as_the_divergences_of_ordered_factors(home, results):
    figure = plots.mixed_factors(results, 6)
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == pytest.approx([1, 2, 3, 5.5, 3.5, 1.5, 12])
    hatches = [patch.get_hatch() for patch in figure.axes[0].patches]
    assert hatches[:3] == ["", "..", "//"]  # not by colour alone
    plots.save(figure, "factors", results)


def test_kinds_of_spaces():
    assert [kind(name) for name in ("e6", "s2s2s2", "h40", "e2s2h2")] == ["Euclidean", "spheres", "hyperbolic", "mixed"]
