"""bessel.py against mpmath at 60 digits, over orders 0 to 10,000 and x from 0 to 1e8; no point of the grid is skipped.

Tolerances are relative and stand in `BOUNDS`, each with the worst error measured over 2,200 points (torch 2.15, CPU).
"""

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
import torch

from svae_repro.bessel import _curvature, bessel_ratio, log_0f1, log_iv

DIGITS = 60  # A'' is differenced from quantities 1e24 times larger at x = 1e8, which leaves 36
# 0.5 needs the longest Chebyshev series (100 of 128 terms); the internal scheme changes where order + 1 passes 24.
ORDERS = [0, 0.01, 0.25, 0.5, 1, 3.7, 10, 22, 22.9, 23, 23.5, 24, 30.3, 100, 999.5, 1e4]
X = [1e-6, 1e-3, 0.1, 1, 5, 20, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8]
MULTIPLES = [0.1, 0.5, 0.66, 0.66305367307, 1, 3]  # x / order; at 0.663 log I_order passes through 0 for order 1e4

BOUNDS = {  # quantity: bound on the relative error as a function of x, and the worst one seen
    "log_iv": lambda x: 1e-12,  # 1e-13; up to 3e-12 absolute where I_order(x) = 1 at order 1e4, see `assert_accurate`
    "F": lambda x: 2e-14,  # 2.6e-15
    "x A - F": lambda x: 2e-14,  # 1.5e-15
    "x - F": lambda x: 2e-14,  # 3.6e-16
    "A": lambda x: 2e-14,  # 1.9e-15
    "1 - A": lambda x: 2e-14,  # 2.4e-15
    "log_iv'": lambda x: 2e-14,  # 1.9e-15
    "F'": lambda x: 2e-14,  # 1.9e-15
    "A'": lambda x: 5e-13,  # 3.6e-14, near x = 1e8; of order 1/x^2 there, so its absolute error is far smaller
    "log_iv''": lambda x: 1e-10,  # 6.6e-11, at order 4e3
    "A''": lambda x: 3e-10,  # 1.5e-10, at order 0.01 near x = 0
}


def log_iv_hankel(order, x):
    """log I_order(x) by Hankel's series (DLMF 10.40.1), whose terms grow to e^(order^2/2x) before they cancel."""
    with mp.workdps(int(DIGITS + 10 + order**2 / x / math.log(10))):
        order, x, k, term, total = mp.mpf(order), mp.mpf(x), 0, mp.mpf(1), mp.mpf(1)
        while abs(term) > mp.mpf(10) ** -DIGITS * abs(total):
            k += 1
            assert k < 2 * x, f"Hankel's series diverges before it converges: order {order}, x {x}"
            term *= ((2 * k - 1) ** 2 - 4 * order**2) / (8 * k * x)
            total += term
        return x - mp.log(2 * mp.pi * x) / 2 + mp.log(total)


def log_iv_mpmath(order, x):
    """log I_order(x) by mpmath's own routine, which raises where it does not converge."""
    with mp.workdps(DIGITS):
        return mp.log(mp.besseli(mp.mpf(order), mp.mpf(x), maxterms=10**6, maxprec=20_000))


def ratio_by_continued_fraction(order, x):
    """I_(order+1)/I_order by Gauss's continued fraction (DLMF 10.33.1); 20 sqrt(x) terms leave e^-400."""
    with mp.workdps(DIGITS):
        order, two_over_x, ratio = mp.mpf(order), 2 / mp.mpf(x), mp.mpf(0)
        for k in range(int(20 * math.sqrt(x)) + 100, 0, -1):
            ratio = 1 / ((order + k) * two_over_x + ratio)
        return ratio


def reference(order, x):
    """Every quantity in `BOUNDS`, to at least 30 digits."""
    log_i = log_iv_hankel if x > 1000 + 3 * order else log_iv_mpmath
    with mp.workdps(DIGITS):
        v, x = mp.mpf(order), mp.mpf(x)
        log_iv = log_i(v, x)
        a = mp.exp(log_i(v + 1, x) - log_iv)
        slope = 1 - a * a - (2 * v + 1) * a / x
        curvature = -2 * a * slope - (2 * v + 1) * (slope / x - a / x**2)
        big_f = log_iv + mp.loggamma(v + 1) - v * mp.log(x / 2)
        log_ivs = {"log_iv": log_iv, "log_iv'": a + v / x, "log_iv''": slope - v / x**2}
        differences = {"x A - F": x * a - big_f, "x - F": x - big_f, "1 - A": 1 - a}
        return log_ivs | {"F": big_f, "F'": a, "A": a, "A'": slope, "A''": curvature} | differences


def computed(order, x):
    """The same quantities from bessel.py: a dict of tensors shaped like x."""
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)

    def derivative(y):
        return torch.autograd.grad(y.sum(), x, create_graph=True)[0]

    out = {"log_iv": log_iv(order, x)}
    out["log_iv'"] = derivative(out["log_iv"])
    out["log_iv''"] = derivative(out["log_iv'"])
    out["F"], out["A"], _, out["x A - F"], out["x - F"], out["1 - A"] = log_0f1(order, x)
    out["F'"], out["A'"] = derivative(out["F"]), derivative(out["A"])
    out["A''"] = derivative(out["A'"])
    assert torch.equal(out["A"], bessel_ratio(order, x))
    return {name: value.detach() for name, value in out.items()}


def assert_accurate(order, xs):
    values = computed(order, xs)
    for i, x in enumerate(xs):
        for name, exact in reference(order, x).items():
            # log I passes through 0: relative to max(1, |value|). Where I = 1, two terms of size order + x cancel in
            # it; 4e-16 of them (two units in the last place) are allowed: 7e-12 at order 1e4.
            floor = max(1, (order + x) / 2500) if name == "log_iv" else 0
            error = abs(mp.mpf(values[name][i].item()) - exact) / max(abs(exact), floor)
            bound = BOUNDS[name](x)
            assert error <= bound, f"{name} at order {order}, x = {x}: error {float(error):.1e} > {bound:.1e}"


@pytest.mark.parametrize("order, x", [(0.01, 1e8), (30.3, 2e3), (2000, 9e3), (1e4, 31_001), (1e4, 1e6), (1e4, 1e8)])
def test_oracles_agree(order, x):
    with mp.workdps(DIGITS):
        log_i = log_iv_hankel(order, x)
        ratio = mp.exp(log_iv_hankel(order + mp.mpf(1), x) - log_i)
        assert abs(ratio - ratio_by_continued_fraction(order, x)) < mp.mpf(10) ** -40
        if order < 1e4 or x < 1e5:  # beyond, mpmath takes minutes; Hankel's series only gets easier as x grows
            assert abs(log_i - log_iv_mpmath(order, x)) < mp.mpf(10) ** -40 * log_i


@pytest.mark.parametrize("order", ORDERS)
def test_accuracy_on_the_grid(order):
    assert_accurate(order, X + [order * c for c in MULTIPLES if order > 1])


def test_accuracy_at_random_points():
    draw = random.Random(20180403)
    for _ in range(120):
        order = draw.choice([draw.uniform(0, 5), draw.uniform(22, 26), 10 ** draw.uniform(0, 4) - 1])
        assert_accurate(order, [10 ** draw.uniform(-6, 8) for _ in range(4)])


def test_half_integer_closed_forms():
    x = torch.logspace(0, 8, 200, dtype=torch.float64)
    log_sinh = x + torch.log1p(-torch.exp(-2 * x)) - math.log(2)
    langevin = 1 / torch.tanh(x) - 1 / x
    close = dict(rtol=1e-13, atol=1e-13)  # the closed forms lose a digit by cancellation at x = 1
    torch.testing.assert_close(log_iv(0.5, x), log_sinh - 0.5 * torch.log(math.pi / 2 * x), **close)
    torch.testing.assert_close(bessel_ratio(0.5, x), langevin, **close)
    torch.testing.assert_close(bessel_ratio(1.5, x), 1 / langevin - 3 / x, **close)


@pytest.mark.parametrize("x", [0.0, 1e-300, 1e-30])  # x^2 vanishes: the leading terms of the power series are exact
@pytest.mark.parametrize("order", ORDERS)
def test_at_zero_and_tiny_x(order, x):
    got = {name: value.item() for name, value in computed(order, [x]).items()}
    log_i = float(order * mp.log(mp.mpf(x) / 2) - mp.loggamma(order + 1)) if order else 0
    log_slope = (order / x if x else math.inf) if order else x / 2
    assert got["log_iv"] == pytest.approx(log_i, rel=1e-12, abs=1e-12)
    assert got["log_iv'"] == pytest.approx(log_slope, rel=1e-12, abs=0)
    assert got["F"] == pytest.approx(x**2 / (4 * (order + 1)), rel=1e-14, abs=0)  # exactly 0 at x = 0
    assert got["x A - F"] == pytest.approx(x**2 / (4 * (order + 1)), rel=1e-14, abs=0)
    assert got["A"] == got["F'"] == pytest.approx(x / (2 * (order + 1)), rel=1e-12, abs=0)  # exactly 0 at x = 0
    assert got["A'"] == pytest.approx(1 / (2 * (order + 1)), rel=1e-12)
    assert abs(got["A''"]) <= x  # A'' = -3x / (4 (order+1)^2 (order+2)), here only bounded


def part(name):
    """One of the fields of `log_0f1` as a function."""
    return lambda order, x: getattr(log_0f1(order, x), name)


@pytest.mark.parametrize("order", [0, 0.5, 9.5, 30.3, 999.5])
def test_differences_of_large_numbers_keep_their_digits(order):
    for x in (1e9, 1e12, 1e15, 1e18):
        got, (log_i, above) = log_0f1(order, torch.tensor(x, dtype=torch.float64)), (0, 0)
        with mp.workdps(DIGITS):
            log_i, above = (log_iv_hankel(mp.mpf(order) + k, x) for k in (0, 1))
            a = mp.exp(above - log_i)
            big_f = log_i + mp.loggamma(mp.mpf(order) + 1) - order * mp.log(mp.mpf(x) / 2)
            expected = {"legendre": x * a - big_f, "excess": x - big_f, "shortfall": 1 - a}
        for name, exact in expected.items():
            assert getattr(got, name).item() == pytest.approx(float(exact), rel=3e-14, abs=0), (name, x)


DIFFERENTIABLE = [log_iv, bessel_ratio, *map(part, ("value", "legendre", "excess", "shortfall"))]


@pytest.mark.parametrize("function", DIFFERENTIABLE)
@pytest.mark.parametrize("order", [0, 0.5, 4.5, 23.5, 40])
def test_autograd_sees_every_derivative(function, order):
    x = torch.tensor([0.3, 2, 9, 60], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: function(order, x), x)
    assert torch.autograd.gradgradcheck(lambda x: function(order, x), x)


def test_a_third_derivative_is_refused_and_not_wrong():
    x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(log_0f1(0.5, x).ratio, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x, create_graph=True)
    with pytest.raises(NotImplementedError, match="third derivative"):
        torch.autograd.grad(second, x)


@pytest.mark.parametrize("function", [log_iv, bessel_ratio, part("legendre")])
def test_whole_numbers_are_taken_for_real_ones(function):
    whole = function(0.5, torch.tensor([1, 5]))
    assert torch.equal(whole, function(0.5, torch.tensor([1.0, 5.0]))) and whole.dtype == torch.float32


def test_a_default_device_does_not_reach_the_series():
    """It is made with NumPy, on the CPU, wherever new tensors go; the order is one that no other test has used."""
    x = torch.tensor(1.0, dtype=torch.float64)
    with torch.device("meta"):
        value = bessel_ratio(7.123, x)
    assert value.item() == pytest.approx(float(mp.besseli(8.123, 1) / mp.besseli(7.123, 1)), rel=1e-12)


@pytest.mark.parametrize("function", [log_iv, bessel_ratio])
def test_float32_is_float64_rounded(function):
    x = torch.logspace(-6, 8, 50, requires_grad=True)
    value = function(4.5, x)
    assert value.dtype == torch.float32 and torch.equal(value, function(4.5, x.double()).float())
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert gradient.dtype == torch.float32 and gradient.isfinite().all()


@pytest.mark.parametrize("function", [log_iv, bessel_ratio])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3, 4)])
def test_shapes_and_independent_elements(function, shape):
    x = 50 * torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = function(2.2, x)
    assert value.shape == shape == function(2.2, x.to("meta")).shape  # meta tensors hold no data to branch on
    one_by_one = torch.tensor([function(2.2, v).item() for v in x.flatten()], dtype=torch.float64).reshape(shape)
    torch.testing.assert_close(value, one_by_one, rtol=1e-14, atol=1e-14)  # sums may be taken in another order


@pytest.mark.parametrize("last", [0.125, 0.0])
def test_a_series_of_which_the_last_coefficient_is_zero(last):
    """It is for one order in five where MKL adds up as on a processor without AVX-512, and NumPy drops such zeros."""
    slope = torch.tensor([1.0, -0.5, 0.25, last], dtype=torch.float64)
    t = np.linspace(0, 1, 9)
    p = np.polynomial.Chebyshev(slope.numpy(), domain=[0, 1])
    expected = -t * p.deriv()(t) - 2 * p(t)
    found = _curvature(slope)
    assert found.shape == slope.shape
    assert np.abs(np.polynomial.Chebyshev(found.numpy(), domain=[0, 1])(t) - expected).max() < 1e-14


# PyTorch's and MKL's settings for a processor without AVX-512, and for one without AVX. On others MKL may know neither.
OTHER_PROCESSORS = [
    {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
]


def every_dimension() -> torch.Tensor:
    """The fields of `log_0f1` [dimensions, x, 6] for m from 2 to 101."""
    x = torch.tensor([0.0, 0.3, 4.0, 50.0, 1e3], dtype=torch.float64)
    return torch.stack([torch.stack(log_0f1(m / 2 - 1, x), dim=-1) for m in range(2, 102)])


@pytest.mark.parametrize("settings", OTHER_PROCESSORS, ids=lambda settings: settings["ATEN_CPU_CAPABILITY"])
def test_other_processors_find_the_same(settings, tmp_path):
    script = "import sys, torch; from tests.test_bessel import *; torch.save(every_dimension(), sys.argv[1])"
    command = [sys.executable, "-c", script, tmp_path / "found.pt"]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1], env={**os.environ, **settings})
    torch.testing.assert_close(torch.load(tmp_path / "found.pt"), every_dimension(), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("order", [-1.0, -0.5, math.inf, math.nan])
@pytest.mark.parametrize("function", [log_iv, bessel_ratio, log_0f1])
def test_bad_orders_are_refused(function, order):
    with pytest.raises(ValueError, match=f"got {order}"):
        function(order, torch.ones(1))
