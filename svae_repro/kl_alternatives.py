"""Ways of evaluating the KL divergence from a vMF to the uniform distribution and its gradient, to compare with ours.

Eqs. 5 and 6 of the paper by SciPy's ``ive``, closed-form bounds of the ratio of Bessel functions, and `reference` with
60 decimals: a series and a continued fraction whose terms are all positive, in Python's own `decimal`, so that it
shares nothing with what it judges. The bounds are those of Amos (1974), Computation of modified Bessel functions and
their ratios, and of Ruiz-Antolin and Segura (2016), A new type of sharp bounds for ratios of modified Bessel functions
(its B_0 and B_2, whose mean the authors' own code offers). Every way maps kappa [K] in float64 and m to value and
gradient [K] in nats.
"""

from collections.abc import Callable
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


Ratio = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]  # kappa [K], m -> A(kappa) and A'(kappa), both [K]


def amos(c: float, e: float) -> Ratio:
    """Amos's (1974) bounds of the ratio A, ``kappa / (v + c + sqrt((v + e)^2 + kappa^2))`` with v = m/2."""

    def bound(kappa: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        root = np.sqrt((m / 2 + e) ** 2 + kappa**2)
        below = m / 2 + c + root
        return kappa / below, (below - kappa**2 / root) / below**2

    return bound


def ruiz_antolin(alpha: float) -> Ratio:
    """The bounds B_alpha of the ratio A by Ruiz-Antolin and Segura (2016), upper for alpha = 0 and lower for 2.

    ``kappa / (delta + sqrt(delta^2 + kappa^2))`` with delta = v - 1/2 + l / (2 sqrt(l^2 + kappa^2)),
    l = v + (alpha - 1)/2 and v = m/2.
    """

    def bound(kappa: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        shifted = m / 2 + (alpha - 1) / 2
        hypotenuse = np.hypot(shifted, kappa)
        delta = m / 2 - 0.5 + shifted / (2 * hypotenuse)
        delta_slope = -shifted * kappa / (2 * hypotenuse**3)
        root = np.hypot(delta, kappa)
        below = delta + root
        return kappa / below, (below - kappa * (delta_slope + (delta * delta_slope + kappa) / root)) / below**2

    return bound


def exact_log_0f1(kappa: np.ndarray, m: int) -> np.ndarray:
    """log F(kappa) = log I_v(kappa) - v log(kappa/2) + log Gamma(v+1), v = m/2 - 1, by `svae_repro.bessel`."""
    return log_0f1(m / 2 - 1, torch.from_numpy(kappa)).value.numpy()


def log_0f1_by_ive(kappa: np.ndarray, m: int) -> np.ndarray:
    """The same by SciPy's ``ive``, as is done where only the ratio is approximated."""
    v = m / 2 - 1
    return np.log(special.ive(v, kappa)) + kappa - v * np.log(kappa / 2) + special.gammaln(v + 1)


def by_ratios(*ratios: Ratio, log_normaliser: Callable = exact_log_0f1):
    """KL divergence and gradient with A replaced by the mean of ``ratios``, and A' by its derivative."""

    def kl(kappa: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        ratio, slope = np.mean([ratio(kappa, m) for ratio in ratios], axis=0)
        return kappa * ratio - log_normaliser(kappa, m), kappa * slope

    return kl


UPPER, LOWER = amos(-1.0, 1.0), amos(-0.5, 0.5)
SHARP = ruiz_antolin(0), ruiz_antolin(2)


def ours(kappa: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """KL divergence and gradient by `kl_divergence`."""
    concentration = torch.from_numpy(kappa).requires_grad_()
    p = VonMisesFisher(torch.eye(m, dtype=torch.float64)[0], concentration)
    kl = kl_divergence(p, HypersphericalUniform(m))
    return kl.detach().numpy(), torch.autograd.grad(kl.sum(), concentration)[0].numpy()


WAYS = {
    "ive, float32": lambda kappa, m: kl_by_ive(kappa, m, np.float32),
    "ive, float64": lambda kappa, m: kl_by_ive(kappa, m, np.float64),
    "upper bound of the ratio": by_ratios(UPPER),
    "lower bound of the ratio": by_ratios(LOWER),
    "mean of both bounds": by_ratios(UPPER, LOWER),
    "mean of sharper bounds": by_ratios(*SHARP),
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
