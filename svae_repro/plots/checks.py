"""Notebook 07: gradients, the published sampler, Bessel functions, and what the faults do to training."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

from ..distributions.as_published import SWITCH
from ..experiments import vmf_barrier, vmf_checks, vmf_training
from ..store import Results
from .mnist import every_label

# estimator -> name, colour, marker, line style
ESTIMATOR_STYLES = {
    "published": ("published sampler and gradient", "#D55E00", "v", "-"),
    "uncorrected": ("exact sampler, uncorrected", "#E69F00", "^", "--"),
    "corrected": ("exact sampler, Eq. 8", "#0072B2", "s", ":"),
    "corrected, f centred": ("exact sampler, Eq. 8, f centred", "#56B4E9", "D", "-."),
    "implicit": ("implicit", "black", "o", "-"),
    "power": ("Power Spherical, implicit", "#009E73", "P", "--"),
}
SHOWN_BIAS = ("published", "uncorrected", "corrected, f centred", "implicit")
SHOWN_SPREAD = ("uncorrected", "corrected", "corrected, f centred", "implicit", "power")
INTERVAL = 3.0  # standard errors


def _panels(arrays: dict[str, np.ndarray], title: str):
    m, count = arrays["m"], len(arrays["m"])
    columns = min(3, count)
    rows = -(-count // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(4.2 * columns, 2.9 * rows + 0.6), layout="constrained", sharex=True, squeeze=False
    )
    figure.suptitle(title)
    for axes, dimension in zip(panels.flat, m, strict=False):
        axes.set(title=f"m = {dimension} ($S^{{{dimension - 1}}}$)", xscale="log")
        axes.grid(alpha=0.3)
    for axes in panels[-1]:
        axes.set_xlabel("κ")
    return figure, panels.flat[:count]


def _finished(figure: Figure, panels, label: str) -> Figure:
    for axes in panels[::3]:
        axes.set_ylabel(label)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9)
    return figure


def gradient_bias(arrays: dict[str, np.ndarray]) -> Figure:
    """Mean gradient of E[w] over the exact one, less 1, with three standard errors; below -1 the sign is wrong."""
    figure, panels = _panels(arrays, "Bias of d E[w] / dκ, relative to its exact value")
    error = arrays["deviation"] / np.sqrt(arrays["samples"])
    for j, axes in enumerate(panels):
        axes.axhspan(-1e3, -1, color="lightgrey", zorder=0)
        axes.axhline(0, color="grey", linewidth=1)
        for estimator in SHOWN_BIAS:
            i = list(vmf_checks.ESTIMATORS).index(estimator)
            name, colour, marker, line = ESTIMATOR_STYLES[estimator]
            axes.errorbar(
                arrays["kappa"],
                arrays["mean"][i, j] / arrays["exact"][j] - 1,
                INTERVAL * error[i, j] / arrays["exact"][j],
                label=name,
                color=colour,
                marker=marker,
                linestyle=line,
                markersize=4,
                linewidth=1,
                capsize=2,
            )
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(-40, 2)
        axes.set_yticks([-10, -1, -0.1, 0, 0.1, 1], ["−10", "−1", "−0.1", "0", "0.1", "1"])
    return _finished(figure, panels, "relative bias")


def gradient_spread(arrays: dict[str, np.ndarray]) -> Figure:
    """Standard deviation of one sample's gradient over the size of the exact gradient."""
    figure, panels = _panels(arrays, "Noise of one sample's gradient, relative to the exact gradient")
    for j, axes in enumerate(panels):
        for estimator in SHOWN_SPREAD:
            i = list(vmf_checks.ESTIMATORS).index(estimator)
            name, colour, marker, line = ESTIMATOR_STYLES[estimator]
            exact = arrays["exact_power" if estimator == "power" else "exact"][j]
            look = {"color": colour, "marker": marker, "linestyle": line, "markersize": 4, "linewidth": 1}
            axes.plot(arrays["kappa"], arrays["deviation"][i, j] / exact, label=name, **look)
        axes.set(yscale="log", ylim=(0.02, 4))
        axes.set_yticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
        axes.minorticks_off()
    return _finished(figure, panels, "standard deviation / gradient")


def sampler_map(arrays: dict[str, np.ndarray]) -> Figure:
    """Where the published sampler fails: E[w] less the vMF's; the gradient over the exact one, with its sign.

    The third panel is the second around the blend, on a linear scale; hatched is where the sign is wrong.
    """
    m, kappa = arrays["m"], arrays["kappa"]
    figure, panels = plt.subplots(2, 2, figsize=(10.5, 8), layout="constrained", sharey=True)
    figure.suptitle("The published sampler and gradient over κ and m")
    gap = arrays["published_w"] - arrays["exact_w"]
    published, uncorrected = (arrays[name] / arrays["exact_slope"] for name in ("published_slope", "uncorrected_slope"))
    gaps, ratios = [-0.4, -0.2, -0.1, -0.02], [0.95, 1.05, 1.5]
    near = (kappa >= 9.5) & (kappa <= 11.5)
    for axes, values, norm, levels, title in (
        (panels[0, 0], gap, TwoSlopeNorm(0, -0.6, 0.1), gaps, "E[w] of its samples − E[w] of the vMF"),
        (panels[0, 1], published, TwoSlopeNorm(1, 0, 2), ratios, "gradient, published / exact"),
        (panels[1, 0], published[:, near], TwoSlopeNorm(1, 0, 2), None, "the same around the blend"),
        (panels[1, 1], uncorrected, TwoSlopeNorm(1, 0, 2), ratios, "gradient, exact sampler uncorrected / exact"),
    ):
        shown = kappa[near] if levels is None else kappa
        mesh = axes.pcolormesh(shown, m, values, cmap="PuOr", norm=norm, shading="nearest")
        figure.colorbar(mesh, ax=axes, extend="neither" if values is gap else "both")
        axes.set(title=title, xlabel="κ", yscale="log", xscale="linear" if levels is None else "log")
        if levels is not None:
            axes.axvline(10, color="black", linewidth=0.8, linestyle=":")
            # Contours along the blend would hide it, and m = 3, which has no fault, breaks them.
            for side in (kappa < 10, kappa > 11):
                part = np.ix_(m > 3, side)
                lines = axes.contour(kappa[side], m[m > 3], values[part], levels, colors="black", linewidths=0.7)
                axes.clabel(lines, fontsize=8)
    wrong = np.ma.masked_where(published[:, near] > 0, published[:, near])
    if wrong.count():
        look = {"cmap": ListedColormap(["none"]), "hatch": "///", "edgecolor": "white", "linewidth": 0}
        panels[1, 0].pcolor(kappa[near], m, wrong, shading="nearest", **look)
        look = {"facecolor": "white", "edgecolor": "black"}
        panels[1, 0].text(10.5, 150, "wrong sign", ha="center", va="center", bbox=look)
        arrow = {"arrowstyle": "->"}
        panels[0, 1].annotate("wrong sign", (10.5, 20), (300, 7), arrowprops=arrow, ha="center", va="center")
    for axes in panels[:, 0]:
        axes.set_ylabel("m")
    return figure


def bessel_errors(arrays: dict[str, np.ndarray], part: int) -> Figure:
    """Relative error of the KL divergence (part 0) or its gradient (1): each cell its power of ten, a cross if none."""
    figure, panels = plt.subplots(2, 4, figsize=(13.5, 7), layout="constrained", sharex=True, sharey=True)
    figure.suptitle(f"Relative error of the {('KL divergence', 'gradient of the KL divergence')[part]}, powers of ten")
    *shown_in, empty = panels.flat
    empty.remove()
    panels[0, -1].tick_params(labelbottom=True)  # nothing below it says so
    for axes, name, error in zip(shown_in, vmf_checks.WAYS, arrays["error"][..., part], strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.log10(np.maximum(np.abs(error), 1e-16))
        shown = np.ma.masked_invalid(np.where(np.isfinite(error), size, np.nan))
        axes.imshow(shown, cmap="cividis_r", vmin=-16, vmax=0, aspect="auto", origin="lower")
        for (row, column), value in np.ndenumerate(size):
            finite = np.isfinite(error[row, column])
            colour = "black" if not finite or value < -7 else "white"
            text = f"{value + 0:.0f}".replace("-0", "0").replace("-", "−") if finite else "×"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        axes.set_title(name, fontsize=10)
        axes.set_xticks(range(len(arrays["kappa"])), [f"{k:g}" for k in arrays["kappa"]])
        axes.set_yticks(range(len(arrays["m"])), arrays["m"])
        axes.set_xlabel("κ")
    for axes in panels[:, 0]:
        axes.set_ylabel("m")
    return figure


def bessel_frontier(arrays: dict[str, np.ndarray]) -> Figure:
    """The dimension from which KL (solid) and its gradient (dashed) are inf or NaN."""
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    figure.suptitle("Where Eqs. 5 and 6 by SciPy's ive cease to be finite")
    styles = (("#D55E00", "o", "float32"), ("#0072B2", "s", "float64"))
    for (colour, marker, name), lines in zip(styles, arrays["frontier"], strict=False):
        for part, line, what in ((0, "-", "KL"), (1, "--", "gradient")):
            m = np.where(lines[:, part] > arrays["largest"], np.nan, lines[:, part])
            look = {"color": colour, "marker": marker, "linestyle": line, "markersize": 4}
            axes.plot(arrays["frontier_kappa"], m, label=f"{name}, {what}", **look)
    axes.set(xscale="log", yscale="log", xlabel="κ", ylabel="first m that is not finite")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


TRAINING_STYLES = {
    "exact": ("#000000", "o"),
    "uncorrected": ("#E69F00", "^"),
    "published": ("#D55E00", "v"),
    "power": ("#009E73", "P"),
}


def _shade_blend(axes: Axes) -> None:
    """The concentrations of the wrong sign."""
    axes.axhspan(SWITCH, vmf_barrier.BARRIER, color="grey", alpha=0.6, zorder=0, label="the blend, 10 < κ < 11")


def _side_by_side(place: float, count: int, width: float = 0.15) -> np.ndarray:
    return place + width * ((np.arange(count) + 0.5) / count - 0.5)


def _mark_dimensions(axes: Axes, dims: list[int]) -> None:
    """A column for each dimension, and the legend, with each name once."""
    axes.set_xticks(range(len(dims)), [f"d = {d}" for d in dims])
    axes.set_xlim(-0.6, len(dims) - 0.4)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(*every_label([axes]), fontsize=8)


def barrier(results: Results) -> Figure:
    """The median concentration of the test images in each run after its first epochs, and how many are stuck."""
    dims = sorted({cell["configuration"]["d"] for cell in results.cells})
    figure, axes = plt.subplots(figsize=(11.5, 4.6), layout="constrained")
    _shade_blend(axes)
    for offset, estimator in enumerate(vmf_barrier.Settings.estimators):
        colour, marker = TRAINING_STYLES[estimator]
        label = vmf_training.ESTIMATORS[estimator][2]
        for column, d in enumerate(dims):
            kappas = [cell["metrics"]["concentration"][1] for cell in results.where(d=d, estimator=estimator)]
            if not kappas:
                continue
            place = column + 0.28 * (offset - 1)
            look = {"color": colour, "markersize": 6, "alpha": 0.8, "markeredgewidth": 0, "label": label}
            axes.plot(_side_by_side(place, len(kappas), 0.2), kappas, marker, linestyle="none", **look)
            count, runs = vmf_barrier.stuck(results, d, estimator)
            axes.annotate(f"{count} of {runs}\nbelow", (place, 0.02), xycoords=("data", "axes fraction"), ha="center")
    title = "κ after the first epochs: the median of the test images, a marker for each training"
    axes.set(yscale="log", ylabel="κ", ylim=(2, None), title=title)
    _mark_dimensions(axes, dims)
    return figure


def training_effect(results: Results) -> Figure:
    """LL less that of the exact S-VAE of the same seed, and the concentrations of the test images' posteriors."""
    found = [cell["configuration"] for cell in results.cells]
    dims = sorted({c["d"] for c in found if c["estimator"] != "exact"} or {c["d"] for c in found})
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.2), layout="constrained")
    figure.suptitle("Does Table 1 move?")
    left.axhline(0, color="black", linewidth=1)
    _shade_blend(right)
    for offset, (estimator, (_, _, name)) in enumerate(vmf_training.ESTIMATORS.items()):
        colour, marker = TRAINING_STYLES[estimator]
        for column, d in enumerate(dims):
            place = column + 0.18 * (offset - 1.5)
            if estimator != "exact":
                gaps = vmf_training.differences(results, d, estimator, "LL")
                if len(gaps):
                    left.plot(_side_by_side(place, len(gaps)), gaps, marker, color=colour, markersize=6, label=name)
                if len(gaps) > 1 and not vmf_training.lost(results, d, estimator):
                    look = {"color": colour, "capsize": 4, "alpha": 0.5, "linestyle": "none"}
                    left.errorbar(place + 0.09, gaps.mean(), gaps.std(ddof=1), marker="_", markersize=10, **look)
            if estimator == "power":
                continue  # its concentration is on another scale
            cells = [c["metrics"] for c in results.where(d=d, estimator=estimator) if "concentration" in c["metrics"]]
            for cell, here in zip(cells, _side_by_side(place, len(cells)), strict=True):
                low, middle, high = cell["concentration"]
                look = {"color": colour, "capsize": 2, "markersize": 5, "label": name}
                right.errorbar(here, middle, [[middle - low], [high - middle]], marker=marker, **look)
    left.set_yscale("symlog", linthresh=1)
    left.set_ylim(top=max(2, left.get_ylim()[1]))  # room for the legend
    left.yaxis.set_major_formatter("{x:g}")
    left.set(ylabel="LL − LL of the exact S-VAE (nats)", title="log-likelihood of each run, paired by seed")
    right.set(yscale="log", ylabel="κ", title="κ of the test images in each run: median, 5 to 95 %")
    for axes in (left, right):
        _mark_dimensions(axes, dims)
    return figure
