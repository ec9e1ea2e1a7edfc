"""Notebook 08: hyperbolic geometry and the wrapped normal distribution.

Points of H^2 are [..., 3] with the time coordinate first; in three-dimensional panels it is drawn upwards.
"""

import math
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .vmf import BLUE, GREEN, GREY, ORANGE

LOOKS = (
    {"color": BLUE, "linestyle": "-"},
    {"color": ORANGE, "linestyle": "--"},
    {"color": GREEN, "linestyle": "-."},
)
Map = Callable[[np.ndarray], np.ndarray]  # from points of H^2 [..., 3] to the plane [..., 2]


def hyperbolic_models(curves: dict[str, Sequence[np.ndarray]], disc: Map, half_plane: Map) -> Figure:
    """The same curves on the hyperboloid, in the Poincare disc and in the half-plane; ``curves``: lists of [N, 3]."""
    figure = plt.figure(figsize=(8.2, 3), layout="constrained")
    figure.suptitle("Three views of the hyperbolic plane")
    solid, round_, half = _panels(figure, "3..")
    _sheet(solid, 2.2, zoom=1.3, elevation=45)  # from high up the circles in front stand apart
    _unit_disc(round_)
    half.axhline(0, color="black")
    for look, (name, group) in zip(LOOKS, curves.items(), strict=True):
        for number, points in enumerate(group):
            label = name if number == 0 else None
            solid.plot(*_upright(points[points[:, 0] < math.cosh(2.2)]), **look, linewidth=1.2)
            round_.plot(*disc(points).T, **look, linewidth=1.2)
            half.plot(*half_plane(points).T, **look, linewidth=1.2, label=label)
    half.set(aspect="equal", xlim=(-4, 4), ylim=(0, 7.6), xticks=[], yticks=[])
    half.legend(fontsize=6, loc="upper right")
    for axes, title in ((solid, "hyperboloid"), (round_, "Poincaré disc"), (half, "half-plane")):
        axes.set_title(title)
    return figure


def parallels(paths: dict[str, np.ndarray], walked: np.ndarray, apart: dict[str, np.ndarray]) -> Figure:
    """Two geodesics that set out side by side on plane, sphere and hyperboloid, and the distance between them.

    Args:
        paths: for each of the three spaces a pair of paths [2, N, 3], to be drawn as they are.
        walked: distance from the start [T]; ``apart``: that between the walkers [T] for each space.
    """
    figure = plt.figure(figsize=(9.6, 2.9), layout="constrained")
    figure.suptitle("Two walkers set out side by side, straight ahead")
    *scenes, curve = _panels(figure, "333.")
    for draw, axes, look, (name, pair) in zip((_flat, _ball, _sheet), scenes, LOOKS, paths.items(), strict=True):
        draw(axes, 2.0)
        for path in pair:
            axes.plot(*_upright(path), color="black", linewidth=2, zorder=10)
            axes.plot(*_upright(path[:1]), "s", color=ORANGE, markersize=5, zorder=11)
        axes.set_title(name)
        curve.plot(walked, apart[name], **look, label=name)
    curve.set(xlabel="distance walked", ylabel="distance between the two", ylim=(0, 4))
    curve.grid(alpha=0.3)
    curve.legend(fontsize=7)
    return figure


def tangent_spaces(lines: Sequence[np.ndarray], planes: Sequence[np.ndarray]) -> Figure:
    """Tangent spaces: H^1 with unit vectors, H^2 with orthonormal frames.

    Args:
        lines: for each point of H^1 itself and a unit tangent vector [2, 2].
        planes: for each point of H^2 itself and two orthonormal tangent vectors [3, 3].
    """
    figure = plt.figure(figsize=(7, 3.2), layout="constrained")
    figure.suptitle("Tangent spaces: every arrow has length one")
    curve, solid = _panels(figure, ".3")
    r = np.linspace(-2.1, 2.1, 200)
    curve.plot(np.sinh(r), np.cosh(r), color="black")
    reach = 4.4  # of the longest arrow
    curve.plot([-reach, 0, reach], [reach, 0, reach], color=GREY, linestyle=":", label="light cone")
    for look, (point, vector) in zip(LOOKS, lines, strict=True):
        line = point + np.linspace(-1.2, 1.2, 2)[:, None] * vector
        curve.plot(line[:, 1], line[:, 0], **look)
        arrow = {"arrowstyle": "-|>", "color": look["color"], "linewidth": 2}
        curve.annotate("", (point + vector)[::-1], point[::-1], arrowprops=arrow)
        curve.plot(*point[::-1], "o", color="black", markersize=4)
    curve.set(aspect="equal", xlim=(-reach, reach), ylim=(0, reach), xlabel="$x_1$", ylabel="$x_0$", title="H¹")
    curve.legend(fontsize=8, loc="lower right")
    _sheet(solid, 1.7, zoom=1.3, elevation=40)
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * 0.6
    for look, (point, *frame) in zip(LOOKS, planes, strict=True):
        solid.plot(*_upright(point + square @ np.stack(frame)), **look, linewidth=1, zorder=9)
        solid.plot(*_upright(point[None]), "o", color="black", markersize=4, zorder=11)
        for vector in frame:
            arrow = {"color": look["color"], "linewidth": 2, "arrow_length_ratio": 0.2}
            solid.quiver(*_upright(point), *_upright(vector), **arrow, zorder=10)
    solid.set_title("H²")
    return figure


def transport_animation(
    loops: dict[str, tuple[np.ndarray, np.ndarray]], turned: dict[str, float], rays: np.ndarray, ends: np.ndarray
) -> tuple[Figure, FuncAnimation]:
    """A vector carried around a triangle on S^2 and on H^2; beside them the exponential map.

    Args:
        loops: for the sphere and the hyperboloid, points [T, 3] along the triangle and the vector there [T, 3].
        turned: for both, the angle (degrees) by which the vector has turned when it is back; shown at the end.
        rays: points of a tangent plane of H^2 [T, N, 3], ``ends``: where the exponential map takes them.
    """
    figure = plt.figure(figsize=(7, 2.8))
    figure.suptitle("Parallel transport and the exponential map", y=0.98)
    figure.subplots_adjust(0.01, 0, 0.99, 0.78, wspace=0.02)  # a layout found anew for each frame would tremble
    scenes = _panels(figure, "333")
    moving = []
    for surface, axes, (name, (points, _)) in zip((_ball, _sheet), scenes, loops.items(), strict=False):
        surface(axes, 1.6, zoom=1.2)  # the vector sticks out
        axes.plot(*_upright(points), color="black", linewidth=1, zorder=5)
        axes.set_title(f"transport on {name}", fontsize=10)
        moving.append(axes.plot([], [], [], "-", color=ORANGE, linewidth=3, zorder=12)[0])
    _sheet(scenes[2], 1.6)
    scenes[2].set_title("exponential map on H²", fontsize=10)
    plane = scenes[2].plot([], [], [], "--", color=ORANGE, linewidth=1.5, zorder=11)[0]
    wrapped = scenes[2].plot([], [], [], "-", color=BLUE, linewidth=2, zorder=12)[0]
    last = len(rays) - 1

    def draw(frame: int) -> None:
        for line, axes, (name, (points, vectors)) in zip(moving, scenes, loops.items(), strict=False):
            arrow = np.stack([points[frame], points[frame] + vectors[frame]])
            line.set_data_3d(*_upright(arrow))
            if frame % 4 == 0 and frame < last:
                axes.plot(*_upright(arrow), color=BLUE, linewidth=1, marker=".", markevery=[0], zorder=8)
            if frame == last:
                axes.set_title(f"{name}: turned by {turned[name]:.0f}°".replace("-", "−"), fontsize=10)
        plane.set_data_3d(*_upright(rays[frame]))
        wrapped.set_data_3d(*_upright(ends[frame]))
        if frame % 4 == 0 and frame < last:
            scenes[2].plot(*_upright(ends[frame]), color=BLUE, linewidth=0.7, zorder=8)

    # The last frame stays for a while; an initial draw would leave its arrows in the first frame twice.
    order = [*range(last + 1), *[last] * 5]
    return figure, FuncAnimation(figure, draw, frames=order, init_func=lambda: None, interval=200)


def exponential_room(
    radius: np.ndarray, areas: dict[str, np.ndarray], leaves: np.ndarray, trees: dict[str, np.ndarray], up: np.ndarray
) -> Figure:
    """Area of a disc over its radius beside a tree's leaves, and the tree drawn in the plane and in the Poincare disc.

    Args:
        areas: area [T] at each ``radius`` [T] for the three spaces; ``leaves``: (distance from the root, count) [K, 2].
        trees: places of the nodes [N, 2] in two pictures; ``up`` the number of each node's parent [N].
    """
    figure, (growth, *pictures) = plt.subplots(1, 3, figsize=(9.6, 3.3), layout="constrained")
    figure.suptitle("A tree needs room that grows exponentially")
    for look, (name, area) in zip(LOOKS, areas.items(), strict=True):
        growth.plot(radius, area, **look, label=f"area, {name}")
    growth.plot(*leaves.T, "ks", markersize=5, fillstyle="none", label="leaves of the tree")
    growth.set(yscale="log", xlabel="radius", ylabel="area, or number of leaves", ylim=(0.5, None))
    growth.grid(alpha=0.3)
    growth.legend(fontsize=7)
    for axes, (name, places) in zip(pictures, trees.items(), strict=True):
        edges = np.stack([places[1:], places[up[1:]], np.full_like(places[1:], math.nan)], axis=1).reshape(-1, 2)
        axes.plot(*edges.T, color=GREY, linewidth=0.8)
        axes.plot(*places.T, "o", color=BLUE, markersize=2, zorder=3)
        axes.plot(*places[0], "s", color=ORANGE, markersize=6, zorder=4)
        axes.set(aspect="equal", xticks=[], yticks=[], title=name)
    pictures[1].add_patch(plt.Circle((0, 0), 1, fill=False, color="black", linewidth=0.8))
    return figure


def wrapped_normal_steps(flat: np.ndarray, steps: Sequence[np.ndarray], marked: np.ndarray) -> Figure:
    """The four steps of sampling: v' [N, 2]; then v, u and z [N, 3], each on the hyperboloid; ``marked`` [N] stand out.

    Each step's picture has the same points in the same order.
    """
    figure = plt.figure(figsize=(9.6, 3), layout="constrained")
    figure.suptitle("Sampling the wrapped normal distribution, step by step")
    plane, *scenes = _panels(figure, ".333")
    looks = ((~marked, {"marker": "o", "color": BLUE, "s": 4}), (marked, {"marker": "^", "color": ORANGE, "s": 9}))
    for which, look in looks:
        plane.scatter(*flat[which].T, **look)
    plane.set(aspect="equal", title="1. v′, normal in R²", xlim=(-2, 2), ylim=(-2, 2), xticks=[-1, 0, 1])
    plane.set_yticks([-1, 0, 1])
    titles = ("2. v, tangent at the origin", "3. u, transported to μ", "4. z, wrapped onto H²")
    for axes, title, points in zip(scenes, titles, steps, strict=True):
        _sheet(axes, 2.2)
        for which, look in looks:
            axes.scatter(*_upright(points[which]), **look, depthshade=False, zorder=10)
        axes.set_title(title, fontsize=10)
    return figure


def wrapped_normal_density(cases: Sequence[dict]) -> Figure:
    """Densities in the Poincare disc; a case has ``title``, ``x``, ``y``, ``log_density`` [G, G], ``samples``, ``loc``.

    Contours lie at 1/2, 1/10 and 1/100 of the greatest density.
    """
    figure, panels = plt.subplots(1, len(cases), figsize=(2.7 * len(cases), 2.9), layout="constrained")
    figure.suptitle("The wrapped normal in the Poincaré disc, relative to hyperbolic area")
    for axes, case in zip(panels, cases, strict=True):
        _unit_disc(axes)
        axes.plot(*case["samples"].T, ".", color=BLUE, markersize=2, alpha=0.6)
        relative = case["log_density"] - np.nanmax(case["log_density"])
        levels = np.log([0.01, 0.1, 0.5])
        axes.contour(case["x"], case["y"], relative, levels, colors="black", linestyles=[":", "--", "-"])
        axes.plot(*case["loc"], "x", color=ORANGE, markersize=8, markeredgewidth=2)
        axes.set_title(case["title"], fontsize=10)
    return figure


def kl_gap(distance: np.ndarray, kinds: dict[str, tuple], dims: dict[str, tuple]) -> Figure:
    """Left, KL in nats over the distance of ``loc`` from the origin; right, true minus closed form over dimension n.

    Args:
        kinds: for each the true divergence [T] and the closed form [T]; ``dims``: n, mean and standard error [K].
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.1), layout="constrained")
    figure.suptitle("KL divergence of a wrapped normal from the standard one")
    for look, (name, (exact, closed)) in zip(LOOKS, kinds.items(), strict=False):
        left.plot(distance, exact, **look, label=f"true, {name}")
        left.plot(distance, closed, **look, marker="v", markersize=4, markevery=4, label=f"closed form, {name}")
    left.set(xlabel="distance of μ from the origin", ylabel="KL (nats)", ylim=(0, None))
    for marker, look, (name, (n, mean, error)) in zip("so^", LOOKS, dims.items(), strict=False):
        right.errorbar(n, mean, error, marker=marker, capsize=3, **look, label=name)
    top = max(mean.max() for _, mean, _ in dims.values())
    right.set(xscale="log", yscale="symlog", ylim=(-0.1, 2 * top), xlabel="n", ylabel="true KL − closed form (nats)")
    right.set_xticks(n, n)
    right.minorticks_off()
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def _panels(figure: Figure, kinds: str) -> list[Axes]:
    """One row of panels, "3" for three dimensions and "." for two."""
    row = enumerate(kinds, start=1)
    return [figure.add_subplot(1, len(kinds), i, projection="3d" if kind == "3" else None) for i, kind in row]


def _upright(points: np.ndarray) -> np.ndarray:
    """Coordinates [3, ...] in the order they are drawn, the time coordinate last."""
    return np.moveaxis(points[..., [1, 2, 0]], -1, 0)


def _unit_disc(axes: Axes) -> None:
    axes.add_patch(plt.Circle((0, 0), 1, fill=False, color="black"))
    axes.set(aspect="equal", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
    axes.set_axis_off()


def _sheet(axes: Axes, radius: float, zoom: float = 1.45, elevation: float = 28) -> None:
    angle, r = np.meshgrid(np.linspace(0, 2 * math.pi, 49), np.linspace(0, radius, 13))
    _wires(axes, (np.sinh(r) * np.cos(angle), np.sinh(r) * np.sin(angle), np.cosh(r)), zoom, elevation)


def _ball(axes: Axes, radius: float, zoom: float = 1.45) -> None:
    """The unit sphere; ``radius`` is not needed, the others are drawn as far as that."""
    angle, r = np.meshgrid(np.linspace(0, 2 * math.pi, 49), np.linspace(0, math.pi, 25))
    _wires(axes, (np.sin(r) * np.cos(angle), np.sin(r) * np.sin(angle), np.cos(r)), zoom)


def _flat(axes: Axes, radius: float) -> None:
    x, y = np.meshgrid(np.linspace(-radius, radius, 9), np.linspace(-radius, radius, 9))
    _wires(axes, (x, y, np.zeros_like(x)))


def _wires(axes: Axes, surface: tuple, zoom: float = 1.45, elevation: float = 28) -> None:
    axes.plot_wireframe(*surface, color=GREY, linewidth=0.3, rcount=5, ccount=12)
    limits = [(part.min(), part.max() + 0.5) for part in surface]  # one unit is as long on all three axes
    axes.set(**dict(zip(("xlim", "ylim", "zlim"), limits, strict=True)))
    axes.set_box_aspect([high - low for low, high in limits], zoom=zoom)
    axes.set_axis_off()
    axes.view_init(elevation, -60)
