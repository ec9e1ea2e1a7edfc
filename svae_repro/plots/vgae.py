"""Figures of Table 4 and Figure 3: scores and their paired differences, latent spaces of a citation graph."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from ..tables import Table
from .common import METHOD_STYLES, Found
from .mnist import CLASS_COLOURS, every_label, longitude_latitude

CLASS_MARKERS = "os^DvPX*<>"
MARKERS = {"AUC": "o", "AP": "s"}
VARIANTS = ("", ", searched", ", sampled pairs")  # of a method, as Table 4 names them
COMPARED = {"N-VGAE": METHOD_STYLES["N-VAE"], "S-VGAE": METHOD_STYLES["S-VAE"]}


def link_prediction(table: Table) -> Figure:
    """AUC and AP of every method, a panel for each graph with a scale of its own, ours filled and the paper's open."""
    frame = table.frame[table.frame["n"] > 0]
    datasets = list(dict.fromkeys(frame["dataset"]))
    methods = {name: list(dict.fromkeys(frame.loc[frame["dataset"] == name, "method"])) for name in datasets}
    size = (5.2 * len(datasets) + 1, 0.42 * max(map(len, methods.values())) + 1.8)
    figure, panels = plt.subplots(1, len(datasets), figsize=size, squeeze=False, layout="constrained")
    figure.suptitle("Link prediction on the test edges (each graph on a scale of its own)")
    for axes, dataset in zip(panels[0], datasets, strict=True):
        for metric, shift in (("AUC", -0.14), ("AP", 0.14)):
            rows = frame[(frame["dataset"] == dataset) & (frame["metric"] == metric)].set_index("method")
            for place, method in enumerate(methods[dataset]):
                if method in rows.index:
                    _scores(axes, rows.loc[method], place + shift, metric, method)
        count = len(methods[dataset])
        axes.set(title=dataset, xlabel="per cent", yticks=range(count), yticklabels=methods[dataset])
        axes.grid(axis="x", alpha=0.3)
        axes.set_ylim(count - 0.5, -0.5)
    handles = [plt.Line2D([], [], color="black", marker=m, linestyle="", label=k) for k, m in MARKERS.items()]
    if frame["published_mean"].notna().any():
        handles.append(plt.Line2D([], [], color="black", marker="o", mfc="white", linestyle="", label="paper"))
    figure.legend(handles=handles, fontsize=8, loc="outside right upper")
    return figure


def _scores(axes: Axes, row: pd.Series, place: float, metric: str, method: str) -> None:
    """Our mean and, a little below it, the paper's, with one standard deviation each."""
    model = method.split(",")[0]  # searched or with sampled pairs it is the same model
    look = {"color": COMPARED.get(model, {"color": "#555555"})["color"], "marker": MARKERS[metric]}
    look |= {"capsize": 2, "markersize": 5, "linestyle": ""}
    axes.errorbar(row["mean"], place, xerr=None if np.isnan(row["std"]) else row["std"], **look)
    if not np.isnan(row["published_mean"]):
        axes.errorbar(row["published_mean"], place + 0.12, xerr=row["published_std"], mfc="white", alpha=0.8, **look)


def paired_differences(table: Table, first: str, second: str) -> Figure:
    """How far method ``first`` lies above ``second`` on every split they share, mean and 95 % interval; the paper's.

    A row for each setting in each of the `VARIANTS` that has runs. From two splits no interval is drawn: Student's
    quantile for one degree of freedom, 12.7, would set the scale of the figure and say nothing.
    """
    values = table.values.pivot(index=[*table.setting, "seed"], columns="method", values="value")
    published = table.frame.pivot(index=table.setting, columns="method", values="published_mean")
    shared = {variant: table.differences(first + variant, second + variant) for variant in VARIANTS}
    settings = list(dict.fromkeys(tuple(row) for row in table.frame[table.setting].to_numpy()))
    rows = [
        (key, variant, row)
        for key in settings
        for variant, frame in shared.items()
        for _, row in frame[(frame[table.setting] == list(key)).all(axis=1)].iterrows()
    ]
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(rows) + 1.6), layout="constrained")
    figure.suptitle(f"{first} − {second}, on the same splits")
    for place, (key, variant, row) in enumerate(rows):
        each = (values.loc[key, first + variant] - values.loc[key, second + variant]).dropna()
        axes.scatter(each, np.full(len(each), place), 28, color="#777777", marker="|", label="a split")
        half = stats.t.ppf(0.975, row["n"] - 1) * row["std"] / np.sqrt(row["n"]) if row["n"] > 2 else None
        look = {"color": "black", "marker": "o", "capsize": 4, "linewidth": 2, "label": "mean, 95 %"}
        axes.errorbar(row["mean"], place, xerr=half, **look)
        theirs = published.loc[key, first] - published.loc[key, second]
        if not np.isnan(theirs):  # a little below, so that it hides no split
            look = {"marker": "D", "facecolor": "white", "edgecolor": "#D55E00", "label": "paper"}
            axes.scatter(theirs, place + 0.28, 40, zorder=3, **look)
    axes.axvline(0, color="grey", linewidth=1)
    axes.set(xlabel="points", yticks=range(len(rows)))
    axes.set_yticklabels([f"{' '.join(key)}{variant} (n={row['n']})" for key, variant, row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(*every_label([axes]), fontsize=8)
    return figure


def graph_latents(found: Found) -> Figure:
    """Figure 3: the nodes of a graph in the latent plane and, by Hammer projection, on the latent sphere."""
    on_sphere = [arrays["latent"].shape[1] == 3 for _, arrays in found]
    ratios = [1.7 if sphere else 1 for sphere in on_sphere]
    figure = plt.figure(figsize=(5.2 * sum(ratios), 5.6), layout="constrained")
    names = {"n": "N-VGAE: $R^2$", "s": "S-VGAE: $S^2$"}
    figure.suptitle(f"Latent space of {found[0][0]['dataset']}, d = 2")
    grid = figure.add_gridspec(1, len(found), width_ratios=ratios)
    for column, ((configuration, arrays), sphere) in enumerate(zip(found, on_sphere, strict=True)):
        axes = figure.add_subplot(grid[column], projection="hammer" if sphere else None)
        axes.set_title(names[configuration["model"]], pad=12)
        points = arrays["latent"].astype(float)
        x, y = longitude_latitude(points) if sphere else points.T
        _classes(axes, x, y, arrays["labels"])
        axes.grid(alpha=0.3)
        if sphere:
            axes.set_xticklabels([])  # they would lie across the points
            axes.tick_params(labelsize=8, labelcolor="grey")
        else:
            axes.plot(0, 0, color="black", marker="+", markersize=14, markeredgewidth=2)
            axes.set(xlabel="$z_1$", ylabel="$z_2$")
            axes.axis("equal")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=10, title="class")
    return figure


def _classes(axes: Axes, x: np.ndarray, y: np.ndarray, labels: np.ndarray) -> None:
    for k in np.unique(labels):
        colour, chosen = CLASS_COLOURS[k % 10], labels == k
        style = {"marker": CLASS_MARKERS[k % 10], "linewidths": 0.3, "edgecolors": "white", "alpha": 0.75}
        axes.scatter(x[chosen], y[chosen], 16, [colour], label=str(k), **style)
