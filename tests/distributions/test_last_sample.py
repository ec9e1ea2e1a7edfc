"""The density of a distribution's own last sample: exact, unless the sample no longer says where it came from."""

import pytest
import torch

from svae_repro.curvature import learnable
from svae_repro.distributions import DiagonalNormal, ProductDistribution, WrappedNormal
from svae_repro.distributions.product import Repeated
from svae_repro.hyperboloid import expand, with_time
from tests.distributions.common import generator, tensor


def wrapped(v, scale):
    return WrappedNormal(with_time(expand(v)), scale)


def embedded(letter):
    """In runs [1, 1]: the posterior at v [..., d] and a standard deviation, of a space of radius 1.5."""
    return lambda v, scale: learnable(f"{letter}2", tensor(1.5)).posterior(torch.cat([v, scale], dim=-1)[None, None])


KINDS = {
    "wrapped normal": wrapped,
    "product": lambda v, scale: ProductDistribution([DiagonalNormal(v, scale), wrapped(v, scale)]),
    "repeated": lambda v, scale: Repeated(wrapped(v.expand(3, 2), scale)),
    "hyperboloid of a radius": embedded("h"),
    "sphere of a radius": lambda v, scale: embedded("s")(v, scale[:1]),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def made(request):
    """A distribution and the parameters whose gradients are wanted."""
    parameters = [tensor(0.5, -1.0).requires_grad_(), tensor(0.3, 1.2).requires_grad_()]
    distribution = request.param(*parameters)
    space = getattr(distribution, "space", None)
    return distribution, parameters + ([space.log_radius] if space else [])


def test_a_sample_without_gradients_is_a_fixed_point(made):
    distribution, parameters = made
    z = distribution.sample((4,))
    own, anew = (
        torch.autograd.grad(distribution.log_prob(x).sum(), parameters, retain_graph=True) for x in (z, z.clone())
    )
    assert all(gradient.abs().max() > 0 for gradient in own)
    torch.testing.assert_close(own, anew, rtol=1e-12, atol=1e-12)


def test_a_sample_made_a_leaf_since_has_a_gradient_of_its_own(made):
    distribution, parameters = made
    z = distribution.sample((4,)).requires_grad_()
    own, anew = (
        torch.autograd.grad(distribution.log_prob(x).sum(), [x, *parameters], retain_graph=True)
        for x in (z, z.detach().clone().requires_grad_())
    )
    assert all(gradient.abs().max() > 0 for gradient in own)
    torch.testing.assert_close(own, anew, rtol=1e-12, atol=1e-12)


def test_a_sample_changed_in_place_is_another_point(made):
    distribution, _ = made
    with torch.no_grad():
        z = distribution.sample((4,))
        before = distribution.log_prob(z)
        z[0] = distribution.mode
    after = distribution.log_prob(z)
    torch.testing.assert_close(after, distribution.log_prob(z.clone()), rtol=1e-12, atol=1e-12)
    assert (after[0] > before[0]).all()


def test_only_the_last_sample_is_remembered_and_none_in_inference_mode():
    p = wrapped(tensor(9.0, 12.0).float(), tensor(0.05, 0.05).float())  # at radius 15 float32 errs by nats
    first, last = p.sample((100,)), p.sample((100,))
    assert not torch.equal(p.log_prob(last), p.log_prob(last.clone()))
    assert torch.equal(p.log_prob(first), p.log_prob(first.clone()))
    with torch.inference_mode():
        last = p.sample((100,))
        assert torch.equal(p.log_prob(last), p.log_prob(last.clone()))


def test_without_gradients_to_take_the_source_is_exact():
    """Where the likelihood is estimated: parameters that want gradients, but not here."""
    v = tensor(9.0, 12.0).float().requires_grad_()
    p = wrapped(v, torch.full((2,), 0.05))
    with torch.no_grad():
        z = p.rsample((100,), generator())
        expected = wrapped(v.detach(), torch.full((2,), 0.05))
        own = expected.rsample((100,), generator())
        assert torch.equal(p.log_prob(z), expected.log_prob(own))
        assert (p.log_prob(z) - p.log_prob(z.clone())).abs().max() > 1
