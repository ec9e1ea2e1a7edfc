"""Latent spaces: names, posteriors, distances against mpmath and float64, grids."""

import math

import mpmath as mp
import pytest
import torch
from scipy import stats
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from svae_repro.distributions import (
    DiagonalNormal,
    HypersphericalUniform,
    PowerSpherical,
    ProductDistribution,
    VonMisesFisher,
    WrappedNormal,
    kl_estimate,
)
from svae_repro.errors import UserError
from svae_repro.spaces import Euclidean, Hyperboloid, PowerSphere, Product, Sphere, space


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(
    "name, kind, dim",
    [("e1", Euclidean, 1), ("e10", Euclidean, 10), ("s2", Sphere, 2), ("p2", PowerSphere, 2), ("h2", Hyperboloid, 2)],
)
def test_names_round_trip(name, kind, dim):
    parsed = space(name)
    assert type(parsed) is kind
    assert parsed.dim == dim
    assert space(parsed.name).name == name
    assert repr(parsed) == f"{kind.__name__}({dim})"


@pytest.mark.parametrize("name, dims", [("e2s2h2", [2, 2, 2]), ("s4s4s4", [4, 4, 4]), ("h10e1", [10, 1])])
def test_names_of_products_round_trip(name, dims):
    parsed = space(name)
    assert type(parsed) is Product
    assert [f.dim for f in parsed.factors] == dims and parsed.dim == sum(dims)
    assert parsed.name == name and space(parsed.name).name == name
    assert repr(space("s4h1")) == "Product([Sphere(4), Hyperboloid(1)])"


@pytest.mark.parametrize(
    "name, unknown", [("e2x3", "x3"), ("e2s2h0", "h0"), ("e2 s2", " s2"), ("s2s", "s"), ("s2\n", "\n")]
)
def test_the_unknown_component_is_named(name, unknown):
    with pytest.raises(UserError, match="unknown space") as error:
        space(name)
    assert f"from {unknown!r} on" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", "s", "2", "2s", "s0", "s-1", "s01", "s1.5", "S2", "x2", "s2 ", "s2\n", "sphere2"])
def test_unknown_names_raise_one_line(name):
    with pytest.raises(UserError, match="unknown space") as error:
        space(name)
    assert repr(name) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [None, 2, ["e2"]])
def test_a_name_that_is_no_text_is_one_line(name):
    with pytest.raises(UserError, match="a space is named by a text") as error:
        space(name)
    assert repr(name) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["e3", "s3", "p3", "h3", "e2s2h2"])
def test_parameters_of_the_wrong_width_are_one_line_with_both_widths(name):
    latent = space(name)
    for shape in [(4, latent.n_params + 1), (4, latent.n_params - 1), ()]:
        with pytest.raises(ValueError, match="parameters of a posterior") as error:
            latent.posterior(torch.zeros(shape))
        expected = f"[..., {latent.n_params}], got {list(shape)}"
        assert expected in str(error.value) and repr(latent) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [Euclidean, Sphere, Hyperboloid])
@pytest.mark.parametrize("dim", [0, -3])
def test_dimensions_below_one_raise(kind, dim):
    with pytest.raises(UserError, match=f"at least 1, got {dim}"):
        kind(dim)


SIZES = [
    ("e1", 1, 2),
    ("e7", 7, 14),
    ("s1", 2, 3),
    ("s7", 8, 9),
    ("h1", 2, 2),
    ("h7", 8, 14),
    ("p7", 8, 9),
    ("e2s2h2", 8, 12),
]


@pytest.mark.parametrize("name, ambient, n_params", SIZES)
@pytest.mark.parametrize("batch", [(), (5,), (3, 5)])  # (3, 5): three runs of five
def test_sizes_and_posteriors(name, ambient, n_params, batch):
    s = space(name)
    assert (s.ambient_dim, s.n_params) == (ambient, n_params)
    q, prior = s.posterior(noise(*batch, n_params)), s.prior(dtype=torch.float64)
    assert (q.batch_shape, q.event_shape) == (batch, (ambient,))
    assert (prior.batch_shape, prior.event_shape) == ((), (ambient,))
    z = q.rsample((2,))
    assert z.shape == (2, *batch, ambient)
    assert z.dtype == prior.sample().dtype == torch.float64
    assert kl_estimate(q, prior, z[0]).shape == batch
    if "h" not in name:  # there an estimate from one sample
        assert (kl_estimate(q, prior, q.rsample()) > 0).all()
    assert s.distance(z, z).shape == (2, *batch)
    assert (s.distance(q.mode, q.mode) == 0).all()


def test_euclidean_posterior_is_mean_and_softplus_deviation():
    q = Euclidean(2).posterior(torch.tensor([1.0, -2.0, 0.0, 3.0], dtype=torch.float64))
    assert isinstance(q, DiagonalNormal)
    assert q.mean.tolist() == [1, -2]
    assert q.stddev.tolist() == pytest.approx([math.log(2), math.log1p(math.e**3)], rel=1e-14)
    prior = Euclidean(2).prior()
    assert (prior.mean.tolist(), prior.stddev.tolist()) == ([0, 0], [1, 1])


def test_sphere_posterior_is_normalised_mean_and_softplus_plus_one():
    q = Sphere(1).posterior(torch.tensor([3.0, -4.0, 2.0], dtype=torch.float64))
    assert isinstance(q, VonMisesFisher)
    assert q.loc.tolist() == pytest.approx([0.6, -0.8], rel=1e-15)
    assert q.concentration.item() == pytest.approx(1 + math.log1p(math.e**2), rel=1e-15)
    assert isinstance(Sphere(1).prior(), HypersphericalUniform)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hyperboloid_posterior_is_wrapped_at_the_exponential_map(dtype):
    q = Hyperboloid(2).posterior(torch.tensor([3.0, -4.0, 0.0, 3.0], dtype=dtype))
    assert isinstance(q, WrappedNormal)
    close = 4 * torch.finfo(dtype).eps
    assert q.loc.tolist() == pytest.approx([math.cosh(5), 0.6 * math.sinh(5), -0.8 * math.sinh(5)], rel=close)
    assert q.scale.tolist() == pytest.approx([math.log(2), math.log1p(math.e**3)], rel=close)
    prior = Hyperboloid(2).prior(dtype=dtype)
    assert (prior.loc.tolist(), prior.scale.tolist(), prior.loc.dtype) == ([1, 0, 0], [1, 1], dtype)


def test_product_posterior_and_prior_are_those_of_the_factors():
    s = space("e2s2h2")
    params = noise(5, 12)
    q, prior = s.posterior(params), s.prior(dtype=torch.float64)
    assert isinstance(q, ProductDistribution) and isinstance(prior, ProductDistribution)
    z = q.rsample()
    estimate, start, place = 0, 0, 0
    for factor, own, own_prior in zip(s.factors, q.factors, prior.factors, strict=True):
        expected = factor.posterior(params[:, start : start + factor.n_params])
        assert type(own) is type(expected) and torch.equal(own.mode, expected.mode)
        part = z[:, place : place + factor.ambient_dim]
        assert torch.equal(part, q.split(z)[list(s.factors).index(factor)])
        estimate = estimate + kl_estimate(expected, own_prior, part)
        start, place = start + factor.n_params, place + factor.ambient_dim
    torch.testing.assert_close(kl_estimate(q, prior, z), estimate, rtol=1e-10, atol=1e-10)


def test_power_sphere_reads_the_same_outputs_as_the_sphere():
    params = noise(5, 4)
    p, s = space("p2").posterior(params), space("s2").posterior(params)
    assert isinstance(p, PowerSpherical)
    assert torch.equal(p.loc, s.loc) and torch.equal(p.concentration, s.concentration)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sphere_posterior_has_unit_loc_and_concentration_of_at_least_one(scale, dtype):
    q = Sphere(10).posterior(scale * noise(100, 12, dtype=dtype))
    assert (q.loc.double().norm(dim=-1) - 1).abs().max() < 4 * torch.finfo(dtype).eps  # a norm and a division
    assert (q.concentration >= 1).all()
    assert q.concentration.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_direction_stays_finite(dtype):
    params = torch.zeros(4, dtype=dtype, requires_grad=True)
    q = Sphere(2).posterior(params)
    z = q.rsample((10,))
    kl = kl_divergence(q, Sphere(2).prior())
    assert all(x.isfinite().all() for x in (q.loc, q.concentration, z, kl))
    assert torch.autograd.grad(kl, params)[0].isfinite().all()


@pytest.mark.parametrize("length", [1e-20, 1e-30])
def test_tiny_direction_gives_no_loc_longer_than_one(length):
    """In float32 the squares of coordinates below 1e-23 vanish, and the norm with them."""
    loc = Sphere(4).posterior(torch.full((6,), length)).loc
    assert loc.norm() < 1 + 1e-5  # squares near the smallest numbers keep few digits


# --- distances -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_sphere_distance_is_the_arc(dim):
    x, y = normalize(noise(2, 50, dim + 1), dim=-1)
    with mp.workdps(40):
        for u, v, got in zip(x.tolist(), y.tolist(), Sphere(dim).distance(x, y).tolist(), strict=True):
            u, v = mp.matrix(u), mp.matrix(v)
            expected = mp.acos((u.T * v)[0] / mp.norm(u) / mp.norm(v))
            assert got == pytest.approx(float(expected), rel=2e-15 / (math.pi - got))  # asin is steep near pi


@pytest.mark.parametrize("dtype, rounding", [(torch.float32, 1.2e-7), (torch.float64, 2.3e-16)])
@pytest.mark.parametrize("angle", [1e-6, 1e-3, 0.1])
def test_sphere_distance_between_near_points(angle, dtype, rounding):
    x = torch.tensor([1.0, 0.0, 0.0], dtype=dtype)
    y = torch.tensor([math.cos(angle), math.sin(angle), 0.0], dtype=dtype)
    # the coordinates are rounded to 1e-7 or 1e-16; arccos(x.y) would be wrong by their square roots
    assert Sphere(2).distance(x, y).item() == pytest.approx(angle, abs=rounding)
    assert Sphere(2).distance(y, y) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sphere_distance_between_antipodes(dtype):
    x = torch.cat([normalize(noise(100, 11, dtype=dtype), dim=-1), torch.eye(11, dtype=dtype)])
    distance = Sphere(10).distance(x, -x)
    assert distance.isfinite().all()
    # exact but for x of a length short of 1 by one rounding: 2 sqrt(2 eps)
    assert (distance - math.pi).abs().max() < 4 * math.sqrt(torch.finfo(dtype).eps)
    assert (distance[100:] == torch.tensor(math.pi, dtype=dtype)).all()


def test_euclidean_distance_is_the_norm_of_the_difference():
    x, y = noise(2, 5, 1, 3), noise(7, 3, seed=1)
    assert torch.allclose(Euclidean(3).distance(x, y), torch.cdist(x[..., 0, :], y), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hyperboloid_distance_is_the_geodesic(dtype):
    """Two points at radii a and b, at an angle: the hyperbolic law of cosines."""
    a, b, angle = 1.5, 2.5, 0.7
    x = torch.tensor([math.cosh(a), math.sinh(a), 0], dtype=dtype)
    y = torch.tensor([math.cosh(b), math.sinh(b) * math.cos(angle), math.sinh(b) * math.sin(angle)], dtype=dtype)
    expected = math.acosh(math.cosh(a) * math.cosh(b) - math.sinh(a) * math.sinh(b) * math.cos(angle))
    assert Hyperboloid(2).distance(x, y).item() == pytest.approx(expected, rel=8 * torch.finfo(dtype).eps)


def test_product_distance_is_the_root_of_the_sum_of_squares():
    s = space("e2s2h2")
    x, y = s.prior(dtype=torch.float64).sample((2, 7))
    split = [2, 3, 3]
    parts = [f.distance(a, b) for f, a, b in zip(s.factors, x.split(split, -1), y.split(split, -1), strict=True)]
    expected = sum(d.square() for d in parts).sqrt()
    torch.testing.assert_close(s.distance(x, y), expected, rtol=1e-14, atol=0)
    assert s.distance(x[:, None], y).shape == (7, 7)
    one = x.clone()
    one[:, 2:5] = y[:, 2:5]  # only one factor differs
    torch.testing.assert_close(s.distance(x, one), parts[1], rtol=1e-14, atol=0)


def test_arc_chord_and_cosine_have_the_same_nearest_neighbours():
    train, test = normalize(noise(300, 6), dim=-1), normalize(noise(100, 6, seed=1), dim=-1)
    arc = Sphere(5).distance(test[:, None], train)
    assert arc.shape == (100, 300)
    by_arc = arc.topk(5, largest=False).indices
    assert torch.equal(by_arc, torch.cdist(test, train).topk(5, largest=False).indices)
    assert torch.equal(by_arc, (test @ train.T).topk(5).indices)


# --- grids -----------------------------------------------------------------------------------------------------------


def test_grid_of_the_plane_is_even_in_probability():
    grid = Euclidean(2).grid(20).double()
    assert grid.shape == (400, 2)
    cells = torch.from_numpy(stats.norm.cdf(grid.numpy())) * 20  # one point in the middle of each of 400 equal cells
    rows = cells.reshape(20, 20, 2)
    middle = torch.arange(20) + 0.5
    assert torch.allclose(rows[..., 0], middle.expand(20, 20).double(), atol=1e-4)  # float32 through ndtri: 1e-5
    assert torch.allclose(rows[..., 1], middle.flip(0)[:, None].expand(20, 20).double(), atol=1e-4)  # top row first


def test_grid_of_the_sphere_is_even_in_area():
    grid = Sphere(2).grid(20).double()
    assert grid.shape == (400, 3)
    assert (grid.norm(dim=-1) - 1).abs().max() < 1e-6
    rows = grid.reshape(20, 20, 3)
    middle = torch.arange(20).double() + 0.5
    # Archimedes: the area between two heights is proportional to their difference; north first, then west to east
    assert torch.allclose(rows[..., 2], (1 - middle / 10)[:, None].expand(20, 20), atol=1e-6)
    longitude = torch.atan2(rows[..., 1], rows[..., 0])
    assert torch.allclose(longitude, (math.pi * (middle / 10 - 1)).expand(20, 20), atol=1e-6)
    second_moment = grid.T @ grid / 400  # a third of the identity, to the 1 / (12 side^2) of midpoints
    assert torch.allclose(second_moment, torch.eye(3, dtype=torch.float64) / 3, atol=1e-3)


def test_grid_of_the_hyperbolic_plane_is_even_in_probability():
    """The prior makes its points from normal tangent vectors at the origin; mapped back, the grid is the plane's."""
    grid = Hyperboloid(2).grid(20).double()
    assert grid.shape == (400, 3)
    radius = grid[:, 1:].norm(dim=-1, keepdim=True).asinh()
    back = grid[:, 1:] / grid[:, 1:].norm(dim=-1, keepdim=True) * radius
    torch.testing.assert_close(back, Euclidean(2).grid(20).double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("s", [Euclidean(3), Sphere(1), Sphere(10), Hyperboloid(3), space("e1s1")], ids=repr)
def test_grid_exists_only_in_dimension_two(s):
    with pytest.raises((NotImplementedError, UserError)):
        s.grid(4)


@pytest.mark.parametrize("name", ["s2s2s2", "h2h2e3e3", "s2h2s2"])
def test_equal_neighbours_are_evaluated_together_to_the_same_numbers(name):
    s = space(name)
    assert s.name == name
    params = noise(5, s.n_params)
    q, prior = s.posterior(params), s.prior(dtype=torch.float64)
    z = q.rsample()
    parts = params.split([f.n_params for f in s.factors], dim=-1)
    points = z.split([f.ambient_dim for f in s.factors], dim=-1)
    apart = [f.posterior(part) for f, part in zip(s.factors, parts, strict=True)]
    torch.testing.assert_close(q.mode, torch.cat([p.mode for p in apart], dim=-1), rtol=1e-13, atol=1e-13)
    expected = sum(p.log_prob(point) for p, point in zip(apart, points, strict=True))
    torch.testing.assert_close(q.log_prob(z.clone()), expected)
    priors = [f.prior(dtype=torch.float64) for f in s.factors]
    expected = sum(kl_estimate(*three) for three in zip(apart, priors, points, strict=True))
    torch.testing.assert_close(kl_estimate(q, prior, z), expected)
