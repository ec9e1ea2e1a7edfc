"""What the tables report: ELBO and its terms, importance-sampled log-likelihood, k-NN accuracy, errors of angles."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .models import M1M2, VAE
from .spaces import Space

IMPORTANCE_SAMPLES = 500  # Burda et al. (2016), as in the paper
# Decoder outputs of a run held at once: on a CPU what its cache holds, on a GPU what keeps it busy. The number of runs
# has no say, or a run would draw its random numbers in another order alone than together with others.
ROWS_IN_MEMORY = {"cpu": 1024, "cuda": 2**14}
DISTANCES_IN_MEMORY = 2**22

Batch = Callable[[Tensor], Tensor]


def index_blocks(model: VAE | M1M2, size: int, rows: int = 1000) -> tuple[Tensor, ...]:
    """Consecutive blocks of indices [R, B], B at most ``rows``, over ``size`` examples: the same for all R runs."""
    return torch.arange(size, device=model.device).expand(model.runs, -1).split(rows, dim=1)


@torch.no_grad()
def elbo(
    model: VAE, batch: Batch, size: int, generators: Sequence[torch.Generator], rows: int = 1000
) -> dict[str, Tensor]:
    """Mean ELBO, RE and KL divergence in nats over ``size`` examples, one posterior sample each.

    Args:
        batch: index [R, B] -> data [R, B, features].
        rows: examples of a run held in memory at once.

    Returns:
        "ELBO", "RE", "KL", each [R]; RE is the negative reconstruction error, so ELBO = RE - KL.
    """
    total_re = torch.zeros(model.runs, dtype=torch.float64, device=model.device)
    total_kl = torch.zeros_like(total_re)
    for index in index_blocks(model, size, rows):
        re, kl = model.elbo_terms(batch(index), generators)
        total_re += re.sum(1, dtype=torch.float64)
        total_kl += kl.sum(1, dtype=torch.float64)
    re, kl = total_re / size, total_kl / size
    return {"ELBO": re - kl, "RE": re, "KL": kl}


@torch.no_grad()
def log_likelihood(
    model: VAE,
    batch: Batch,
    size: int,
    generators: Sequence[torch.Generator],
    samples: int = IMPORTANCE_SAMPLES,
    report: Callable[[int, int], None] | None = None,
) -> dict[str, Tensor]:
    """Mean importance-sampled log p(x) in nats over ``size`` examples, and what is left of it without the decoder.

    log p(x) ~ log mean_k p(x | z_k) p(z_k) / q(z_k | x) with z_k ~ q(z | x) (Burda et al. 2016), a lower bound in
    expectation. Memory is bounded by `ROWS_IN_MEMORY` whatever the numbers of samples and examples.

    Returns:
        "LL", and "log_ratio", the mean over the examples of log mean_k p(z_k) / q(z_k | x), each [R]. The second one is
        about log 1 where the samples are many enough, and minus the KL divergence with one.
    """
    total = torch.zeros(2, model.runs, dtype=torch.float64, device=model.device)
    prior = model.space.prior(model.device)
    rows = ROWS_IN_MEMORY[model.device.type]
    width, chunk = max(1, rows // samples), min(samples, rows)
    done = 0
    for index in index_blocks(model, size, width):
        x = batch(index)
        posterior = model.posterior(x)
        # The runs axis comes first in the batch shape, the samples before it: [S, R, B, m] -> [R, S * B, m]
        parts = []
        for start in range(0, samples, chunk):
            z = posterior.rsample((min(chunk, samples - start),), generator=generators)
            log_ratio = (prior.log_prob(z) - posterior.log_prob(z)).transpose(0, 1)
            flat = z.transpose(0, 1).flatten(1, 2)
            logits = model.decode(flat).unflatten(1, (z.shape[0], -1))
            log_weight = log_ratio + model.likelihood(x.unsqueeze(1), logits)
            parts.append(torch.stack([log_weight, log_ratio]).double().logsumexp(2))
        total += (torch.stack(parts).logsumexp(0) - math.log(samples)).sum(-1)
        done += index.shape[1]
        if report is not None:
            report(done, size)
    return dict(zip(("LL", "log_ratio"), total / size, strict=True))


@torch.no_grad()
def features(model: VAE, batch: Batch, size: int, rows: int = 1000) -> Tensor:
    """Modes of the posteriors [R, size, m], the latent features of the M1 model (Kingma et al. 2014)."""
    return torch.cat([model.posterior(batch(index)).mode for index in index_blocks(model, size, rows)], dim=1)


def knn_accuracy(
    space: Space, labelled: Tensor, labels: Tensor, points: Tensor, point_labels: Tensor, neighbours: int = 5
) -> float:
    """Accuracy in [0, 1] of k-nearest-neighbour classification by the space's geodesic distance.

    Args:
        labelled, labels: reference points [N, m] and their classes [N].
        points, point_labels: points to classify [M, m] and their true classes [M].

    Ties between classes go to the class whose members rank closer on average, and where these are equal too, as in the
    order a, b, c, b, a, to the lower class number: an arbitrary rule, but one that has no regard to the model.

    Raises:
        ValueError: there are fewer labelled points than neighbours.
    """
    if len(labelled) < neighbours:
        raise ValueError(f"{len(labelled)} labelled points are fewer than the {neighbours} neighbours asked for")
    classes = int(max(labels.max(), point_labels.max())) + 1
    # A vote of the j-th neighbour counts slightly less than that of the one before: this breaks ties, no more. Whole
    # numbers keep the ties that are left, and argmax takes the first.
    votes = 2 * neighbours**2 - torch.arange(neighbours, device=points.device)
    correct = 0
    rows = max(1, DISTANCES_IN_MEMORY // (len(labelled) * labelled.shape[1]))
    for chunk, truth in zip(points.split(rows), point_labels.split(rows), strict=True):
        distance = space.distance(chunk.unsqueeze(1), labelled.unsqueeze(0))
        nearest = labels[distance.topk(neighbours, largest=False, sorted=True).indices]
        score = votes.new_zeros(len(chunk), classes).scatter_add_(1, nearest, votes.expand(nearest.shape))
        correct += int((score.argmax(1) == truth).sum())
    return correct / len(points)


@torch.no_grad()
def marginal_kl(model: VAE, x: Tensor, generators: Sequence[torch.Generator], samples: int = 2000) -> Tensor:
    """KL divergence in nats from the aggregate posterior of ``x`` [R, N, features] to the prior, [R].

    The aggregate posterior is the mixture of all N posteriors (Hoffman and Johnson 2016); the expectation over it is
    estimated from as many points of each, at least ``samples`` in all, the mixture's density at them is exact.
    """
    posterior = model.posterior(x)
    prior = model.space.prior(model.device)
    count = x.shape[1]
    rounds = -(-samples // count)
    z = posterior.rsample((rounds,), generator=generators).transpose(0, 1).flatten(1, 2)  # [R, S, m]
    rows = max(1, DISTANCES_IN_MEMORY // (count * z.shape[-1] * model.runs))
    log_mixture = [
        (posterior.log_prob(part.transpose(0, 1).unsqueeze(2)).double().logsumexp(-1) - math.log(count)).transpose(0, 1)
        for part in z.split(rows, dim=1)
    ]
    return (torch.cat(log_mixture, dim=1) - prior.log_prob(z)).mean(1)


def angular_error(a: Tensor, b: Tensor) -> Tensor:
    """The shorter way round from angles ``a`` to ``b``, in degrees in [0, 180]; both in radians."""
    return torch.atan2((a - b).sin(), (a - b).cos()).abs().rad2deg()


def circular_correlation(a: Tensor, b: Tensor) -> float:
    """Correlation of two series [N] of angles in radians, in [0, 1] (Jupp and Mardia 1980).

    The root mean square of the canonical correlations between (cos a, sin a) and (cos b, sin b): 1 for a rotation or a
    reflection, 0 for independence. The one of Fisher and Lee (`svae_repro.experiments.circle`) cannot tell 0 from 180
    degrees, the two that dihedrals favour. A component that does not vary beyond rounding (1e-5) correlates with none.
    """
    bases = []
    for angle in (a.double(), b.double()):
        points = torch.stack([angle.cos(), angle.sin()], dim=1)
        left, size, _ = torch.linalg.svd(points - points.mean(0), full_matrices=False)
        bases.append(left * (size > 1e-5 * math.sqrt(len(points))))
    return ((bases[0].T @ bases[1]).square().sum() / 2).sqrt().item()
