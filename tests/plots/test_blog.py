"""Figures of the blog's MNIST study: where points land, what pages hold, a panel for each model that is there."""

import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from svae_repro import hyperboloid, plots
from svae_repro.plots.mnist import poincare_map
from svae_repro.spaces import space
from svae_repro.store import Results


def results(cells=()):
    return Results("blog_mnist", "quick", True, list(cells), 4)


def cell_arrays(model, d=2):
    rng = np.random.default_rng(0)
    prior = space(f"{'e' if model == 'ae' else model[0]}{d}").prior()
    labels = (np.arange(60) % 3).astype(np.uint8)
    pixels = rng.integers(0, 256, (400, 64), dtype=np.uint8)
    arrays = {"latent": prior.sample((60,)).numpy(), "labels": labels, "grid": pixels, "originals": pixels[:10]}
    arrays |= {"reconstructions": pixels[10:20], "box": np.array([[-2, -1], [2, 1]], np.float32)}
    return {"d": d, "layers": 2, "model": model}, arrays | {"box_grid": pixels, "walks": pixels[:44]}


def test_the_poincare_map_draws_points_where_the_geometry_puts_them():
    _, arrays = cell_arrays("h")
    figure, axes = plt.subplots()
    poincare_map(axes, arrays["latent"], np.zeros(60, np.uint8))
    drawn = np.asarray(axes.collections[0].get_offsets())
    assert drawn == pytest.approx(hyperboloid.to_poincare(torch.tensor(arrays["latent"])).numpy(), abs=1e-6)
    half, most, rim = (np.linalg.norm(np.transpose(line.get_data()), axis=1) for line in axes.lines)
    # the prior's radius is that of a normal vector: half of the mass lies within sqrt(2 log 2)
    assert half == pytest.approx(math.tanh(math.sqrt(2 * math.log(2)) / 2))
    assert most == pytest.approx(math.tanh(math.sqrt(-2 * math.log(0.05)) / 2))
    assert rim == pytest.approx(1)
    plt.close(figure)


def test_the_page_of_the_hyperboloid_holds_every_point_on_its_sheet():
    _, arrays = cell_arrays("h")
    page = json.loads(plots.hyperboloid_page(arrays["latent"], arrays["labels"]).to_json(engine="json"))
    groups = [trace for trace in page["data"] if trace["type"] == "scatter3d" and trace["mode"] == "markers"]
    assert [trace["name"] for trace in groups] == ["0", "1", "2"]
    assert len({(trace["marker"]["color"], trace["marker"]["symbol"]) for trace in groups}) == 3
    fresh = plots.hyperboloid_page(arrays["latent"], arrays["labels"])
    points = np.concatenate([np.stack([t.x, t.y, t.z], 1) for t in fresh.select_traces({"mode": "markers"})])
    assert len(points) == 60
    assert points[:, 2] == pytest.approx(np.sqrt(1 + points[:, 0] ** 2 + points[:, 1] ** 2), rel=1e-5)


@pytest.mark.parametrize("name", ["sphere", "hyperboloid"])
def test_the_bytes_of_a_page_do_not_depend_on_the_last_digit_of_a_function(name, monkeypatch):
    _, arrays = cell_arrays(name[0])
    draw = getattr(plots, f"{name}_page")
    page = draw(arrays["latent"], arrays["labels"]).to_json()
    for module, functions in ((np, ("sqrt", "cos", "sin", "sinh", "cosh", "arcsinh")), (np.linalg, ("norm",))):
        for function in functions:  # another processor's
            exact = getattr(module, function)
            monkeypatch.setattr(module, function, lambda *args, f=exact, **kw: np.nextafter(f(*args, **kw), np.inf))
    assert draw(arrays["latent"], arrays["labels"]).to_json() == page


@pytest.mark.parametrize("models", ["e", "h", "esh"])
def test_latent_spaces_and_grids_have_a_panel_for_each_model_that_is_there(home, models):
    found = [cell_arrays(model) for model in models]
    figure = plots.blog_latent_spaces(found)
    assert [axes.name for axes in figure.axes] == [{"s": "hammer"}.get(m, "rectilinear") for m in models]
    for axes in figure.axes:
        assert {text.get_text() for text in axes.texts} >= {"0", "1", "2"}  # not by colour alone
    plots.save(figure, "latent", results())
    figure = plots.blog_grids(found)
    assert [axes.images[0].get_array().shape for axes in figure.axes] == [(160, 160)] * len(models)
    plots.save(figure, "grids", results())


@pytest.mark.parametrize("models", [["ae"], ["ae", "e"]])
def test_planes_and_walks(home, models):
    found = [cell_arrays(model) for model in models]
    figure = plots.blog_planes(found)
    assert len(figure.axes) == 2 * len(models)
    plots.save(figure, "planes", results())
    figure = plots.blog_walks(found)
    assert [axes.images[0].get_array().shape for axes in figure.axes] == [(4 * 8, 11 * 8)] * len(models)
    plots.save(figure, "walks", results())


def test_reconstructions_have_a_panel_for_each_dimension_and_a_row_for_each_model(home):
    figure = plots.blog_reconstructions([cell_arrays("e"), cell_arrays("h"), cell_arrays("s", 3)])
    assert [axes.get_title() for axes in figure.axes] == ["d = 2", "d = 3"]
    labels = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert labels == [["test image", "Euclidean", "Hyperbolic"], ["test image", "Spherical"]]
    plots.save(figure, "reconstructions", results())


def test_elbo_shows_ours_beside_the_posts(home):
    columns = ["method", "d", "hidden_layers", "mean", "std", "published_mean", "published_std"]
    rows = [("Euclidean", 2, 1, -150.0, math.nan, -170.8, 9.9), ("Hyperbolic", 2, 1, math.nan, math.nan, -174.0, 8.0)]
    figure = plots.blog_elbo(pd.DataFrame(rows, columns=columns))
    names = figure.axes[0].get_legend_handles_labels()[1]
    assert names == ["Euclidean, the post", "Euclidean, ours", "Hyperbolic, the post"]
    plots.save(figure, "elbo", results())


def test_kl_terms_show_every_run(home):
    cells = [
        {"configuration": {"d": d, "layers": 2, "model": model}, "metrics": {"KL": 9.0 + d, "KL_tangent": 4.0}}
        for d in (2, 10)
        for model in ("h", "h-tangent")
    ]
    cells.append({"configuration": {"d": 2, "layers": 2, "model": "e"}, "metrics": {"KL": 5.0}})
    figure = plots.blog_kl_terms(results(cells))
    left, right = figure.axes
    assert sum(len(line.get_xdata()) for line in left.lines[:2]) == 4
    assert sorted(y for line in right.lines[:2] for y in line.get_ydata()) == [7, 7, 15, 15]
    plots.save(figure, "kl", results())


def test_photographs_keep_their_shape(home):
    pixels = np.arange(4 * 6).reshape(4, 6).astype(np.uint8)
    assert plots.image_grid(pixels, 2, (3, 2))[:3, 2:].tolist() == [[6, 7], [8, 9], [10, 11]]
    with pytest.raises(ValueError, match="4 images of 6 pixels do not make a grid of images of 4 x 2, 2 in a row"):
        plots.image_grid(pixels, 2, (4, 2))
    configuration, arrays = cell_arrays("e")
    arrays |= {"grid": np.zeros((4, 6), np.uint8), "originals": pixels, "reconstructions": pixels}
    figure = plots.blog_grids([(configuration, arrays)], (3, 2))
    assert figure.axes[0].images[0].get_array().shape == (6, 4) and figure.axes[0].get_aspect() == 1.5
    plots.save(figure, "grids", results())
    figure = plots.blog_reconstructions([(configuration, arrays)], (3, 2))
    assert figure.axes[0].images[0].get_array().shape == (6, 8)
    plots.save(figure, "reconstructions", results())


def test_people_are_named_in_a_legend(home):
    figure = plots.blog_latent_spaces([cell_arrays("e")], ["Ada", "Emmy", "Sofja"])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Ada", "Emmy", "Sofja"]
    assert [handle.get_marker() for handle in legend.legend_handles] == ["$0$", "$1$", "$2$"]
    plots.save(figure, "latent", results())


def test_kl_shows_every_run_in_the_panel_of_its_depth(home):
    cells = [
        {"configuration": {"d": d, "layers": n, "model": model}, "seed": 0, "metrics": {"KL": float(d + n)}}
        for d, n, model in ((2, 1, "e"), (10, 1, "s"), (10, 4, "h"))
    ]
    figure = plots.blog_kl(results(cells))
    assert [axes.get_title() for axes in figure.axes] == ["1 hidden layer", "4 hidden layers"]
    drawn = [line.get_ydata() for axes in figure.axes for line in axes.lines if line.get_marker() != "None"]
    assert [list(y) for y in drawn if len(y)] == [[3.0], [11.0], [14.0]]
    plots.save(figure, "kl", results())


def test_levels_are_lines_with_names(home):
    columns = ["method", "d", "hidden_layers", "mean", "std", "published_mean", "published_std"]
    figure = plots.blog_elbo(
        pd.DataFrame([("Euclidean", 2, 1, -1.0, 0.1, math.nan, math.nan)], columns=columns), {"top": -0.5}
    )
    assert figure.axes[0].get_legend_handles_labels()[1] == ["top", "Euclidean, ours"]
    plots.save(figure, "elbo", results())
