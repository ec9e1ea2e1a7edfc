"""Figures of the blog's QM9 study: one molecule, losses, errors and correlations of angles, errors by range."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from ..experiments.blog_qm9 import BINS, LIKELIHOODS, MODELS, SEAM
from ..store import Results
from .blog import STYLES
from .common import Found

ELEMENTS = {1: ("H", "white", 130), 6: ("C", "#bbbbbb", 300), 7: ("N", "#56B4E9", 300), 8: ("O", "#E69F00", 300)}
ANGLES = np.arange(-180, 181, 60)  # degrees, of ticks


def qm9_molecule(arrays: dict[str, np.ndarray]) -> Figure:
    """A molecule with its middle bonds numbered, and one Newman projection for each of its dihedrals."""
    numbers, bonds, paths = (arrays[f"molecule_{name}"] for name in ("numbers", "bonds", "paths"))
    columns = -(-len(paths) // 2)
    figure = plt.figure(figsize=(5 + 2.3 * columns, 5.2), layout="constrained")
    figure.suptitle("A molecule of the test set and its dihedral angles")
    grid = figure.add_gridspec(2, 1 + columns, width_ratios=[4.6, *[2] * columns])
    axes = figure.add_subplot(grid[:, 0])
    positions = arrays["molecule_positions"].astype(float)
    heavy = positions[numbers > 1]
    _, _, turn = np.linalg.svd(heavy - heavy.mean(0))  # seen from where it is flattest
    turn[2] *= np.linalg.det(turn)  # turned, not mirrored
    x, y, depth = ((positions - heavy.mean(0)) @ turn.T).T
    for a, b in bonds:
        order = -10 + (depth[a] + depth[b]) / 2
        axes.plot(x[[a, b]], y[[a, b]], color="#555555", linewidth=4 if min(numbers[[a, b]]) > 1 else 2, zorder=order)
    for k, number in enumerate(numbers):
        symbol, colour, size = ELEMENTS[int(number)]
        axes.scatter(x[k], y[k], size, colour, edgecolors="black", zorder=depth[k], clip_on=False)
        name = symbol if number == 1 else f"{symbol}$_{{{k}}}$"
        axes.text(x[k], y[k], name, ha="center", va="center", fontsize=8, zorder=depth[k] + 0.01)
    box = {"boxstyle": "circle,pad=0.15", "facecolor": "#F0E442", "edgecolor": "black"}
    for middle in dict.fromkeys(tuple(path[1:3]) for path in paths):
        number = " ".join(str(k + 1) for k, path in enumerate(paths) if tuple(path[1:3]) == middle)
        b, c = middle
        axes.text(
            (x[b] + x[c]) / 2,
            (y[b] + y[c]) / 2,
            number,
            ha="center",
            va="center",
            fontsize=9,
            fontweight="bold",
            bbox=box,
            zorder=20,
        )
    axes.set(aspect="equal")
    axes.set_axis_off()
    axes.margins(0.08)
    for k, (path, angle) in enumerate(zip(paths, arrays["molecule_angles"], strict=True)):
        panel = figure.add_subplot(grid[k % 2, 1 + k // 2])
        _newman(panel, angle)
        atoms = "–".join(f"{ELEMENTS[int(numbers[atom])][0]}$_{{{atom}}}$" for atom in path)
        panel.set_title(f"({k + 1}) {atoms}\n{_degrees(np.degrees(angle))}", fontsize=10)
    return figure


def _newman(axes: Axes, angle: float) -> None:
    """The view along b-c: the bond to a in front, upwards; the bond to d behind, ``angle`` clockwise from it."""
    axes.add_patch(plt.Circle((0, 0), 0.5, fill=False, linewidth=1.5))
    axes.plot([0, 0], [0, 1], color="black", linewidth=3)
    x, y = np.sin(angle), np.cos(angle)
    axes.plot([0.5 * x, x], [0.5 * y, y], color="#D55E00", linewidth=3)
    axes.text(0, 1.2, "a", ha="center", va="center")
    axes.text(1.2 * x, 1.2 * y, "d", ha="center", va="center", color="#D55E00")
    turn = np.linspace(0, angle, 50)
    axes.plot(0.3 * np.sin(turn), 0.3 * np.cos(turn), color="#0072B2", linestyle="--", linewidth=1)
    axes.set(aspect="equal", xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
    axes.set_axis_off()


def qm9_losses(results: Results) -> Figure:
    """Validation loss against epoch, of every run; a panel for each likelihood and dimension that has any."""
    kinds = [(k, d) for k in LIKELIHOODS for d in _dims(results) if results.where(likelihood=k, d=d)]
    columns = len({d for _, d in kinds})
    rows = -(-len(kinds) // columns)
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(max(6, 3.4 * columns), 3.2 * rows + 0.6),
        layout="constrained",
        squeeze=False,
        sharey="row",
    )
    figure.suptitle("Validation loss")
    for axes, (likelihood, d) in zip(panels.flat, kinds, strict=False):
        for model in MODELS:
            for cell in results.where(likelihood=likelihood, d=d, model=model):
                curve = results.validation_curve(cell)
                look = {**STYLES[model], "markevery": (3, max(1, len(curve) // 5)), "markersize": 4, "linewidth": 1}
                look["label"] = STYLES[model]["label"] if cell["seed"] == 0 else "_"
                axes.plot(np.arange(1, len(curve) + 1), curve, alpha=0.8, **look)
        axes.set(title=f"{LIKELIHOODS[likelihood]}, d = {d}", xlabel="epoch")
        axes.grid(alpha=0.3)
    for axes in panels[:, 0]:
        axes.set_ylabel("loss in nats per molecule")
    _legend(figure, results)
    return figure


SCORES = {
    "angular_error": "mean angular error (degrees)",
    "circular_correlation": "circular correlation\nof true and predicted angles",
}


def qm9_scores(results: Results) -> Figure:
    """Mean angular error and circular correlation on the test molecules by dimension, every run a marker."""
    kinds = [k for k in LIKELIHOODS if results.where(likelihood=k)]
    dims = _dims(results)
    figure, panels = plt.subplots(
        len(SCORES), len(kinds), figsize=(5.4 * len(kinds), 7.2), layout="constrained", squeeze=False, sharey="row"
    )
    figure.suptitle("How well are the angles recovered?")
    for row, (metric, title) in zip(panels, SCORES.items(), strict=True):
        row[0].set_ylabel(title)
        for axes, likelihood in zip(row, kinds, strict=True):
            for shift, model in zip((-0.18, -0.06, 0.06, 0.18), MODELS, strict=True):
                _runs(axes, results, likelihood, model, metric, dims, shift)
            if metric == "angular_error":
                constant = np.mean([c["metrics"]["constant_error"] for c in results.cells])
                axes.axhline(constant, color="black", linestyle="--", linewidth=1)
                axes.text(0.01, constant, " no latent space at all", va="top", transform=axes.get_yaxis_transform())
                axes.set_ylim(0, None)
            else:
                axes.set_ylim(0, 1)
            axes.set(xticks=range(len(dims)), xticklabels=dims, xlim=(-0.5, len(dims) - 0.5))
            axes.grid(axis="y", alpha=0.3)
    for axes, likelihood in zip(panels[0], kinds, strict=True):
        axes.set_title(LIKELIHOODS[likelihood])
    for axes in panels[-1]:
        axes.set_xlabel("dimension d of the latent space")
    _legend(figure, results)
    return figure


def _runs(axes: Axes, results: Results, likelihood: str, model: str, metric: str, dims: list[int], shift: float):
    means = []
    for place, d in enumerate(dims):
        values = [c["metrics"][metric] for c in results.where(likelihood=likelihood, model=model, d=d)]
        axes.plot([place + shift] * len(values), values, linestyle="", **STYLES[model])
        means.append(np.mean(values) if values else np.nan)
    axes.plot(np.arange(len(dims)) + shift, means, color=STYLES[model]["color"], linewidth=1)


def qm9_matrices(found: Found) -> Figure:
    """Circular correlation between the slots of a molecule: of the true angles, and of each model's predictions."""
    panels_of = [("true angles", found[0][1]["true_matrix"])]
    panels_of += [(f"{MODELS[c['model']][1]}, predicted", arrays["predicted_matrix"]) for c, arrays in found]
    used = np.flatnonzero(~np.isnan(np.diag(found[0][1]["true_matrix"])))
    rows = -(-len(panels_of) // 2)
    figure = plt.figure(figsize=(9, 4 * rows + 0.4), layout="constrained")
    figure.suptitle(f"Correlation of the angles of a molecule with each other{_of(found)}")
    for place, (title, matrix) in enumerate(panels_of, start=1):
        axes = figure.add_subplot(rows, 2, place)
        values = matrix[np.ix_(used, used)].astype(float)
        np.fill_diagonal(values, np.nan)
        image = axes.imshow(values, vmin=0, vmax=1, cmap="cividis")
        axes.set(title=title, xticks=range(len(used)), yticks=range(len(used)), xlabel="slot", ylabel="slot")
        axes.set_xticklabels(used + 1, fontsize=8)
        axes.set_yticklabels(used + 1, fontsize=8)
        rms = np.sqrt(np.nanmean(values**2))
        axes.text(0.98, 0.97, f"r.m.s. {rms:.2f}", ha="right", va="top", transform=axes.transAxes, fontsize=9)
        axes.texts[-1].set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.85})
    figure.colorbar(image, ax=figure.axes, label="circular correlation", shrink=0.85)
    return figure


CONNECTED = 40  # examples joined by a line
MARKERS = {"true": "o", "predicted": "x"}


def qm9_circles(found: Found) -> Figure:
    """True against predicted angles: on the unit circle, some of them joined, and on a square."""
    figure, panels = plt.subplots(
        2, len(found), figsize=(3.4 * len(found), 7), layout="constrained", squeeze=False, height_ratios=[1, 1]
    )
    figure.suptitle(f"True and predicted angles of test molecules{_of(found)}")
    for (above, below), (configuration, arrays) in zip(panels.T, found, strict=True):
        present = arrays["present"]
        angle, predicted = (arrays[name][present].astype(float) for name in ("angle", "predicted"))
        some = np.random.default_rng(0).choice(len(angle), min(CONNECTED, len(angle)), replace=False)
        circle = np.linspace(-np.pi, np.pi, 200)
        for radius, values, marker, colour in (
            (1.0, angle, MARKERS["true"], "black"),
            (0.7, predicted, MARKERS["predicted"], STYLES[configuration["model"]]["color"]),
        ):
            above.plot(radius * np.cos(circle), radius * np.sin(circle), color="#cccccc", linewidth=1, zorder=0)
            x, y = radius * np.cos(values[some]), radius * np.sin(values[some])
            above.plot(x, y, marker, color=colour, markersize=6, alpha=0.8)
        for k in some:
            ends = np.exp(1j * np.array([angle[k], predicted[k]])) * [1.0, 0.7]
            above.plot(ends.real, ends.imag, color="#777777", linewidth=0.7, zorder=0)
        for degrees in range(-120, 181, 60):
            x, y = 1.3 * np.cos(np.radians(degrees)), 1.3 * np.sin(np.radians(degrees))
            name = "±180°" if degrees == 180 else _degrees(degrees, 0)
            above.text(x, y, name, ha="center", va="center", fontsize=9)
        above.set(title=MODELS[configuration["model"]][1], aspect="equal", xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
        above.set_axis_off()
        bins = np.linspace(-180, 180, 73)
        counts, *_ = np.histogram2d(np.degrees(predicted), np.degrees(angle), bins=bins)
        below.imshow(np.log10(counts + 1), origin="lower", extent=(-180, 180, -180, 180), cmap="cividis")
        below.set(xlabel="true angle (degrees)", xticks=ANGLES, yticks=ANGLES)
    panels[1, 0].set_ylabel("predicted angle (degrees)")
    look = {"color": "black", "linestyle": ""}
    handles = [plt.Line2D([], [], **look, marker=marker, label=name) for name, marker in MARKERS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def qm9_error_distribution(results: Results, d: int) -> Figure:
    """Share of angles by error, in steps of five degrees, and share of those below it; means over seeds."""
    kinds = [k for k in LIKELIHOODS if results.where(likelihood=k, d=d)]
    figure, panels = plt.subplots(
        2, len(kinds), figsize=(5.4 * len(kinds), 7), layout="constrained", squeeze=False, sharey="row", sharex=True
    )
    figure.suptitle(f"Angular errors of the test molecules, d = {d}")
    for (above, below), likelihood in zip(panels.T, kinds, strict=True):
        for model in MODELS:
            histograms = _stored(results, "error_histogram", likelihood=likelihood, d=d, model=model)
            if not histograms:
                continue
            share = np.mean([h / h.sum() for h in histograms], axis=0)
            by_five = 100 * share.reshape(-1, 5).sum(1)
            look = {**STYLES[model], "markersize": 4}
            above.plot(np.arange(2.5, 180, 5), by_five, markevery=4, **look)
            below.plot(np.arange(181), 100 * np.cumsum([0, *share]), markevery=20, **look)
        above.set(title=LIKELIHOODS[likelihood], yscale="log")
        below.set(xlabel="angular error (degrees)", xticks=range(0, 181, 30), ylim=(0, 101))
        for axes in (above, below):
            axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("per cent of the angles\nin five degrees (log scale)")
    panels[1, 0].set_ylabel("per cent of the angles\nwith a smaller error")
    _legend(figure, results)
    return figure


def qm9_ranges(results: Results, likelihood: str, d: int) -> Figure:
    """Mean error by true angle with the number of angles below it, and mean error against that number."""
    figure = plt.figure(figsize=(10.5, 5.2), layout="constrained")
    figure.suptitle(f"Error by range of the true angle: {LIKELIHOODS[likelihood]}, d = {d}")
    grid = figure.add_gridspec(2, 2, width_ratios=[1.5, 1], height_ratios=[2.2, 1])
    above, below, right = (figure.add_subplot(grid[place]) for place in ((0, 0), (1, 0), (slice(None), 1)))
    centres = -180 + 360 / BINS * (np.arange(BINS) + 0.5)
    count = np.zeros(BINS)
    for model in MODELS:
        condition = {"likelihood": likelihood, "d": d, "model": model}
        errors = _stored(results, "range_error", **condition)
        if not errors:
            continue
        count = _stored(results, "range_count", **condition)[0]
        error = np.where(count > 0, np.mean(errors, axis=0), np.nan)
        rank = np.mean([c["metrics"]["rarity_correlation"] for c in results.where(**condition)])
        rank = round(rank, 2) + 0.0  # no minus before a zero
        above.plot(centres, error, **{**STYLES[model], "markersize": 4})
        look = {**STYLES[model], "linestyle": "", "alpha": 0.7}
        look["label"] = f"{look['label']}: rank correlation {rank:.2f}".replace("-", "−")
        right.plot(count, error, **look)
    below.bar(centres, count, 360 / BINS, color="#999999", edgecolor="white")
    for axes in (above, below):
        for low, high in ((-180, SEAM - 180), (180 - SEAM, 180)):
            axes.axvspan(low, high, color="#F0E442", alpha=0.35, linewidth=0)
        axes.set(xlim=(-180, 180), xticks=ANGLES)
        axes.grid(alpha=0.3)
    above.set(ylabel="mean error (degrees)", ylim=(0, None))
    below.set(xlabel="true angle (degrees)", ylabel="test angles")
    right.set(xscale="log", xlabel="test angles in a range of ten degrees", ylabel="mean error (degrees)")
    right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.xaxis.set_major_formatter(ScalarFormatter())
    right.xaxis.set_minor_formatter(NullFormatter())
    right.set_ylim(0, 1.25 * right.get_ylim()[1])  # room for the legend
    right.grid(alpha=0.3)
    right.legend(fontsize=8, loc="upper right")
    return figure


def _of(found: Found) -> str:
    """What stored arrays are of, for a title: they are those of seed 0."""
    configuration, _ = found[0]
    return f": {LIKELIHOODS[configuration['likelihood']]}, d = {configuration['d']}, seed 0"


def _dims(results: Results) -> list[int]:
    return sorted({cell["configuration"]["d"] for cell in results.cells})


def _stored(results: Results, array: str, **condition) -> list[np.ndarray]:
    """That array of every seed of a configuration."""
    found = (results.arrays(cell["seed"], **condition) for cell in results.where(**condition))
    return [arrays[array] for arrays in found if arrays and array in arrays]


def _legend(figure: Figure, results: Results) -> None:
    there = {cell["configuration"]["model"] for cell in results.cells}
    handles = [plt.Line2D([], [], **STYLES[model]) for model in MODELS if model in there]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def _degrees(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}°".replace("-", "−")
