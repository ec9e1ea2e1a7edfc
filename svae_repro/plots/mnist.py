"""Figures of Tables 1 and 2 and Figures 2, 7, 8 and 9: likelihoods, latent spaces, samples, manifolds, k-NN."""

import math
from collections.abc import Callable, Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import ndtr

from ..experiments.mnist_vae import METHODS
from ..store import Results
from ..tables import AGREEMENT
from .common import METHOD_STYLES, Found

CLASS_COLOURS = plt.get_cmap("tab10").colors


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
        shift = -0.05 if prefix else 0.05  # side by side, not on top of each other
        for method, style in METHOD_STYLES.items():
            look_of_method = {**look, **style, "capsize": 3, "label": f"{method}, {source}"}
            beside = place + shift + (-0.1 if method == "N-VAE" else 0.1)
            left.errorbar(beside, mean[method], std[method].to_numpy(), **look_of_method)
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


def likelihood_gap(frame: pd.DataFrame, gaps: pd.DataFrame, predicted: dict[int, float]) -> Figure:
    """LL - ELBO against d for both models: by importance sampling, by the released formula, and as published.

    ``frame`` is Table 1's, for the published numbers; ``gaps`` has ours, by method and d; ``predicted`` what the
    released formula makes of the published KL of the S-VAE, by d.
    """
    published = frame.pivot(index=["method", "d"], columns="metric", values="published_mean")
    dims = sorted(frame["d"].unique())
    place = np.arange(len(dims))
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
    figure.suptitle("LL − ELBO: what the LL is made of")
    for axes, (method, style) in zip(panels, METHOD_STYLES.items(), strict=True):
        rows = pd.MultiIndex.from_product([[method], dims])
        theirs, ours = published.reindex(rows).astype(float), gaps.reindex(rows).astype(float)
        series = [
            ("published", theirs["LL"] - theirs["ELBO"], {"mfc": "white", "ls": ":"}),
            ("ours, importance sampling", ours["LL"], {"ls": "-", "lw": 2}),
            ("ours, released formula", ours["LL_released"], {"ls": "--", "marker": "x"}),
        ]
        if method == "S-VAE":
            values = pd.Series([predicted.get(d, math.nan) for d in dims])
            look = {"ls": "none", "marker": "_", "ms": 22, "mew": 2, "color": "black"}
            series.append(("released formula, from the published KL", values, look))
        for label, values, look in series:
            if values.notna().any():
                axes.plot(place, values.to_numpy(), **style | look, label=label)
        axes.set(title=method, xlabel="dimension d of the latent space", xticks=place, xticklabels=dims)
        axes.set_xlim(-0.4, len(dims) - 0.6)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(fontsize=8)
    panels[0].set_ylabel("nats")
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
        axes.set_title(METHODS[configuration["space"]] + (": $S^2$" if on_sphere else ": $R^2$"), pad=12)
        (hammer_map if on_sphere else plane_map)(axes, points, labels)
    return figure


def hammer_map(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    """Points [N, 3] of S^2 on Hammer axes."""
    classes = np.unique(labels)
    centres = np.stack(longitude_latitude(_crowded(points, labels, classes)), axis=1)
    projection = axes.transProjection  # (longitude, latitude) -> the ellipse with half-axes sqrt(8) and sqrt(2)
    flat = separate(projection.transform(centres), apart=0.24)
    flat /= (np.linalg.norm(flat / np.sqrt([8, 2]), axis=1, keepdims=True) / 0.97).clip(1)  # stay inside it
    centres = projection.inverted().transform(flat)
    draw_digits(axes, *longitude_latitude(points), labels, dict(zip(classes, centres, strict=True)))
    axes.grid(alpha=0.3)
    axes.set_xticklabels([])  # they would lie across the points
    axes.tick_params(labelsize=8, labelcolor="grey")


def plane_map(axes: Axes, points: np.ndarray, labels: np.ndarray, prior: bool = True) -> None:
    """Points [N, 2] of the plane and rings around shares of its prior, if it has one."""
    digits = _scatter(axes, points, labels, 0.14 * np.abs(points).max())
    if prior:
        _prior_rings(axes, lambda radius: radius, digits)
    axes.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    axes.set_box_aspect(1)


def poincare_map(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    """Points [N, 3] of the hyperboloid in the Poincare disc."""
    digits = _scatter(axes, points[:, 1:] / (1 + points[:, :1]), labels, 0.14)
    _prior_rings(axes, lambda radius: math.tanh(radius / 2), digits)
    angle = np.linspace(0, 2 * math.pi, 200)
    axes.plot(np.cos(angle), np.sin(angle), color="black", linewidth=1)
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.axis("off")


def _scatter(axes: Axes, points: np.ndarray, labels: np.ndarray, apart: float) -> np.ndarray:
    """Points as digits; the places [K, 2] of the large ones."""
    classes = np.unique(labels)
    centres = separate(_crowded(points, labels, classes), apart)
    draw_digits(axes, *points.T, labels, dict(zip(classes, centres, strict=True)))
    return centres


def _crowded(points: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """For each of K classes the one of its points [N, m] that has a quarter of them nearest to it: [K, m].

    Unlike a mean it never lies between two clusters.
    """
    found = []
    for own in (points[labels == k] for k in classes):
        distance, quarter = np.linalg.norm(own[:, None] - own[None], axis=-1), len(own) // 4
        found.append(own[np.partition(distance, quarter, axis=1)[:, quarter].argmin()])
    return np.stack(found)


def _prior_rings(axes: Axes, place: Callable[[float], float], digits: np.ndarray) -> None:
    """Rings that hold shares of the prior, a standard normal in geodesic radius, drawn at ``place`` of their radius.

    Their names stand where the large ``digits`` [K, 2], and the name before, leave most room.
    """
    taken = digits
    angle = np.linspace(0, 2 * math.pi, 200)
    halo = [patheffects.withStroke(linewidth=2, foreground="white")]
    for mass in (0.5, 0.95):
        radius = place(math.sqrt(-2 * math.log(1 - mass)))
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color="black", linewidth=1, linestyle="--")
        around = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None] - taken  # [200, K, 2]
        free = np.hypot(around[..., 0] / 3, around[..., 1]).min(1).argmax()  # a name is wider than it is high
        name = f"{mass:.0%} of the prior"
        x, y = radius * np.cos(angle[free]), radius * np.sin(angle[free])
        axes.text(x, y, name, fontsize=8, ha="center", va="center", path_effects=halo)
        taken = np.vstack([taken, [x, y]])


def draw_digits(axes: Axes, x: np.ndarray, y: np.ndarray, labels: np.ndarray, centres: dict) -> None:
    """Every point as its digit, a large one for each class at its place in ``centres``."""
    size = 36 if len(x) <= 300 else 16 if len(x) <= 3000 else 9
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


def image_grid(pixels: np.ndarray, columns: int, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Images [N, P], square or of ``shape``, side by side, row by row: [N / columns * rows, columns * width].

    Raises:
        ValueError: P pixels do not make such an image, or the images do not fill the last row.
    """
    count, size = pixels.shape
    rows, width = shape or (math.isqrt(size),) * 2
    if rows * width != size or count % columns:
        kind = "square images" if shape is None else f"images of {rows} x {width}"
        raise ValueError(f"{count} images of {size} pixels do not make a grid of {kind}, {columns} in a row")
    return pixels.reshape(-1, columns, rows, width).swapaxes(1, 2).reshape(-1, columns * width)


def draw_images(axes: Axes, pixels: np.ndarray, columns: int, shape: tuple[int, int] | None = None) -> None:
    """Images on the unit square, with white lines between them: digits in black ink or, of a ``shape``, photographs."""
    ink = "gray_r" if shape is None else "gray"
    axes.imshow(image_grid(pixels, columns, shape), cmap=ink, vmin=0, vmax=255, extent=(0, 1, 0, 1))
    if shape is not None:
        axes.set_aspect(shape[0] / shape[1])
    lines = np.arange(1, columns) / columns
    axes.vlines(lines, 0, 1, color="white", linewidth=0.6)
    axes.hlines(lines, 0, 1, color="white", linewidth=0.6)


def samples(found: Found, title: str) -> Figure:
    """Figures 7 and 8: decoded samples of the prior, one panel for each d."""
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    size = (3 * columns, 3.2 * rows + 0.3)
    figure = plt.figure(figsize=size, layout="constrained")
    figure.suptitle(title)
    for place, (configuration, arrays) in enumerate(found, start=1):
        axes = figure.add_subplot(rows, columns, place)
        draw_images(axes, arrays["samples"], 10)
        axes.set(title=f"d = {configuration['d']}", xticks=[], yticks=[])
    return figure


def manifolds(found: Found) -> Figure:
    """Figure 9: the decoded grids of `Space.grid` over the plane and the sphere."""
    figure, panels = plt.subplots(1, len(found), figsize=(4.8 * len(found), 5), layout="constrained", squeeze=False)
    figure.suptitle("Decoded latent space, d = 2, in steps of equal prior probability")
    for axes, (configuration, arrays) in zip(panels[0], found, strict=True):
        draw_images(axes, arrays["grid"], math.isqrt(len(arrays["grid"])))
        axes.set_title(METHODS[configuration["space"]])
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
    """Unweighted validation loss (negative ELBO in nats) by epoch of every run; a marker at the best weights."""
    dims = sorted({cell["configuration"]["d"] for cell in results.cells})
    figure, panels = plt.subplots(1, len(dims), figsize=(3.4 * len(dims), 3.6), layout="constrained", squeeze=False)
    figure.suptitle("Validation loss")
    for axes, d in zip(panels[0], dims, strict=True):
        lowest, highest = math.inf, -math.inf
        for cell in results.where(d=d):
            method = METHODS[cell["configuration"]["space"]]
            style = METHOD_STYLES[method] | {"linestyle": "-" if method == "N-VAE" else "--", "linewidth": 1.2}
            curve = results.validation_curve(cell)
            best = cell["metrics"]["best_epoch"]
            axes.plot(np.arange(1, len(curve) + 1), curve, **style, markevery=[best - 1], label=method)
            lowest, highest = min(lowest, curve.min()), max(highest, curve[len(curve) // 10])
        margin = 0.05 * (highest - lowest) or 1
        axes.set_ylim(lowest - margin, highest + margin)  # the first tenth would flatten all that follows
        axes.axvline(warmup, color="grey", linestyle=":")
        axes.set(title=f"d = {d}", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(alpha=0.3)
        axes.legend(*every_label([axes]))
    panels[0, 0].set_ylabel("−ELBO in nats")
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
    figure.legend(*every_label(panels[0]), fontsize=8, loc="outside right upper")
    return figure


def warmup_effect(frame: pd.DataFrame) -> Figure:
    """How far from the paper's means ours lie, in published standard deviations, with the KL warm-up and without.

    ``frame`` is that of `mnist_warmup.beside_warm_up`, with published numbers; a panel for each model, a row for each
    metric. In the grey band a mean agrees with the paper's.
    """
    models = frame.dropna(subset="published_mean").groupby(level=["method", "d"], sort=False)
    size = max(6, 3.3 * len(models)), 3.8
    together = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained"}
    figure, panels = plt.subplots(1, len(models), figsize=size, **together)
    figure.suptitle("Distance from the published means, with the KL warm-up and without")
    for axes, ((method, d), rows) in zip(panels[0], models, strict=True):
        places = np.arange(len(rows))
        axes.axvspan(-AGREEMENT, AGREEMENT, color="grey", alpha=0.2, label=f"within {AGREEMENT:g} standard deviations")
        for word, shift, look in (("with", -0.12, {}), ("without", 0.12, {"mfc": "white"})):
            distance = (rows[f"mean {word}"] - rows["published_mean"]) / rows["published_std"]
            label = f"{method}, {word} warm-up"
            axes.plot(distance, places + shift, **METHOD_STYLES[method] | look, linestyle="none", label=label)
        axes.axvline(0, color="grey", linewidth=1)
        axes.set(title=f"{method}, d = {d}", xlabel="(ours − paper) / published std", ylim=(len(rows) - 0.4, -0.6))
        axes.set_yticks(places, rows.index.get_level_values("metric"))
        axes.grid(axis="x", alpha=0.3)
    figure.legend(*every_label(panels[0]), fontsize=8, loc="outside lower center", ncols=3)
    return figure


def every_label(panels: Iterable[Axes]) -> tuple[list, list]:
    """Handles and labels of all panels, each label once: a method may be there in one panel only."""
    entries = {}
    for axes in panels:
        entries |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    return list(entries.values()), list(entries)
