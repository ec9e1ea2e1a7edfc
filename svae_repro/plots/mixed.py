"""Figures of mixed curvature: log-likelihoods against the Euclidean space, what each factor is used for."""

import re
from itertools import groupby

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .. import experiments
from ..experiments.mixed import comparison, differences, dimensions, metrics_of, model_title
from ..store import Results

KINDS = {  # kind of a space -> colours of Okabe and Ito (2008), markers that say the same
    "Euclidean": {"color": "#0072B2", "marker": "o"},
    "spheres": {"color": "#D55E00", "marker": "s"},
    "hyperbolic": {"color": "#009E73", "marker": "^"},
    "mixed": {"color": "black", "marker": "D"},
}
HATCHES = {"e": "", "s": "..", "h": "//"}
NAMES = {"e": "Euclidean factor", "s": "sphere", "h": "hyperbolic factor"}


def kind(name: str) -> str:
    letters = {letter for letter in name if letter.isalpha()}
    single = {"e": "Euclidean", "s": "spheres", "h": "hyperbolic"}
    return single[letters.pop()] if len(letters) == 1 else "mixed"


def mixed_gaps(results: Results) -> Figure:
    """LL of every model less that of the Euclidean one, best on top; each pair of runs a small mark, the mean a large.

    A panel for each dimension; an open marker has a learned curvature. ``results`` holds at least one run.
    """
    dims = dimensions(results)
    tables = [comparison(results, d) for d in dims]
    height = 1.4 + 0.4 * max(map(len, tables))
    figure, panels = plt.subplots(1, len(dims), figsize=(6.4 * len(dims), height), layout="constrained", squeeze=False)
    subject = experiments.load(results.experiment).TITLE
    figure.suptitle(f"{subject}: LL against the Euclidean space of the same dimension")
    for axes, d, table in zip(panels[0], dims, tables, strict=True):
        models = list(zip(table["space"], table["curvature"], strict=True))
        for row, (name, curvature) in enumerate(models):
            gaps = differences(results, (name, curvature), (f"e{d}", "fixed"))
            look = {"linestyle": "none", **KINDS[kind(name)]} | ({"mfc": "white"} if curvature == "learned" else {})
            axes.plot(gaps, [row] * len(gaps), **look | {"markersize": 4, "alpha": 0.6})
            axes.plot(np.mean(gaps) if len(gaps) else [], row if len(gaps) else [], **look | {"markersize": 10})
        axes.axvline(0, color="grey", linewidth=1)
        axes.set(title=f"d = {d}", xlabel="LL − LL of the Euclidean space, in nats", ylim=(len(models) - 0.4, -0.6))
        axes.set_yticks(range(len(models)), [model_title(model) for model in models])
        axes.grid(axis="x", alpha=0.3)
    return figure


def mixed_factors(results: Results, d: int) -> Figure:
    """KL divergence by factor of every model of dimension ``d``, best LL on the left; means over the runs.

    Equal factors are interchangeable: those of each run are put in order, the largest at the bottom.
    """
    table = comparison(results, d)
    models = list(zip(table["space"], table["curvature"], strict=True))
    figure, axes = plt.subplots(figsize=(max(6, 1.1 * len(models)), 4.6), layout="constrained")
    figure.suptitle(f"{experiments.load(results.experiment).TITLE}: what the factors are used for, d = {d}")
    for place, (name, curvature) in enumerate(models):
        factors = re.findall("[a-z][0-9]+", name)
        divergences = [metrics["factor_kl"] for metrics in metrics_of(results, (name, curvature))]
        heights = np.mean([_in_order(factors, values) for values in divergences], axis=0)
        bottom = 0.0
        for factor, height in zip(factors, heights, strict=True):
            axes.bar(place, height, 0.7, bottom, **_filling(factor[0]), linewidth=0.6)
            bottom += height
    present = sorted({factor[0] for name in table["space"] for factor in re.findall("[a-z][0-9]+", name)})
    handles = [Patch(**_filling(letter), label=NAMES[letter]) for letter in present]
    figure.legend(handles=handles, loc="outside right center")
    axes.set_xticks(range(len(models)), [model_title(model) for model in models], rotation=30, ha="right")
    axes.set_ylabel("KL divergence in nats")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)  # its lines are no factors
    return figure


def _filling(letter: str) -> dict:
    return {"facecolor": KINDS[kind(letter)]["color"], "hatch": HATCHES[letter], "edgecolor": "black"}


def _in_order(factors: list[str], values: list[float]) -> list[float]:
    """Values of neighbouring equal factors from the largest to the smallest."""
    ordered = []
    for _, group in groupby(zip(factors, values, strict=True), key=lambda pair: pair[0]):
        ordered += sorted((value for _, value in group), reverse=True)
    return ordered
