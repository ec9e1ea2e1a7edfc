"""The KL divergence between any posterior and prior, given one sample of the posterior."""

from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from .product import ProductDistribution, pairs_of_factors


def kl_estimate(p: Distribution, q: Distribution, z: Tensor) -> Tensor:
    """KL(p || q) [...] in nats: exact where there is a closed form, otherwise log p(z) - log q(z) at a sample z of p.

    The second is unbiased, value and gradient. It takes the sample that the reconstruction is made from and draws no
    random numbers of its own. A product of spaces takes for each factor the best there is.
    """
    if isinstance(p, ProductDistribution) and isinstance(q, ProductDistribution):
        factors = zip(pairs_of_factors(p, q), p.split(z), strict=True)
        return sum(kl_estimate(*pair, part) for pair, part in factors)
    try:
        return kl_divergence(p, q)
    except NotImplementedError:
        return p.log_prob(z) - q.log_prob(z)
