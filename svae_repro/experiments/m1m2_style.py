"""The style of Table 3: why does S+S fall short?

In our runs of Table 3 the model with two spheres is the weakest, in the paper among the best. Is it the sphere of the
style z2, and if so its single concentration? The model of `m1m2` with its protocol, labelled sets, initial weights and
order of data, trained for the first epochs only (the paper preset's 20, of which z2 is warmed up for 12), with other
styles: normal, one vMF, and a product of vMFs on spheres S^2, which has the dimension of the one and d / 2
concentrations. As a control the same product with one concentration for all its spheres: what is between the two is a
matter of the concentrations, not of the spheres. alpha is 1, which nearly every cell of Table 3 chooses.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..distributions import ProductDistribution
from ..spaces import Product, Space, space
from ..store import Outcome, Results
from ..study import Job
from ..verdicts import compared_in_pairs
from . import m1m2
from .m1m2 import Settings
from .mixed import title


def _beginning(settings: Settings, epochs: int, warmup: int, **changes) -> Settings:
    """The first epochs of these trainings, with alpha 1."""
    schedule = replace(settings.schedule, warmup_epochs=warmup, patience=None, max_epochs=epochs)
    return replace(settings, schedule=schedule, alphas=(1.0,), **changes)


PRESETS = {
    "smoke": _beginning(m1m2.PRESETS["smoke"], 2, warmup=1, dims=(4,)),
    "quick": _beginning(
        m1m2.PRESETS["quick"], 4, warmup=2, dims=(10,), train_size=3000, validation_size=500, test_size=1000
    ),
    "paper": _beginning(m1m2.PRESETS["paper"], 20, warmup=12, dims=(10,)),
}

TITLE = "The style of Table 3"
TABLES: dict = {}  # nobody has published such numbers
load_data = m1m2.load_data

Model = tuple[str, str]  # spaces of z1 and z2
TIED = "-tied"  # a suffix to the name of a space


class Tied(Product):
    """Spheres of one dimension side by side, with one concentration for all of them: directions first, then it."""

    @property
    def n_params(self) -> int:
        return self.ambient_dim + 1

    def _posterior(self, params: Tensor) -> ProductDistribution:
        directions, raw = params.split([self.ambient_dim, 1], dim=-1)
        directions = directions.unflatten(-1, (len(self.factors), -1))
        raw = raw.unsqueeze(-2).expand(*directions.shape[:-1], 1)
        return super()._posterior(torch.cat([directions, raw], dim=-1).flatten(-2))


def latent_space(name: str) -> Space:
    """The space called ``name``; with the suffix `TIED` its spheres share a concentration."""
    return Tied(space(name.removesuffix(TIED)).factors) if name.endswith(TIED) else space(name)


def models(d: int) -> dict[str, Model]:
    """The spaces of z1 and z2 by what they are: N normal, S a vMF, P a product of vMFs on spheres S^2, T tied."""
    plane, sphere, product = f"e{d}", f"s{d}", "s2" * (d // 2)
    return {
        "N+N": (plane, plane),
        "N+S": (plane, sphere),
        "S+N": (sphere, plane),
        "S+S": (sphere, sphere),
        "S+P": (sphere, product),
        "S+T": (sphere, product + TIED),
    }


def model_title(model: Model) -> str:
    z1, z2 = model
    return f"{title(z1)} + {title(z2.removesuffix(TIED))}{', one κ' if z2.endswith(TIED) else ''}"


def configurations(settings: Settings) -> list[dict]:
    return [{"d": d, "z1": z1, "z2": z2} for d in settings.dims for z1, z2 in models(d).values()]


def run_cells(job: Job) -> list[Outcome]:
    """Train and score the seeds of one configuration in lockstep."""
    outcomes = trained(job, (latent_space(job.configuration["z1"]), latent_space(job.configuration["z2"])))
    for outcome in outcomes:
        outcome.arrays = {}
    return outcomes


def trained(job: Job, latent: tuple[Space, Space], labelled_sets: Sequence[int] | None = None) -> list[Outcome]:
    """The seeds of a job after these epochs, with the single alpha; the other arguments are those of `train_model`."""
    (alpha,) = job.settings.alphas
    runs = [(seed, alpha) for seed in job.seeds]
    return m1m2.score(job, *m1m2.train_model(job, latent, runs, job.settings.schedule, labelled_sets), runs)


UNITS = {"accuracy": 100, "style_KL": 1}  # what turns a score into per cent, or leaves it in nats


def by_seed(results: Results, score: str, model: Model) -> dict[int, float]:
    """Test accuracy in per cent, or KL divergence of z2 in nats, of the runs of a model."""
    z1, z2 = model
    return {cell["seed"]: UNITS[score] * cell["metrics"][score] for cell in results.where(z1=z1, z2=z2)}


def differences(results: Results, first: Model, second: Model) -> np.ndarray:
    """Test accuracy of one model less that of another in points, for the seeds that both have: same labelled set."""
    return 100 * results.differences("accuracy", *({"z1": z1, "z2": z2} for z1, z2 in (first, second)))


AS_GOOD = 1.0  # points
CLAIMS = (
    "a normal style is better than a vMF one",
    "a style on several spheres is better than one on a single sphere",
    "a style on several spheres is as good as a normal one",
    "on several spheres a concentration for each is better than one for all",
)


def judge(results: Results, pairs: Sequence[tuple[str, str]], margin: float | None = None) -> tuple[str, str]:
    """The verdict on the accuracy of the first model of each pair against the second, and the numbers behind it."""
    (d,) = PRESETS[results.preset].dims
    named = models(d)
    gaps = {
        f"{model_title(named[a])} − ({model_title(named[b])})": differences(results, named[a], named[b])
        for a, b in pairs
    }
    return compared_in_pairs(gaps, "accuracy in points", margin)


def claims(results: Results) -> list[tuple[str, str, str]]:
    """(claim, verdict, numbers) on the accuracy, by the rule of `verdicts.compared_in_pairs`."""
    return [
        (CLAIMS[0], *judge(results, [("S+N", "S+S"), ("N+N", "N+S")])),
        (CLAIMS[1], *judge(results, [("S+P", "S+S")])),
        (CLAIMS[2], *judge(results, [("S+P", "S+N")], margin=AS_GOOD)),
        (CLAIMS[3], *judge(results, [("S+P", "S+T")])),
    ]
