"""Distributions on spheres and planes in the idiom of `torch.distributions`.

Beyond the usual contract every ``rsample`` here takes an optional ``generator``: one `torch.Generator`, or one for each
run when the first batch axis is a runs axis, so that runs trained together draw the numbers they would draw alone.
"""

from .diagonal_normal import DiagonalNormal
from .hyperspherical_uniform import HypersphericalUniform
from .von_mises_fisher import VonMisesFisher

__all__ = ["DiagonalNormal", "HypersphericalUniform", "VonMisesFisher"]
