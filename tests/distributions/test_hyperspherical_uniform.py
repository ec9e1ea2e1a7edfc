"""HypersphericalUniform: law, density and contract."""

import math

import pytest
import torch
from scipy import stats

from svae_repro.distributions import HypersphericalUniform
from svae_repro.distributions.sphere import log_surface_area
from tests.distributions.common import RATE, generator


@pytest.mark.parametrize("m, area", [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2), (6, math.pi**3)])
def test_density_is_one_over_the_area(m, area):
    p = HypersphericalUniform(m, dtype=torch.float64)
    assert log_surface_area(m) == pytest.approx(math.log(area), rel=1e-15)
    assert p.log_prob(p.sample()).item() == pytest.approx(-math.log(area), rel=1e-15)
    assert p.entropy().item() == pytest.approx(math.log(area), rel=1e-15)


@pytest.mark.statistical
@pytest.mark.parametrize("m", [2, 3, 5, 101])
def test_coordinates_follow_their_law(m):
    z = HypersphericalUniform(m, dtype=torch.float64).rsample((2000,), generator(m))
    generic = torch.linspace(-1, 2, m, dtype=torch.float64)
    for u in (z[:, 0], z[:, -1], z @ generic / generic.norm()):
        assert stats.kstest(((1 + u) / 2).numpy(), stats.beta((m - 1) / 2, (m - 1) / 2).cdf).pvalue > RATE / 12


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_shapes_and_dtype(batch):
    for p in (HypersphericalUniform(4, batch, dtype=torch.float32), HypersphericalUniform(4).expand(batch)):
        assert (p.batch_shape, p.event_shape) == (batch, (4,))
        assert p.entropy().shape == batch
        assert torch.equal(p.mean, torch.zeros(*batch, 4))
        z = p.rsample((5,))
        assert (z.shape, z.dtype) == ((5, *batch, 4), torch.float32)
        assert p.log_prob(z).shape == (5, *batch)
        assert p.log_prob(torch.eye(4)[0]).shape == batch


def test_default_dtype_and_support():
    assert HypersphericalUniform(3).sample().dtype == torch.get_default_dtype()
    with pytest.raises(ValueError, match="unit length"):
        HypersphericalUniform(3).log_prob(torch.ones(3))


@pytest.mark.parametrize("m", [1, 0, -2])
def test_too_small_a_dimension_raises(m):
    with pytest.raises(ValueError, match=f"at least 2, got {m}"):
        HypersphericalUniform(m)


def test_runs_together_draw_what_each_draws_alone():
    together = HypersphericalUniform(5, (3, 4)).rsample((2,), [generator(r) for r in range(3)])
    alone = [HypersphericalUniform(5, (4,)).rsample((2,), generator(r)) for r in range(3)]
    assert torch.equal(together, torch.stack(alone, dim=1))
    with pytest.raises(ValueError, match="2 generators for 3 runs"):
        HypersphericalUniform(5, (3, 4)).rsample((), [generator(), generator()])
