"""Figures: what their helpers compute at known points, and that what `save` writes is whole and leaves nothing open."""

import base64
import gzip
import json
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from plotly.offline import get_plotlyjs

from svae_repro import paths, plots
from svae_repro.spaces import space
from svae_repro.store import Results


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def on_sphere(rng, count: int) -> np.ndarray:
    points = rng.normal(size=(count, 3))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float16)


def results(preset: str = "quick", standin: bool = True, cells=()) -> Results:
    return Results("mnist_vae", preset, standin, list(cells), 4)


def latent(rng, letter: str, count: int = 40) -> tuple:
    points = on_sphere(rng, count) if letter == "s" else rng.normal(size=(count, 2)).astype(np.float16)
    return {"d": 2, "space": letter}, {"latent": points, "labels": (np.arange(count) % 3).astype(np.uint8)}


# Coordinates


@pytest.mark.parametrize(
    "point, longitude, latitude",
    [
        ((1, 0, 0), 0, 0),
        ((0, 1, 0), math.pi / 2, 0),
        ((0, -1, 0), -math.pi / 2, 0),
        ((-1, 0, 0), math.pi, 0),
        ((0, 0, 1), 0, math.pi / 2),
        ((0, 0, -1), 0, -math.pi / 2),
        ((0, 3, 3), math.pi / 2, math.pi / 4),  # off the sphere, as half-precision points are
    ],
)
def test_longitude_latitude_of_known_points(point, longitude, latitude):
    got = np.concatenate(plots.longitude_latitude(np.array([point], np.float16)))
    assert got == pytest.approx([longitude, latitude], abs=1e-12)


def test_longitudes_and_latitudes_are_radians_in_range(rng):
    points = np.concatenate([on_sphere(rng, 5000), np.eye(3, dtype=np.float16), -np.eye(3, dtype=np.float16)])
    longitude, latitude = plots.longitude_latitude(points)
    assert np.abs(longitude).max() <= math.pi and np.abs(latitude).max() <= math.pi / 2
    back = np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], 1)
    assert np.abs(back - points).max() < 2e-3  # half precision


@pytest.mark.parametrize("name", ["e2", "s2"])
def test_the_grid_of_a_space_is_regular_in_the_unit_square(name):
    # `Space.grid` is defined by prior quantiles elsewhere; rows from the top, columns from the left.
    place = plots.unit_square(space(name).grid(4).numpy()).reshape(4, 4, 2)
    levels = (np.arange(4) + 0.5) / 4
    assert place[..., 0] == pytest.approx(np.tile(levels, (4, 1)), abs=1e-6)
    assert place[..., 1] == pytest.approx(np.tile(levels[::-1, None], (1, 4)), abs=1e-6)


# Images and labels


def test_images_are_laid_out_row_by_row():
    pixels = np.arange(6)[:, None] * 10 + np.arange(4)  # image i is [[10 i, 10 i + 1], [10 i + 2, 10 i + 3]]
    expected = [
        [0, 1, 10, 11, 20, 21],
        [2, 3, 12, 13, 22, 23],
        [30, 31, 40, 41, 50, 51],
        [32, 33, 42, 43, 52, 53],
    ]
    assert plots.image_grid(pixels, 3).tolist() == expected


@pytest.mark.parametrize("count, size, columns", [(6, 5, 3), (7, 4, 3)])
def test_an_impossible_grid_is_an_error(count, size, columns):
    with pytest.raises(ValueError, match=f"{count} images of {size} pixels"):
        plots.image_grid(np.zeros((count, size)), columns)


def test_labels_are_moved_apart_and_no_further():
    centres = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 5.0]])
    moved = plots.separate(centres, apart=1.0)
    assert np.linalg.norm(moved[0] - moved[1]) == pytest.approx(1, abs=0.01)
    assert moved[:2].mean(0) == pytest.approx([0.05, 0])  # to both sides alike
    assert moved[2].tolist() == [5, 5]


# Files

FIGURES = sorted(file for file in (paths.REPOSITORY / "figures" / "paper").glob("*") if file.is_file())


@pytest.mark.skipif(not FIGURES, reason="no figures are committed")
def test_the_committed_figures_are_small():
    assert sum(file.stat().st_size for file in FIGURES) < 10e6
    assert {file.name for file in FIGURES if file.suffix == ".gif" and file.stat().st_size > 1.5e6} == set()


def test_save_marks_the_title_writes_a_png_and_closes(home):
    figure, _ = plt.subplots()
    figure.suptitle("A title")
    plots.save(figure, "name", results("quick", standin=True))
    assert figure.get_suptitle() == "A title (quick preset, stand-in data)"
    assert (paths.figures("quick", True) / "name.png").read_bytes().startswith(b"\x89PNG")


def test_figures_of_pictures_keep_their_greys_and_others_their_colours(home, rng):
    def saved(figure):
        plots.save(figure, "name", results())
        return np.asarray(Image.open(paths.figures("quick", True) / "name.png").convert("RGB"))

    pixels = np.tile(np.arange(256, dtype=np.uint8), (100, 1)).repeat(4, axis=1).reshape(100, -1)
    greys = saved(plots.samples([({"d": 2, "space": "e"}, {"samples": pixels})], "Samples"))
    assert (greys == greys[..., :1]).all()
    levels = np.unique(greys)
    assert len(levels) == 32 and np.abs(np.diff(levels.astype(int)) - 255 / 31).max() < 1
    colours = saved(plots.latent_spaces([latent(rng, "e")]))
    assert (colours != colours[..., :1]).any()


def test_a_figure_of_the_study_itself_needs_no_remark():
    assert plots.remark(results("paper", standin=False)) == ""
    assert plots.remark(results("paper", standin=True)) == "stand-in data"


def test_the_same_figure_is_the_same_file(home, rng):
    frame = [latent(rng, "e"), latent(rng, "s")]
    contents = []
    for _ in range(2):
        plots.save(plots.latent_spaces(frame), "latent", results())
        contents.append((paths.figures("quick", True) / "latent.png").read_bytes())
    assert contents[0] == contents[1]


def test_the_page_needs_no_network_and_is_the_same_twice(home, rng):
    _, arrays = latent(rng, "s")
    file, again = (
        plots.save_page(plots.sphere_page(arrays["latent"], arrays["labels"]), "sphere", results()) for _ in range(2)
    )
    html = file.read_text()
    assert re.findall(r'<script[^>]* src="([^"]*)"', html) == ["plotly.min.js"]
    assert "http://" not in html and "https://" not in html
    library = (file.parent / "plotly.min.js").read_text()
    packed = re.search(r'atob\("([^"]*)"\)', library)[1]
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    assert len(library) < len(get_plotlyjs()) / 2
    assert "stand-in data" in html
    assert again.read_text() == html


def test_the_page_holds_every_point_once(rng):
    _, arrays = latent(rng, "s")
    page = json.loads(plots.sphere_page(arrays["latent"], arrays["labels"]).to_json(engine="json"))
    groups = [trace for trace in page["data"] if trace["type"] == "scatter3d" and trace["mode"] == "markers"]
    assert [trace["name"] for trace in groups] == ["0", "1", "2"]
    assert len({(trace["marker"]["color"], trace["marker"]["symbol"]) for trace in groups}) == 3


def test_missing_arrays_are_named_with_the_command_that_makes_them(home, capsys):
    found = plots.stored(results(), "latent", [{"d": 2, "space": "e"}, {"d": 2, "space": "s"}])
    said = capsys.readouterr().out
    assert found == []
    for letter in "es":
        assert f"run mnist_vae --preset quick --where d=2,space={letter} --seeds 0 --data standin" in said


def test_stored_arrays_are_found_and_those_of_another_kind_are_not(tmp_path, capsys):
    cells = []
    for letter, arrays in (("e", {"latent": np.zeros((2, 2))}), ("s", {"validation_curve": np.zeros(3)})):
        file = tmp_path / letter / "seed-0.json"
        file.parent.mkdir()
        np.savez(file.with_suffix(".npz"), **arrays)
        cells.append({"configuration": {"d": 2, "space": letter}, "seed": 0, "path": file})
    found = plots.stored(results(cells=cells), "latent", [cell["configuration"] for cell in cells])
    assert [configuration["space"] for configuration, _ in found] == ["e"]
    assert "d=2,space=s" in capsys.readouterr().out


# Whole figures


def table(rows) -> pd.DataFrame:
    columns = ["method", "d", "metric", "mean", "std", "n", "published_mean", "published_std"]
    return pd.DataFrame(rows, columns=columns)


def test_log_likelihood_shows_ours_beside_the_papers(home):
    frame = table(
        [
            ("N-VAE", 2, "LL", -130.0, 1.0, 2, -135.7, 0.8),
            ("S-VAE", 2, "LL", -127.0, math.nan, 1, -132.5, 0.7),
            ("N-VAE", 5, "LL", math.nan, math.nan, 0, -110.2, 0.2),
            ("S-VAE", 5, "LL", math.nan, math.nan, 0, -108.4, 0.1),
            ("S-VAE", 5, "KL", 13.0, 0.1, 2, 13.3, 0.1),
        ]
    )
    figure = plots.log_likelihood(frame)
    left, right = figure.axes
    assert left.get_legend_handles_labels()[1] == ["N-VAE, paper", "S-VAE, paper", "N-VAE, ours", "S-VAE, ours"]
    ours = right.containers[1].lines[0]
    assert ours.get_ydata() == pytest.approx([3, math.nan], nan_ok=True)
    plots.save(figure, "ll", results())


def test_log_likelihood_without_published_numbers_shows_ours_only(home):
    rows = [(method, 2, "LL", -40.0, 1.0, 2, math.nan, math.nan) for method in ("N-VAE", "S-VAE")]
    figure = plots.log_likelihood(table(rows))
    assert figure.axes[0].get_legend_handles_labels()[1] == ["N-VAE, ours", "S-VAE, ours"]
    plots.save(figure, "ll", results())


def test_log_likelihood_hides_no_marker_behind_another():
    rows = [(method, 10, "LL", -93.4, 0.1, 2, -93.4, 0.3) for method in ("N-VAE", "S-VAE")]
    figure = plots.log_likelihood(table(rows))
    places = [bar.lines[0].get_xdata().item() for bar in figure.axes[0].containers]
    assert np.diff(sorted(places)).min() > 0.09
    plt.close(figure)


def test_knn_legend_names_what_any_panel_shows(home):
    nan = math.nan
    rows = [
        ("N-VAE", 2, 100, 73.5, nan, 1, 72.6, 2.1),
        ("S-VAE", 40, 100, nan, nan, 0, 67.7, 2.3),
    ]
    columns = ["method", "d", "labels", "mean", "std", "n", "published_mean", "published_std"]
    figure = plots.knn_accuracy(pd.DataFrame(rows, columns=columns), along="labels", panel="d")
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["N-VAE, paper", "N-VAE, ours", "S-VAE, paper"]
    plt.close(figure)


def test_the_gap_of_the_likelihood_by_all_the_ways_to_get_it():
    nan = math.nan
    rows = [
        (method, 2, metric, published)
        for method, gap in (("N-VAE", 1.0), ("S-VAE", 2.0))
        for metric, published in (("LL", -89.0), ("ELBO", -89 - 3 * gap))
    ]
    rows += [("S-VAE", 5, metric, value) for metric, value in (("LL", -70.0), ("ELBO", -77.0))]
    frame = pd.DataFrame(rows, columns=["method", "d", "metric", "published_mean"])
    index = pd.MultiIndex.from_tuples([("N-VAE", 2), ("S-VAE", 2)], names=["method", "d"])
    gaps = pd.DataFrame({"LL": [1.0, 2.0], "LL_released": [4.0, 8.0]}, index)
    figure = plots.likelihood_gap(frame, gaps, {5: 6.5})
    drawn = [{line.get_label(): line.get_ydata() for line in axes.lines} for axes in figure.axes]
    np.testing.assert_allclose(drawn[0]["published"], [3, nan])
    np.testing.assert_allclose(drawn[0]["ours, importance sampling"], [1, nan])
    np.testing.assert_allclose(drawn[0]["ours, released formula"], [4, nan])
    np.testing.assert_allclose(drawn[1]["published"], [6, 7])
    np.testing.assert_allclose(drawn[1]["released formula, from the published KL"], [nan, 6.5])
    assert len(drawn[0]) == 3 and len({line.get_marker() for line in figure.axes[1].lines}) == 3
    plt.close(figure)
    plt.close(plots.likelihood_gap(frame, gaps.assign(LL_released=nan), {}))  # older cells
    plt.close(plots.likelihood_gap(frame.assign(published_mean=nan), gaps, {}))  # stand-in data


def test_the_warm_up_is_judged_in_published_standard_deviations():
    keys = pd.MultiIndex.from_product([["N-VAE", "S-VAE"], [40], ["LL", "KL"]], names=["method", "d", "metric"])
    numbers = {"mean without": [-89.0, 24, -91, 33], "mean with": [-88.0, 22, -90, 32]}
    frame = pd.DataFrame(numbers | {"published_mean": [-90.0, 24, -91, 34], "published_std": [0.5, 1, 0.5, 1]}, keys)
    figure = plots.warmup_effect(frame)
    assert [axes.get_title() for axes in figure.axes] == ["N-VAE, d = 40", "S-VAE, d = 40"]
    drawn = [{line.get_label(): list(line.get_xdata()) for line in axes.lines} for axes in figure.axes]
    assert drawn[0]["N-VAE, with warm-up"] == [4, -2] and drawn[0]["N-VAE, without warm-up"] == [2, 0]
    assert drawn[1]["S-VAE, with warm-up"] == [2, -2] and drawn[1]["S-VAE, without warm-up"] == [0, -1]
    looks = [line.get_markerfacecolor() for line in figure.axes[0].lines[:2]]
    assert looks[1] == "white" != looks[0]  # not by colour alone: filled and open
    plt.close(figure)


def test_styles_have_a_line_for_each_seed_and_a_bar_for_each_mean():
    accuracies = {("s10", "e10"): [0.9, 0.94], ("s10", "s10"): [0.8]}  # the second model lacks a seed
    cells = [
        {"configuration": {"d": 10, "z1": z1, "z2": z2}, "seed": s, "metrics": {"accuracy": value, "style_KL": 3.0 + s}}
        for (z1, z2), values in accuracies.items()
        for s, value in enumerate(values)
    ]
    figure = plots.styles(results(cells=cells))
    left, right = figure.axes
    np.testing.assert_allclose([line.get_ydata() for line in left.lines], [[90, 80], [94, np.nan]])
    np.testing.assert_allclose([line.get_ydata() for line in right.lines], [[3, 3], [4, np.nan]])
    assert [bar.get_segments()[0][0][1] for bar in left.collections] == pytest.approx([92, 80])
    assert [text.get_text() for text in left.get_xticklabels()] == ["S¹⁰\n+ ℝ¹⁰", "S¹⁰\n+ S¹⁰"]
    assert len({line.get_marker() for line in left.lines}) == 2  # not by colour alone
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["seed 0", "seed 1"]
    plt.close(figure)


def test_with_and_without_warm_up_are_joined_within_a_topology():
    columns = pd.MultiIndex.from_product([["N+N", "S+S"], ["with", "without"]], names=["topology", "warm-up"])
    scores = pd.DataFrame([[92.0, 90, 84, 88], [93, np.nan, 85, 86]], [0, 1], columns)
    figure = plots.styles_without_warm_up({"accuracy": scores, "style_KL": scores / 40})
    left, right = figure.axes
    drawn = [[92, 90], [93, np.nan], [84, 88], [85, 86]]  # a line for each topology and seed
    np.testing.assert_allclose([line.get_ydata() for line in left.lines], drawn)
    np.testing.assert_allclose([line.get_ydata() for line in right.lines], np.array(drawn) / 40)
    assert [bar.get_segments()[0][0][1] for bar in left.collections] == pytest.approx([92.5, 90, 84.5, 87])
    assert [t.get_text() for t in left.get_xticklabels()] == [f"{t}\n{w}" for t, w in columns]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["seed 0", "seed 1"]
    plt.close(figure)


def test_names_of_the_priors_rings_keep_clear_of_the_large_digits():
    points = np.random.default_rng(0).normal(size=(600, 2)) * 0.05
    below = points + np.array([[0, -1.3], [0, 0.5], [0.4, 0]])[np.arange(600) % 3]  # one where the name would stand
    figure = plots.latent_spaces([({"d": 2, "space": "e"}, {"latent": below, "labels": np.arange(600) % 3})])
    texts = {text.get_text(): np.array(text.get_position()) for text in figure.axes[0].texts}
    inner = texts["50% of the prior"]
    assert np.linalg.norm(inner) == pytest.approx(math.sqrt(2 * math.log(2)))
    assert min(np.linalg.norm(inner - texts[digit]) for digit in "012") > 0.5
    plt.close(figure)


def test_names_of_the_priors_rings_keep_clear_of_each_other():
    points = np.random.default_rng(0).normal(size=(600, 2)) * 0.05
    below = points + np.array([[-2, 0], [2, -2], [0, -2]])[np.arange(600) % 3]  # the most room for both is above
    figure = plots.latent_spaces([({"d": 2, "space": "e"}, {"latent": below, "labels": np.arange(600) % 3})])
    inner, outer = (t.get_position() for t in figure.axes[0].texts if "prior" in t.get_text())
    assert abs(outer[0] - inner[0]) > 2  # names are as wide
    plt.close(figure)


@pytest.mark.parametrize("letters", ["e", "s", "es"])
def test_latent_spaces_have_a_panel_for_each_model_that_is_there(home, rng, letters):
    figure = plots.latent_spaces([latent(rng, letter) for letter in letters])
    assert [axes.name for axes in figure.axes] == [{"e": "rectilinear", "s": "hammer"}[letter] for letter in letters]
    for axes in figure.axes:
        assert {text.get_text() for text in axes.texts} >= {"0", "1", "2"}  # not by colour alone
    plots.save(figure, "latent", results())


@pytest.mark.parametrize("pixels", [64, 784])
def test_decoded_images_have_the_size_the_arrays_have(home, rng, pixels):
    images = rng.integers(0, 256, (100, pixels), dtype=np.uint8)
    grids = [({"d": 2, "space": letter}, {"samples": images, "grid": images}) for letter in "es"]
    for figure in (plots.samples(grids, "Samples"), plots.manifolds(grids)):
        side = 10 * math.isqrt(pixels)
        assert [axes.images[0].get_array().shape for axes in figure.axes] == [(side, side)] * 2
        plots.save(figure, "images", results())


def test_validation_curves_mark_the_epoch_whose_weights_were_kept(home, tmp_path):
    cells = []
    for letter, best in (("e", 3), ("s", 5)):
        file = tmp_path / letter / "seed-0.json"
        file.parent.mkdir()
        np.savez(file.with_suffix(".npz"), validation_curve=np.linspace(200, 100, 6, dtype=np.float32))
        configuration = {"d": 2, "space": letter}
        cells.append({"configuration": configuration, "seed": 0, "path": file, "metrics": {"best_epoch": best}})
    figure = plots.validation_curves(results(cells=cells), warmup=2)
    curves = [line for line in figure.axes[0].lines if line.get_label().endswith("VAE")]
    assert [line.get_markevery() for line in curves] == [[2], [4]]
    assert [line.get_xdata()[0] for line in curves] == [1, 1]
    low, high = figure.axes[0].get_ylim()
    assert 100 - 0.1 * (high - low) < low < 100  # no empty space below the curves
    plots.save(figure, "curves", results())
