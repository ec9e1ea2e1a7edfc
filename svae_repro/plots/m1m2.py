"""Figures of Table 3 and Figure 10: accuracy by dimension, confused digits, one style in every class."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..experiments.m1m2_labels import ACCURACY
from ..experiments.m1m2_style import by_seed, model_title
from ..store import Results
from .common import Found
from .mnist import every_label

TOPOLOGY_STYLES = {
    "N+N": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "S+S": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "S+N": {"color": "#009E73", "marker": "^", "linestyle": "-."},
}
SEED_MARKERS = "osD^v"
GAP = 6  # white pixels between an original and its variations


def semi_supervised_accuracy(frame: pd.DataFrame) -> Figure:
    """Table 3: accuracy against the dimension of z2, a panel for each of z1; ours filled, the paper's open."""
    dims_z1, dims_z2 = sorted(frame["dim_z1"].unique()), sorted(frame["dim_z2"].unique())
    size = (max(6, 3.6 * len(dims_z1)), 4.2)
    figure, panels = plt.subplots(1, len(dims_z1), figsize=size, layout="constrained", sharey=True, squeeze=False)
    figure.suptitle("M1+M2: test accuracy")
    for axes, dim_z1 in zip(panels[0], dims_z1, strict=True):
        for place, (method, style) in enumerate(TOPOLOGY_STYLES.items()):
            rows = frame[(frame["dim_z1"] == dim_z1) & (frame["method"] == method)].set_index("dim_z2").reindex(dims_z2)
            x = np.arange(len(dims_z2)) + 0.08 * (place - 1)  # side by side, not on top of each other
            for prefix, look in (("published_", {"mfc": "white", "linewidth": 0.8}), ("", {"linewidth": 2})):
                if rows[prefix + "mean"].notna().any():
                    label = f"{method}, {'paper' if prefix else 'ours'}"
                    std = rows[prefix + "std"].to_numpy()
                    axes.errorbar(x, rows[prefix + "mean"], std, capsize=3, label=label, **style, **look)
        axes.set(title=f"dim z1 = {dim_z1}", xlabel="dim z2", xticks=range(len(dims_z2)), xticklabels=dims_z2)
        axes.set_xlim(-0.4, len(dims_z2) - 0.6)
        axes.grid(axis="y", alpha=0.3)
    panels[0, 0].set_ylabel("accuracy (%)")
    figure.legend(*every_label(panels[0]), fontsize=8, loc="outside right upper")
    return figure


def analogies(found: Found) -> Figure:
    """Figure 10: each row an image and its style z2 decoded in every class, a panel for each model."""
    figure, panels = plt.subplots(1, len(found), figsize=(4.4 * len(found), 4.4), layout="constrained", squeeze=False)
    figure.suptitle("The style of the image on the left in every class")
    for axes, (configuration, arrays) in zip(panels[0], found, strict=True):
        axes.imshow(analogy_grid(arrays["originals"], arrays["restyled"]), cmap="gray_r", vmin=0, vmax=255)
        _, classes, pixels = arrays["restyled"].shape
        centres = math.isqrt(pixels) * (np.arange(classes) + 1.5) + GAP
        axes.set(title=_title(configuration), xlabel="class y", xticks=centres, xticklabels=range(classes), yticks=[])
    return figure


def analogy_grid(originals: np.ndarray, restyled: np.ndarray) -> np.ndarray:
    """One picture of square ``originals`` [N, P], each followed by its K variations ``restyled`` [N, K, P]."""
    count, classes, pixels = restyled.shape
    side = math.isqrt(pixels)
    rows = restyled.reshape(count, classes, side, side).transpose(0, 2, 1, 3).reshape(count * side, classes * side)
    gap = np.zeros((count * side, GAP), rows.dtype)
    return np.concatenate([originals.reshape(count * side, side), gap, rows], axis=1)


def confusions(found: Found) -> Figure:
    """Which digit is taken for which: numbers of test images by true and predicted class; correct ones are left out."""
    figure, panels = _grid(len(found), 4.4, 4.3, title=0.3)
    figure.suptitle("Confused digits")
    for axes, (configuration, arrays) in zip(panels.flat, found, strict=False):
        counts = arrays["confusion"]
        _numbered(axes, np.where(np.eye(len(counts), dtype=bool) | (counts == 0), np.nan, counts))
        axes.set(title=_title(configuration), xlabel="predicted digit")
    for axes in panels[:, 0]:
        axes.set_ylabel("true digit")
    return figure


def _grid(count: int, width: float, height: float, title: float = 0.0) -> tuple[Figure, np.ndarray]:
    """A figure of ``count`` panels, at most three in a row, of that size in inches; places left over are blank."""
    columns = min(3, count)
    rows = -(-count // columns)
    size = (width * columns, height * rows + title)
    figure, panels = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    return figure, panels


def _numbered(axes: Axes, values: np.ndarray, lowest: float = 0, digits: int = 0) -> None:
    """The numbers of a square table [N, N] on shades from white at ``lowest`` to black; NaN is blank."""
    darkest = max(lowest + 1, np.nanmax(values, initial=lowest))
    axes.imshow(values, cmap="Greys", vmin=lowest, vmax=darkest)
    for row, column in zip(*np.nonzero(~np.isnan(values)), strict=True):
        value = values[row, column]
        ink = "white" if value - lowest > 0.65 * (darkest - lowest) else "black"  # where both have the same contrast
        axes.text(column, row, f"{value:.{digits}f}", ha="center", va="center", fontsize=9, color=ink)
    axes.set(xticks=range(len(values)), yticks=range(len(values)))


def labelled_sets(scores: dict[str, np.ndarray]) -> Figure:
    """Errors and accuracy by labelled set and the rest of the seed, from `m1m2_labels.scores`. At least one run."""
    figure, panels = plt.subplots(1, len(scores), figsize=(4 * len(scores), 4.6), layout="constrained")
    figure.suptitle("Two spheres: the labelled set of one seed, all else of another")
    for axes, (score, table) in zip(panels, scores.items(), strict=True):
        lowest, digits = (np.floor(np.nanmin(table)), 1) if score == ACCURACY else (0, 0)
        _numbered(axes, table, lowest, digits)
        axes.set(title=score, xlabel="seed of the labelled set")
    panels[0].set_ylabel("seed of all else")
    return figure


def semi_supervised_curves(results: Results, warmup: int) -> Figure:
    """Validation loss (negative bound in nats) by epoch of every run; a marker where its weights were kept."""
    shown = list(dict.fromkeys((c["configuration"]["dim_z1"], c["configuration"]["dim_z2"]) for c in results.cells))
    figure, panels = _grid(len(shown), 6 if len(shown) == 1 else 3.6, 3.6)
    figure.suptitle("Validation loss")
    for axes, (dim_z1, dim_z2) in zip(panels.flat, shown, strict=False):
        for cell in results.where(dim_z1=dim_z1, dim_z2=dim_z2):
            method = cell["configuration"]["topology"]
            curve = results.validation_curve(cell)
            kept = [cell["metrics"]["best_epoch"] - 1]
            axes.plot(np.arange(1, len(curve) + 1), curve, **TOPOLOGY_STYLES[method], markevery=kept, label=method)
        axes.axvline(warmup, color="grey", linestyle=":")
        axes.set(title=f"dim z1 = {dim_z1}, dim z2 = {dim_z2}", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("negative bound in nats")
    panels[0, 0].legend(*every_label(panels[0, :1]))
    return figure


LABELS = {"accuracy": "test accuracy (%)", "style_KL": "KL of z2 in nats"}


def styles(results: Results) -> Figure:
    """Test accuracy and KL divergence of z2 by model, a line for each seed; bars are means. At least one run."""
    models = list(dict.fromkeys((cell["configuration"]["z1"], cell["configuration"]["z2"]) for cell in results.cells))
    titles = [model_title(model).replace(" + ", "\n+ ").replace(", ", ",\n") for model in models]
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    figure.suptitle("M1+M2 with other styles, after the first epochs")
    for axes, (score, label) in zip(panels, LABELS.items(), strict=True):
        scores = pd.DataFrame({model: by_seed(results, score, model) for model in models})
        _lines_of_seeds(axes, scores, range(len(models)))
        axes.set(ylabel=label, xlabel="z1 + z2", xticks=range(len(models)), xticklabels=titles)
    figure.legend(*every_label(panels), fontsize=8, loc="outside right upper")
    return figure


def styles_without_warm_up(scores: dict[str, pd.DataFrame]) -> Figure:
    """Test accuracy and KL divergence of z2 by topology, with the warm-up and without, from `beside_warm_up`."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.0), layout="constrained")
    figure.suptitle("M1+M2 with and without a warm-up of the style, after the first epochs")
    for axes, (score, label) in zip(panels, LABELS.items(), strict=True):
        ticks = {}
        for place, topology in enumerate(dict.fromkeys(scores[score].columns.get_level_values("topology"))):
            pair = scores[score][topology]
            places = 2.6 * place + np.arange(len(pair.columns))
            _lines_of_seeds(axes, pair, places)
            ticks |= zip(places, (f"{topology}\n{word}" for word in pair.columns), strict=True)
        axes.set(ylabel=label, xlabel="warm-up", xticks=list(ticks), xticklabels=ticks.values())
    figure.legend(*every_label(panels), fontsize=8, loc="outside right upper")
    return figure


def _lines_of_seeds(axes: Axes, scores: pd.DataFrame, places: Sequence[float]) -> None:
    """A line for each seed (row) over the models (columns) at these places, and a bar at the mean of each model."""
    for place, mean in zip(places, scores.mean(), strict=True):
        axes.hlines(mean, place - 0.3, place + 0.3, color="black", linewidth=2)
    for seed, values in scores.iterrows():
        look = {"color": f"C{seed}", "marker": SEED_MARKERS[seed % len(SEED_MARKERS)], "linewidth": 0.8}
        axes.plot(places, values, **look, alpha=0.8, label=f"seed {seed}")
    axes.grid(axis="y", alpha=0.3)


def _title(configuration: dict) -> str:
    return f"{configuration['topology']}, dim z1 = {configuration['dim_z1']}, dim z2 = {configuration['dim_z2']}"
