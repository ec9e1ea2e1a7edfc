"""Models over any latent space; every parameter carries a leading runs axis."""

from .m1m2 import M1M2
from .vae import VAE

__all__ = ["M1M2", "VAE"]
