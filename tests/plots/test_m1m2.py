"""Figures of the semi-supervised study: what they show, from frames and arrays with known content."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from svae_repro import plots
from svae_repro.experiments.m1m2_labels import ACCURACY
from svae_repro.store import Outcome, Results, cell_path, read_cell, write_cell
from tests.handmade import PROVENANCE


@pytest.fixture(autouse=True)
def no_figure_is_left():
    """In place of the folder's fixture: these tests look at figures and save none."""
    yield
    plt.close("all")


def frame(rows) -> pd.DataFrame:
    columns = ["method", "dim_z1", "dim_z2", "metric", "mean", "std", "n", "published_mean", "published_std"]
    return pd.DataFrame(rows, columns=columns)


def shown(axes) -> dict[str, list]:
    """Label -> heights of the points of every errorbar."""
    return {bar.get_label(): bar[0].get_ydata().tolist() for bar in axes.containers}


def test_accuracy_has_a_panel_for_each_z1_and_both_sources():
    nan = np.nan
    table = frame(
        [
            ("N+N", 5, 5, "accuracy", 80.0, 1.0, 2, 90.0, 0.4),
            ("N+N", 5, 10, "accuracy", nan, nan, 0, 90.7, 0.3),
            ("S+S", 5, 5, "accuracy", 91.0, nan, 1, 94.0, 0.1),
            ("S+N", 10, 5, "accuracy", nan, nan, 0, 94.0, 0.4),
        ]
    )
    figure = plots.semi_supervised_accuracy(table)
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("dim z1 = 5", "dim z1 = 10")
    np.testing.assert_equal(
        shown(left),
        {
            "N+N, paper": [90.0, 90.7],
            "N+N, ours": [80.0, nan],
            "S+S, paper": [94.0, nan],
            "S+S, ours": [91.0, nan],
        },
    )
    np.testing.assert_equal(shown(right), {"S+N, paper": [94.0, nan]})
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["N+N, paper", "N+N, ours", "S+S, paper", "S+S, ours", "S+N, paper"]


def test_accuracy_of_a_standin_has_no_published_points():
    rows = [("S+S", 2, 2, "accuracy", 50.0, 1.0, 2, np.nan, np.nan)]
    (axes,) = plots.semi_supervised_accuracy(frame(rows)).axes
    assert shown(axes) == {"S+S, ours": [50.0]}


def test_analogies_are_laid_out_row_by_row():
    originals = np.arange(2 * 4, dtype=np.uint8).reshape(2, 4)
    restyled = np.arange(100, 100 + 2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    picture = plots.analogy_grid(originals, restyled)
    assert picture.shape == (4, 2 + 6 + 6)
    assert picture[:2, :2].tolist() == [[0, 1], [2, 3]] and picture[2:, :2].tolist() == [[4, 5], [6, 7]]
    assert (picture[:, 2:8] == 0).all()
    assert picture[:2, 8:].tolist() == [[100, 101, 104, 105, 108, 109], [102, 103, 106, 107, 110, 111]]


def test_figures_name_the_model_and_count_only_what_is_wrong():
    configuration = {"dim_z1": 5, "dim_z2": 10, "topology": "S+N"}
    arrays = {
        "originals": np.zeros((2, 4), np.uint8),
        "restyled": np.zeros((2, 2, 4), np.uint8),
        "confusion": np.array([[50, 3], [0, 47]]),
    }
    for draw in (plots.analogies, plots.confusions):
        (axes,) = draw([(configuration, arrays)]).axes
        assert axes.get_title() == "S+N, dim z1 = 5, dim z2 = 10"
    assert [text.get_text() for text in axes.texts] == ["3"]
    assert axes.texts[0].get_position() == (1, 0)  # true 0, taken for 1


def test_numbers_stay_legible_on_every_shade():
    counts = np.arange(100).reshape(10, 10)
    (axes,) = plots.confusions([({"dim_z1": 5, "dim_z2": 5, "topology": "S+N"}, {"confusion": counts})]).axes
    shade = axes.images[0]
    for text in axes.texts:
        grey = shade.cmap(shade.norm(int(text.get_text())))[0]
        luminance = ((grey + 0.055) / 1.055) ** 2.4  # of sRGB; contrast as the WCAG define it
        contrast = 1.05 / (luminance + 0.05) if text.get_color() == "white" else (luminance + 0.05) / 0.05
        assert contrast > 4, (text.get_text(), grey)
    assert {text.get_color() for text in axes.texts} == {"white", "black"}


def test_labelled_sets_have_a_panel_for_each_score_and_blanks_for_missing_runs():
    errors, accuracy = np.array([[120.0, 0], [np.nan, 65]]), np.array([[80.25, 91], [np.nan, 92]])
    few, shares = plots.labelled_sets({"errors between 4 and 9": errors, ACCURACY: accuracy}).axes
    assert [text.get_text() for text in few.texts] == ["120", "0", "65"]
    assert [text.get_text() for text in shares.texts] == ["80.2", "91.0", "92.0"]
    assert few.texts[2].get_position() == (1, 1) and few.get_ylabel() == "seed of all else"
    assert few.images[0].get_clim() == (0, 120) and shares.images[0].get_clim() == (80, 92)


def test_curves_mark_the_epoch_whose_weights_were_kept(home):
    cells = []
    for seed, topology in enumerate(["N+N", "S+S"]):
        configuration = {"dim_z1": 5, "dim_z2": 5, "topology": topology}
        path = cell_path(home, "m1m2", configuration, seed)
        curve = np.array([9.0, 7.0, 8.0], np.float32)
        outcome = Outcome({"best_epoch": 2}, {"validation_curve": curve})
        write_cell(path, "m1m2", configuration, seed, outcome, PROVENANCE)
        cells.append(read_cell(path))
    (axes,) = plots.semi_supervised_curves(Results("m1m2", "paper", False, cells, 2), warmup=1).axes
    lines = [line for line in axes.lines if line.get_label() in ("N+N", "S+S")]
    assert [line.get_label() for line in lines] == ["N+N", "S+S"]
    assert all(line.get_markevery() == [1] and line.get_ydata().tolist() == [9, 7, 8] for line in lines)
    assert len({line.get_linestyle() for line in lines}) == len({line.get_marker() for line in lines}) == 2
