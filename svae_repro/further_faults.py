"""Faults of code in circulation beyond those of `vmf_checks`, each written anew and measured when asked for.

The authors' vMF class, the README and the sampler of an earlier reproduction (raphaelrubrice/HVAE), the hyperboloid in
float32 and the libraries SciPy and torch-geometric in the versions that are installed.
"""

import math
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata

import numpy as np
import pandas as pd
import torch
from scipy import optimize, special, stats
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # of torch, on what torch-geometric uses of it
    from torch_geometric.data import Data
    from torch_geometric.nn import GAE
    from torch_geometric.transforms import RandomLinkSplit

from . import paths
from .distributions import HypersphericalUniform, VonMisesFisher
from .distributions.sphere import log_surface_area
from .kl_alternatives import kl_by_ive, reference


@dataclass(frozen=True)
class Fault:
    """What is wrong and where, how it is checked, what came out, and what should have."""

    where: str
    fault: str
    check: str
    found: float
    should_be: float


def further_faults() -> list[Fault]:
    """All of them, measured now, with fixed seeds."""
    return [
        *_householder(),
        _no_concentration(),
        _shapes(),
        _undecoded_samples(),
        _scipy_entropy(),
        _copied_table(),
        _wrapped_instead_of_von_mises(),
        *_hyperboloid(),
        _validation_edges(),
        _resampled_negatives(),
    ]


def _householder() -> list[Fault]:
    """Samples around e1 [N, 3] reflected to mean directions [N, 3], with 1e-5 added to the length of the normal."""
    g = torch.Generator().manual_seed(0)
    e1 = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    z = VonMisesFisher(e1, 1.0).rsample((10_000,), g)

    def off_the_sphere(loc: Tensor) -> Tensor:
        normal = e1 - loc
        normal = normal / (normal.norm(dim=-1, keepdim=True) + 1e-5)
        return ((z - 2 * (z * normal).sum(-1, keepdim=True) * normal).norm(dim=-1) - 1).abs()

    anywhere = torch.randn(z.shape, generator=g, dtype=torch.float64)
    anywhere = anywhere / anywhere.norm(dim=-1, keepdim=True)
    near = torch.tensor([math.cos(1e-3), math.sin(1e-3), 0], dtype=torch.float64)
    fault = "Householder normal divided by its length + 1e-5: samples leave the sphere"
    where = "authors' vMF"
    return [
        Fault(where, fault, "median distance from the sphere, any μ", off_the_sphere(anywhere).median().item(), 0),
        Fault(where, fault, "largest one, μ 0.001 rad from e1", off_the_sphere(near).max().item(), 0),
    ]


def _no_concentration() -> Fault:
    value, _ = kl_by_ive(np.zeros(1), 5, np.float32)
    return Fault(
        "authors' vMF", "no limit at κ = 0, the uniform distribution", "KL at κ = 0, m = 5", float(value[0]), 0
    )


class _Mislabelled(Distribution):
    """A vMF that gives its base class the shape of ``loc`` as the batch shape, and no event shape."""

    def __init__(self, loc: Tensor, concentration: Tensor):
        self.right = VonMisesFisher(loc, concentration)
        super().__init__(loc.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.right.log_prob(value)


def _shapes() -> Fault:
    p = _Mislabelled(torch.eye(4), torch.ones(4))
    densities = Independent(p, 1).log_prob(torch.eye(4))  # sums what it takes for the last of the batch's dimensions
    fault = "batch shape [B, m] and event shape [] in place of [B] and [m]"
    return Fault("authors' vMF", fault, "log-densities of 4 points by torch's Independent", densities.numel(), 4)


def _undecoded_samples() -> Fault:
    """x = z + noise in ten dimensions with the true posterior, for x = 0: every importance weight would be p(x)."""
    d, samples, repeats, noise = 10, 500, 4000, 0.1
    generator = torch.Generator().manual_seed(0)
    zero = torch.zeros(d, dtype=torch.float64)
    prior, likelihood = Normal(zero, 1.0), Normal(zero, noise)  # symmetric: p(x = 0 | z) as a function of z
    posterior = Normal(zero, noise / math.sqrt(1 + noise**2))
    z = posterior.stddev * torch.randn(repeats, samples + 1, d, generator=generator, dtype=torch.float64)
    log_ratio = (prior.log_prob(z) - posterior.log_prob(z)).sum(-1)[:, 1:]
    found = likelihood.log_prob(z[:, 0]).sum(-1) + log_ratio.logsumexp(1) - math.log(samples)
    truth = Normal(zero, math.sqrt(1 + noise**2)).log_prob(zero).sum().item()
    fault = "log-likelihood: prior over posterior at 500 samples, but the decoder's term of one other sample"
    return Fault("authors' example", fault, "LL where q is the true posterior, d = 10", found.mean().item(), truth)


def released_gap(kl: float, m: int, samples: int = 500) -> tuple[float, float]:
    """LL - ELBO by the released example's formula for posteriors vMF(m, kappa) with that KL divergence from uniform.

    The decoder's term cancels: what is left is KL + E[log mean_k p(z_k) / q(z_k)], a number of the posteriors alone.

    Args:
        kl: in nats, above zero.
        m: dimension around the sphere.
        samples: how many are in the mean.

    Returns:
        The mean of 1,000 repetitions, in nats, and its standard error.
    """
    uniform, pole = HypersphericalUniform(m), torch.eye(m, dtype=torch.float64)[0]

    def posterior(log_kappa: float) -> VonMisesFisher:
        return VonMisesFisher(pole, torch.tensor(math.exp(log_kappa), dtype=torch.float64))

    q = posterior(optimize.brentq(lambda k: kl_divergence(posterior(k), uniform).item() - kl, -10, 30, xtol=1e-10))
    generator, gaps = torch.Generator().manual_seed(0), []
    for _ in range(10):
        z = q.rsample((samples, 100), generator)
        gaps.append((uniform.log_prob(z) - q.log_prob(z)).logsumexp(0) - math.log(samples) + kl)
    gap = torch.cat(gaps)
    return gap.mean().item(), (gap.std() / math.sqrt(len(gap))).item()


def _scipy_entropy() -> Fault:
    m, kappa = 1000, 10.0
    with np.errstate(all="ignore"):
        found = float(stats.vonmises_fisher(np.eye(m)[0], kappa).entropy())
    where = f"SciPy {metadata.version('scipy')}"
    truth = log_surface_area(m) - reference(m, kappa)[0]
    return Fault(where, "Bessel function underflows", "entropy of `vonmises_fisher`, m = 1000, κ = 10", found, truth)


def _copied_table() -> Fault:
    """Of the numbers in the README's "reproduced" table, how many are the paper's to the last digit."""
    printed, paper = (pd.read_csv(paths.published() / f"{name}.csv") for name in ("hvae_readme_table1", "table1"))
    both = printed.merge(paper, on=["method", "d", "metric"], suffixes=("", "_paper"))
    spread = f"{both['std'].min():g} to {both['std'].max():g}"
    fault = (
        f'the {len(printed)} "reproduced" numbers of Table 1 are the paper\'s, whose standard deviations are {spread}'
    )
    same = int((both["mean"] == both["mean_paper"]).sum())
    return Fault("HVAE, README", fault, "equal to the paper's in all digits", same, 0)


def _wrapped_instead_of_von_mises() -> Fault:
    kappa = 1.0
    angle = torch.randn(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / kappa
    fault = "on the circle a wrapped normal with standard deviation 1/κ for the von Mises"
    truth = float(special.i1(kappa) / special.i0(kappa))
    return Fault("HVAE, sampler", fault, "mean of μ·z, κ = 1", angle.cos().mean().item(), truth)


def _hyperboloid() -> list[Fault]:
    """Distance of a point from itself as arcosh(-<x, x>), for 1,000 points of H^2 within 1 % of a given radius.

    How often that is NaN hangs on the last bit of the coordinates, and so on the processor where they come from cosh
    and cos. Here they are rational in tanh(r / 2) and tan(angle / 2), with sums, products and quotients only, which
    every processor rounds alike.
    """
    u, turn = torch.rand(2, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = 2 * turn - 1

    def itself(radius: float, dtype: torch.dtype) -> Tensor:
        nearest, farthest = (round(math.tanh(radius * share / 2), 6) for share in (0.99, 1.01))
        s = nearest + (farthest - nearest) * u
        cosh, sinh = (1 + s * s) / (1 - s * s), 2 * s / (1 - s * s)
        x = torch.stack([cosh, sinh * ((1 - t * t) / (1 + t * t)), sinh * (2 * t / (1 + t * t))], -1).to(dtype)
        return torch.acosh(x[:, 0] * x[:, 0] - x[:, 1] * x[:, 1] - x[:, 2] * x[:, 2]).nan_to_num(math.inf)

    def lost(radius: float, dtype: torch.dtype) -> float:
        return 100 * itself(radius, dtype).isinf().double().mean().item()

    at_one = itself(1.0, torch.float32)
    where, fault = "hyperboloid as printed", "arcosh just above 1 keeps half of the digits, below 1 it is NaN"
    return [
        Fault(where, fault, "d(x, x) in float32, radius 1, largest", at_one[at_one.isfinite()].max().item(), 0),
        Fault(where, fault, "d(x, x) in float32, radius 8: % NaN", lost(8.0, torch.float32), 0),
        Fault(where, fault, "d(x, x) in float64, radius 3: % NaN", lost(3.0, torch.float64), 0),
    ]


def _ring(nodes: int) -> Tensor:
    """Edges [2, 2N] of a ring, each in both directions."""
    one = torch.arange(nodes)
    return torch.cat([torch.stack([one, one.roll(-1)]), torch.stack([one.roll(-1), one])], 1)


@contextmanager
def _seeded() -> Iterator[None]:
    """torch-geometric takes no generator: it draws from torch's and from Python's own, which are as before behind."""
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        yield
    random.setstate(state)


def _validation_edges() -> Fault:
    split = RandomLinkSplit(0.2, 0.2, is_undirected=True, add_negative_train_samples=False)
    with _seeded():
        _, validation, test = split(Data(x=torch.zeros(100, 1), edge_index=_ring(100)))
    held_out = validation.edge_label_index[:, validation.edge_label == 1].T.tolist()
    seen = {tuple(edge) for edge in test.edge_index.T.tolist()}
    share = 100 * sum(tuple(edge) in seen for edge in held_out) / len(held_out)
    where, fault = (
        f"torch-geometric {metadata.version('torch_geometric')}",
        "the encoder's test graph of RandomLinkSplit",
    )
    return Fault(where, fault, "% of the validation edges in it", share, 0)


def _resampled_negatives() -> Fault:
    g = torch.Generator().manual_seed(0)
    z, edges = torch.randn(100, 4, generator=g), _ring(100)
    with _seeded():
        losses = torch.stack([GAE(torch.nn.Identity()).recon_loss(z, edges) for _ in range(50)])
    where = f"torch-geometric {metadata.version('torch_geometric')}"
    fault = "GAE.recon_loss draws one non-edge for each edge, not all pairs weighted"
    return Fault(where, fault, "standard deviation of 50 losses of one embedding", losses.std().item(), 0)
