"""Figures of notebook 08: what they draw is what they were given, and the animation is small and repeatable."""

import math

import numpy as np
import pytest
from PIL import Image

from svae_repro import plots
from svae_repro.store import Results

PLACE = Results("none", "smoke", False, [], 0)


def points(count=9, seed=0, radius=1.0):
    """Points [count, 3] of the hyperboloid."""
    space = radius * np.random.default_rng(seed).normal(size=(count, 2))
    return np.concatenate([np.sqrt(1 + (space**2).sum(1, keepdims=True)), space], axis=1)


def drawn(line):
    return np.stack(line.get_data_3d())


def upright(x):
    return x[:, [1, 2, 0]].T  # the time coordinate, first in an array, is drawn last


def test_the_same_curves_stand_in_all_three_views(home):
    far = np.array([[math.cosh(9), math.sinh(9), 0]])
    curves = {"a": [points(seed=1, radius=0.5), points(seed=2, radius=0.5)], "b": [np.concatenate([points(), far])]}
    curves["c"] = [points(seed=3)]
    figure = plots.hyperbolic_models(curves, lambda x: x[:, 1:] / 9, lambda x: x[:, :2])
    solid, disc, half = figure.axes
    assert drawn(solid.lines[1]) == pytest.approx(upright(curves["a"][1]))
    assert drawn(solid.lines[2])[2].max() < math.cosh(2.2)  # what lies beyond the sheet is left out
    assert np.array(disc.lines[2].get_data()) == pytest.approx(curves["b"][0][:, 1:].T / 9)
    assert np.array(half.lines[3].get_data()) == pytest.approx(curves["b"][0][:, :2].T)  # after its edge
    assert len({line.get_linestyle() for line in disc.lines}) == 3  # not by colour alone
    plots.save(figure, "name", PLACE)


def test_parallels_draw_paths_and_distances(home):
    names = ("plane", "sphere", "hyperbolic plane")
    paths = {name: np.stack([points(seed=k), points(seed=k + 1)]) for k, name in enumerate(names)}
    apart = {name: np.linspace(1, k, 9) for k, name in enumerate(names)}
    figure = plots.parallels(paths, np.arange(9.0), apart)
    *scenes, curve = figure.axes
    assert [axes.get_title() for axes in scenes] == list(names)
    assert drawn(scenes[2].lines[2]) == pytest.approx(upright(paths["hyperbolic plane"][1]))  # after a path, its start
    assert [line.get_ydata()[-1] for line in curve.lines] == [0, 1, 2]
    assert len({line.get_linestyle() for line in curve.lines}) == 3
    plots.save(figure, "name", PLACE)


def test_tangent_lines_and_squares_lie_in_the_tangent_spaces(home):
    line = np.array([[1.25, 0.75], [0.75, 1.25]])  # a point of H^1 and a unit tangent vector
    plane = np.array([[1.25, 0.75, 0], [0.75, 1.25, 0], [0, 0, 1]])
    figure = plots.tangent_spaces([line] * 3, [plane] * 3)
    curve, solid = figure.axes
    x, y = np.array(curve.lines[2].get_data())  # the first after the hyperbola and the light cone
    assert 1.25 * y == pytest.approx(0.75 * x + 1)  # <x, point> = -1 on the affine tangent line
    x, _, z = drawn(solid.lines[0])
    assert 1.25 * z == pytest.approx(0.75 * x + 1)
    plots.save(figure, "name", PLACE)


def animation():
    loops = {name: (points(5, seed), np.tile([0.0, 0.3, 0.1], (5, 1))) for seed, name in enumerate(("S²", "H²"))}
    rings = np.random.default_rng(0).normal(size=(2, 5, 7, 3))
    return plots.transport_animation(loops, {"S²": 90.0, "H²": -45.0}, *rings), loops, rings


def test_the_animation_moves_the_vector_and_says_how_far_it_turned(home):
    (figure, moving), loops, rings = animation()
    moving._func(4)
    start, vector = (part[4] for part in loops["H²"])
    _, sheet, exponential = figure.axes
    assert drawn(sheet.lines[1]) == pytest.approx(upright(np.stack([start, start + vector])))
    assert drawn(exponential.lines[0]) == pytest.approx(upright(rings[0, 4]))
    assert drawn(exponential.lines[1]) == pytest.approx(upright(rings[1, 4]))
    assert sheet.get_title() == "H²: turned by −45°"
    plots.save_animation(figure, moving, "gif", PLACE)
    title, *others = (text.get_window_extent() for text in (figure._suptitle, *(axes.title for axes in figure.axes)))
    assert figure.get_suptitle().endswith("map (smoke preset)")
    assert not any(title.overlaps(other) for other in others)


def test_the_animation_is_the_same_twice(home):
    contents = []
    for _ in range(2):
        (figure, moving), *_ = animation()
        file = plots.save_animation(figure, moving, "gif", PLACE)
        contents.append(file.read_bytes())
    assert contents[0] == contents[1]
    with Image.open(file) as gif:
        assert gif.n_frames == 5  # the last one stays for longer


def test_trees_join_each_node_to_its_parent(home):
    places = np.array([[0.0, 0], [0.5, 0], [0, 0.5], [0.7, 0.1]])
    radius = np.linspace(0.1, 3, 7)
    areas = {"plane": radius**2, "sphere": radius, "hyperbolic plane": np.exp(radius)}
    leaves = np.array([[1.0, 3], [2, 6]])
    up = np.array([0, 0, 0, 1])
    figure = plots.exponential_room(radius, areas, leaves, {"one": places, "other": places / 2}, up)
    growth, one, other = figure.axes
    assert np.array(growth.lines[3].get_data()) == pytest.approx(leaves.T)
    edges = np.array(one.lines[0].get_data()).T.reshape(-1, 3, 2)
    assert edges[2, :2] == pytest.approx(places[[3, 1]]) and np.isnan(edges[:, 2]).all()
    assert np.array(other.lines[1].get_data()) == pytest.approx(places.T / 2)
    plots.save(figure, "name", PLACE)


def test_each_step_of_sampling_shows_every_point_once(home):
    marked = np.arange(9) % 3 == 0
    figure = plots.wrapped_normal_steps(points()[:, 1:], [points(seed=k) for k in range(3)], marked)
    plane, *scenes = figure.axes
    assert [len(group.get_offsets()) for group in plane.collections] == [6, 3]
    for k, axes in enumerate(scenes):
        _, others, triangles = axes.collections  # behind the wires
        assert np.array(others._offsets3d) == pytest.approx(upright(points(seed=k)[~marked]))
        assert np.array(triangles._offsets3d) == pytest.approx(upright(points(seed=k)[marked]))
    plots.save(figure, "name", PLACE)


def test_density_contours_are_relative_to_the_maximum(home):
    axis = np.linspace(-0.9, 0.9, 61)
    x, y = np.meshgrid(axis, axis)
    log_density = 7 - 10 * (x**2 + y**2)
    case = {"title": "σ", "x": axis, "y": axis, "log_density": log_density, "samples": points()[:, 1:], "loc": (0, 0)}
    figure = plots.wrapped_normal_density([case, case])
    half = figure.axes[0].collections[0].get_paths()[2].vertices  # where the density is half the maximum
    assert np.hypot(*half.T) == pytest.approx(math.sqrt(math.log(2) / 10), abs=5e-3)
    assert len(figure.axes) == 2
    plots.save(figure, "name", PLACE)


def test_kl_lines_and_their_labels(home):
    distance = np.arange(3.0)
    kinds = {"σ = 1": (distance + 1, distance), "σ = 2": (distance + 2, distance)}
    dims = {"distance 1": ([1, 2, 5], np.array([0.0, 1, 3]), np.full(3, 0.1))}
    figure = plots.kl_gap(distance, kinds, dims)
    left, right = figure.axes
    labels = [line.get_label() for line in left.lines]
    assert labels == ["true, σ = 1", "closed form, σ = 1", "true, σ = 2", "closed form, σ = 2"]
    assert left.lines[2].get_ydata() == pytest.approx(distance + 2)
    assert right.lines[0].get_ydata() == pytest.approx([0, 1, 3])
    plots.save(figure, "name", PLACE)
