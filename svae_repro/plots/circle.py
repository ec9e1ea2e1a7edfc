"""Figure 1: the circle and what four models make of it."""

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..experiments import circle
from ..store import Results
from .common import Found

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
            0.97, 0.04, f"ρ = {circle.fisher_lee_correlation(truth, angle):.3f}", ha="right", transform=axes.transAxes
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
                why = "no prior" if values else "no run yet"  # words: a dash would read as a point
                axes.text(0.5, row, why, ha="center", va="center", style="italic", transform=axes.get_yaxis_transform())
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
