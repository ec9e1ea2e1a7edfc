"""The hyperboloid: every map against geoopt up to radius 4 and against mpmath to radius 15 and beyond, gradients.

Errors are stated as lengths on the manifold. At radius r a coordinate's last digit is an angle, and an angle eps is a
length of eps sinh(r): no algorithm does better from the same coordinates.
"""

import math

import mpmath as mp
import pytest
import torch
from geoopt.manifolds.lorentz import math as lorentz
from torch.nn.functional import normalize

from svae_repro import hyperboloid
from svae_repro.hyperboloid import distance, exp_map, inner, log_map, origin, parallel_transport, to_poincare

EPS = torch.finfo(torch.float64).eps
ONE = torch.ones((), dtype=torch.float64)  # geoopt's curvature parameter


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def points(radius, *shape, seed=0):
    """Points [*shape] at the given radius in random directions, without the module's help."""
    v = noise(*shape[:-1], shape[-1] - 1, seed=seed)
    space = math.sinh(radius) * v / v.norm(dim=-1, keepdim=True)
    return torch.cat([(1 + space.square().sum(-1, keepdim=True)).sqrt(), space], dim=-1)


def tangents(x, length, seed=1):
    """Tangent vectors at ``x`` of the given length in random directions, by Gram-Schmidt in mpmath."""
    rows = []
    for row, v in zip(x.tolist(), noise(*x.shape, seed=seed).tolist(), strict=True):
        p = exact(row)
        u = [a + mp_inner(p, v) * b for a, b in zip(v, p, strict=True)]
        size = mp.sqrt(mp_inner(u, u))
        rows.append([float(a * length / size) for a in u])
    return torch.tensor(rows, dtype=torch.float64)


# --- the oracle: textbook formulas in 120 digits ---------------------------------------------------------------------


@pytest.fixture(autouse=True)
def many_digits():
    with mp.workdps(120):
        yield


def exact(x):
    """The point with the same space coordinates that lies on the hyperboloid."""
    space = [mp.mpf(a) for a in x[1:]]
    return [mp.sqrt(1 + sum(a * a for a in space)), *space]


def tangent_exact(p, u):
    space = [mp.mpf(a) for a in u[1:]]
    return [sum(a * b for a, b in zip(p[1:], space, strict=True)) / p[0], *space]


def mp_inner(x, y):
    return sum(a * b for a, b in zip(x[1:], y[1:], strict=True)) - x[0] * y[0]


def mp_distance(x, y):
    return mp.acosh(max(mp.mpf(1), -mp_inner(x, y)))


def mp_exp(x, u):
    r = mp.sqrt(mp_inner(u, u))
    return [mp.cosh(r) * a + mp.sinh(r) / r * b for a, b in zip(x, u, strict=True)]


def mp_log(x, y):
    alpha = -mp_inner(x, y)
    return [mp.acosh(alpha) / mp.sqrt(alpha**2 - 1) * (b - alpha * a) for a, b in zip(x, y, strict=True)]


def mp_transport(x, y, v):
    c = mp_inner(y, v) / (1 - mp_inner(x, y))
    return [a + c * (b + d) for a, b, d in zip(v, x, y, strict=True)]


def length(p, got, expected):
    """Length at p of the difference of two tangent vectors."""
    difference = [0, *(mp.mpf(a) - b for a, b in zip(got[1:], expected[1:], strict=True))]
    difference = tangent_exact(p, difference)
    return float(mp.sqrt(abs(mp_inner(difference, difference))))


# --- against geoopt --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 50])
@pytest.mark.parametrize("radius", [0.1, 1.0, 4.0])
def test_every_map_agrees_with_geoopt_up_to_radius_four(n, radius):
    x, y = points(radius, 20, n + 1), points(0.7 * radius, 20, n + 1, seed=1)
    u = lorentz.project_u(x, noise(20, n + 1, seed=2), k=ONE)
    u = u / lorentz.norm(u, keepdim=True)
    close = {"rtol": 1e-8, "atol": 1e-8}
    torch.testing.assert_close(inner(x, y), lorentz.inner(x, y), **close)
    torch.testing.assert_close(distance(x, y), lorentz.dist(x, y, k=ONE), **close)
    torch.testing.assert_close(exp_map(x, u), lorentz.expmap(x, u, k=ONE), **close)
    torch.testing.assert_close(log_map(x, y), lorentz.logmap(x, y, k=ONE), **close)
    torch.testing.assert_close(parallel_transport(x, y, u), lorentz.parallel_transport(x, y, u, k=ONE), **close)
    torch.testing.assert_close(to_poincare(x), lorentz.lorentz_to_poincare(x, k=ONE), **close)
    assert torch.equal(origin(n), torch.tensor([1.0] + [0.0] * n))


# --- against mpmath ---------------------------------------------------------------------------------------------------


def pairs(radius, gap):
    """Points at ``radius`` and others at about the distance ``gap`` from them, in every direction."""
    x = points(radius, 12, 4, seed=3)
    moved = [
        mp_exp(exact(p), tangent_exact(exact(p), u)) for p, u in zip(x.tolist(), tangents(x, gap).tolist(), strict=True)
    ]
    return x, torch.tensor([[float(a) for a in p] for p in moved], dtype=torch.float64)


@pytest.mark.parametrize("radius", [1e-3, 1.0, 4.0, 8.0, 15.0, 30.0])
@pytest.mark.parametrize("gap", [1e-6, 1e-2, 1.0, 8.0])
def test_distance_agrees_with_mpmath_to_the_rounding_of_coordinates(radius, gap):
    x, y = pairs(radius, gap)
    got = distance(x, y)
    assert torch.equal(got, distance(y, x))
    for p, q, value in zip(x.tolist(), y.tolist(), got.tolist(), strict=True):
        # the rounding of y - x is an angle of eps across, and eps of the sinh along
        assert abs(value - mp_distance(exact(p), exact(q))) < 8 * EPS * (1 + math.sinh(radius)), (p, q)


@pytest.mark.parametrize("radius", [1e-3, 1.0, 15.0, 100.0])
@pytest.mark.parametrize("factor", [0.0, -1.0, -1e-3, 1.0 - 1e-9, 0.5])
def test_distance_along_a_line_through_the_origin(radius, factor):
    """Where nothing is lost to angles: the distance is the difference of the radii, to the last digits."""
    x = points(radius, 4)
    y = x.clone()
    y[1:] *= factor
    expected = mp_distance(exact(x.tolist()), exact(y.tolist()))
    assert distance(x, y).item() == pytest.approx(float(expected), rel=1e-7 if factor > 0.9 else 1e-14, abs=1e-24)


@pytest.mark.parametrize(
    "radius, gap", [(r, g) for r in (1e-3, 1.0, 4.0, 15.0) for g in (1e-3, 1.0, 5.0)] + [(0.0, 15)]
)
def test_maps_agree_with_mpmath(radius, gap):
    x, y = pairs(radius, gap)
    u, v = tangents(x, gap), tangents(x, 1.0, seed=5)
    unit = 40 * EPS * math.exp(radius)  # of a vector of length 1
    results = zip(*(a.tolist() for a in (x, y, u, v, exp_map(x, u), log_map(x, y))), strict=True)
    for p, q, u_row, v_row, end, back in results:
        p, q = exact(p), exact(q)
        end_error = mp_distance(exact(end), mp_exp(p, tangent_exact(p, u_row)))
        assert end_error < unit * math.exp(gap)  # directions go apart like sinh(gap)
        assert length(p, back, mp_log(p, q)) < unit * (1 + gap)
        carried = parallel_transport(
            *(torch.tensor([[float(a) for a in w]], dtype=torch.float64) for w in (p, q, v_row))
        )[0]
        expected = mp_transport(p, q, tangent_exact(p, v_row))
        assert length(q, carried.tolist(), expected) < unit * math.exp(gap)


@pytest.mark.parametrize("radius", [2.0, 15.0, 20.0, 30.0])
@pytest.mark.parametrize("length_in_radii", [-1.2, -1.0, -0.9, -0.5, 0.3])
@pytest.mark.parametrize("n", [1, 3])
def test_a_geodesic_back_over_the_origin_ends_where_it_should(n, length_in_radii, radius):
    """The exponential map loses no more than rounding the point from which it starts; on a line, nothing."""
    base = points(radius, 4, n + 1)[:, 1:]
    point = points(abs(length_in_radii) * radius, 4, n + 1)[:, 1:]  # the same directions
    point = math.copysign(1, length_in_radii) * point
    rounded = base * (1 + 2 * EPS * noise(4, n, seed=7))
    for b, r, p, got in zip(*(a.tolist() for a in (base, rounded, point, hyperboloid.move(base, point))), strict=True):
        end, near = boosted(b, p), boosted(r, p)
        assert mp_distance(exact([0, *got]), end) < 4 * EPS + (n > 1) * 10 * mp_distance(near, end)


def boosted(base, point):
    """L_base of the point with these space coordinates, by its matrix."""
    (b0, *b), (p0, *p) = exact([0, *base]), exact([0, *point])
    along = sum(x * y for x, y in zip(b, p, strict=True))
    return [b0 * p0 + along, *(x + y * (p0 + along / (1 + b0)) for x, y in zip(p, b, strict=True))]


@pytest.mark.parametrize("radius", [0.0, 1e-5, 1.0, 15.0, 30.0])
def test_identities(radius):
    x, y = points(radius, 30, 6), points(1.0, 30, 6, seed=1)
    scale = EPS * math.exp(2 * radius)  # of the squares of coordinates
    assert (inner(x, x) + 1).abs().max() <= 4 * scale + EPS
    assert torch.allclose(distance(x, origin(5)), torch.full((30,), radius, dtype=torch.float64), rtol=1e-13, atol=0)
    assert torch.allclose(
        to_poincare(x).norm(dim=-1), torch.tensor(math.tanh(radius / 2), dtype=torch.float64), rtol=1e-14
    )
    start = origin(5, dtype=torch.float64)
    u = log_map(start, x)  # at the origin, tangent vectors are R^n
    assert torch.equal(u[:, 0], torch.zeros(30))
    assert torch.allclose(u.norm(dim=-1), torch.tensor(radius, dtype=torch.float64), rtol=1e-13, atol=0)
    assert torch.allclose(exp_map(start, u), x, rtol=1e-12, atol=0)
    v, w = log_map(y, origin(5)), log_map(y, points(2.0, 30, 6, seed=2))
    carried = [parallel_transport(y, x, a) for a in (v, w)]
    tolerance = 1e3 * scale
    assert torch.allclose(inner(*carried), inner(v, w), rtol=0, atol=tolerance + 1e-13)  # an isometry
    assert inner(carried[0], x).abs().max() <= tolerance + 1e-13  # that ends in T_x


def test_transport_to_a_point_and_back_and_along_the_geodesic_itself():
    x, y = points(2.0, 30, 4), points(3.0, 30, 4, seed=1)
    u = log_map(x, y)
    assert torch.allclose(parallel_transport(x, y, u), -log_map(y, x), atol=1e-11)
    assert torch.allclose(parallel_transport(y, x, parallel_transport(x, y, u)), u, atol=1e-11)
    assert torch.allclose(parallel_transport(x, x, u), u, atol=1e-12)


# --- gradients and edges ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.0, 0.02, 1.0, 4.0])
def test_gradients_agree_with_finite_differences(radius):
    x, y = points(radius, 3, 4).requires_grad_(), points(1.0, 3, 4, seed=1).requires_grad_()
    u = log_map(x, y).detach().requires_grad_()
    zero = torch.zeros_like(u).requires_grad_()
    for function, inputs in [
        (distance, (x, y)),
        (exp_map, (x, u)),
        (exp_map, (x, zero)),
        (log_map, (x, y)),
        (log_map, (x, x.detach().clone().requires_grad_())),
        (parallel_transport, (x, y, u)),
        (to_poincare, (x,)),
    ]:
        assert torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("radius", [3.0, 8.0])
@pytest.mark.parametrize("length_in_radii", [-1.3, -1.0, -0.5, 0.5])
def test_gradients_of_a_boost_back_over_the_origin(length_in_radii, radius):
    base = points(radius, 3, 4)[:, 1:].requires_grad_()
    v = length_in_radii * radius * normalize(base.detach(), dim=-1) + 0.1 * noise(3, 3, seed=2)
    v.requires_grad_()

    def end(base, v):
        return hyperboloid.move(base, hyperboloid.expand(v))

    assert torch.autograd.gradcheck(end, (base, v), eps=1e-7, atol=1e-4 * math.exp(radius), rtol=1e-4)


@pytest.mark.parametrize("radius", [0.0, 0.3, 2.0])
def test_second_derivatives_of_the_distance(radius):
    """At the origin too, where a point's direction is not defined."""
    x, y = (points(r, 3, 4, seed=s)[:, 1:].requires_grad_() for r, s in ((radius, 0), (1.0, 1)))

    def between(x, y):
        return distance(hyperboloid.with_time(x), hyperboloid.with_time(y))

    assert torch.autograd.gradgradcheck(between, (x, y), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("radius", [0.0, 1e-8, 1.0, 15.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coincident_points_have_zero_distance_and_finite_gradients(radius, dtype):
    x = points(radius, 5, 4).to(dtype).requires_grad_()
    y = x.detach().clone().requires_grad_()
    d, u = distance(x, y), log_map(x, y)
    assert (d == 0).all() and (u == 0).all()
    for output in (d.sum(), u.sum()):
        for gradient in torch.autograd.grad(output, (x, y)):
            assert gradient.isfinite().all()
    assert torch.equal(torch.autograd.grad(distance(x, y).sum(), x)[0], torch.zeros_like(x))


@pytest.mark.parametrize("radius", [1.0, 8.0, 15.0])
def test_float32_points_off_the_hyperboloid_are_read_as_points(radius):
    x = points(radius, 100, 4)
    rounded = x.float()
    assert distance(rounded, rounded).dtype == torch.float32
    # a rounding is a small turn: 6e-8 rad, times sinh(r)
    assert distance(rounded.double(), x).max() < 2e-7 * math.exp(radius)
    assert (distance(rounded, origin(3)) - radius).abs().max() < 1e-6 * radius
    back = exp_map(origin(3).float(), log_map(origin(3).float(), rounded))
    assert torch.allclose(back, rounded, rtol=3e-6 * radius)


def test_maps_broadcast_and_keep_the_wider_dtype():
    x, y = points(1.0, 3, 1, 4), points(2.0, 5, 4).float()
    assert distance(x, y).shape == (3, 5) and distance(x, y).dtype == torch.float64
    assert log_map(x, y).shape == parallel_transport(x, y, x - x).shape == (3, 5, 4)
    assert exp_map(x.float(), y - y).dtype == torch.float32
    assert origin(3, dtype=torch.float64).dtype == torch.float64


def test_smooth_functions_join_their_series():
    square = torch.tensor([1e-12, 1e-3 * (1 - 1e-9), 1e-3 * (1 + 1e-9), 1.0, 225.0, 1e5], dtype=torch.float64)
    functions = (hyperboloid.sinhc, hyperboloid.log_sinhc, hyperboloid._arc_over_chord)
    for x, shc, log_shc, arc in zip(square.tolist(), *(f(square).tolist() for f in functions), strict=True):
        root = mp.sqrt(x)
        assert shc == pytest.approx(float(mp.sinh(root) / root), rel=1e-15 * max(1, float(root)))
        assert log_shc == pytest.approx(float(mp.log(mp.sinh(root) / root)), rel=1e-15, abs=2e-16)
        assert arc == pytest.approx(float(2 * mp.asinh(root / 2) / root), rel=1e-15)
    at_zero = [f(torch.zeros((), dtype=torch.float64)).item() for f in functions]
    assert at_zero == [1, 0, 1]
    big = torch.tensor(1e8, dtype=torch.float64)  # r = 10,000, where sinh(r) is infinite
    assert hyperboloid.log_sinhc(big).item() == pytest.approx(1e4 - math.log(2e4), rel=1e-15)


def test_what_is_no_point_has_no_distance_of_zero():
    for wrong in (math.nan, math.inf):
        assert hyperboloid.distance(torch.tensor([1.0, wrong, 0.0]), hyperboloid.origin(2)).isnan()
