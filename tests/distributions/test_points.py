"""One line about a point that is not on the manifold, whichever the distribution."""

import pytest
import torch

from svae_repro.distributions import HypersphericalUniform, PowerSpherical, VonMisesFisher, WrappedNormal
from svae_repro.distributions.product import ProductDistribution, Repeated

E1 = torch.tensor([1.0, 0.0, 0.0])
ON_SPHERES = [VonMisesFisher(E1, 2.0), PowerSpherical(E1, torch.tensor(2.0)), HypersphericalUniform(3)]
WRAPPED = WrappedNormal(E1, torch.ones(2))
PAIR = Repeated(VonMisesFisher(torch.stack([E1, E1]), torch.ones(2)))


@pytest.mark.parametrize(
    "distribution, value, said",
    [
        *((p, [3.0, 4.0, 0.0], "value must be of unit length, found length 5") for p in ON_SPHERES),
        *((p, [float("nan"), 0.0, 0.0], "found length nan") for p in ON_SPHERES),
        *((p, [1.0, 0.0], r"shape \[\.\.\., 3\], got \[2\]") for p in (*ON_SPHERES, WRAPPED)),
        (WRAPPED, [1.0, 1.0, 1.0], "on the hyperboloid, .* found <x, x> = 1 and x0 = 1"),
        (WRAPPED, [-1.0, 0.0, 0.0], "<x, x> = -1 and x0 = -1"),  # the other sheet
        (WRAPPED, [float("inf"), 0.0, 0.0], "on the hyperboloid"),
        (PAIR, [1.0, 0.0, 0.0, 0.0, 2.0, 0.0], "found length 2"),
        (ProductDistribution([WRAPPED, ON_SPHERES[0]]), [1.0, 0.0, 0.0, 0.0, 2.0, 0.0], "found length 2"),
    ],
)
def test_a_point_off_the_manifold_is_one_line(distribution, value, said):
    with pytest.raises(ValueError, match=said) as error:
        distribution.log_prob(torch.tensor(value))
    assert "\n" not in str(error.value)


def test_the_first_of_many_is_named():
    values = torch.eye(3)[None] * torch.tensor([1.0, 7.0, 8.0])[:, None]
    with pytest.raises(ValueError, match="found length 7"):
        VonMisesFisher(E1, 1.0).log_prob(values)
