"""Notebook 06: rejection sampling of the vMF's one hard coordinate, its envelope and acceptance rate."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .vmf import BLUE, GREY, ORANGE


def _curves(axes: Axes, w: np.ndarray, target: np.ndarray, envelope: np.ndarray) -> None:
    axes.plot(w, envelope, color="black", linestyle="--", label="envelope M r(ω)")
    axes.plot(w, target, color="black", label="target g(ω)")
    axes.fill_between(w, target, envelope, color=GREY, alpha=0.25, label="rejected here")
    axes.set(xlabel="ω", xlim=(-1, 1), ylim=(0, 1.1 * envelope.max()))


def envelopes(cases: list[dict]) -> Figure:
    """A panel for each case: title, ``target`` and ``envelope`` over ``w``, proposals ``x``, ``y``, ``accepted``."""
    figure, panels = plt.subplots(1, len(cases), figsize=(4.4 * len(cases), 3.8), layout="constrained", squeeze=False)
    figure.suptitle("Rejection sampling of ω")
    for axes, case in zip(panels[0], cases, strict=True):
        _curves(axes, case["w"], case["target"], case["envelope"])
        _points(axes, case["x"], case["y"], case["accepted"])
        axes.set_title(case["title"])
    panels[0, 0].set_ylabel("density")
    panels[0, 0].legend(fontsize=8, loc="upper left")
    return figure


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, accepted: np.ndarray) -> None:
    axes.plot(x[accepted], y[accepted], "o", color=BLUE, markersize=3, alpha=0.6, label="accepted")
    axes.plot(x[~accepted], y[~accepted], "x", color=ORANGE, markersize=4, alpha=0.8, label="rejected")


def acceptance(m: np.ndarray, kappa: np.ndarray, rate: np.ndarray) -> Figure:
    """Probability [M, K] that a proposal is accepted, over dimension and concentration."""
    figure, axes = plt.subplots(figsize=(7, 4.4), layout="constrained")
    figure.suptitle("Acceptance rate of a proposal")
    mesh = axes.pcolormesh(kappa, m, rate, cmap="viridis", vmin=0.5, vmax=1, shading="nearest")
    colours = figure.colorbar(mesh, ax=axes)
    levels = [0.7, 0.75, 0.8, 0.9, 0.99]
    colours.add_lines(axes.contour(kappa, m, rate, levels=levels, colors="black", linewidths=0.8))
    ticks = [0.5, 0.6, *levels]
    colours.set_ticks(ticks, labels=map("{:g}".format, ticks))
    axes.set(xscale="log", yscale="log", xlabel="κ", ylabel="m")
    return figure


def rejection_animation(case: dict, frames: int = 40) -> tuple[Figure, FuncAnimation]:
    """Proposals arrive, above; below, the histogram of the accepted ones grows into the target density."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(5.2, 5.4), layout="constrained", sharex=True)
    figure.suptitle("Rejection sampling of ω")
    w, target, envelope = case["w"], case["target"], case["envelope"]
    x, y, accepted = case["x"], case["y"], case["accepted"]
    # slowly at first, then many proposals in each frame
    counts = np.unique(np.geomspace(1, len(x), frames).round().astype(int))

    def draw(frame: int) -> None:
        n = counts[frame]
        above.clear()
        below.clear()
        _curves(above, w, target, envelope)
        _points(above, x[:n], y[:n], accepted[:n])
        above.set_title(f"{case['title']}: {n} proposals, {accepted[:n].sum()} accepted", fontsize=10)
        kept = x[:n][accepted[:n]]
        if len(kept):
            below.hist(kept, 40, range=(-1, 1), density=True, color=BLUE, alpha=0.5, label="accepted")
        below.plot(w, target, color="black", label="target g(ω)")
        below.set(xlabel="ω", xlim=(-1, 1), ylim=(0, 1.6 * target.max()), ylabel="density")
        below.legend(fontsize=8, loc="upper left")

    return figure, FuncAnimation(figure, draw, frames=len(counts), interval=200)
