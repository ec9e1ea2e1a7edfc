"""Figures of the blog's image studies: ELBO, latent spaces, decoded grids, reconstructions, walks, KL divergences."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from scipy.special import ndtr

from ..store import Results
from .common import Found
from .mnist import CLASS_COLOURS, draw_images, hammer_map, image_grid, plane_map, poincare_map

# Colours of Okabe and Ito (2008); markers say the same again.
STYLES = {
    "e": {"color": "#0072B2", "marker": "o", "label": "Euclidean"},
    "s": {"color": "#D55E00", "marker": "s", "label": "Spherical"},
    "h": {"color": "#009E73", "marker": "^", "label": "Hyperbolic"},
    "h-tangent": {"color": "#CC79A7", "marker": "v", "label": "Hyperbolic, the post's objective"},
    "ae": {"color": "black", "marker": "x", "label": "autoencoder"},
    "e-warm": {"color": "#0072B2", "marker": "P", "label": "Euclidean, KL warm-up"},
    "s-warm": {"color": "#D55E00", "marker": "D", "label": "Spherical, KL warm-up"},
}


Shape = tuple[int, int]  # rows and columns of a photograph


def blog_elbo(frame: pd.DataFrame, levels: dict[str, float] | None = None) -> Figure:
    """Test ELBO against d for each number of hidden layers; ours filled, the post's open where ``frame`` has them.

    ``levels`` are horizontal lines with their names.
    """
    layers, dims = sorted(frame["hidden_layers"].unique()), sorted(frame["d"].unique())
    figure, panels = _depths("Test ELBO by latent space", "ELBO in nats per image", layers, dims)
    for axes, n in zip(panels, layers, strict=True):
        for shift, style in zip((-0.09, 0, 0.09), list(STYLES.values())[:3], strict=True):
            chosen = (frame["hidden_layers"] == n) & (frame["method"] == style["label"])
            rows = frame[chosen].set_index("d").reindex(dims)
            for prefix, look in (("published_", {"linestyle": ":", "mfc": "white", "alpha": 0.7}), ("", {"lw": 2})):
                if rows[prefix + "mean"].notna().any():
                    label = f"{style['label']}, {'the post' if prefix else 'ours'}"
                    bars = rows[prefix + "std"].to_numpy()
                    x = np.arange(len(dims)) + shift
                    axes.errorbar(x, rows[prefix + "mean"], bars, capsize=3, **{**style, **look, "label": label})
        for style, (name, level) in zip(("-", "--"), (levels or {}).items(), strict=False):
            axes.axhline(level, color="black", linewidth=1, linestyle=style, label=name)
    handles, names = panels[-1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=max(3, len(names) // 2))
    return figure


def _depths(title: str, label: str, layers: list[int], dims: list[int]) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a panel over the dimensions for each number of hidden layers."""
    size = (max(7.5, 0.8 + 2.5 * len(layers)), 5)
    figure, panels = plt.subplots(1, len(layers), figsize=size, layout="constrained", sharey=True, squeeze=False)
    figure.suptitle(title)
    for axes, n in zip(panels[0], layers, strict=True):
        axes.set(title=f"{n} hidden layers" if n > 1 else "1 hidden layer")
        axes.set(xticks=range(len(dims)), xticklabels=dims, xlim=(-0.5, len(dims) - 0.5), xlabel="dimension d")
        axes.grid(axis="y", alpha=0.3)
    panels[0, 0].set_ylabel(label)
    return figure, panels[0]


def blog_kl(results: Results) -> Figure:
    """KL divergence of the test images against d for each number of hidden layers, every run a marker.

    ``results`` holds at least one run.
    """
    layers, dims = (sorted({c["configuration"][key] for c in results.cells}) for key in ("layers", "d"))
    title = "KL divergence of the posteriors from the prior"
    figure, panels = _depths(title, "KL divergence in nats per image", layers, dims)
    for axes, n in zip(panels, layers, strict=True):
        for shift, model in ((-0.15, "e"), (0, "s"), (0.15, "h")):
            cells = results.where(layers=n, model=model)
            place = [dims.index(c["configuration"]["d"]) + shift for c in cells]
            axes.plot(place, [c["metrics"]["KL"] for c in cells], linestyle="none", alpha=0.8, **STYLES[model])
        axes.axhline(0, color="black", linewidth=1)
    figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def blog_kl_terms(results: Results) -> Figure:
    """KL divergence of the hyperbolic models beside the closed form that the post takes for it, every run a marker.

    ``results`` holds at least one of these models.
    """
    cells = [c for c in results.cells if "KL_tangent" in c["metrics"]]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    figure.suptitle("Hyperbolic models: the KL divergence and the post's closed form")
    dims = sorted({c["configuration"]["d"] for c in cells})
    for kind in sorted({c["configuration"]["model"] for c in cells}):
        chosen = [c for c in cells if c["configuration"]["model"] == kind]
        true, closed = (np.array([c["metrics"][k] for c in chosen]) for k in ("KL", "KL_tangent"))
        place = np.array([dims.index(c["configuration"]["d"]) for c in chosen]) + (0.12 if kind == "h" else -0.12)
        look = {"linestyle": "none", **STYLES[kind]}
        left.plot(closed, true, **look)
        right.plot(place, true - closed, **look)
    every = [c["metrics"]["KL_tangent"] for c in cells]
    ends = [0.9 * min(every), 1.1 * max(every)]
    left.plot(ends, ends, color="black", linestyle="--", linewidth=1, label="equal")
    left.set(xscale="log", yscale="log", xlabel="closed form, in nats", ylabel="KL divergence, in nats")
    right.axhline(0, color="black", linestyle="--", linewidth=1)
    right.set(xlabel="dimension d of the latent space", ylabel="KL divergence − closed form, in nats")
    right.set(xticks=range(len(dims)), xticklabels=dims, xlim=(-0.5, len(dims) - 0.5))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend()
    return figure


def blog_planes(found: Found) -> Figure:
    """The post's opening: latent points by digit of the autoencoder and the VAE, and the same region decoded below."""
    figure, panels = plt.subplots(2, len(found), figsize=(4.8 * len(found), 9.7), layout="constrained", squeeze=False)
    figure.suptitle("Autoencoder and VAE with two latent coordinates")
    for (above, below), (configuration, arrays) in zip(panels.T, found, strict=True):
        (left, bottom), (right, top) = arrays["box"].astype(float)
        plane_map(above, arrays["latent"], arrays["labels"], prior=configuration["model"] != "ae")
        above.plot([left, right, right, left, left], [bottom, bottom, top, top, bottom], color="black", linewidth=1)
        above.set(title=STYLES[configuration["model"]]["label"].replace("Euclidean", "VAE"))
        draw_images(below, arrays["box_grid"], math.isqrt(len(arrays["box_grid"])))
        ticks = np.linspace(0, 1, 5)
        below.set(xlabel="$z_1$", ylabel="$z_2$", xticks=ticks, yticks=ticks)
        below.set_xticklabels([_number(round(v, 1)) for v in left + (right - left) * ticks])
        below.set_yticklabels([_number(round(v, 1)) for v in bottom + (top - bottom) * ticks])
    return figure


def blog_walks(found: Found) -> Figure:
    """Decoded straight lines between two test images of different digits, one in each row."""
    figure, panels = plt.subplots(len(found), 1, figsize=(9, 3.7 * len(found)), layout="constrained", squeeze=False)
    figure.suptitle("Straight lines between two digits in the latent plane, decoded")
    for axes, (configuration, arrays) in zip(panels[:, 0], found, strict=True):
        steps = len(arrays["walks"]) // 4
        axes.imshow(image_grid(arrays["walks"], steps), cmap="gray_r", vmin=0, vmax=255)
        axes.set(title=STYLES[configuration["model"]]["label"].replace("Euclidean", "VAE"), xticks=[], yticks=[])
    return figure


def blog_reconstructions(found: Found, shape: Shape | None = None) -> Figure:
    """One test image of each class and what the models of ``found`` make of it, by dimension and model.

    Digits unless the ``shape`` of photographs is given.
    """
    dims = sorted({c["d"] for c, _ in found})
    # Digits make wide panels, photographs high ones.
    size = (6.4, 0.4 + 3 * len(dims)) if shape is None else (4.6 * len(dims), 4.2)
    across = {"nrows": len(dims)} if shape is None else {"ncols": len(dims)}
    figure, panels = plt.subplots(**across, figsize=size, layout="constrained", squeeze=False)
    figure.suptitle("Test images and their reconstructions")
    for axes, d in zip(panels.flat, dims, strict=True):
        models = [(c["model"], a) for c, a in found if c["d"] == d]
        rows = [models[0][1]["originals"], *(a["reconstructions"] for _, a in models)]
        count, side = rows[0].shape[0], shape[0] if shape else math.isqrt(rows[0].shape[1])
        ink = "gray" if shape else "gray_r"
        axes.imshow(image_grid(np.concatenate(rows), count, shape), cmap=ink, vmin=0, vmax=255)
        names = ["test image", *(STYLES[m]["label"].replace(", the post's objective", "*") for m, _ in models)]
        axes.set(title=f"d = {d}", xticks=[], yticks=side * (np.arange(len(rows)) + 0.5), yticklabels=names)
        axes.tick_params(length=0)
    return figure


def blog_latent_spaces(found: Found, names: Sequence[str] = ()) -> Figure:
    """Test images in the plane, on the sphere by Hammer projection, and in the Poincare disc.

    Every image is the number of its class; ``names`` of the classes go into a legend below.
    """
    maps = {
        "e": (plane_map, None, "$R^2$"),
        "s": (hammer_map, "hammer", "$S^2$"),
        "h": (poincare_map, None, "$H^2$"),
    }
    figure, places = _sphere_below([c["model"] for c, _ in found], (4.8, 5))
    figure.suptitle("Latent space of the test images, d = 2")
    for place, (configuration, arrays) in zip(places, found, strict=True):
        draw, projection, name = maps[configuration["model"]]
        axes = figure.add_subplot(place, projection=projection)
        axes.set_title(f"{STYLES[configuration['model']]['label']}: {name}", pad=12)
        draw(axes, arrays["latent"].astype(float), arrays["labels"])
    if names:
        looks = [{"marker": f"${k}$", "color": CLASS_COLOURS[k % 10], "label": name} for k, name in enumerate(names)]
        handles = [Line2D([], [], linestyle="none", markersize=8, **look) for look in looks]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _sphere_below(models: list[str], panel: tuple[float, float]) -> tuple[Figure, list[SubplotSpec]]:
    """A figure with a place of that width and height in inches for each model: the sphere's below the flat ones.

    Three side by side would be too small to read on a page.
    """
    flat = [model for model in models if model != "s"]
    rows, columns = len({model == "s" for model in models}), max(1, len(flat))
    figure = plt.figure(figsize=(panel[0] * columns, panel[1] * rows + 0.4), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    return figure, [grid[-1, :] if model == "s" else grid[0, flat.index(model)] for model in models]


def blog_grids(found: Found, shape: Shape | None = None) -> Figure:
    """Decoded grids of the latent spaces of dimension 2, in steps of equal prior probability; see `draw_images`."""
    panel = (4.8, 5) if shape is None else (4, 4.6)
    figure, places = _sphere_below([c["model"] for c, _ in found], panel)
    figure.suptitle("Decoded latent space, d = 2, in steps of equal prior probability")
    for place, (configuration, arrays) in zip(places, found, strict=True):
        axes = figure.add_subplot(place)
        draw_images(axes, arrays["grid"], math.isqrt(len(arrays["grid"])), shape)
        axes.set_title(STYLES[configuration["model"]]["label"])
        _grid_axes(axes, configuration["model"])
    return figure


def _grid_axes(axes: Axes, model: str) -> None:
    """Ticks of `Space.grid`: angles on the sphere; prior quantiles in the plane and in H²'s tangent plane."""
    if model == "s":
        degrees = np.array([-90, -45, -20, 0, 20, 45, 90])
        axes.set(xlabel="longitude", ylabel="latitude", xticks=np.linspace(0, 1, 5))
        axes.set(yticks=(np.sin(np.radians(degrees)) + 1) / 2, yticklabels=[f"{_number(v)}°" for v in degrees])
        axes.set_xticklabels([f"{_number(v)}°" for v in range(-180, 181, 90)])
        return
    values = np.array([-1.5, -0.5, 0, 0.5, 1.5])
    ticks, names = ndtr(values), [_number(v) for v in values]
    axes.set(xticks=ticks, yticks=ticks, xticklabels=names, yticklabels=names)
    hyperbolic = model == "h"
    axes.set(xlabel="$v_1$" if hyperbolic else "$z_1$", ylabel="$v_2$" if hyperbolic else "$z_2$")


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
