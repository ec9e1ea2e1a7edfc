"""Mixed curvature: products of spaces against single ones of the same total dimension, on MNIST.

Two questions, with the models and scores of `mnist_vae`:

- d = 6: does a product of unlike spaces, or of small ones, serve better than one plane, sphere or hyperbolic space? Six
  is the least that splits evenly into a plane, a sphere and a hyperbolic plane (Skopek et al. 2020 take it, too).
- d = 40: the S-VAE falls behind in high dimensions, where its posterior has one concentration for all directions. Do
  products of small spheres, with one each, repair that (Davidson et al. 2019)?

The protocol is that of Table 1 with a shorter schedule (warm-up 20, look-ahead 15, at most 100 epochs), so that many
spaces with several seeds are affordable. All spaces have it, but none of the numbers belongs beside Table 1. Runs of
one seed share the order of their data and are compared in pairs.

Curvatures are fixed at 1, 0 and -1, or learned: then every sphere and hyperboloid begins with radius 1 and keeps its
sign, as `svae_repro.curvature` describes. A learned sphere is not a `Sphere` with one more parameter: its prior is a
von Mises-Fisher distribution with a concentration of radius squared. Learned and fixed differ by both.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
import torch
from scipy import stats

from ..curvature import Curved, learnable
from ..data.mnist import Pixels
from ..distributions import kl_estimate
from ..models import VAE
from ..spaces import Product, Space, space
from ..store import Outcome, Results
from ..study import Job
from ..training import EVALUATION, Schedule, run_generators
from . import mnist_vae

SINGLE = {6: ("e6", "s6", "h6"), 40: ("e40", "s40")}  # the reference comes first
PRODUCTS = {
    6: ("e2s2h2", "e2" + "s2" * 2, "s2" * 3, "h2" * 3),
    40: ("s20" * 2, "s8" * 5, "s4" * 10, "s2" * 20),
}
LEARNED = ("s6", "h6", "e2s2h2", "s2" * 3, "h2" * 3, "s40")


@dataclass(frozen=True)
class Settings(mnist_vae.Settings):
    spaces: tuple[str, ...] = (*SINGLE[6], *PRODUCTS[6], *SINGLE[40], *PRODUCTS[40])
    learned: tuple[str, ...] = LEARNED  # spaces that are trained with a learned curvature as well


PRESETS = {
    "smoke": Settings(
        dims=(6,),
        seeds=1,
        schedule=Schedule(warmup_epochs=1, patience=1, max_epochs=2),
        hidden=(32, 16),
        train_size=1000,
        validation_size=200,
        test_size=200,
        samples=10,
        labelled=(100,),
        labelled_sets=1,
        spaces=("e6", "s6", "h6", "e2s2h2"),
        learned=("e2s2h2",),
    ),
    "quick": Settings(
        dims=(6, 40),
        seeds=2,
        schedule=Schedule(warmup_epochs=4, patience=5, max_epochs=14),
        train_size=8000,
        validation_size=1000,
        test_size=1000,
        samples=100,
        labelled=(1000,),
        spaces=("e6", "s6", "h6", "e2s2h2", "s2s2s2", "e40", "s40", "s4" * 10),
        learned=("e2s2h2",),
    ),
    "paper": Settings(
        dims=(6, 40),
        seeds=5,
        schedule=Schedule(warmup_epochs=20, patience=15, max_epochs=100),
        labelled=(1000,),
    ),
}

TITLE = "Mixed curvature"
TABLES: dict = {}  # nobody has published such numbers
load_data = mnist_vae.load_data


def configurations(settings: Settings) -> list[dict]:
    curvatures = [("fixed", name) for name in settings.spaces] + [("learned", name) for name in settings.learned]
    return [{"d": space(name).dim, "space": name, "curvature": curvature} for curvature, name in curvatures]


def run_cells(job: Job) -> list[Outcome]:
    """Train and score the seeds of one configuration in lockstep.

    ``factor_kl`` has, for each factor of the space, the mean KL divergence of the test images: what it is used for;
    ``factor_curvature`` its curvature at the end.
    """
    name = job.configuration["space"]
    learned = job.configuration["curvature"] == "learned"
    model, fitted = mnist_vae.train_model(job, learnable(name, torch.ones(len(job.seeds))) if learned else space(name))
    outcomes = mnist_vae.score(job, model, fitted)
    divergences = _factor_kl(model, Pixels(job.data.test, job.settings.binarisation, job.device), job.seeds)
    for run, (outcome, of_run) in enumerate(zip(outcomes, divergences, strict=True)):
        outcome.metrics["factor_kl"] = of_run.tolist()
        outcome.metrics["factor_curvature"] = [_curvature(f.of_run(run)) for f in _factors(model.space)]
        outcome.arrays = {"validation_curve": outcome.arrays["validation_curve"]}
    return outcomes


def _factors(latent: Space) -> list[Space]:
    return list(latent.factors) if isinstance(latent, Product) else [latent]


def _curvature(factor: Space) -> float:
    return factor.curvature.item() if isinstance(factor, Curved) else {"e": 0.0, "s": 1.0, "h": -1.0}[factor.letter]


@torch.no_grad()
def _factor_kl(model: VAE, test: Pixels, seeds: list[int], rows: int = 1000) -> torch.Tensor:
    """Mean KL divergence [R, factors] in nats of the test images' posteriors."""
    factors = _factors(model.space)
    sizes, generators = [f.n_params for f in factors], run_generators(seeds, EVALUATION, device=model.device)
    total = 0
    for index in torch.arange(len(test), device=model.device).expand(model.runs, -1).split(rows, dim=1):
        params = model.encoder(test.batch(index, generators)).split(sizes, dim=-1)
        parts = []
        for factor, own in zip(factors, params, strict=True):
            posterior = factor.posterior(own)
            z = posterior.rsample(generator=generators)
            parts.append(kl_estimate(posterior, factor.prior(model.device), z).sum(1, dtype=torch.float64))
        total = total + torch.stack(parts, dim=1)
    return total / len(test)


def title(name: str) -> str:
    """A space's name in print, ``s4s4h2`` as "(S^4)^2 x H^2" in Unicode."""
    raised = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    factors = [f.name for f in _factors(space(name))]
    parts = []
    for factor, group in groupby(factors):
        letter = "ℝ" if factor[0] == "e" else "ℍ" if factor[0] == "h" else "S"
        one, count = letter + factor[1:].translate(raised), len(list(group))
        parts.append(one if count == 1 else f"({one})" + str(count).translate(raised))
    return " × ".join(parts)


Model = tuple[str, str]  # space, "fixed" or "learned"


def model_title(model: Model) -> str:
    name, curvature = model
    return title(name) + (", learned" if curvature == "learned" else "")


def _cells(results: Results, model: Model) -> list[dict]:
    return results.where(space=model[0], curvature=model[1])


def differences(results: Results, first: Model, second: Model) -> np.ndarray:
    """LL of one model less that of another, for the seeds that both have."""
    ours, theirs = (
        {cell["seed"]: cell["metrics"]["LL"] for cell in _cells(results, model)} for model in (first, second)
    )
    return np.array([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())])


def comparison(results: Results, d: int) -> pd.DataFrame:
    """One row for each model of dimension ``d`` that has runs, best first, against the Euclidean one in pairs.

    Columns: space, curvature; mean, std and n of the LL; ELBO, KL and accuracy (in per cent), means; gap, gap_std and
    p, that of the paired t-test (NaN for less than two pairs).
    """
    rows = []
    for model in [(name, kind) for kind in ("fixed", "learned") for name in (*SINGLE[d], *PRODUCTS[d])]:
        metrics = [cell["metrics"] for cell in _cells(results, model)]
        if not metrics:
            continue
        likelihood = pd.Series([m["LL"] for m in metrics])
        gaps = pd.Series(differences(results, model, (SINGLE[d][0], "fixed")), dtype=float)
        p = stats.ttest_1samp(gaps, 0).pvalue if len(gaps) > 1 and gaps.any() else np.nan
        accuracy = 100 * np.mean([np.mean(m["knn"][max(m["knn"], key=int)]) for m in metrics])
        means = [np.mean([m[key] for m in metrics]) for key in ("ELBO", "KL")]
        own = (likelihood.mean(), likelihood.std(ddof=1), len(likelihood))
        rows.append((*model, *own, *means, accuracy, gaps.mean(), gaps.std(ddof=1), p))
    columns = ["space", "curvature", "mean", "std", "n", "ELBO", "KL", "accuracy", "gap", "gap_std", "p"]
    return pd.DataFrame(rows, columns=columns).sort_values("mean", ascending=False, ignore_index=True)


SIGNIFICANCE = 0.01
CLAIMS = (
    "every product of smaller spheres is better than one sphere, d = 40",
    "the best product of spheres reaches the Euclidean space, d = 40",
    "the plane, the sphere and the hyperbolic plane together are better than each single space, d = 6",
    "a product of small spaces of one kind is better than one large space of that kind, d = 6",
    "a learned curvature is better than a fixed one",
)


def claims(results: Results) -> list[tuple[str, str, str]]:
    """(claim, verdict, numbers) on the LL, by paired t-tests; "open" while a pair of the preset has less than two runs.

    The level 0.01 is shared among a claim's tests. A claim of "better" holds if every test says so, partly if one
    does, "no" if none: not shown. To *reach* is to have no lower mean; a lower one that no test confirms leaves it
    open.
    """
    settings = PRESETS[results.preset]
    spheres = [(name, "fixed") for name in PRODUCTS[40] if name in settings.spaces]
    likelihoods = {model: [c["metrics"]["LL"] for c in _cells(results, model)] for model in spheres}
    complete = bool(spheres) and all(likelihoods.values())
    best = [(max(spheres, key=lambda m: np.mean(likelihoods[m])), (SINGLE[40][0], "fixed"))] if complete else []
    mixed = [(("e2s2h2", "fixed"), (name, "fixed")) for name in SINGLE[6]]
    small = [((letter + "2") * 3, letter + "6") for letter in "sh"]
    return [
        (CLAIMS[0], *_judge(results, [(model, ("s40", "fixed")) for model in spheres])),
        (CLAIMS[1], *_judge(results, best, reach=True)),
        (CLAIMS[2], *_judge(results, mixed)),
        (CLAIMS[3], *_judge(results, [((product, "fixed"), (single, "fixed")) for product, single in small])),
        (CLAIMS[4], *_judge(results, [((name, "learned"), (name, "fixed")) for name in settings.learned])),
    ]


def _judge(results: Results, pairs: list[tuple[Model, Model]], reach: bool = False) -> tuple[str, str]:
    holds, numbers = [], []
    for first, second in pairs:
        gaps = differences(results, first, second)
        if len(gaps) < 2:
            continue
        p = stats.ttest_1samp(gaps, 0).pvalue
        found = p < SIGNIFICANCE / len(pairs)
        spread = f"{gaps.mean():+.2f} ± {gaps.std(ddof=1):.2f} (n={len(gaps)}, p={p:.1g})"
        numbers.append(f"{model_title(first)} − {model_title(second)} {spread}")
        if reach and gaps.mean() < 0 and not found:
            continue
        holds.append(bool(gaps.mean() >= 0 if reach else found and gaps.mean() > 0))
    if len(holds) < max(1, len(pairs)):
        return "open", "; ".join(numbers) or "fewer than two pairs of runs"
    word = "yes" if all(holds) else "partly" if any(holds) else "no"
    return word, "LL in nats: " + "; ".join(numbers)
