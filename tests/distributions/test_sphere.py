"""Points at a given angle from another: position, and derivatives against rotations by matrix exponentials."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from svae_repro.distributions.sphere import place
from tests.distributions.common import generator

DTYPES = [torch.float32, torch.float64]


def locations(m, dtype=torch.float64):
    """Poles, a coordinate axis, and two random directions."""
    axes = torch.eye(m, dtype=torch.float64)
    random = normalize(torch.randn(2, m, generator=generator(1), dtype=torch.float64), dim=-1)
    return torch.stack([axes[0], -axes[0], axes[1], *random]).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [2, 3, 11, 1000])
def test_points_have_unit_length_and_the_given_angle(m, dtype):
    theta = torch.tensor([0.0, 1e-6, 0.5, math.pi / 2, 3.0, math.pi], dtype=torch.float64).unsqueeze(-1)
    loc = locations(m, dtype)
    z = place(loc, theta.expand(-1, 5), generator())
    assert (z.dtype, z.shape) == (dtype, (6, 5, m))
    eps = torch.finfo(dtype).eps
    z, loc = z.double(), loc.double()
    assert (z.norm(dim=-1) - 1).abs().max() < 4 * eps
    angle = 2 * torch.atan2((z - loc).norm(dim=-1), (z + loc).norm(dim=-1))
    # a rounding error in each of m coordinates, sqrt(2) of them in sum at worst
    assert (angle - theta).abs().max() < 3 * eps


@pytest.mark.parametrize("m", [2, 3, 6])
def test_gradient_by_loc_is_that_of_the_smallest_rotation(m):
    loc = locations(m).requires_grad_()
    theta = torch.linspace(0.1, 3, 5, dtype=torch.float64)
    z = place(loc, theta, generator())
    weight = torch.randn(m, generator=generator(2), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((z @ weight).sum(), loc)
    for point, sample, got in zip(loc.detach(), z.detach(), gradient, strict=True):
        for tangent in torch.eye(m, dtype=torch.float64):
            tangent = tangent - point * point[tangent.argmax()]
            # turns point towards tangent in their plane and leaves all that is orthogonal to it in place
            spin = torch.outer(tangent, point) - torch.outer(point, tangent)
            h = 1e-4
            step = (torch.linalg.matrix_exp(h * spin) - torch.linalg.matrix_exp(-h * spin)) / (2 * h)
            assert (step @ point - tangent).abs().max() < 1e-7  # it is a rotation of loc along the tangent
            assert (got @ tangent).item() == pytest.approx((weight @ step @ sample).item(), abs=1e-7)
        assert abs(got @ point) < 1e-12  # nothing off the sphere


@pytest.mark.parametrize("m", [2, 3, 6])
def test_gradient_by_theta(m):
    theta = torch.linspace(0.1, 3, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda theta: place(locations(m), theta, generator()), theta)


def test_shapes_broadcast_and_gradients_keep_theirs():
    loc = locations(4)[3].requires_grad_()
    theta = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    z = place(loc, theta, generator())
    assert z.shape == (3, 2, 4)
    gradients = torch.autograd.grad(z.sum(), (loc, theta))
    assert [g.shape for g in gradients] == [(4,), (3, 2)]
