"""What the blog's image studies have in common: a grid of VAEs over latent space, dimension and depth, and its reading.

The post ("Image Classification and Molecular Structure Reconstruction with Constant Curvature VAEs") gives the grids
and the code of its hyperbolic model; from that code: grey pixels under a Bernoulli likelihood, no KL warm-up. It leaves
open, and we choose: Adam 1e-3, early stopping on the validation ELBO.

Besides the models of the post's tables there are others. ``ae`` is the plain autoencoder with which the post begins.
``h-tangent`` is the hyperbolic model with the post's own objective, whose KL term is the closed form of `kl_tangent`:
that of normal distributions on the tangent space, which is not the KL divergence of the wrapped ones. Its validation
loss is that objective too, but its ``ELBO`` and ``KL`` are the real ones; ``KL_tangent`` is the term that the post
reports. ``e-warm`` and ``s-warm`` are trained with a linear KL warm-up.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from .. import evaluation
from ..data.mnist import Images, Pixels
from ..distributions import kl_tangent
from ..models import VAE
from ..spaces import space
from ..store import Outcome, Results
from ..study import Job
from ..training import EVALUATION, INITIALISATION, Schedule, fit, run_generators
from ..verdicts import differ, reproduced
from .mnist_vae import decoded


@dataclass(frozen=True)
class Settings:
    dims: tuple[int, ...]
    layers: tuple[int, ...]
    seeds: int
    schedule: Schedule
    width: int = 128
    warmup: int = 0  # epochs of the KL warm-up of ``e-warm`` and ``s-warm``
    binarisation: str = "none"
    train_size: int | None = None
    validation_size: int | None = None
    test_size: int | None = None


# model -> (letter of the latent space, name)
MODELS = {
    "e": ("e", "Euclidean"),
    "s": ("s", "Spherical"),
    "h": ("h", "Hyperbolic"),
    "h-tangent": ("h", "Hyperbolic, the post's objective"),
    "ae": ("e", "autoencoder"),
    "e-warm": ("e", "Euclidean, KL warm-up"),
    "s-warm": ("s", "Spherical, KL warm-up"),
}
GRID_MODELS = ("e", "s", "h")  # those of the post's tables
SHOWN_LAYERS = 2  # hidden layers of the models that the post's figures show, and of those beside the grid
KEYS = ["method", "d", "hidden_layers", "metric"]  # of the tables

FigureArrays = Callable[[VAE, int, Images, torch.Tensor], dict[str, np.ndarray]]


def grid(settings: Settings) -> list[dict]:
    """The configurations of the post's table."""
    return [{"d": d, "layers": n, "model": m} for d in settings.dims for n in settings.layers for m in GRID_MODELS]


def table_rows(cell: dict) -> list[tuple]:
    """The row of the post's table that a cell adds to; none for a model that is not in it."""
    model, d, layers = (cell["configuration"][key] for key in ("model", "d", "layers"))
    return [(MODELS[model][1], d, layers, "ELBO", cell["metrics"]["ELBO"])] if model in GRID_MODELS else []


def train_and_score(job: Job, figure_arrays: FigureArrays) -> tuple[VAE, list[Outcome]]:
    """Train the seeds of one configuration in lockstep; their model, and their scores on the test images.

    ``figure_arrays`` takes the model, the run, the images and its modes of the test images [N, m], and gives what the
    figures show; it is asked for seed 0 where there are `SHOWN_LAYERS`.
    """
    settings: Settings = job.settings
    images: Images = job.data
    kind, d, layers = (job.configuration[key] for key in ("model", "d", "layers"))
    latent, tangent = space(f"{MODELS[kind][0]}{d}"), kind == "h-tangent"
    hidden = (settings.width,) * layers
    initial = run_generators(job.seeds, INITIALISATION)
    model = VAE(latent, images.train.shape[1], hidden, initial, stochastic=kind != "ae").to(job.device)
    train, validation, test = (
        Pixels(split, settings.binarisation, job.device) for split in (images.train, images.validation, images.test)
    )

    def loss(index, weight, generators):
        re, kl = objective_terms(model, train.batch(index, generators), generators, tangent)
        return (weight * kl - re).mean(1)

    def validate(generators):
        total = 0
        for index in evaluation.index_blocks(model, len(validation), 2000):
            re, kl = objective_terms(model, validation.batch(index, generators), generators, tangent)
            total = total + (kl - re).sum(1, dtype=torch.float64)
        return total / len(validation)

    warm = kind.endswith("-warm")
    schedule = replace(settings.schedule, warmup_epochs=settings.warmup) if warm else settings.schedule
    fitted = fit(model, job.seeds, schedule, len(train), loss, validate, job.checkpoint, job.deadline, job.report)

    generators = run_generators(job.seeds, EVALUATION, device=job.device)
    scores = evaluation.elbo(model, lambda i: test.batch(i, generators), len(test), generators)
    if latent.letter == "h":
        scores["KL_tangent"] = _mean_kl_tangent(model, test)
    modes = evaluation.features(model, lambda i: test.batch(i), len(test))
    outcomes = []
    for run, seed in enumerate(job.seeds):
        metrics = {name: values[run].item() for name, values in scores.items()}
        metrics |= {"best_epoch": fitted.best_epoch[run], "stopped_epoch": fitted.stopped_epoch[run]}
        metrics["validation_loss"] = fitted.best_loss[run]
        arrays = figure_arrays(model, run, images, modes[run]) if seed == 0 and layers == SHOWN_LAYERS else {}
        outcomes.append(Outcome(metrics, arrays, fitted.seconds / len(job.seeds)))
    return model, outcomes


def objective_terms(model: VAE, x: torch.Tensor, generators, tangent: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Terms [R, B] of what a model maximises on ``x`` [R, B, features]: RE and the KL term, ``tangent`` the post's."""
    if not tangent:
        return model.elbo_terms(x, generators)
    posterior = model.posterior(x)
    re = model.likelihood(x, model.decode(posterior.rsample(generator=generators)))
    return re, kl_tangent(posterior, model.space.prior(x.device, x.dtype))


@torch.no_grad()
def _mean_kl_tangent(model: VAE, test: Pixels) -> torch.Tensor:
    """The closed form of the post [R], averaged over the test images."""
    total, prior = 0, model.space.prior(model.device)
    for index in evaluation.index_blocks(model, len(test)):
        total = total + kl_tangent(model.posterior(test.batch(index)), prior).sum(1, dtype=torch.float64)
    return total / len(test)


def first_of_each(labels: torch.Tensor) -> list[int]:
    """The place of the first image of each class."""
    return [int((labels == k).nonzero()[0]) for k in labels.unique()]


@torch.no_grad()
def common_arrays(model: VAE, run: int, images: Images, modes: torch.Tensor, side: int) -> dict[str, np.ndarray]:
    """Reconstructions of an image of each class and, for d = 2, latent test points and a decoded grid of that side."""
    first = first_of_each(images.test_labels)
    arrays = {"originals": images.test[first].numpy(), "reconstructions": decoded(model, run, modes[first])}
    if model.space.dim == 2:
        arrays["latent"] = modes.cpu().numpy().astype(np.float32)
        arrays["labels"] = images.test_labels.numpy().astype(np.uint8)
        arrays["grid"] = decoded(model, run, model.space.grid(side).to(model.device))
    return arrays


Place = tuple[int, int, str]  # d, hidden layers, model
Runs = dict[Place, dict[int, float]]  # seed -> ELBO


def elbos(results: Results) -> Runs:
    """The ELBO of every run of the grid."""
    runs: Runs = {}
    for cell in results.cells:
        model, d, layers = (cell["configuration"][key] for key in ("model", "d", "layers"))
        if model in GRID_MODELS:
            runs.setdefault((d, layers, model), {})[cell["seed"]] = cell["metrics"]["ELBO"]
    return runs


OPEN = ("open", "a model has fewer than two runs")


def winner(values: dict[str, list[float]], lowest: bool = False) -> str | None:
    """The name with the highest mean, or the lowest, if its runs `differ` from every other one's; otherwise None."""
    first, *others = sorted(values, key=lambda name: np.mean(values[name]), reverse=not lowest)
    return first if all(differ(values[first], values[other]) for other in others) else None


def wins(runs: Runs, places: list[tuple[int, int]], favourite: str, lowest: bool = False) -> tuple[str, str]:
    """Whether ``favourite`` is the `winner` at every (d, layers), of the highest ELBO or the lowest: the verdict.

    It is "partly" if it is at some, "open" while a model has fewer than two runs; then the numbers behind it.
    """
    if any(len(runs.get((*place, model), ())) < 2 for place in places for model in GRID_MODELS):
        return OPEN
    rows = [{model: list(runs[*place, model].values()) for model in GRID_MODELS} for place in places]
    winners = [winner(row, lowest) for row in rows]
    shown = [name == favourite for name in winners]
    names = ", ".join(MODELS[model][1] for model in GRID_MODELS)
    values = "; ".join(" / ".join(f"{np.mean(values):.1f}" for values in row.values()) for row in rows)
    count = f"{sum(shown)} of {len(places)}, another space in {len(places) - sum(shown) - winners.count(None)}"
    return reproduced(shown), f"shown in {count}; ELBO ({names}): {values}"


def best_of_all(runs: Runs, settings: Settings, favourite: Place) -> tuple[str, str]:
    """Whether ``favourite`` is the `winner` of the grid: the verdict and the numbers behind it.

    It is "partly" if one with the same d and space has the highest mean and wins against all but its like.
    """
    cells = [(c["d"], c["layers"], c["model"]) for c in grid(settings)]
    if any(len(runs.get(cell, ())) < 2 for cell in cells):
        return OPEN
    mean = {cell: np.mean(list(runs[cell].values())) for cell in cells}
    best, second, *_ = sorted(cells, key=mean.get, reverse=True)
    level = {c for c in cells if c != best and not differ(runs[best].values(), runs[c].values())}
    alone, alike = not level, all((c[0], c[2]) == (best[0], best[2]) for c in level)
    same = (best[0], best[2]) == (favourite[0], favourite[2])
    word = "reproduced" if alone and best == favourite else "partly" if alike and same else "not reproduced"
    lead = "shown" if alone else f"no winner shown: not told from {_counted(level)}"
    of_all = f"best: {_named(best)}, {mean[best]:.1f}; next: {_named(second)}, {mean[second]:.1f} ({lead})"
    return word, f"{of_all}; that one: {mean[favourite]:.1f}"


def _counted(places: set[Place]) -> str:
    return f"{len(places)} others" if len(places) > 3 else " / ".join(map(_named, sorted(places)))


def _named(place: Place) -> str:
    d, layers, model = place
    return f"{MODELS[model][1]}, d = {d}, {layers} layer{'s' * (layers > 1)}"
