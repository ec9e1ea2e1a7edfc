"""Ways of evaluating the KL divergence from a vMF to the uniform distribution and its gradient, to compare with ours.

Eqs. 5 and 6 of the paper by SciPy's ``ive``, closed-form bounds of the ratio of Bessel functions, and `reference` with
60 decimals: a series and a continued fraction whose terms are all positive, in Python's own `decimal`, so that it
shares nothing with what it judges. Every way maps kappa [K] in float64 and m to value and gradient [K] in nats.
"""

from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import torch
from scipy import special
from torch.distributions import kl_divergence

from .bessel import log_0f1
from .distributions import HypersphericalUniform, VonMisesFisher
from .distributions.sphere import log_surface_area


def kl_by_ive(kappa: np.ndarray, m: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """KL divergence to the uniform distribution and its gradient by Eqs. 5 and 6 of the paper with SciPy's ``ive``."""
    kappa, half = kappa.astype(dtype), m / 2
    with np.errstate(all="ignore"):
        below2, below, at, above = (special.ive(dtype(half + step), kappa) for step in (-2, -1, 0, 1))
        log_c = dtype(half - 1) * np.log(kappa) - dtype(half * np.log(2 * np.pi)) - (kappa + np.log(below))
        value = kappa * at / below + log_c + dtype(log_surface_area(m))
        slope = kappa / 2 * (above / below - at * (below2 + at) / below**2 + 1)
    return value, slope


def _by_bounds(*bounds: tuple[float, float]):
    """The same with A(kappa) replaced by the mean of ``kappa / (v + c + sqrt((v + e)^2 + kappa^2))``, v = m/2, over
    bounds (c, e), and its derivative; the value of log I is exact."""

    def kl(kappa: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        ratio = slope = 0
        for c, e in bounds:
            root = np.sqrt((m / 2 + e) ** 2 + kappa**2)
            ratio = ratio + kappa / (m / 2 + c + root) / len(bounds)
            slope = slope + (m / 2 + c + root - kappa**2 / root) / (m / 2 + c + root) ** 2 / len(bounds)
        return kappa * ratio - log_0f1(m / 2 - 1, torch.from_numpy(kappa)).value.numpy(), kappa * slope

    return kl


UPPER, LOWER = (-1.0, 1.0), (-0.5, 0.5)  # Amos (1974)


def ours(kappa: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """KL divergence and gradient by `kl_divergence`."""
    concentration = torch.from_numpy(kappa).requires_grad_()
    p = VonMisesFisher(torch.eye(m, dtype=torch.float64)[0], concentration)
    kl = kl_divergence(p, HypersphericalUniform(m))
    return kl.detach().numpy(), torch.autograd.grad(kl.sum(), concentration)[0].numpy()


WAYS = {
    "ive, float32": lambda kappa, m: kl_by_ive(kappa, m, np.float32),
    "ive, float64": lambda kappa, m: kl_by_ive(kappa, m, np.float64),
    "upper bound of the ratio": _by_bounds(UPPER),
    "lower bound of the ratio": _by_bounds(LOWER),
    "mean of both bounds": _by_bounds(UPPER, LOWER),
    "ours": ours,
}
FRONTIERS = ("ive, float32", "ive, float64", "ours")
ERROR_DIMS = (2, 3, 5, 11, 21, 41, 101, 301, 1001)
ERROR_KAPPAS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)


@cache
def reference(m: int, kappa: float) -> tuple[float, float]:
    """KL divergence to the uniform distribution and its gradient with 60 decimals.

    F by its series sum_k (kappa^2/4)^k / (k! (m/2)_k), A by its continued fraction 1/(m/kappa + 1/((m+2)/kappa + ...)).
    """
    with localcontext() as context:
        context.prec = 80
        x = Decimal(kappa)
        quarter, term, total, k = x * x / 4, Decimal(1), Decimal(1), 0
        while term > Decimal(10) ** -70 * total:
            k += 1
            term = term * quarter / (k * (Decimal(m) / 2 + k - 1))
            total += term
        fraction = Decimal(0)
        for step in range(2 * k + 100, -1, -1):
            fraction = 1 / ((m + 2 * step) / x + fraction)
        slope = 1 - fraction * fraction - (m - 1) * fraction / x
        return float(x * fraction - total.ln()), float(x * slope)
