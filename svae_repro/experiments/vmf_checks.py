"""Measurements on vMF code, its own and that in circulation: gradients, sampler, Bessel functions, cost (notebook 07).

Cells store arrays, one cell for each part, so that the notebook shows them without measuring anew:

- ``gradients``: d/dkappa of E[w], w = loc.z, by six estimators over a grid of (m, kappa): mean and standard deviation
  of one sample's gradient and the number of samples, beside the exact value;
- ``sampler``: E[w] of the published sampler and of its gradient by quadrature, over a fine grid that is finer still
  where kappa is around 10;
- ``bessel``: relative error of the KL divergence and of its gradient by seven ways of evaluating Eqs. 5 and 6, and the
  dimension where three of them cease to be finite;
- ``cost``: CPU seconds of one training step's worth of samples and of divergences, forward and backward.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch.distributions import kl_divergence

from ..bench import medians
from ..bessel import log_0f1
from ..distributions import HypersphericalUniform, PowerSpherical, VonMisesFisher
from ..distributions.as_published import (
    PublishedVonMisesFisher,
    UncorrectedVonMisesFisher,
    published_moments,
    uncorrected_slope,
)
from ..kl_alternatives import (
    ERROR_DIMS,
    ERROR_KAPPAS,
    FRONTIERS,
    LOWER,
    SHARP,
    UPPER,
    WAYS,
    by_ratios,
    log_0f1_by_ive,
    reference,
)
from ..store import Outcome
from ..study import Job


@dataclass(frozen=True)
class Settings:
    seeds: int = 1
    samples: int = 20_000
    chunk: int = 5_000
    dims: tuple[int, ...] = (2, 3, 5, 11, 21, 41)
    kappas: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 9.0, 10.5, 12.0, 20.0, 50.0, 100.0)
    map_size: tuple[int, int] = (33, 81)
    frontier: int = 1500  # the largest dimension tried
    repetitions: int = 100


PRESETS = {
    "smoke": Settings(
        samples=200, chunk=200, dims=(2, 5, 21), kappas=(1.0, 10.5, 50.0), map_size=(5, 7), frontier=400, repetitions=3
    ),
    "quick": Settings(samples=4_000, chunk=4_000, frontier=600, repetitions=30),
    "paper": Settings(samples=40_000),
}
TABLES: dict = {}
PARTS = ("gradients", "sampler", "bessel", "cost")


@dataclass(frozen=True)
class Nothing:
    """These measurements need no data."""

    name: str = "none"
    standin: bool = False
    sha256: str = "none"
    description: str = "real (no data needed: random numbers and special functions)"


def load_data(source: str, settings: Settings) -> Nothing:
    return Nothing()


def configurations(settings: Settings) -> list[dict]:
    return [{"part": part} for part in PARTS]


def run_cells(job: Job) -> list[Outcome]:
    part = {"gradients": gradients, "sampler": sampler, "bessel": bessel, "cost": cost}[job.configuration["part"]]
    return [Outcome({"part": job.configuration["part"]}, part(job.settings, seed, job.device)) for seed in job.seeds]


# --- gradients -------------------------------------------------------------------------------------------------------

# estimator -> family, whether Eq. 8's second term is added, whether f is centred first
ESTIMATORS = {
    "published": (PublishedVonMisesFisher, False, False),
    "uncorrected": (UncorrectedVonMisesFisher, False, False),
    "corrected": (VonMisesFisher, True, False),
    "corrected, f centred": (VonMisesFisher, True, True),
    "implicit": (VonMisesFisher, False, False),
    "power": (PowerSpherical, False, False),
}


def gradients(settings: Settings, seed: int, device: str) -> dict[str, np.ndarray]:
    """Per estimator, m and kappa: mean and standard deviation [E, M, K] of w and of its gradient, and exact [M, K].

    The exact derivative of Power Spherical's E[w] is another one than the vMF's; it stands in ``exact_power``.
    """
    shape = (len(ESTIMATORS), len(settings.dims), len(settings.kappas))
    found = {name: np.zeros(shape) for name in ("mean", "deviation", "mean_w", "deviation_w")}
    for i, estimator in enumerate(ESTIMATORS):
        for j, m in enumerate(settings.dims):
            for k, kappa in enumerate(settings.kappas):
                (own,) = np.random.SeedSequence((seed, i, j, k)).generate_state(1)  # no two places share their noise
                g = torch.Generator(device).manual_seed(int(own))
                w, slope = _samples(estimator, m, kappa, settings, g, device)
                found["mean"][i, j, k], found["deviation"][i, j, k] = slope.mean(), slope.std(ddof=1)
                found["mean_w"][i, j, k], found["deviation_w"][i, j, k] = w.mean(), w.std(ddof=1)
    kappas = torch.tensor(settings.kappas, dtype=torch.float64)
    laws = [log_0f1(m / 2 - 1, kappas) for m in settings.dims]
    dims = np.array(settings.dims)
    return found | {
        "m": dims,
        "kappa": kappas.numpy(),
        "samples": np.array(settings.samples),
        "exact": np.stack([law.slope.numpy() for law in laws]),
        "exact_w": np.stack([law.ratio.numpy() for law in laws]),
        "exact_power": (dims[:, None] - 1) / (kappas.numpy() + dims[:, None] - 1) ** 2,
        "expected_published": np.stack([published_moments(kappas, m)[1].numpy() for m in settings.dims]),
        "expected_uncorrected": np.stack([uncorrected_slope(kappas, m).numpy() for m in settings.dims]),
    }


def exact_moments(kappa: float, m: int) -> tuple[float, float]:
    """A(kappa) and A'(kappa) of the vMF."""
    law = log_0f1(m / 2 - 1, torch.tensor(kappa, dtype=torch.float64))
    return law.ratio.item(), law.slope.item()


def _samples(estimator: str, m: int, kappa: float, settings: Settings, generator, device: str):
    """w [N] and the gradient of each sample's w by kappa [N]."""
    family, corrected, centred = ESTIMATORS[estimator]
    loc = torch.zeros(m, dtype=torch.float64, device=device)
    loc[1] = 1
    parts = []
    for _ in range(settings.samples // settings.chunk):
        concentration = torch.full((settings.chunk,), kappa, dtype=torch.float64, device=device, requires_grad=True)
        p = family(loc, concentration, validate_args=False)
        if corrected:
            z, log_ratio = p.rsample_rejection((), generator)
            f = z @ loc - (p.mean[0] @ loc).detach() * centred
            surrogate = f + f.detach() * log_ratio
        else:
            z = p.rsample((), generator)
            surrogate = z @ loc
        (slope,) = torch.autograd.grad(surrogate.sum(), concentration)
        parts.append(torch.stack([(z @ loc).detach(), slope]))
    return torch.cat(parts, 1).cpu().numpy()


# --- sampler ---------------------------------------------------------------------------------------------------------


def sampler(settings: Settings, seed: int, device: str) -> dict[str, np.ndarray]:
    """E[w] of the published sampler and of the vMF, and the mean gradients, over a grid [M, K] of m and kappa."""
    m = np.unique(np.geomspace(2, 512, settings.map_size[0]).round().astype(int))
    wide, blend = np.geomspace(1, 1e4, settings.map_size[1]), np.linspace(9.5, 11.5, 21)
    kappa = torch.from_numpy(np.unique(np.concatenate([wide, blend]).round(9)))
    published = [published_moments(kappa, int(n)) for n in m]
    exact = [log_0f1(int(n) / 2 - 1, kappa) for n in m]
    return {
        "m": m,
        "kappa": kappa.numpy(),
        "published_w": np.stack([w.numpy() for w, _ in published]),
        "published_slope": np.stack([slope.numpy() for _, slope in published]),
        "uncorrected_slope": np.stack([uncorrected_slope(kappa, int(n)).numpy() for n in m]),
        "exact_w": np.stack([law.ratio.numpy() for law in exact]),
        "exact_slope": np.stack([law.slope.numpy() for law in exact]),
    }


# --- Bessel functions ------------------------------------------------------------------------------------------------


def bessel(settings: Settings, seed: int, device: str) -> dict[str, np.ndarray]:
    """Relative errors of KL and gradient [W, M, K, 2], NaN or inf as they come, and for a finer row of kappas the first
    dimension where either is not finite [3, K, 2], one above the last that was tried if there is none."""
    kappas = np.array(ERROR_KAPPAS)
    errors = np.zeros((len(WAYS), len(ERROR_DIMS), len(kappas), 2))
    for j, m in enumerate(ERROR_DIMS):
        true = np.array([reference(m, kappa) for kappa in ERROR_KAPPAS])  # [K, 2]
        for i, way in enumerate(WAYS.values()):
            errors[i, j] = np.stack(way(kappas, m), -1).astype(float) / true - 1
    fine = np.geomspace(0.01, 1000, 21)
    frontier = np.full((len(FRONTIERS), len(fine), 2), settings.frontier + 1)
    for m in range(settings.frontier, 1, -1):
        for i, way in enumerate(FRONTIERS):
            broken = ~np.isfinite(np.stack(WAYS[way](fine, m), -1))
            frontier[i][broken] = m
    return {
        "m": np.array(ERROR_DIMS),
        "kappa": kappas,
        "error": errors,
        "frontier_kappa": fine,
        "frontier": frontier,
        "largest": np.array(settings.frontier),
    }


# --- cost ------------------------------------------------------------------------------------------------------------

BATCH = 640
COST_DIMS = (3, 11, 41)
# divergence -> KL and gradient by NumPy (None: `kl_divergence`, forward and backward)
DIVERGENCES = {
    "ive, float32": WAYS["ive, float32"],
    "ive, float64": WAYS["ive, float64"],
    "mean of both bounds, log I by ive": by_ratios(UPPER, LOWER, log_normaliser=log_0f1_by_ive),
    "mean of sharper bounds, log I by ive": by_ratios(*SHARP, log_normaliser=log_0f1_by_ive),
    "ours": None,
    "power": None,
}


def cost(settings: Settings, seed: int, device: str) -> dict[str, np.ndarray]:
    """Median CPU seconds [S, M] of 640 samples forward and backward, and [D, M] of 640 KL divergences to the uniform.

    Always on one thread of the CPU, whose own time other programs on the machine disturb least.
    """
    samples = np.zeros((len(ESTIMATORS), len(COST_DIMS)))
    divergences = np.zeros((len(DIVERGENCES), len(COST_DIMS)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for j, m in enumerate(COST_DIMS):
        generator = torch.Generator().manual_seed(seed)
        raw = torch.randn(BATCH, m, generator=generator)
        loc = (raw / raw.norm(dim=-1, keepdim=True)).requires_grad_()
        kappa = (1 + 50 * torch.rand(BATCH, generator=generator)).requires_grad_()
        steps = {name: _step(name, loc, kappa) for name in ESTIMATORS}
        samples[:, j] = list(medians(steps, settings.repetitions, 3, time.process_time).values())
        steps = {name: _divergence(name, loc, kappa) for name in DIVERGENCES}
        divergences[:, j] = list(medians(steps, settings.repetitions, 3, time.process_time).values())
    torch.set_num_threads(threads)
    return {"m": np.array(COST_DIMS), "samples": samples, "divergences": divergences}


def _step(estimator: str, loc: torch.Tensor, kappa: torch.Tensor):
    family, corrected, _ = ESTIMATORS[estimator]

    def step():
        p = family(loc, kappa, validate_args=False)
        if corrected:
            z, log_ratio = p.rsample_rejection()
            f = z.sum(-1)
            (f + f.detach() * log_ratio).sum().backward()
        else:
            p.rsample().sum().backward()

    return step


def _divergence(name: str, loc: torch.Tensor, kappa: torch.Tensor):
    if way := DIVERGENCES[name]:
        return lambda: way(kappa.detach().double().numpy(), loc.shape[-1])
    family = VonMisesFisher if name == "ours" else PowerSpherical

    def step():
        p = family(loc, kappa, validate_args=False)
        kl_divergence(p, HypersphericalUniform(p.dim)).sum().backward()

    return step
