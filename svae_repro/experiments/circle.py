"""Figure 1: can an autoencoder recover a circle from a noisy non-linear image of it in R^100?

Davidson et al. (2018), Section 5.1: a mixture of three vMFs on S^1, mapped to R^100; an autoencoder, an N-VAE, an N-VAE
with beta = 0.1 and an S-VAE, all with two latent coordinates. The paper gives no sizes: those of the data are chosen in
`svae_repro.data.circle`, those of the models here. The decoder's output is the mean of a normal distribution with unit
variance, the squared-error loss that an unspecified autoencoder is trained with.

What the eye sees in Figure 1 is put into numbers: `fisher_lee_correlation` of the latent angle with the true one,
`cluster_recovery`, `marginal_kl`, how far the aggregate posterior is from the prior, and two that tell a ring from a
collapse towards the origin: `mean_radius` of the posterior modes and `centre_share`, the share of posterior samples
inside half that radius. `claims` judges the paper's four sentences by them.
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
from ..store import Outcome, Results
from ..study import Job
from ..training import EVALUATION, INITIALISATION, Schedule, fit, run_generators
from ..verdicts import differ, reproduced


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
TITLE = "Figure 1"
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
        latent, sampled = modes[run].double().numpy(), samples[run].double().numpy()
        mean_radius = np.linalg.norm(latent, axis=1).mean()
        metrics = {
            "circular_correlation": fisher_lee_correlation(data.test.angle.numpy(), latent_angle(latent, name)),
            "cluster_recovery": cluster_recovery(latent, data.test.cluster.numpy(), seed),
            "marginal_kl": gap[run],
            "mean_radius": mean_radius.item(),
            "centre_share": (np.linalg.norm(sampled, axis=1) < mean_radius / 2).mean().item(),
            "RE": re[run].mean().item(),
            "KL": kl[run].mean().item(),
            "best_epoch": fitted.best_epoch[run],
            "stopped_epoch": fitted.stopped_epoch[run],
        }
        arrays = {}
        if seed == 0:  # what Figure 1 shows
            arrays = {
                "latent": latent.astype(np.float32),
                "samples": sampled.astype(np.float32),
                "angle": data.test.angle.numpy().astype(np.float32),
                "cluster": data.test.cluster.numpy().astype(np.uint8),
            }
        outcomes.append(Outcome(metrics, arrays, fitted.seconds / model.runs))
    return outcomes


def latent_angle(latent: np.ndarray, space_name: str) -> np.ndarray:
    """Angles [N] in radians of latent points [N, 2]: on the circle about its centre, in the plane about their mean.

    The plane has no centre of its own: an autoencoder may put its ring anywhere.
    """
    centred = latent if space_name == "s1" else latent - latent.mean(0)
    return np.arctan2(centred[:, 1], centred[:, 0])


def fisher_lee_correlation(a: np.ndarray, b: np.ndarray) -> float:
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


CLAIMED = ("circular_correlation", "mean_radius", "centre_share", "marginal_kl")
CLAIMS = (
    "the autoencoder recovers the circle but leaves most of the latent space empty",
    "the N-VAE collapses around the origin",
    "with β = 0.1 the N-VAE keeps the circle, but aggregate posterior and prior differ strongly",
    "the S-VAE recovers the circle and matches the prior",
)
RECOVERED = 0.9  # circular correlation from which we call a circle recovered
PRIOR_CENTRE = float(1 - np.exp(-np.pi / 16))  # `centre_share` of N(0, I) itself, with its mean radius sqrt(pi / 2)


def claims(results: Results) -> list[tuple[str, str, str]]:
    """(claim, verdict, numbers behind it) for each of the four sentences on Figure 1 in Sections 2.3 and 5.1.

    A claim has two halves; it is reproduced if both hold, partly if one does. "open" if a model has under two runs.
    """
    values = {m: {k: [c["metrics"][k] for c in results.where(model=m)] for k in CLAIMED} for m in MODELS}
    if any(len(values[m]["mean_radius"]) < 2 for m in MODELS):
        return [(claim, "open", "a model has fewer than two runs") for claim in CLAIMS]

    def mean(model: str, metric: str) -> float:
        return float(np.mean(values[model][metric]))

    def less(model: str, other: str, metric: str) -> bool:
        return mean(model, metric) < mean(other, metric) and differ(values[model][metric], values[other][metric])

    def recovered(model: str) -> bool:
        return mean(model, "circular_correlation") >= RECOVERED

    halves = [
        (recovered("ae"), mean("ae", "centre_share") < PRIOR_CENTRE / 2),
        (less("n", "n-beta", "mean_radius"), mean("n", "centre_share") >= PRIOR_CENTRE / 2),
        (recovered("n-beta"), less("n", "n-beta", "marginal_kl")),
        (recovered("s"), less("s", "n", "marginal_kl") and less("s", "n-beta", "marginal_kl")),
    ]
    correlation, radius, gap = (
        {m: f"{mean(m, k):.2f}" for m in MODELS if values[m][k][0] is not None}
        for k in ("circular_correlation", "mean_radius", "marginal_kl")
    )
    centre = {m: f"{100 * mean(m, 'centre_share'):.1f} %" for m in MODELS}
    numbers = [
        f"correlation {correlation['ae']}; {centre['ae']} of the points in the middle, mean radius {radius['ae']}",
        f"mean radius {radius['n']} against {radius['n-beta']} with β = 0.1; "
        f"{centre['n']} of the samples in the middle, of N(0, I) {100 * PRIOR_CENTRE:.1f} %",
        f"correlation {correlation['n-beta']}; KL to the prior {gap['n-beta']} nats against {gap['n']} with β = 1",
        f"correlation {correlation['s']}; KL to the prior {gap['s']} nats against {gap['n']} and {gap['n-beta']}",
    ]
    return [(c, reproduced(h), n) for c, h, n in zip(CLAIMS, halves, numbers, strict=True)]
