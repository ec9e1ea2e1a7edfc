"""DiagonalNormal: density, KL, gradients and contract, against SciPy's multivariate normal and closed forms."""

import math

import pytest
import torch
from scipy import stats
from torch.distributions import kl_divergence

from svae_repro.distributions import DiagonalNormal
from tests.distributions.common import generator

LOC = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
SCALE = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)


def test_log_prob_and_entropy_agree_with_scipy():
    oracle = stats.multivariate_normal(LOC.numpy(), SCALE.square().diag().numpy())
    p = DiagonalNormal(LOC, SCALE)
    z = p.rsample((10,), generator())
    assert torch.allclose(p.log_prob(z), torch.from_numpy(oracle.logpdf(z.numpy())), rtol=1e-13)
    assert p.entropy().item() == pytest.approx(oracle.entropy(), rel=1e-13)


def test_kl_is_dispatched_to_the_closed_form():
    kl = kl_divergence(DiagonalNormal(LOC, SCALE), DiagonalNormal(torch.zeros_like(LOC), torch.ones_like(LOC)))
    expected = sum((s**2 + m**2 - 1) / 2 - math.log(s) for m, s in zip(LOC.tolist(), SCALE.tolist(), strict=True))
    assert kl.item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.statistical
def test_samples_follow_the_normal_law():
    standard = (DiagonalNormal(LOC, SCALE).rsample((2000,), generator()) - LOC) / SCALE
    for column in standard.T:
        assert stats.kstest(column.numpy(), stats.norm.cdf).pvalue > 1e-3 / 3  # fails by chance once in 1,000


def test_gradients_are_pathwise():
    loc, scale = LOC.clone().requires_grad_(), SCALE.clone().requires_grad_()
    z = DiagonalNormal(loc, scale).rsample((), generator())
    gradients = torch.autograd.grad(z.sum(), (loc, scale))
    assert torch.equal(gradients[0], torch.ones_like(LOC))
    assert torch.allclose(gradients[1], ((z - LOC) / SCALE).detach(), rtol=1e-12)


@pytest.mark.parametrize("batch", [(), (4,), (2, 4)])
def test_shapes(batch):
    p = DiagonalNormal(LOC, SCALE).expand(batch)
    assert isinstance(p, DiagonalNormal)
    assert (p.batch_shape, p.event_shape, p.mean.shape) == (batch, (3,), (*batch, 3))
    z = p.rsample((5,))
    assert (z.shape, z.dtype) == ((5, *batch, 3), torch.float64)
    assert p.log_prob(z).shape == (5, *batch)
    assert p.has_rsample
    assert DiagonalNormal(LOC.expand(2, 1, 3), SCALE.expand(4, 3)).batch_shape == (2, 4)


def test_runs_together_draw_what_each_draws_alone():
    loc, scale = torch.randn(3, 4, 2, generator=generator()), torch.rand(3, 4, 2, generator=generator()) + 0.1
    together = DiagonalNormal(loc, scale).rsample((5,), [generator(r) for r in range(3)])
    alone = [DiagonalNormal(loc[r], scale[r]).rsample((5,), generator(r)) for r in range(3)]
    assert torch.equal(together, torch.stack(alone, dim=1))
    with pytest.raises(ValueError, match="1 generators for 3 runs"):
        DiagonalNormal(loc, scale).rsample((), [generator()])


def test_bad_scale_raises():
    with pytest.raises(ValueError, match="scale"):
        DiagonalNormal(LOC, -SCALE)


@pytest.mark.parametrize("validate", [True, False])
def test_expanding_keeps_the_validation(validate):
    p = DiagonalNormal(LOC, SCALE, validate_args=validate).expand((2,))
    bad = torch.full((3,), math.nan, dtype=torch.float64)
    if validate:
        with pytest.raises(ValueError, match="nan"):
            p.log_prob(bad)
    else:
        assert p.log_prob(bad).isnan().all()
