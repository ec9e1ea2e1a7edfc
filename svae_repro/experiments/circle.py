"""Figure 1: can an autoencoder recover a circle from a noisy non-linear image of it in R^100?

Davidson et al. (2018), Section 5.1: a mixture of three vMFs on S^1, mapped to R^100; an autoencoder, an N-VAE, an N-VAE
with beta = 0.1 and an S-VAE, all with two latent coordinates. The paper gives no sizes: those of the data are chosen in
`svae_repro.data.circle`, those of the models here. The decoder's output is the mean of a normal distribution with unit
variance, the squared-error loss that an unspecified autoencoder is trained with.

What the eye sees in Figure 1 is put into numbers: `circular_correlation` of the latent angle with the true one,
`cluster_recovery`, and `marginal_kl`, how far the aggregate posterior is from the prior.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from .. import evaluation
from ..data.circle import Circle, load_circle
from ..models import VAE
from ..models.vae import gaussian
from ..spaces import space
from ..store import Outcome
from ..study import Job
from ..training import EVALUATION, INITIALISATION, Schedule, fit, run_generators


@dataclass(frozen=True)
class Settings:
    seeds: int
    size: int = 5000
    hidden: tuple[int, ...] = (64, 32)
    schedule: Schedule = field(default=Schedule(warmup_epochs=20, patience=30, max_epochs=400))


PRESETS = {
    "smoke": Settings(seeds=1, size=500, schedule=Schedule(warmup_epochs=1, patience=2, max_epochs=3)),
    "quick": Settings(seeds=3, size=2000, schedule=Schedule(warmup_epochs=10, patience=15, max_epochs=60)),
    "paper": Settings(seeds=10),
}

# model -> (latent space, KL weight, name); a weight of None makes the plain autoencoder
MODELS = {
    "ae": ("e2", None, "autoencoder"),
    "n": ("e2", 1.0, "N-VAE"),
    "n-beta": ("e2", 0.1, "N-VAE, β = 0.1"),
    "s": ("s1", 1.0, "S-VAE"),
}
TABLES: dict = {}  # the paper has no numbers for Figure 1


def load_data(source: str, settings: Settings) -> Circle:
    """The data are generated, so ``source`` makes no difference."""
    return load_circle(settings.size)


def configurations(settings: Settings) -> list[dict]:
    return [{"model": model} for model in MODELS]


def run_cells(job: Job) -> list[Outcome]:
    """Train and score the seeds of one model in lockstep."""
    settings: Settings = job.settings
    data: Circle = job.data
    name, beta, _ = MODELS[job.configuration["model"]]
    stochastic = beta is not None
    initial = run_generators(job.seeds, INITIALISATION)
    features = data.train.x.shape[1]
    model = VAE(space(name), features, settings.hidden, initial, gaussian(1.0), stochastic).to(job.device)
    train, validation, test = (part.x.to(job.device) for part in (data.train, data.validation, data.test))

    def negative_elbo(x, weight, generators):
        re, kl = model.elbo_terms(x, generators)
        return ((beta or 0) * weight * kl - re).mean(1)

    def loss(index, weight, generators):
        return negative_elbo(train[index], weight, generators)

    def validate(generators):
        return negative_elbo(validation.expand(model.runs, -1, -1), 1.0, generators)

    fitted = fit(
        model, job.seeds, settings.schedule, len(train), loss, validate, job.checkpoint, job.deadline, job.report
    )

    generators = run_generators(job.seeds, EVALUATION, device=job.device)
    with torch.no_grad():
        batch = test.expand(model.runs, -1, -1)
        re, kl = model.elbo_terms(batch, generators)
        modes = evaluation.features(model, lambda index: test[index], len(test)).cpu()
        samples = model.posterior(batch).rsample(generator=generators).cpu() if stochastic else modes
        gap = evaluation.marginal_kl(model, batch, generators).tolist() if stochastic else [None] * model.runs
    outcomes = []
    for run, seed in enumerate(job.seeds):
        latent = modes[run].double().numpy()
        metrics = {
            "circular_correlation": circular_correlation(
                data.test.angle.numpy(), np.arctan2(latent[:, 1], latent[:, 0])
            ),
            "cluster_recovery": cluster_recovery(latent, data.test.cluster.numpy(), seed),
            "marginal_kl": gap[run],
            "RE": re[run].mean().item(),
            "KL": kl[run].mean().item(),
            "best_epoch": fitted.best_epoch[run],
            "stopped_epoch": fitted.stopped_epoch[run],
        }
        arrays = {
            "latent": latent.astype(np.float32),
            "samples": samples[run].numpy().astype(np.float32),
            "angle": data.test.angle.numpy().astype(np.float32),
            "cluster": data.test.cluster.numpy().astype(np.uint8),
        }
        outcomes.append(Outcome(metrics, arrays, fitted.seconds / model.runs))
    return outcomes


def circular_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Absolute value of the circular correlation rho_T of angles in radians (Fisher and Lee 1983), in [0, 1].

    1 for a rotation or a reflection, 0 for independence. It needs no mean direction, so it also serves angles that are
    spread over the whole circle. NaN if all angles agree up to half a turn.
    """
    difference, total, twice_a, twice_b = (
        np.abs(np.exp(1j * angle).mean()) ** 2 for angle in (a - b, a + b, 2 * a, 2 * b)
    )
    return float(abs(difference - total) / np.sqrt((1 - twice_a) * (1 - twice_b)))


def cluster_recovery(latent: np.ndarray, cluster: np.ndarray, seed: int) -> float:
    """Adjusted Rand index of three k-means clusters of the latent points with the true components; 1 is perfect."""
    found = KMeans(3, n_init=10, random_state=seed).fit_predict(latent)
    return float(adjusted_rand_score(cluster, found))
