"""Mixed curvature on MNIST: products of spaces against single ones of the same total dimension.

Two questions, with the models and scores of `mnist_vae`:

- d = 6: does a product of unlike spaces, or of small ones, serve better than one plane, sphere or hyperbolic space? Six
  is the least that splits evenly into a plane, a sphere and a hyperbolic plane (Skopek et al. 2020 take it, too).
- d = 40: the S-VAE falls behind in high dimensions, where its posterior has one concentration for all directions. Do
  products of small spheres, with one each, repair that (Davidson et al. 2019)?

The protocol is that of Table 1 with a shorter schedule (warm-up 20, look-ahead 15, at most 100 epochs), so that many
spaces with several seeds are affordable. All spaces have it, but none of the numbers belongs beside Table 1.

Curvatures are fixed at 1, 0 and -1, or learned: then every sphere and hyperboloid begins with radius 1 and keeps its
sign, as `svae_repro.curvature` describes. A learned sphere is not a `Sphere` with one more parameter: its prior is a
von Mises-Fisher distribution with a concentration of radius squared. Learned and fixed differ by both.
"""

from dataclasses import dataclass

import numpy as np

from ..data.mnist import Pixels
from ..store import Outcome, Results
from ..study import Job
from ..training import EVALUATION, Schedule, run_generators
from . import mixed, mnist_vae
from .mixed import judge

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
        schedule=Schedule(warmup_epochs=4, patience=5, max_epochs=10),
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

TITLE = "Mixed curvature on MNIST"
TABLES: dict = {}  # nobody has published such numbers
load_data = mnist_vae.load_data


def configurations(settings: Settings) -> list[dict]:
    return mixed.configurations(settings.spaces, settings.learned)


def run_cells(job: Job) -> list[Outcome]:
    """Train and score the seeds of one configuration in lockstep."""
    model, fitted = mnist_vae.train_model(job, mixed.latent_space(job))
    outcomes = mnist_vae.score(job, model, fitted)
    test = Pixels(job.data.test, job.settings.binarisation, job.device)
    generators = run_generators(job.seeds, EVALUATION, device=job.device)
    return mixed.add_factors(outcomes, model, lambda i: test.batch(i, generators), len(test), generators)


def accuracy(metrics: dict) -> float:
    """k-NN accuracy of a run in per cent, with as many labels as there are."""
    return 100 * float(np.mean(metrics["knn"][max(metrics["knn"], key=int)]))


CLAIMS = (
    "every product of smaller spheres is better than one sphere, d = 40",
    "the best product of spheres reaches the Euclidean space, d = 40",
    "the plane, the sphere and the hyperbolic plane together are better than each single space, d = 6",
    "a product of small spaces of one kind is better than one large space of that kind, d = 6",
    "a learned curvature is better than a fixed one",
)


def claims(results: Results) -> list[tuple[str, str, str]]:
    """(claim, verdict, numbers) on the LL, by the rule of `verdicts.compared_in_pairs`."""
    settings = PRESETS[results.preset]
    spheres = [(name, "fixed") for name in PRODUCTS[40] if name in settings.spaces]
    likelihoods = {model: [m["LL"] for m in mixed.metrics_of(results, model)] for model in spheres}
    complete = bool(spheres) and all(likelihoods.values())
    best = [(max(spheres, key=lambda m: np.mean(likelihoods[m])), (SINGLE[40][0], "fixed"))] if complete else []
    together = [(("e2s2h2", "fixed"), (name, "fixed")) for name in SINGLE[6]]
    small = [((letter + "2") * 3, letter + "6") for letter in "sh"]
    return [
        (CLAIMS[0], *judge(results, [(model, ("s40", "fixed")) for model in spheres])),
        (CLAIMS[1], *judge(results, best, margin=mnist_vae.RELEVANT, candidates=max(1, len(spheres)))),
        (CLAIMS[2], *judge(results, together)),
        (CLAIMS[3], *judge(results, [((product, "fixed"), (single, "fixed")) for product, single in small])),
        (CLAIMS[4], *judge(results, [((name, "learned"), (name, "fixed")) for name in settings.learned])),
    ]
