"""A reproduction of Hyperspherical Variational Auto-Encoders (Davidson et al. 2018) and of the studies grown from it.

Importing the package imports nothing else; take what you need from its modules, for example
`from svae_repro.distributions import VonMisesFisher`.
"""

__version__ = "0.1.0"
