"""Figures from the arrays that cells store: matplotlib for static ones, plotly for stand-alone interactive pages."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from plotly.offline import get_plotlyjs
from scipy.special import ndtr

from . import paths, store
from .experiments import circle
from .store import Results

# Colours that colour-blind readers tell apart (Okabe and Ito 2008); markers and line styles say the same again.
METHOD_STYLES = {"N-VAE": {"color": "#0072B2", "marker": "o"}, "S-VAE": {"color": "#D55E00", "marker": "s"}}
CLASS_COLOURS = plt.get_cmap("tab10").colors
SPACE_METHODS = {"e": "N-VAE", "s": "S-VAE"}
DOTS_PER_INCH = 150  # of the files; those in a notebook have matplotlib's own 100
Found = list[tuple[dict, dict[str, np.ndarray]]]  # (configuration, arrays) of cells


def remark(results: Results) -> str:
    """What to know before comparing a figure with the paper's; empty for the paper preset on real data."""
    preset = "" if results.preset == "paper" else f"{results.preset} preset"
    return ", ".join(filter(None, (preset, "stand-in data" if results.standin else "")))


def save(figure: Figure, name: str, results: Results) -> None:
    """Write ``figure`` to ``figures/<preset>/<name>.png``, show it and close it; its title gets the `remark`."""
    if note := remark(results):
        figure.suptitle(f"{figure.get_suptitle()} ({note})".strip())
    file = paths.figures(results.preset, results.standin) / f"{name}.png"
    settings = {"dpi": DOTS_PER_INCH, "bbox_inches": "tight", "metadata": {"Software": None}}
    store.write_atomically(file, lambda f: figure.savefig(f, format="png", **settings))
    plt.show()
    plt.close(figure)


def save_page(page: go.Figure, name: str, results: Results) -> Path:
    """Write a plotly figure to ``figures/<preset>/<name>.html`` and return that file.

    The page needs no network: plotly.js lies beside it, one copy for all pages of the folder.
    """
    if note := remark(results):
        page.update_layout(title_text=f"{page.layout.title.text or ''} ({note})".strip())
    file = paths.figures(results.preset, results.standin) / f"{name}.html"
    html = page.to_html(include_plotlyjs="directory", div_id=name, config={"displaylogo": False, "plotlyServerURL": ""})
    store.write_atomically(file, lambda f: f.write(html.encode()))
    library = file.with_name("plotly.min.js")
    if not library.exists():
        store.write_atomically(library, lambda f: f.write(get_plotlyjs().encode()))
    return file


def stored(results: Results, array: str, configurations: Sequence[dict]) -> Found:
    """The cells of seed 0 that hold ``array``; it prints which are missing and how to make them."""
    cells = [(c, results.arrays(**c) or {}) for c in configurations]
    missing = [store.slug(c) for c, arrays in cells if array not in arrays]
    if missing:
        options = f"--preset {results.preset} --seeds 0" + " --data standin" * results.standin
        print(f"Not there yet: {'; '.join(missing)} (seed 0).")
        print(f"To make it: python -m svae_repro run {results.experiment} {options}")
    return [(c, arrays) for c, arrays in cells if array in arrays]


def log_likelihood(frame: pd.DataFrame) -> Figure:
    """LL against d, and by how much the S-VAE's is higher; ours filled, the paper's open where ``frame`` has them.

    ``frame`` is Table 1's. Bars are one standard deviation, of a difference that of independent runs.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    figure.suptitle("Log-likelihood of test images")
    rows = frame[frame["metric"] == "LL"]
    dims = sorted(rows["d"].unique())
    place = np.arange(len(dims))
    for prefix, source in (("published_", "paper"), ("", "ours")):
        look = {"linestyle": ":", "mfc": "white"} if prefix else {"linestyle": "-", "linewidth": 2}
        mean, std = (
            rows.pivot(index="d", columns="method", values=prefix + v).reindex(columns=METHOD_STYLES).loc[dims]
            for v in ("mean", "std")
        )
        if mean.isna().all(axis=None):
            continue
        shift = -0.03 if prefix else 0.03  # side by side, not on top of each other
        for method, style in METHOD_STYLES.items():
            look_of_method = {**look, **style, "capsize": 3, "label": f"{method}, {source}"}
            left.errorbar(place + shift, mean[method], std[method].to_numpy(), **look_of_method)
        gap, spread = mean["S-VAE"] - mean["N-VAE"], np.hypot(std["S-VAE"], std["N-VAE"])
        right.errorbar(
            place + shift, gap, spread.to_numpy(), color="black", marker="D", capsize=3, label=source, **look
        )
    right.axhline(0, color="grey", linewidth=1)
    left.set(ylabel="LL in nats")
    right.set(ylabel="LL of S-VAE − LL of N-VAE in nats", title="above zero the S-VAE is better")
    for axes in (left, right):
        axes.set(xlabel="dimension d of the latent space", xticks=place, xticklabels=dims)
        axes.set_xlim(-0.4, len(dims) - 0.6)
        axes.grid(axis="y", alpha=0.3)
        axes.legend()
    return figure


def longitude_latitude(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes in [-pi, pi] and latitudes in [-pi/2, pi/2], in radians, of points [N, 3] of S^2."""
    x, y, z = (np.asarray(points, float) / np.linalg.norm(points.astype(float), axis=-1, keepdims=True)).T
    longitude, latitude = np.arctan2(y, x), np.arcsin(z.clip(-1, 1))
    # Matplotlib's projections take degrees without a word and draw nonsense.
    assert (np.abs(longitude) <= math.pi).all() and (np.abs(latitude) <= math.pi / 2).all()
    return longitude, latitude


def unit_square(points: np.ndarray) -> np.ndarray:
    """Points of R^2 or S^2 [N, m] in coordinates [N, 2] of [0, 1]^2, right and up, in which the prior is uniform."""
    if points.shape[1] == 2:
        return ndtr(points.astype(float))
    longitude, latitude = longitude_latitude(points)
    return np.stack([longitude / (2 * math.pi) + 0.5, (np.sin(latitude) + 1) / 2], axis=1)


def latent_spaces(found: Found) -> Figure:
    """Figure 2: test images in the latent plane of the N-VAE and, by Hammer projection, on the sphere of the S-VAE."""
    ratios = [1.7 if c["space"] == "s" else 1 for c, _ in found]
    figure = plt.figure(figsize=(5.2 * sum(ratios), 5.4), layout="constrained")
    figure.suptitle("Latent space of the test images, d = 2")
    grid = figure.add_gridspec(1, len(found), width_ratios=ratios)
    for column, (configuration, arrays) in enumerate(found):
        points, labels = arrays["latent"].astype(float), arrays["labels"]
        on_sphere = configuration["space"] == "s"
        axes = figure.add_subplot(grid[column], projection="hammer" if on_sphere else None)
        axes.set_title(SPACE_METHODS[configuration["space"]] + (": $S^2$" if on_sphere else ": $R^2$"), pad=12)
        (_sphere_map if on_sphere else _plane_map)(axes, points, labels)
    return figure


def _sphere_map(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    classes = np.unique(labels)
    centres = np.stack(longitude_latitude(np.stack([points[labels == k].mean(0) for k in classes])), axis=1)
    projection = axes.transProjection  # (longitude, latitude) -> the ellipse with half-axes sqrt(8) and sqrt(2)
    flat = separate(projection.transform(centres), apart=0.24)
    flat /= (np.linalg.norm(flat / np.sqrt([8, 2]), axis=1, keepdims=True) / 0.97).clip(1)  # stay inside it
    centres = projection.inverted().transform(flat)
    _digits(axes, *longitude_latitude(points), labels, dict(zip(classes, centres, strict=True)))
    axes.grid(alpha=0.3)
    axes.set_xticklabels([])  # they would lie across the points
    axes.tick_params(labelsize=8, labelcolor="grey")


def _plane_map(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    classes = np.unique(labels)
    centres = separate(np.stack([np.median(points[labels == k], axis=0) for k in classes]), 0.14 * np.abs(points).max())
    _digits(axes, *points.T, labels, dict(zip(classes, centres, strict=True)))
    angle = np.linspace(0, 2 * math.pi, 200)
    halo = [patheffects.withStroke(linewidth=2, foreground="white")]
    for mass in (0.5, 0.95):
        radius = math.sqrt(-2 * math.log(1 - mass))
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color="black", linewidth=1, linestyle="--")
        axes.text(0, -radius, f"{mass:.0%} of the prior", fontsize=8, ha="center", va="top", path_effects=halo)
    axes.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    axes.set_box_aspect(1)


def _digits(axes: Axes, x: np.ndarray, y: np.ndarray, labels: np.ndarray, centres: dict) -> None:
    """Every point as its digit, a large one for each class at its place in ``centres``."""
    size = 16 if len(x) <= 3000 else 9
    halo = [patheffects.withStroke(linewidth=4, foreground="white")]
    for k, centre in centres.items():
        colour, of_class = CLASS_COLOURS[k % 10], labels == k
        axes.scatter(x[of_class], y[of_class], size, [colour], marker=f"${k}$", linewidths=0, alpha=0.6)
        axes.text(
            *centre, str(k), fontsize=20, weight="bold", ha="center", va="center", color=colour, path_effects=halo
        )


def separate(centres: np.ndarray, apart: float) -> np.ndarray:
    """Points [N, 2] moved as little as it takes for labels at them not to cover each other."""
    centres = centres.astype(float)
    for _ in range(200):
        difference = centres[:, None] - centres[None]  # [N, N, 2]
        distance = np.linalg.norm(difference, axis=-1) + np.eye(len(centres)) * apart
        push = np.maximum(apart - distance, 0) / 4
        centres = centres + (difference / distance.clip(1e-9)[..., None] * push[..., None]).sum(1)
    return centres


def sphere_page(points: np.ndarray, labels: np.ndarray) -> go.Figure:
    """Points [N, 3] on a sphere to turn with the mouse; classes by colour, symbol and a digit at their centres."""
    longitude, height = np.meshgrid(np.linspace(-math.pi, math.pi, 73), np.linspace(-1, 1, 37))
    radius = 0.985 * np.sqrt(1 - height**2)  # a little inside, or it would cut the points in half
    ball = go.Surface(x=radius * np.cos(longitude), y=radius * np.sin(longitude), z=0.985 * height)
    ball.update(colorscale=[[0, "#eeeeee"], [1, "#eeeeee"]], showscale=False, hoverinfo="skip")
    page = go.Figure(ball)
    symbols = ("circle", "square", "diamond", "cross", "x")
    for k in np.unique(labels):
        chosen = points[labels == k].astype(np.float32)
        colour = "rgb({:.0f},{:.0f},{:.0f})".format(*(255 * c for c in CLASS_COLOURS[k % 10]))
        marker = {"size": 2.5, "color": colour, "symbol": symbols[k % 5]}
        x, y, z = chosen.T
        group = {"name": str(k), "legendgroup": str(k)}
        page.add_scatter3d(x=x, y=y, z=z, mode="markers", marker=marker, hoverinfo="name", **group)
        centre = 1.1 * chosen.mean(0) / np.linalg.norm(chosen.mean(0))
        page.add_scatter3d(x=centre[:1], y=centre[1:2], z=centre[2:], mode="text", text=[f"<b>{k}</b>"], **group)
        page.data[-1].update(showlegend=False, hoverinfo="skip", textfont={"size": 28, "color": colour})
    hidden = {axis: {"visible": False} for axis in ("xaxis", "yaxis", "zaxis")}
    page.update_layout(scene={**hidden, "aspectmode": "data"}, legend={"title": "digit", "itemsizing": "constant"})
    page.update_layout(title_text="Latent space of the S-VAE, d = 2: test images on S²", template="none")
    return page


def image_grid(pixels: np.ndarray, columns: int) -> np.ndarray:
    """Square images [N, P] side by side, row by row from the top left: [N / columns * side, columns * side].

    Raises:
        ValueError: P is not a square number, or the images do not fill the last row.
    """
    count, size = pixels.shape
    side = math.isqrt(size)
    if side**2 != size or count % columns:
        raise ValueError(f"{count} images of {size} pixels do not make a grid of square images, {columns} in a row")
    return pixels.reshape(-1, columns, side, side).swapaxes(1, 2).reshape(-1, columns * side)


def _decoded(axes: Axes, pixels: np.ndarray, columns: int) -> None:
    """Images, ink in black, on the unit square, with white lines between them."""
    axes.imshow(image_grid(pixels, columns), cmap="gray_r", vmin=0, vmax=255, extent=(0, 1, 0, 1))
    lines = np.arange(1, columns) / columns
    axes.vlines(lines, 0, 1, color="white", linewidth=0.6)
    axes.hlines(lines, 0, 1, color="white", linewidth=0.6)


def samples(found: Found, title: str) -> Figure:
    """Figures 7 and 8: decoded samples of the prior, one panel for each d."""
    figure, panels = plt.subplots(1, len(found), figsize=(3 * len(found), 3.5), layout="constrained", squeeze=False)
    figure.suptitle(title)
    for axes, (configuration, arrays) in zip(panels[0], found, strict=True):
        _decoded(axes, arrays["samples"], 10)
        axes.set(title=f"d = {configuration['d']}", xticks=[], yticks=[])
    return figure


def manifolds(found: Found) -> Figure:
    """Figure 9: the decoded grids of `Space.grid` over the plane and the sphere."""
    figure, panels = plt.subplots(1, len(found), figsize=(6.4 * len(found), 6.8), layout="constrained", squeeze=False)
    figure.suptitle("Decoded latent space, d = 2, in steps of equal prior probability")
    for axes, (configuration, arrays) in zip(panels[0], found, strict=True):
        _decoded(axes, arrays["grid"], math.isqrt(len(arrays["grid"])))
        axes.set_title(SPACE_METHODS[configuration["space"]])
        if configuration["space"] == "e":
            values = np.array([-1.5, -1, -0.5, 0, 0.5, 1, 1.5])
            names = [f"{v:g}".replace("-", "−") for v in values]
            axes.set(xlabel="$z_1$", ylabel="$z_2$", xticks=ndtr(values), yticks=ndtr(values))
            axes.set(xticklabels=names, yticklabels=names)
        else:
            degrees = np.array([-90, -45, -20, 0, 20, 45, 90])
            axes.set(xlabel="longitude", ylabel="latitude", xticks=np.linspace(0, 1, 5))
            axes.set(yticks=(np.sin(np.radians(degrees)) + 1) / 2)
            axes.set_xticklabels([f"{v}°".replace("-", "−") for v in range(-180, 181, 90)])
            axes.set_yticklabels([f"{v}°".replace("-", "−") for v in degrees])
    return figure


def validation_curves(results: Results, warmup: int) -> Figure:
    """Unweighted validation loss (negative ELBO in nats) by epoch of every run; a marker where it stopped."""
    dims = sorted({cell["configuration"]["d"] for cell in results.cells})
    figure, panels = plt.subplots(1, len(dims), figsize=(3.4 * len(dims), 3.6), layout="constrained", squeeze=False)
    figure.suptitle("Validation loss")
    for axes, d in zip(panels[0], dims, strict=True):
        highest = -math.inf
        for cell in results.where(d=d):
            method = SPACE_METHODS[cell["configuration"]["space"]]
            style = METHOD_STYLES[method] | {"linestyle": "-" if method == "N-VAE" else "--", "linewidth": 1.2}
            curve = results.arrays(cell["seed"], **cell["configuration"])["validation_curve"]
            best = cell["metrics"]["best_epoch"]
            axes.plot(np.arange(1, len(curve) + 1), curve, **style, markevery=[best - 1], label=method)
            highest = max(highest, curve[len(curve) // 10])
        axes.set_ylim(top=highest)  # the first tenth would flatten all that follows
        axes.axvline(warmup, color="grey", linestyle=":")
        axes.set(title=f"d = {d}", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(alpha=0.3)
        lines = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        axes.legend(lines.values(), lines.keys())
    panels[0, 0].set_ylabel("−ELBO in nats")
    return figure


# True clusters and models of Figure 1: colour and marker say the same
CLUSTERS = (("#0072B2", "o"), ("#E69F00", "^"), ("#009E73", "s"))
MODEL_STYLES = {"ae": ("dimgrey", "D"), "n": ("#0072B2", "o"), "n-beta": ("#56B4E9", "^"), "s": ("#D55E00", "s")}


def circle_latents(found: Found) -> Figure:
    """Figure 1: the true circle, then for each model its posterior modes (above) and posterior samples (below)."""
    columns = 1 + len(found)
    figure, panels = plt.subplots(2, columns, figsize=(2.9 * columns, 6), layout="constrained", squeeze=False)
    figure.suptitle("Latent space of the test points of the circle")
    truth = found[0][1]
    _clusters(panels[0, 0], np.column_stack([np.cos(truth["angle"]), np.sin(truth["angle"])]), truth["cluster"], 1.15)
    panels[0, 0].set_title("original")
    for column, (configuration, arrays) in enumerate(found, start=1):
        model = configuration["model"]
        stochastic = circle.MODELS[model][1] is not None
        reach = 1.08 * max(np.abs(arrays[kind]).max() for kind in ("latent", "samples"))
        for axes, kind in zip(panels[:, column], ("latent", "samples") if stochastic else ("latent",), strict=False):
            _clusters(axes, arrays[kind], arrays["cluster"], 1.15 if model == "s" else max(reach, 2.6))
            if model != "s":
                _prior_mass(axes)
            axes.set_title({"latent": "modes", "samples": "samples"}[kind] if stochastic else "points", fontsize=10)
        panels[0, column].set_title(f"{circle.MODELS[model][2]}\n{panels[0, column].get_title()}", fontsize=12)
        if not stochastic:
            panels[1, column].set_axis_off()
            panels[1, column].text(0.5, 0.5, "no posterior", ha="center", transform=panels[1, column].transAxes)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    ring = plt.Line2D([], [], color="black", linestyle="--", linewidth=1)
    panels[1, 0].set_axis_off()
    key = [[*handles, ring], [*labels, "50 and 95 % of\nthe prior N(0, I)"]]
    panels[1, 0].legend(*key, loc="center", frameon=False, markerscale=2)
    return figure


def _clusters(axes: Axes, points: np.ndarray, cluster: np.ndarray, reach: float) -> None:
    for k, (colour, marker) in enumerate(CLUSTERS):
        x, y = points[cluster == k].T
        axes.scatter(x, y, 12, colour, marker, alpha=0.6, linewidths=0, label=f"true cluster {k + 1}")
    axes.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
    axes.tick_params(labelsize=8)


def _prior_mass(axes: Axes) -> None:
    angle = np.linspace(0, 2 * math.pi, 200)
    for mass in (0.5, 0.95):
        radius = math.sqrt(-2 * math.log(1 - mass))
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color="black", linewidth=1, linestyle="--")
    axes.plot(0, 0, "+", color="black")


def aligned(angle: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Angles in radians after the reflection and the turn that bring them closest to ``truth``, within pi of it."""
    turns = [np.exp(1j * (sign * angle - truth)).mean() for sign in (1, -1)]
    best = int(abs(turns[1]) > abs(turns[0]))
    return truth + np.angle(np.exp(1j * ((1 - 2 * best) * angle - truth)) / turns[best])


def circle_angles(found: Found) -> Figure:
    """Latent angle against true angle in degrees, turned and reflected to fit; the diagonal is a perfect recovery."""
    figure, panels = plt.subplots(
        1, len(found), figsize=(3.2 * len(found), 3.7), layout="constrained", sharey=True, squeeze=False
    )
    figure.suptitle("Latent angle against true angle")
    for axes, (configuration, arrays) in zip(panels[0], found, strict=True):
        space_name, _, name = circle.MODELS[configuration["model"]]
        truth = arrays["angle"].astype(float)
        angle = aligned(circle.latent_angle(arrays["latent"].astype(float), space_name), truth)
        axes.axline((0, 0), slope=1, color="black", linewidth=1, linestyle="--")
        for k, (colour, marker) in enumerate(CLUSTERS):
            x, y = np.degrees([truth, angle])[:, arrays["cluster"] == k]
            axes.scatter(x, y, 10, colour, marker, alpha=0.6, linewidths=0, label=f"true cluster {k + 1}")
        axes.set(title=name, xlabel="true angle (degrees)", xticks=range(-180, 181, 90), yticks=range(-180, 181, 90))
        axes.text(
            0.97, 0.04, f"ρ = {circle.circular_correlation(truth, angle):.3f}", ha="right", transform=axes.transAxes
        )
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("latent angle (degrees)")
    panels[0, 0].legend(loc="upper left", fontsize=8)
    return figure


def circle_aggregates(found: Found) -> Figure:
    """Aggregate posterior (bars) against prior (line): density of the radius in the plane, of the angle on S^1."""
    stochastic = [(c["model"], arrays) for c, arrays in found if c["model"] != "ae"]
    count = len(stochastic)
    figure, panels = plt.subplots(1, count, figsize=(4 * count, 3.4), layout="constrained", squeeze=False)
    figure.suptitle("Does the aggregate posterior fill the prior?")
    for axes, (model, arrays) in zip(panels[0], stochastic, strict=True):
        samples, colour = arrays["samples"].astype(float), MODEL_STYLES[model][0]
        look = {"density": True, "color": colour, "alpha": 0.5, "edgecolor": "white", "label": "aggregate posterior"}
        if model == "s":
            truth = arrays["angle"].astype(float)
            angle = np.angle(np.exp(1j * aligned(circle.latent_angle(samples, "s1"), truth)))
            bins = np.linspace(-math.pi, math.pi, 37)
            axes.hist(angle, bins, **look)
            axes.hist(truth, bins, density=True, histtype="step", color="black", linestyle=":", label="true angles")
            axes.axhline(1 / (2 * math.pi), color="black", linewidth=2, label="prior, uniform")
            axes.set(xlabel="angle", xticks=np.linspace(-math.pi, math.pi, 5))
            axes.set_xticklabels([f"{v}°".replace("-", "−") for v in range(-180, 181, 90)])
        else:
            radius = np.linspace(0, 4, 200)
            axes.hist(np.linalg.norm(samples, axis=1), np.linspace(0, 4, 41), **look)
            axes.plot(radius, radius * np.exp(-(radius**2) / 2), "black", linewidth=2, label="prior, N(0, I)")
            axes.set(xlabel="distance from the origin", xlim=(0, 4))
        axes.set_title(circle.MODELS[model][2])
        axes.set_ylim(0, 1.4 * axes.get_ylim()[1])  # room for the legend
        axes.legend(fontsize=8, loc="upper right")
    panels[0, 0].set_ylabel("density")
    return figure


def circle_numbers(results: Results) -> Figure:
    """Every run as a dot, mean and standard deviation in black, for each number that describes Figure 1."""
    prior_radius = math.sqrt(math.pi / 2)
    columns = {  # metric -> title, value of N(0, I) itself
        "circular_correlation": ("circular correlation\nwith the true angle", None),
        "cluster_recovery": ("cluster recovery\n(adjusted Rand index)", None),
        "marginal_kl": ("KL of aggregate posterior\nto prior (nats)", 0),
        "mean_radius": ("mean radius\n(log scale)", prior_radius),
        "centre_share": ("samples in the\nmiddle of the ring", circle.PRIOR_CENTRE),
    }
    figure, panels = plt.subplots(1, len(columns), figsize=(14, 3.2), layout="constrained", sharey=True)
    figure.suptitle("What the eye sees in Figure 1, in numbers")
    for axes, (metric, (title, reference)) in zip(panels, columns.items(), strict=True):
        if reference is not None:
            axes.axvline(reference, color="black", linestyle="--", linewidth=1)
        for row, (model, (colour, marker)) in enumerate(MODEL_STYLES.items()):
            values = [cell["metrics"][metric] for cell in results.where(model=model)]
            if not values or values[0] is None:
                axes.text(0.5, row, "–", ha="center", va="center", transform=axes.get_yaxis_transform())
                continue
            spread = np.linspace(-0.3, 0.15, len(values))
            axes.plot(values, row + spread, marker, color=colour, alpha=0.7, markeredgewidth=0, markersize=5)
            deviation = np.std(values, ddof=1) if len(values) > 1 else 0
            axes.errorbar(np.mean(values), row + 0.33, xerr=deviation, fmt="|", color="black", capsize=3, markersize=9)
        if metric == "mean_radius":
            axes.set_xscale("log")
            axes.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
            axes.minorticks_off()
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", alpha=0.3)
        axes.margins(x=0.1)
    panels[0].set(yticks=range(len(MODEL_STYLES)), ylim=(len(MODEL_STYLES) - 0.5, -0.5))
    panels[0].set_yticklabels([circle.MODELS[model][2] for model in MODEL_STYLES])
    return figure


def knn_accuracy(frame: pd.DataFrame, along: str, panel: str) -> Figure:
    """Table 2: accuracy along one key ("labels" or "d"), a panel for each value of the other; the paper open."""
    values, places = sorted(frame[panel].unique()), sorted(frame[along].unique())
    titles = {"labels": "{} labels", "d": "d = {}"}
    figure, panels = plt.subplots(
        1, len(values), figsize=(max(6, 3 * len(values)), 3.8), layout="constrained", sharey=True, squeeze=False
    )
    figure.suptitle("k-NN accuracy on latent features")
    for axes, value in zip(panels[0], values, strict=True):
        for method, style in METHOD_STYLES.items():
            rows = frame[(frame[panel] == value) & (frame["method"] == method)].set_index(along).reindex(places)
            shift = -0.05 if method == "N-VAE" else 0.05
            for prefix, look in (("published_", {"linestyle": ":", "mfc": "white"}), ("", {"linewidth": 2})):
                if rows[prefix + "mean"].notna().any():
                    label = f"{method}, {'paper' if prefix else 'ours'}"
                    mean, std = rows[prefix + "mean"], rows[prefix + "std"]
                    x = np.arange(len(places)) + shift
                    axes.errorbar(x, mean, std.to_numpy(), capsize=3, label=label, **style, **look)
        axes.set(title=titles[panel].format(value), xticks=range(len(places)), xticklabels=places)
        axes.set_xlabel("labelled images" if along == "labels" else "dimension d of the latent space")
        axes.set_xlim(-0.4, len(places) - 0.6)
        axes.grid(axis="y", alpha=0.3)
    panels[0, 0].set_ylabel("accuracy (%)")
    panels[0, -1].legend(fontsize=8)
    return figure
