"""Models over any latent space; every parameter carries a leading runs axis."""

from .vae import VAE

__all__ = ["VAE"]
