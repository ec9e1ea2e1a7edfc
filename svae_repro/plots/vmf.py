"""Notebook 06: the von Mises-Fisher distribution and how it is sampled."""

import math
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from plotly.subplots import make_subplots

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
LINES = (("#0072B2", "-"), ("#E69F00", "--"), ("#009E73", "-."), ("#D55E00", ":"))


def von_mises(density: Callable[[np.ndarray, float, float], np.ndarray], means: Sequence[float], kappas) -> Figure:
    """von Mises densities for every mean (radians) and kappa: above over the angle, below around the circle.

    Args:
        density: (angles, mean, kappa) -> density per radian.
    """
    figure, panels = plt.subplots(2, len(means), figsize=(3.9 * len(means), 6.4), layout="constrained", sharey="row")
    figure.suptitle("The von Mises distribution, the vMF on the circle")
    angle = np.linspace(-math.pi, math.pi, 721)
    for column, mean in enumerate(means):
        over, around = panels[:, column]
        around.add_patch(plt.Circle((0, 0), 1, fill=False, color="black"))
        for (colour, line), kappa in zip(LINES, kappas, strict=True):
            values = density(angle, mean, kappa)
            over.plot(np.degrees(angle), values, color=colour, linestyle=line, label=f"κ = {kappa:g}")
            radius = 1 + values
            around.plot(radius * np.cos(angle), radius * np.sin(angle), color=colour, linestyle=line)
        around.annotate("", (math.cos(mean), math.sin(mean)), (0, 0), arrowprops={"arrowstyle": "->"})
        around.text(0.35 * math.cos(mean + 0.5), 0.35 * math.sin(mean + 0.5), "μ", ha="center", va="center")
        around.set(aspect="equal", xlim=(-2.7, 2.7), ylim=(-2.7, 2.7), xticks=[], yticks=[])
        over.set(title=f"μ at {math.degrees(mean):.0f}°".replace("-", "−"), xlabel="angle (degrees)")
        over.set_xticks(range(-180, 181, 90))
        over.grid(alpha=0.3)
    panels[0, 0].set_ylabel("density per radian")
    panels[1, 0].set_ylabel("1 + density, along the radius")
    panels[0, 0].legend(fontsize=9)
    return figure


def sphere_pairs(samples: dict[float, np.ndarray], loc: np.ndarray) -> Figure:
    """Samples [N, 3] for each kappa, seen along the three axes; the arrow is the mean direction."""
    figure, panels = plt.subplots(len(samples), 3, figsize=(9, 3 * len(samples)), layout="constrained")
    figure.suptitle("vMF samples on S², seen along each axis")
    for row, (kappa, points) in zip(panels, samples.items(), strict=True):
        for axes, (i, j) in zip(row, ((0, 1), (0, 2), (1, 2)), strict=True):
            axes.add_patch(plt.Circle((0, 0), 1, fill=False, color="black", linewidth=0.8))
            axes.plot(points[:, i], points[:, j], ".", color=BLUE, markersize=2, alpha=0.5)
            axes.plot([0, loc[i]], [0, loc[j]], "-", color=ORANGE, linewidth=2)
            axes.plot(loc[i], loc[j], "s", color=ORANGE, markersize=6)
            axes.set(aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=[-1, 0, 1], yticks=[-1, 0, 1])
            axes.set(xlabel=f"$z_{i + 1}$", ylabel=f"$z_{j + 1}$")
        row[1].set_title(f"κ = {kappa:g}")
    return figure


def sphere_scatter_page(samples: dict[float, np.ndarray], loc: np.ndarray) -> go.Figure:
    """The same samples to turn with the mouse, one scene for each kappa."""
    titles = [f"κ = {kappa:g}" for kappa in samples]
    scenes = [[{"type": "scene"}] * len(samples)]
    page = make_subplots(1, len(samples), specs=scenes, subplot_titles=titles, horizontal_spacing=0.01)
    longitude, latitude = np.meshgrid(np.linspace(0, 2 * math.pi, 49), np.linspace(-math.pi / 2, math.pi / 2, 25))
    ball = [0.98 * part for part in _cartesian(longitude, latitude)]
    for column, (kappa, points) in enumerate(samples.items(), start=1):
        grey = [[0, "#dddddd"], [1, "#dddddd"]]
        look = {"opacity": 0.4, "showscale": False, "hoverinfo": "skip", "colorscale": grey}
        surface = go.Surface(x=ball[0], y=ball[1], z=ball[2], **look)
        x, y, z = np.round(points, 3).T
        dots = go.Scatter3d(x=x, y=y, z=z, mode="markers", marker={"size": 2, "color": BLUE}, name=f"κ = {kappa:g}")
        line = np.stack([np.zeros(3), 1.3 * loc]).T
        look = {"line": {"width": 6, "color": ORANGE}, "marker": {"size": 4, "symbol": "square", "color": ORANGE}}
        mean = go.Scatter3d(x=line[0], y=line[1], z=line[2], mode="lines+markers", name="μ", **look)
        for trace in (surface, dots, mean):
            trace.showlegend = False
            page.add_trace(trace, 1, column)
    scene = {f"{axis}axis": {"range": [-1.35, 1.35], "tickvals": [-1, 0, 1]} for axis in "xyz"}
    # From far enough that the cube's corners and their labels fit into a narrow scene
    page.update_scenes(**scene, aspectmode="cube", camera={"eye": {"x": 2.3, "y": 2.3, "z": 1.5}})
    page.update_layout(title_text="vMF samples on S²", margin={"l": 0, "r": 0, "b": 0})
    return page


def _cartesian(longitude: np.ndarray, latitude: np.ndarray) -> list[np.ndarray]:
    return [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]


def algorithm(v: np.ndarray, w: np.ndarray, local: np.ndarray, z: np.ndarray, loc: np.ndarray) -> Figure:
    """Figure 4: the steps on S^2, the last one with its mirror. v [N, 2] on the circle, w [N], local and z [N, 3]."""
    figure = plt.figure(figsize=(10.5, 7), layout="constrained")
    figure.suptitle("Algorithm 1, step by step (S²)")
    circle, marginal, side = (figure.add_subplot(2, 3, place) for place in (1, 2, 5))
    around_first, mirror, around_loc = (figure.add_subplot(2, 3, place, projection="3d") for place in (3, 4, 6))
    circle.plot(*v.T, "o", color=BLUE, markersize=3, alpha=0.5)
    circle.set(aspect="equal", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), title="1. v, uniform on S¹")
    circle.set(xlabel="$v_1$", ylabel="$v_2$", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    marginal.hist(w, 30, range=(-1, 1), color=GREEN, edgecolor="white")
    marginal.set(title="2. ω, the cosine of the angle to μ", xlabel="ω", ylabel="samples", xlim=(-1, 1))
    first = np.array([1.0, 0, 0])
    for axes, points, mark, title in (
        (around_first, local, first, "3. (ω, √(1 − ω²) v), around e₁"),
        (around_loc, z, loc, "6. all of them, around μ"),
    ):
        _sphere(axes)
        axes.scatter(*points.T, s=5, color=BLUE, depthshade=False)
        axes.plot(*np.stack([np.zeros(3), 1.4 * mark]).T, color=ORANGE, linewidth=3, zorder=10)
        axes.set_title(title)
    few = slice(0, 6)
    _mirror_in_space(mirror, local[few], z[few], loc)
    _mirror_from_the_side(side, local[few], z[few], loc)
    return figure


def _mirror_in_space(axes: Axes, local: np.ndarray, z: np.ndarray, loc: np.ndarray) -> None:
    """The plane of the Householder reflection, and vectors [N, 3] before and behind it."""
    _sphere(axes)
    across = np.cross(_basis(loc)[1], _basis(loc)[0])
    bisector = _basis(loc)[1]
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) @ np.stack([bisector, across])
    axes.add_collection3d(Poly3DCollection([corners], facecolor=GREEN, alpha=0.25, edgecolor=GREEN))
    for points, colour, marker in ((local, BLUE, "o"), (z, ORANGE, "^")):
        axes.scatter(*points.T, s=18, color=colour, marker=marker, depthshade=False, zorder=11)
    for pair in zip(local, z, strict=True):
        axes.plot(*np.stack(pair).T, color="black", linestyle=":", linewidth=1, zorder=10)
    for vector, colour, name in ((np.array([1.0, 0, 0]), BLUE, "e₁"), (loc, ORANGE, "μ")):
        axes.plot(*np.stack([np.zeros(3), 1.4 * vector]).T, color=colour, linewidth=3, zorder=10)
        axes.text(*(1.65 * vector), name, fontsize=12, zorder=12, ha="center", va="center")
    axes.set_title("4. the mirror between e₁ and μ")


def _mirror_from_the_side(axes: Axes, local: np.ndarray, z: np.ndarray, loc: np.ndarray) -> None:
    """The same, seen along the mirror: horizontally its normal u, which points from ``loc`` to e1."""
    basis = _basis(loc)
    axes.add_patch(plt.Circle((0, 0), 1, fill=False, color=GREY, linewidth=0.8))
    axes.axvline(0, color=GREEN, linewidth=3, label="mirror")
    for points, colour, marker, name in ((local, BLUE, "o", "before"), (z, ORANGE, "^", "image")):
        axes.plot(*(basis @ points.T), marker, color=colour, markersize=5, label=name)
    for pair in zip(local, z, strict=True):
        axes.plot(*(basis @ np.stack(pair).T), color="black", linestyle=":", linewidth=1)
    for vector, colour, name in ((np.array([1.0, 0, 0]), BLUE, "e₁"), (loc, ORANGE, "μ")):
        end = basis @ vector
        axes.annotate("", end, (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 2})
        axes.text(*(1.17 * end), name, fontsize=12, ha="center", va="center")
    axes.set(aspect="equal", xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    axes.set(title="5. seen along the mirror", xlabel="along u ∝ e₁ − μ", ylabel="along e₁ + μ")
    axes.legend(fontsize=8, loc="lower center", ncols=3)


def _basis(loc: np.ndarray) -> np.ndarray:
    """Unit vectors [2, 3] along e1 - loc and e1 + loc, which are at right angles."""
    first = np.array([1.0, 0, 0])
    return np.stack([(first - loc) / np.linalg.norm(first - loc), (first + loc) / np.linalg.norm(first + loc)])


def walk_through(
    along: np.ndarray, across: np.ndarray, w: np.ndarray, density: np.ndarray, again: np.ndarray
) -> Figure:
    """The blog's way to the same: samples on S^2 are taken apart into omega and a direction, and put together again.

    Args:
        along: z.mu of the samples [N], ``across``: their two other coordinates [N, 2].
        w: places [G] where ``density`` [G] of omega is given.
        again: z.mu and one other coordinate [N, 2] of the samples that have been put together anew.
    """
    figure, panels = plt.subplots(2, 3, figsize=(10.5, 7), layout="constrained")
    figure.suptitle("Taking vMF samples apart and putting them together (S²)")
    beside, projected, scaled, angles, marginal, together = panels.flat
    unit = across / np.linalg.norm(across, axis=1, keepdims=True)
    for axes, points, title in (
        (beside, np.stack([along, across[:, 0]], 1), "a. seen from the side"),
        (together, again, "f. put together anew"),
    ):
        axes.annotate("", (1.25, 0), (0, 0), arrowprops={"arrowstyle": "->", "color": ORANGE, "linewidth": 2})
        axes.plot(*points.T, "o", color=BLUE, markersize=2.5, alpha=0.6)
        axes.set(title=title, xlabel="ω, along μ", ylabel="first coordinate across μ")
    projected.plot(*across.T, "o", color=BLUE, markersize=2.5, alpha=0.6)
    projected.set_title("b. seen along μ: projected")
    for start, end in zip(across[:40], unit[:40], strict=True):
        scaled.plot(*np.stack([start, end]).T, color=GREY, linewidth=0.8)
    scaled.plot(*across[:40].T, "o", color=BLUE, markersize=3, alpha=0.6)
    scaled.plot(*unit[:40].T, "^", color=ORANGE, markersize=4)
    scaled.set_title("c. 40 of them scaled to length one")
    for axes in (projected, scaled):
        axes.set(xlabel="first coordinate across μ", ylabel="second coordinate")
    for axes in (beside, together, projected, scaled):
        axes.add_patch(plt.Circle((0, 0), 1, fill=False, color="black", linewidth=0.8))
        axes.set(aspect="equal", xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    look = {"density": True, "color": GREEN, "edgecolor": "white"}
    angles.hist(np.degrees(np.arctan2(unit[:, 1], unit[:, 0])), np.linspace(-180, 180, 25), **look)
    angles.axhline(1 / 360, color="black", linestyle="--", label="uniform")
    angles.set(title="d. their angles: uniform", xlabel="angle around μ (degrees)", ylabel="density")
    angles.set(xticks=range(-180, 181, 90), ylim=(0, 0.0046))
    marginal.hist(along, 30, range=(-1, 1), **look)
    marginal.plot(w, density, color="black", label="g(ω)")
    marginal.set(title="e. what is left, ω", xlabel="ω", ylabel="density", xlim=(-1, 1))
    for axes, place in ((angles, "upper center"), (marginal, "upper left")):
        axes.legend(fontsize=8, loc=place)
    return figure


def _sphere(axes: Axes) -> None:
    longitude, latitude = np.meshgrid(np.linspace(0, 2 * math.pi, 25), np.linspace(-math.pi / 2, math.pi / 2, 13))
    axes.plot_wireframe(*_cartesian(longitude, latitude), color=GREY, linewidth=0.3)
    axes.set(box_aspect=(1, 1, 1), xlim=(-1, 1), ylim=(-1, 1), zlim=(-1, 1), xticks=[], yticks=[], zticks=[])
    for axis, name in ((axes.xaxis, "$z_1$"), (axes.yaxis, "$z_2$"), (axes.zaxis, "$z_3$")):
        axis.set_label_text(name)
        axis.labelpad = -13  # where the numbers would be; further out it touches the next panel
    axes.view_init(20, 35)


def soap_bubble(gaussian: np.ndarray, sphere: np.ndarray) -> Figure:
    """A d-dimensional normal, scaled by 1 / sqrt(d), beside the uniform sphere: first coordinates, norms, angles."""
    figure, panels = plt.subplots(1, 4, figsize=(15, 3.8), layout="constrained")
    d = gaussian.shape[1]
    figure.suptitle(f"The soap bubble in {d} dimensions")
    reach = 4 / math.sqrt(d)
    kinds = (("normal / √d", gaussian, BLUE, "-"), ("uniform on the sphere", sphere, ORANGE, "--"))
    for axes, (name, points, colour, _) in zip(panels, kinds, strict=False):
        axes.plot(points[:, 0], points[:, 1], ".", color=colour, markersize=3, alpha=0.6)
        axes.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), title=name)
        axes.set(xlabel="first coordinate", ylabel="second coordinate")
    for name, points, colour, line in kinds:
        norms = np.linalg.norm(points, axis=1)
        look = {"color": colour, "linestyle": line, "histtype": "step", "linewidth": 2, "label": name}
        panels[2].hist(norms, np.linspace(-0.01, 1.39, 71), **look)  # 1 in the middle of a bin
        unit = points / norms[:, None]
        half = len(unit) // 2
        panels[3].hist((unit[:half] * unit[half : 2 * half]).sum(1), np.linspace(-0.3, 0.3, 31), **look)
    panels[2].set(title="distance from the origin", yscale="log", ylabel="points")
    panels[3].set(title="cosine between two points", ylabel="pairs")
    panels[2].legend(fontsize=8, loc="upper left")
    return figure


def surface_area(m: np.ndarray, log_area: np.ndarray) -> Figure:
    """Figure 6: the surface area of the unit sphere in R^m, on a linear and on a logarithmic scale."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharex=True)
    figure.suptitle("Surface area of the unit sphere")
    best = int(np.argmax(log_area))
    for axes, scale in zip(panels, ("linear", "log"), strict=True):
        axes.plot(m, np.exp(log_area), "o-", color=BLUE, markersize=4)
        axes.plot(m[best], np.exp(log_area[best]), "s", color=ORANGE, markersize=9)
        axes.set(yscale=scale, xlabel="m, the dimension of the surrounding space", ylabel="area")
        axes.grid(alpha=0.3)
    top = m[best], np.exp(log_area[best])
    panels[0].annotate(f"largest at m = {m[best]}", top, (12, -10), textcoords="offset points")
    return figure
