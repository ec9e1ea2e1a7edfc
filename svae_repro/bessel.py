"""Modified Bessel functions of the first kind, as a von Mises-Fisher distribution needs them.

For a fixed order, all that is hard in these functions is smooth in t = nu / sqrt(x^2 + nu^2) on [0, 1], nu = order + 1:
a Chebyshev series of some 20 to 100 terms, computed once for an order, evaluates them and their derivatives with one
cosine and one matrix product. There is no branch on data and no detour through SciPy, so the functions run on any
device and inside a CUDA graph.

The series are made from values at the Chebyshev nodes (`_expand`). There the order is raised to V >= 24, where ten
terms of the uniform (Debye) expansion are exact to 3e-15 (DLMF 10.41); the backward recurrence, stable because all
its terms are positive, brings it down again. Ratios are carried as q_k = I_(k+1)(x) / (x I_k(x)), finite at x = 0, by
what they differ from their leading parts, and derivatives beside them, never formed as a difference of nearly equal
numbers.

Worst errors against mpmath are asserted in tests/test_bessel.py, for orders to 10,000 and x to 1e8.
"""

import functools
import math
from fractions import Fraction
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import Chebyshev
from torch import Tensor

SERIES_NODES = 128
LOWEST_EXPANSION_ORDER = 24  # from here ten Debye terms are exact to 3e-15, whatever x is
DEBYE_TERMS = 10


def log_iv(order: float, x: Tensor) -> Tensor:
    """Logarithm of the modified Bessel function, log I_order(x).

    Args:
        order: real order >= 0.
        x: tensor of any shape, >= 0; evaluated in float64, returned in the dtype of ``x``.

    At ``x = 0`` the value is 0 for order 0 and -inf otherwise. Differentiable twice. The error is below 1e-12 relative
    to the largest of 1, the value and (order + x) / 2500: near I = 1 rounding x alone costs 1e-16 (order + x).

    Raises:
        ValueError: the order is negative or not finite.
    """
    return _LogIv.apply(_checked_order(order), x.double()).to(torch.result_type(x, 0.0))


def bessel_ratio(order: float, x: Tensor) -> Tensor:
    """Ratio I_(order+1)(x) / I_order(x), the mean resultant length A(kappa) for ``order = m/2 - 1``.

    Shapes, dtypes and errors as for `log_iv`; exactly 0 at ``x = 0``. Differentiable twice.
    """
    return log_0f1(order, x).ratio


class Log0F1(NamedTuple):
    """F, its derivatives and its differences from numbers that may be nearly equal, each of the shape of x."""

    value: Tensor
    ratio: Tensor  # A = F' = I_(order+1) / I_order
    slope: Tensor  # A'
    legendre: Tensor  # x A - F, whose derivative is x A'
    excess: Tensor  # x - F
    shortfall: Tensor  # 1 - A


def log_0f1(order: float, x: Tensor) -> Log0F1:
    """F(x) = log[Gamma(order+1) (2/x)^order I_order(x)] with its derivatives, in one evaluation.

    F is the logarithm of the confluent limit function 0F1(order+1; x^2/4). It is the log-normaliser of the vMF
    relative to the uniform distribution, and its Legendre transform the KL divergence between the two. Nothing is
    formed as a difference of numbers that may be nearly equal: F has no large terms as log I_order(x) - order log(x/2)
    has, and x A - F, x - F, 1 - A and the derivatives keep their digits, for small x as for large. Shapes as for
    `log_iv`; errors are below 2e-14 of each value, that of ``slope`` below 5e-13. All but ``slope`` are differentiable
    twice.
    """
    dtype = torch.result_type(x, 0.0)
    return Log0F1(*(part.to(dtype) for part in _Log0F1.apply(_checked_order(order), x.double())))


def _checked_order(order: float) -> float:
    order = float(order)
    if not (math.isfinite(order) and order >= 0):
        raise ValueError(f"the order of a Bessel function must be a finite number >= 0, got {order}")
    return order


class _LogIv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, order: float, x: Tensor) -> Tensor:
        ctx.order = order
        ctx.save_for_backward(x)
        nu = order + 1
        s = (x * x + nu * nu).sqrt()
        smooth = _evaluate(_series(order, x.device), nu / s)[..., 0]
        # v log(x / (nu + s)) keeps its two logarithms together: apart, they would cancel near I_v(x) = 1.
        return torch.special.xlogy(order, x / (nu + s)) + s - 0.5 * (2 * math.pi * s).log() + smooth

    @staticmethod
    def backward(ctx, grad: Tensor):
        (x,) = ctx.saved_tensors
        slope = bessel_ratio(ctx.order, x)
        return None, grad * (slope + ctx.order / x if ctx.order > 0 else slope)


class _Log0F1(torch.autograd.Function):
    """x -> `Log0F1`; what the derivatives need is among the outputs, but for A''."""

    @staticmethod
    def forward(ctx, order: float, x: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        nu = order + 1
        s2 = x * x + nu * nu
        s = s2.sqrt()
        rest, rise, slope, curvature = _evaluate(_series(order, x.device), nu / s).unbind(-1)[1:]
        rise = rise / s
        quotient = x / (nu + s)  # of A and 1 + rise
        growth = x * quotient  # s - nu
        logarithms = order * torch.log1p(growth / (2 * nu)) + 0.5 * torch.log1p(growth / nu) - growth / s * rest
        ratio = quotient + quotient * rise
        slope = slope / s2
        shortfall = (nu + nu * nu / (s + x)) / (nu + s) - quotient * rise
        excess = nu * (x + growth) / (s + x) + logarithms
        ctx.save_for_backward(x, ratio, slope, curvature, s2, shortfall)
        return growth - logarithms, ratio, slope, growth * rise + logarithms, excess, shortfall

    @staticmethod
    def backward(ctx, grad_value, grad_ratio, grad_slope, grad_legendre, grad_excess, grad_shortfall):
        x, ratio, slope, curvature, s2, shortfall = ctx.saved_tensors
        terms = []
        if grad_value is not None:
            terms.append(grad_value * ratio)
        if grad_ratio is not None:
            terms.append(grad_ratio * slope)
        if grad_slope is not None:
            terms.append(grad_slope * _Last.apply(x, x.detach() * curvature / (s2 * s2)))
        if grad_legendre is not None:
            terms.append(grad_legendre * (x * slope))
        if grad_excess is not None:
            terms.append(grad_excess * shortfall)
        if grad_shortfall is not None:
            terms.append(-grad_shortfall * slope)
        return None, functools.reduce(torch.add, terms) if terms else None


class _Last(torch.autograd.Function):
    """A derivative, as a function of ``x``, that has none of its own here."""

    @staticmethod
    def forward(ctx, x: Tensor, derivative: Tensor) -> Tensor:
        return derivative.clone()

    @staticmethod
    def backward(ctx, grad: Tensor):
        raise NotImplementedError("the logarithm of a Bessel function has no third derivative here")


def _evaluate(series: tuple[Tensor, Tensor], t: Tensor) -> Tensor:
    """Chebyshev series on [0, 1] of several functions, as `_series` returns it, at t [...] -> [..., functions]."""
    degrees, coefficients = series
    return torch.cos((t.sqrt().asin() - math.pi / 2).unsqueeze(-1) * degrees) @ coefficients


@lru_cache(maxsize=256)
def _series(order: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Chebyshev series in t = nu / s of the parts of the Bessel functions that are smooth on [0, 1].

    Returns twice the degrees [terms], since T_k(2t - 1) = cos(2k arccos(sqrt(t))), and the coefficients [terms, 5].

    Columns: log I_v less its elementary leading part; F less its own, over 1 - t; s (A (nu + s) / x - 1); A' s^2;
    A'' s^4 / x.
    """
    degree = torch.arange(SERIES_NODES, device="cpu")
    odd = 2 * degree + 1
    angles = odd.double() * (math.pi / 2 / SERIES_NODES)
    # The multiples of the angles are reduced as integers: rounding them would leave noise in the high coefficients.
    multiples = torch.outer(degree, odd) % (4 * SERIES_NODES)
    transform = torch.cos(multiples.double() * (math.pi / 2 / SERIES_NODES)) * (2 / SERIES_NODES)
    transform[0] /= 2
    nu = order + 1
    t, below_one = (angles / 2).cos() ** 2, (angles / 2).sin() ** 2
    x = nu * (angles / 2).sin() * (1 + t).sqrt() / t  # nu sqrt(1 - t^2) / t
    e = _expand(order, x)
    s = nu / t
    # The leading parts of log I here and at the top order V are differenced in closed form rather than numerically.
    big = e.top_order
    excess = (big - nu) * (big + nu) / (e.s + s)  # s_V - s
    raised = -order * torch.log1p((big - nu + excess) / (nu + s)) + excess - 0.5 * torch.log1p(excess / s)
    log_iv = raised + (e.series / e.descent).log()
    rise = e.rise * s
    # F is the integral of A, and so what is left of it that of what is left of A: exactly 0 at x = 0, and with all its
    # digits around it.
    rest = _mean_up_to_one(transform @ ((rise - below_one / 2) / (t * (1 + t))), below_one)
    coefficients = transform @ torch.stack([log_iv, rest, rise, e.slope * s**2], dim=-1)
    coefficients = torch.column_stack([coefficients, _curvature(coefficients[:, 3])])
    # Below these sizes, relative to a column's largest or 1, coefficients are mostly rounding errors of the values.
    noise = torch.tensor([3e-15, 3e-15, 3e-15, 5e-15, 1e-11], dtype=torch.float64, device="cpu")
    relevant = coefficients.abs() > noise * coefficients.abs().amax(0).clamp_min(1)
    terms = int(relevant.any(1).nonzero().max()) + 1
    degrees = 2 * torch.arange(terms, dtype=torch.float64, device="cpu")
    return degrees.to(device), coefficients[:terms].to(device)


def _mean_up_to_one(series: Tensor, below_one: Tensor) -> Tensor:
    """Mean over [t, 1] of a Chebyshev series on [0, 1], for 1 - t [...]: by as many nodes as are exact for it."""
    nodes, weights = np.polynomial.legendre.leggauss(len(series) // 2)
    at = 1 - below_one.numpy()[..., None] * (1 - nodes) / 2
    return torch.from_numpy(Chebyshev(series.numpy(), domain=[0, 1])(at) @ (weights / 2))


def _curvature(slope: Tensor) -> Tensor:
    """Coefficients [terms] of A'' s^4 / x = -t p'(t) - 2 p(t) from those of p(t) = A' s^2."""
    p = Chebyshev(slope.numpy(), domain=[0, 1])
    found = (-Chebyshev.identity(domain=[0, 1]) * p.deriv() - 2 * p).coef
    return torch.from_numpy(np.pad(found, (0, len(slope) - len(found))))  # NumPy leaves out zeros at the end


class _Expansion(NamedTuple):
    top_order: float  # V
    s: Tensor  # sqrt(x^2 + V^2)
    v_plus_s: Tensor
    series: Tensor  # sum_k u_k(t) / V^k
    descent: Tensor  # product of (V+s) q_k over the orders passed on the way down
    rise: Tensor  # q (nu+s) - 1 with q = I_(v+1) / (x I_v)
    slope: Tensor  # d/dx of x q


def _expand(order: float, x: Tensor) -> _Expansion:
    big = order + max(1, math.ceil(LOWEST_EXPANSION_ORDER - order))
    x2 = x * x
    s2 = x2 + big * big
    s = s2.sqrt()
    v_plus_s = s + big
    t = big / s
    powers = t.unsqueeze(-1).expand(*t.shape, 3 * DEBYE_TERMS).cumprod(-1)
    table = _debye_table(big, x.device)
    series, q_series, series_t, q_series_t = (torch.matmul(powers, table[1:]) + table[0]).unbind(-1)
    correction = q_series / series
    # r_V = x/(s+V) - (x/s^2) Q/S is free of cancellation, and so is its derivative
    slope = t / v_plus_s - (big * big - x2) / (s2 * s2) * correction
    slope = slope + x2 * big / (s2 * s2 * s) * (q_series_t - correction * series_t) / series
    orders = _recurrence_orders(order, big)
    product = 1.0
    # q_k (k + s_k) - 1 and q_(k-1) (k + s_k) - 1, with s_k = sqrt(x^2 + k^2), are carried in place of the q_k, which
    # are nearly 1 / (k + s_k) where x is large.
    fall, s_k = -v_plus_s / s2 * correction, s
    for k in orders:
        k_plus_s = k + s_k
        reduced = x2 / (k_plus_s * k_plus_s) * fall
        rise = -reduced / (1 + reduced)
        q = (1 + rise) / k_plus_s
        slope = q * q * (2 * k - x2 * slope)
        product = product * q
        s_below = (x2 + (k - 1) * (k - 1)).sqrt()
        fall = (rise * (k - 1 + s_below) - (1 + (2 * k - 1) / (s_k + s_below))) / k_plus_s
        s_k = s_below
    return _Expansion(big, s, v_plus_s, series, product * v_plus_s ** len(orders), rise, slope)


def _recurrence_orders(order: float, big: float) -> list[float]:
    """Orders k from V down to order + 1: step k takes q_k to q_(k-1)."""
    return [big - i for i in range(round(big - order))]


@cache
def _debye_polynomials() -> list[list[Fraction]]:
    """Coefficients, lowest power first, of the u_k(t) of DLMF 10.41.9, k = 0..DEBYE_TERMS, by 10.41.10."""
    polynomials = [[Fraction(1)]]
    for _ in range(DEBYE_TERMS):
        u = polynomials[-1]
        following = [Fraction(0)] * (len(u) + 3)
        for power, c in enumerate(u):  # t^2 (1 - t^2) u' / 2 + 1/8 integral_0^t (1 - 5 a^2) u(a) da
            following[power + 1] += c * power / 2 + c / 8 / (power + 1)
            following[power + 3] -= c * power / 2 + 5 * c / 8 / (power + 3)
        polynomials.append(following)
    return polynomials


@lru_cache(maxsize=256)
def _debye_table(big: float, device: torch.device) -> Tensor:
    """[3 K + 1, 4]: powers of t in S = sum u_k/V^k, Q = sum (u_k/2 + t u_k')/V^k, dS/dt, dQ/dt, for fixed V."""
    length = 3 * DEBYE_TERMS + 1
    s = [
        math.fsum(float(u[p]) / big**k for k, u in enumerate(_debye_polynomials()) if p < len(u)) for p in range(length)
    ]
    q = [c * (0.5 + p) for p, c in enumerate(s)]
    derivative = [[*(p * c for p, c in enumerate(row) if p), 0.0] for row in (s, q)]
    return torch.tensor([s, q, *derivative], dtype=torch.float64, device=device).T.contiguous()
