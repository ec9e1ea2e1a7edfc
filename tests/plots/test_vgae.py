"""Figures of Table 4: what they draw for hand-made values, and that colour is never alone."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svae_repro import plots
from svae_repro.experiments.vgae import TABLES
from svae_repro.store import Results
from svae_repro.tables import Table

KEYS = ["method", "dataset", "metric"]
SPLITS = {"N-VGAE": [91.0, 90.0, 93.0], "S-VGAE": [92.0, 91.5, 93.5], "GAE": [91.2, 90.1]}
SAMPLED = {"N-VGAE, sampled pairs": [95.0, 96.0], "S-VGAE, sampled pairs": [94.0, 94.5]}
PUBLISHED = {"N-VGAE": (92.7, 0.2), "S-VGAE": (94.1, 0.1)}


def table(published=PUBLISHED, pubmed=()) -> Table:
    rows, values = [], []
    for method, scores in [*SPLITS.items(), *dict(pubmed).items()]:
        key = (method, "Cora" if method in SPLITS else "Pubmed", "AUC")
        rows.append(
            (*key, np.mean(scores), np.std(scores, ddof=1), len(scores), *published.get(method, (np.nan,) * 2), "")
        )
        values += [(*key, score, seed) for seed, score in enumerate(scores)]
    columns = [*KEYS, "mean", "std", "n", "published_mean", "published_std", "verdict"]
    runs = pd.DataFrame(values, columns=[*KEYS, "value", "seed"])
    return Table(
        "table4", pd.DataFrame(rows, columns=columns), TABLES["table4"], False, "quick", list(PUBLISHED), runs, 3
    )


def xs(axes, line_or_dots) -> list[float]:
    return sorted(float(x) for part in line_or_dots(axes) for x in part)


def lines(axes):
    """Abscissae of every line that consists of markers."""
    return [line.get_xdata() for line in axes.lines if line.get_marker() in ("o", "s") and len(line.get_xdata()) == 1]


def test_scores_show_every_method_and_the_papers_open():
    figure = plots.link_prediction(table())
    (axes,) = figure.axes
    expected = [*(np.mean(scores) for scores in SPLITS.values()), *(mean for mean, _ in PUBLISHED.values())]
    assert xs(axes, lines) == pytest.approx(sorted(expected))
    assert [text.get_text() for text in axes.get_yticklabels()] == list(SPLITS)
    assert "paper" in [text.get_text() for text in figure.legends[0].get_texts()]
    plt.close(figure)
    without = plots.link_prediction(table(published={}))
    assert xs(without.axes[0], lines) == pytest.approx(sorted(expected[:3]))
    assert "paper" not in [text.get_text() for text in without.legends[0].get_texts()]
    plt.close(without)


def test_a_panel_names_only_the_methods_with_runs_on_its_graph():
    figure = plots.link_prediction(table(pubmed=SAMPLED))
    assert [[text.get_text() for text in axes.get_yticklabels()] for axes in figure.axes] == [[*SPLITS], [*SAMPLED]]
    colours = [[line.get_color() for line in axes.lines if line.get_marker() == "o"][:2] for axes in figure.axes]
    assert colours[0][0] == colours[1][0] and len(set(colours[1])) == 2  # the same two models
    plt.close(figure)


def test_paired_differences_have_a_line_for_each_variant_and_no_interval_from_two_splits():
    figure = plots.paired_differences(table(pubmed=SAMPLED), "S-VGAE", "N-VGAE")
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["Cora AUC (n=3)", "Pubmed AUC, sampled pairs (n=2)"]
    assert len([c for c in axes.collections if hasattr(c, "get_segments")]) == 1
    assert axes.collections[-1].get_offsets()[:, 0].tolist() == [-1.0, -1.5]
    plt.close(figure)


def test_paired_differences_show_every_split_their_mean_with_students_interval_and_the_papers():
    figure = plots.paired_differences(table(), "S-VGAE", "N-VGAE")
    (axes,) = figure.axes
    ticks, paper = axes.collections[0], axes.collections[-1]
    assert ticks.get_offsets()[:, 0].tolist() == [1.0, 1.5, 0.5]
    assert paper.get_offsets()[0, 0] == pytest.approx(94.1 - 92.7)
    interval = stats.t.interval(0.95, 2, loc=1.0, scale=0.5 / np.sqrt(3))
    (bar,) = [c for c in axes.collections if hasattr(c, "get_segments")]
    assert bar.get_segments()[0][:, 0] == pytest.approx(interval)
    plt.close(figure)
    without = plots.paired_differences(table(published={}), "S-VGAE", "N-VGAE")
    assert "paper" not in [text.get_text() for text in without.axes[0].get_legend().get_texts()]
    plt.close(without)


def test_latent_spaces_draw_every_class_with_a_marker_of_its_own(home):
    rng = np.random.default_rng(0)
    labels = (np.arange(70) % 7).astype(np.uint8)
    sphere = rng.normal(size=(70, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    found = [
        ({"dataset": "Cora", "model": "n"}, {"latent": rng.normal(size=(70, 2)), "labels": labels}),
        ({"dataset": "Cora", "model": "s"}, {"latent": sphere, "labels": labels}),
    ]
    figure = plots.graph_latents(found)
    assert [axes.name for axes in figure.axes] == ["rectilinear", "hammer"]
    for axes in figure.axes:
        outlines = {dots.get_paths()[0].vertices.tobytes() for dots in axes.collections}
        assert len(axes.collections) == len(outlines) == 7
        assert sum(len(dots.get_offsets()) for dots in axes.collections) == 70
    plots.save(figure, "latent", Results("vgae", "quick", True, [], 1))
    assert (home / "figures/quick-standin/latent.png").exists()
    alone = plots.graph_latents(found[1:])  # one of the cells is missing
    assert [axes.name for axes in alone.axes] == ["hammer"]
    plt.close(alone)
