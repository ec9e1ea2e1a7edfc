"""Distributions on spheres, planes and hyperbolic spaces in the idiom of `torch.distributions`.

Beyond the usual contract every ``rsample`` here takes an optional ``generator``: one `torch.Generator`, or one for each
run when the first batch axis is a runs axis, so that runs trained together draw the numbers they would draw alone.
"""

from .diagonal_normal import DiagonalNormal
from .hyperspherical_uniform import HypersphericalUniform
from .kl import kl_estimate
from .power_spherical import PowerSpherical
from .product import ProductDistribution, Repeated
from .von_mises_fisher import VonMisesFisher
from .wrapped_normal import WrappedNormal, kl_tangent

__all__ = [
    "DiagonalNormal",
    "HypersphericalUniform",
    "PowerSpherical",
    "ProductDistribution",
    "Repeated",
    "VonMisesFisher",
    "WrappedNormal",
    "kl_estimate",
    "kl_tangent",
]
