"""Figures of notebook 06: what they draw is what they were given, and files are whole, small and repeatable."""

import math

import numpy as np
import pytest
from PIL import Image

from svae_repro import plots
from svae_repro.store import Results

PLACE = Results("none", "smoke", False, [], 0)


def on_sphere(count, m=3, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, m))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def case(count=30):
    w = np.linspace(-0.9, 0.9, 50)
    target, envelope = np.exp(w), 1.5 * np.exp(w)
    x = np.linspace(-0.8, 0.8, count)
    accepted = np.arange(count) % 3 > 0
    y = np.exp(x) * np.where(accepted, 0.5, 1.2)
    return {"title": "m = 5", "w": w, "target": target, "envelope": envelope, "x": x, "y": y, "accepted": accepted}


def test_von_mises_draws_the_density_over_the_angle_and_around_the_circle(home):
    figure = plots.von_mises(lambda a, mean, kappa: np.exp(kappa * np.cos(a - mean)) / 10, (0.0, 1.0), (0.5, 1, 2, 3))
    over, around = figure.axes[1], figure.axes[3]  # the second column
    angle, value = over.lines[3].get_data()
    assert angle[value.argmax()] == pytest.approx(math.degrees(1.0), abs=0.5)
    assert over.get_title() == "μ at 57°"
    x, y = around.lines[3].get_data()
    assert np.hypot(x, y).max() == pytest.approx(1 + math.exp(3) / 10, rel=1e-4)
    assert len({line.get_linestyle() for line in over.lines}) == 4  # not by colour alone
    plots.save(figure, "name", PLACE)


def test_samples_are_projected_along_each_axis(home):
    points, loc = on_sphere(20), np.array([0.0, 0.6, 0.8])
    figure = plots.sphere_pairs({1.0: points, 10.0: points}, loc)
    assert len(figure.axes) == 6
    assert np.array(figure.axes[5].lines[0].get_data()) == pytest.approx(points[:, 1:].T)
    assert [axes.get_xlabel() for axes in figure.axes[:3]] == ["$z_1$", "$z_1$", "$z_2$"]
    plots.save(figure, "name", PLACE)


def test_the_page_has_a_scene_for_each_concentration_and_is_the_same_twice(home):
    samples = {kappa: on_sphere(10) for kappa in (1e-5, 1.0, 100.0)}
    page = plots.sphere_scatter_page(samples, np.array([1.0, 0, 0]))
    assert [text.text for text in page.layout.annotations] == ["κ = 1e-05", "κ = 1", "κ = 100"]
    assert {trace.scene for trace in page.data} == {"scene", "scene2", "scene3"}
    file = plots.save_page(page, "page", PLACE)
    first = file.read_text()
    plots.save_page(plots.sphere_scatter_page(samples, np.array([1.0, 0, 0])), "page", PLACE)
    assert file.read_text() == first and "https://" not in first


def test_the_steps_of_the_algorithm_and_the_mirror(home):
    loc, local, first = np.array([-1.0, 2, 2]) / 3, on_sphere(40), np.array([1.0, 0, 0])
    normal = (first - loc) / np.linalg.norm(first - loc)
    z = local - 2 * (local @ normal)[:, None] * normal
    figure = plots.algorithm(on_sphere(40, 2), np.linspace(-1, 1, 40), local, z, loc)
    panels = {axes.get_title()[0]: axes for axes in figure.axes}
    assert [panels[step].name for step in "123456"] == ["rectilinear"] * 2 + ["3d"] * 2 + ["rectilinear", "3d"]
    assert sum(bar.get_height() for bar in panels["2"].patches) == 40
    _, before, image = panels["5"].lines[:3]
    assert before.get_xdata() == pytest.approx(-np.array(image.get_xdata()))  # the mirror is the line x = 0
    assert before.get_ydata() == pytest.approx(image.get_ydata())
    pairs = [np.array(line.get_data_3d()) for line in panels["4"].lines if line.get_linestyle() == ":"]
    assert len(pairs) == 6 and all(abs(normal @ pair.mean(1)) < 1e-12 for pair in pairs)  # halved by the mirror
    assert before.get_marker() != image.get_marker()
    plots.save(figure, "name", PLACE)


def test_the_walk_through_scales_what_lies_across(home):
    z = on_sphere(50)
    grid = np.linspace(-1, 1, 9)
    figure = plots.walk_through(z[:, 0], z[:, 1:], grid, np.full(9, 0.5), z[:, :2])
    _, projected, scaled, angles, _, _ = figure.axes
    assert np.array(projected.lines[0].get_data()) == pytest.approx(z[:, 1:].T)
    ends = np.array(scaled.lines[-1].get_data())
    assert np.hypot(*ends) == pytest.approx(np.ones(40))
    assert (ends.T * z[:40, 1:]).sum(1) == pytest.approx(np.linalg.norm(z[:40, 1:], axis=1))
    assert sum(bar.get_height() for bar in angles.patches) * 15 == pytest.approx(1)  # bars 15 degrees wide
    plots.save(figure, "name", PLACE)


def test_soap_bubble_and_surface_area(home):
    figure = plots.soap_bubble(on_sphere(50, 20) * 1.1, on_sphere(50, 20))
    left = figure.axes[2].patches
    assert len(left) == 2 and len(figure.axes) == 4
    plots.save(figure, "name", PLACE)
    figure = plots.surface_area(np.arange(2, 8), np.array([0.0, 1, 2, 1, 0, -1]))
    assert figure.axes[0].texts[0].get_text() == "largest at m = 4"
    plots.save(figure, "name", PLACE)


def test_envelopes_mark_what_is_kept_and_what_is_lost(home):
    figure = plots.envelopes([case(), case()])
    kept, lost = figure.axes[1].lines[2:4]
    assert (len(kept.get_xdata()), len(lost.get_xdata())) == (20, 10)
    assert kept.get_marker() != lost.get_marker()
    plots.save(figure, "name", PLACE)


def test_acceptance_shows_the_rates(home):
    rate = np.linspace(0.6, 1, 20).reshape(4, 5)
    figure = plots.acceptance(np.array([2, 5, 10, 30]), np.geomspace(1, 100, 5), rate)
    assert np.array_equal(figure.axes[0].collections[0].get_array(), rate)
    plots.save(figure, "name", PLACE)


def test_the_animation_is_a_small_gif_the_same_twice(home):
    contents = []
    for _ in range(2):
        figure, animation = plots.rejection_animation(case(), frames=2)
        file = plots.save_animation(figure, animation, "gif", PLACE)
        contents.append(file.read_bytes())
    assert contents[0] == contents[1] and file.name == "gif.gif"
    with Image.open(file) as gif:
        assert gif.n_frames == 2
