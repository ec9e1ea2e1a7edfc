"""Table 3: semi-supervised classification of MNIST with 100 labels by the end-to-end M1+M2 model.

Protocol of Davidson et al. (2018), Section 5.3: z1 and z2 both normal (N+N), both vMF (S+S), or z1 vMF and z2 normal
(S+N), in dimensions 5, 10 and 50; networks with one hidden layer of 500 and ReLU; Adam 1e-3, batches of 100,
dynamically binarised images, early stopping with look-ahead 50, a classification loss with a weight alpha in
[0.1, 1.0].

The paper leaves open, and we choose:

- The loss of a step is minus the mean bound of 100 images without and 10 with a label, each image counting the same,
  plus alpha times the mean of -log q(y | z1) over the labelled ones (Kingma et al. 2014, Eq. 9). The 100 labelled
  images are class-balanced; their labels apart they are among the 50,000 that train.
- The KL divergence of z2, and nothing else, is warmed up; `m1m2_warmup` measures what that changes.
- Early stopping looks at the unlabelled bound of the validation images and so at no label.
- Every cell chooses its alpha by the accuracy on the validation images after ``pilot_epochs``, the only use of their
  labels; it then trains anew, to the end.
- An image is given the most probable class under q(y | z1) at the mode of q(z1 | x).
- No training is longer than 200 epochs, for want of computing time. This deviates from the protocol: a run that still
  improves then (its best epoch plus the look-ahead is beyond its last) has been cut off. Notebook 04 lists such runs.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..data.mnist import Images, Pixels, load_mnist
from ..distributions.noise import draw
from ..evaluation import index_blocks
from ..models import M1M2
from ..models.m1m2 import marginal_bound
from ..spaces import Space, space
from ..store import Outcome
from ..study import Job
from ..training import EVALUATION, INITIALISATION, Fit, Progress, Schedule, fit, run_generators
from . import Published
from .mnist_vae import balanced_subset


@dataclass(frozen=True)
class Settings:
    dims: tuple[int, ...]
    seeds: int
    schedule: Schedule
    hidden: tuple[int, ...] = (500,)
    alphas: tuple[float, ...] = (0.1, 1.0)
    pilot_epochs: int = 15
    labels: int = 100
    labelled_batch: int = 10
    binarisation: str = "dynamic"
    train_size: int | None = None
    validation_size: int | None = None
    test_size: int | None = None


PRESETS = {
    "smoke": Settings(
        dims=(5,),
        seeds=1,
        schedule=Schedule(batch_size=100, warmup_epochs=1, patience=1, max_epochs=2),
        hidden=(32,),
        pilot_epochs=1,
        labels=50,
        train_size=1000,
        validation_size=200,
        test_size=200,
    ),
    "quick": Settings(
        dims=(5,),
        seeds=1,
        schedule=Schedule(batch_size=100, warmup_epochs=12, patience=6, max_epochs=18),
        alphas=(1.0,),
        train_size=20_000,
        validation_size=2000,
        test_size=2000,
    ),
    "paper": Settings(
        dims=(5, 10, 50),
        seeds=5,
        schedule=Schedule(batch_size=100, warmup_epochs=12, patience=50, max_epochs=200),
    ),
}

Run = tuple[int, float]  # seed, alpha

TOPOLOGIES = {"N+N": "ee", "S+S": "ss", "S+N": "se"}  # letters of the spaces of z1 and z2
# The paper does not say how many runs its numbers are of; we take those of Table 1. Bold as in `mnist_vae`.
TABLES = {
    "table3": Published(
        ["method", "dim_z1", "dim_z2", "metric"],
        ("accuracy",),
        runs=10,
        paired=True,
        bold={(5, 5, "accuracy"): ("S+S",), (5, 50, "accuracy"): ("S+N",)},
    )
}


def table_rows(cell: dict) -> dict[str, list[tuple]]:
    """The row, keys and value, that one cell adds to Table 3; accuracy in per cent."""
    c = cell["configuration"]
    return {"table3": [(c["topology"], c["dim_z1"], c["dim_z2"], "accuracy", 100 * cell["metrics"]["accuracy"])]}


def load_data(source: str, settings: Settings) -> Images:
    return load_mnist(source, settings.train_size, settings.validation_size, settings.test_size)


def configurations(settings: Settings) -> list[dict]:
    grid = itertools.product(settings.dims, settings.dims, TOPOLOGIES)
    return [{"dim_z1": z1, "dim_z2": z2, "topology": topology} for z1, z2, topology in grid]


def run_cells(job: Job) -> list[Outcome]:
    """Choose alpha, then train and score the seeds of one configuration in lockstep."""
    pilot, seconds = _pilot(job)
    runs = [(seed, max(pilot[seed], key=pilot[seed].get)) for seed in job.seeds]
    model, fitted = train_model(job, latent_spaces(job), runs, job.settings.schedule)
    outcomes = score(job, model, fitted, runs)
    for seed, outcome in zip(job.seeds, outcomes, strict=True):
        outcome.metrics["pilot_accuracy"] = {str(candidate): share for candidate, share in pilot[seed].items()}
        outcome.training_seconds += seconds / len(job.seeds)
    return outcomes


def latent_spaces(job: Job) -> tuple[Space, Space]:
    """The spaces of z1 and z2."""
    c = job.configuration
    first, second = TOPOLOGIES[c["topology"]]
    return space(f"{first}{c['dim_z1']}"), space(f"{second}{c['dim_z2']}")


def score(job: Job, model: M1M2, fitted: Fit, runs: Sequence[Run]) -> list[Outcome]:
    """The numbers of Table 3 and what the figures show, for each run of a trained model."""
    images: Images = job.data
    validation, test = (_pixels(job, split) for split in (images.validation, images.test))
    on_validation = accuracy(model, validation, images.validation_labels, runs)
    generators = run_generators(job.seeds, EVALUATION, device=job.device)
    predicted = predict(model, test, generators)
    bound = mean_bound(model, test, generators).tolist()
    style_kl = _style_kl(model, test, job.seeds).tolist()
    outcomes = []
    for run, (seed, alpha) in enumerate(runs):
        metrics = {
            "accuracy": (predicted[run] == images.test_labels).double().mean().item(),
            "validation_accuracy": on_validation[run],
            "alpha": alpha,
            "bound": bound[run],
            "style_KL": style_kl[run],
            "best_epoch": fitted.best_epoch[run],
            "stopped_epoch": fitted.stopped_epoch[run],
        }
        arrays = fitted.arrays(run) | {"confusion": _confusion(images.test_labels, predicted[run], model.classes)}
        if seed == 0:
            arrays |= _analogies(model, run, images, test)
        outcomes.append(Outcome(metrics, arrays, fitted.seconds / len(runs)))
    return outcomes


def _pixels(job: Job, split: torch.Tensor) -> Pixels:
    return Pixels(split, job.settings.binarisation, job.device)


def _pilot(job: Job) -> tuple[dict[int, dict[float, float | None]], float]:
    """Accuracy on the validation images with each alpha after a short training, by seed, and the seconds of that.

    In every random number it is the beginning of the training that follows. With a single alpha there is nothing to
    find out, and None stands for its accuracy.
    """
    settings: Settings = job.settings
    if len(settings.alphas) == 1:
        return {seed: dict.fromkeys(settings.alphas) for seed in job.seeds}, 0.0
    runs = list(itertools.product(job.seeds, settings.alphas))
    schedule = replace(settings.schedule, patience=None, max_epochs=settings.pilot_epochs)

    def report(progress: Progress) -> None:
        """The time left is that of the whole cell: its training follows, with one alpha a seed in place of them all."""
        least, most = (
            settings.pilot_epochs + end / len(settings.alphas)
            for end in (settings.schedule.end(), settings.schedule.max_epochs)
        )
        job.report(replace(progress, earliest_end=least, latest_end=most, stage=" of the pilot"))

    job_of_pilot = replace(job, checkpoint=_pilot_checkpoint(job), report=job.report and report)
    model, fitted = train_model(job_of_pilot, latent_spaces(job), runs, schedule)
    shares = accuracy(model, _pixels(job, job.data.validation), job.data.validation_labels, runs)
    shares = dict(zip(runs, shares, strict=True))
    return {seed: {alpha: shares[seed, alpha] for alpha in settings.alphas} for seed in job.seeds}, fitted.seconds


def _pilot_checkpoint(job: Job) -> Path | None:
    """A file of its own, which stays until the cell is stored: a training that is resumed needs the pilot's outcome."""
    return None if job.checkpoint is None else job.checkpoint.with_suffix(".pilot")


def train_model(
    job: Job,
    latent: tuple[Space, Space],
    runs: Sequence[Run],
    schedule: Schedule,
    labelled_sets: Sequence[int] | None = None,
) -> tuple[M1M2, Fit]:
    """Train one model for every seed and alpha of ``runs``, with z1 and z2 in the ``latent`` spaces.

    ``labelled_sets`` are the seeds that the labelled images of the runs come from, if these are others.
    """
    settings: Settings = job.settings
    train, validation = (_pixels(job, split) for split in (job.data.train, job.data.validation))
    seeds = [seed for seed, _ in runs]
    alphas = torch.tensor([alpha for _, alpha in runs], device=job.device)
    every_label = job.data.train_labels
    # The same labelled images whatever the topology, the dimensions and alpha
    sets = labelled_sets or seeds
    labelled = torch.stack(
        [balanced_subset(every_label, settings.labels, np.random.default_rng([seed])) for seed in sets]
    )
    labels = every_label[labelled].to(job.device)
    labelled = labelled.to(job.device)
    initial = run_generators(seeds, INITIALISATION)
    features, classes = job.data.train.shape[1], len(every_label.unique())
    model = M1M2(*latent, features, classes, settings.hidden, initial).to(job.device)

    def loss(index, weight, generators):
        chosen = draw(torch.rand, (len(runs), settings.labelled_batch), generators, index.device)
        chosen = (chosen * labelled.shape[1]).long()
        y = labels.gather(1, chosen).unsqueeze(-1)
        x = train.batch(torch.cat([index, labelled.gather(1, chosen)], dim=1), generators)
        without = index.shape[1]
        bounds, log_q_y = model.bounds(x, generators, weight)
        unlabelled_bound = marginal_bound(bounds[:, :without], log_q_y[:, :without])
        labelled_bound = bounds[:, without:].gather(-1, y).squeeze(-1)
        classification_loss = -log_q_y[:, without:].gather(-1, y).mean((1, 2))
        return alphas * classification_loss - torch.cat([unlabelled_bound, labelled_bound], dim=1).mean(1)

    def validate(generators):
        return -mean_bound(model, validation, generators)

    fitted = fit(model, seeds, schedule, len(train), loss, validate, job.checkpoint, job.deadline, job.report)
    return model, fitted


IMAGES_AT_ONCE = 500


def _batches(model: M1M2, pixels: Pixels, generators) -> Iterator[torch.Tensor]:
    """All images of a split, in order, as batches [R, B, P]."""
    for index in index_blocks(model, len(pixels), IMAGES_AT_ONCE):
        yield pixels.batch(index, generators)


@torch.no_grad()
def mean_bound(model: M1M2, pixels: Pixels, generators, style_weight: float = 1.0) -> torch.Tensor:
    """Mean bound of log p(x) over a split, [R] in nats."""
    bounds = [marginal_bound(*model.bounds(x, generators, style_weight)) for x in _batches(model, pixels, generators)]
    return torch.cat(bounds, dim=1).mean(1, dtype=torch.float64)


@torch.no_grad()
def predict(model: M1M2, pixels: Pixels, generators) -> torch.Tensor:
    """The most probable class of every image of a split, [R, N] on the CPU."""
    return torch.cat([model.classify(x).argmax(-1) for x in _batches(model, pixels, generators)], dim=1).cpu()


def accuracy(model: M1M2, pixels: Pixels, labels: torch.Tensor, runs: Sequence[Run]) -> list[float]:
    """Share of the images of a split that are classified correctly, for each run (seed, alpha)."""
    generators = run_generators([seed for seed, _ in runs], EVALUATION, device=model.device)
    return (predict(model, pixels, generators) == labels).double().mean(1).tolist()


def _style_kl(model: M1M2, pixels: Pixels, seeds: list[int]) -> torch.Tensor:
    """Mean KL divergence of z2 from its prior, [R] in nats: what the bound gains if it has no weight."""
    with_it, without = (
        mean_bound(model, pixels, run_generators(seeds, EVALUATION, device=model.device), weight) for weight in (1, 0)
    )
    return without - with_it


def _confusion(labels: torch.Tensor, predicted: torch.Tensor, classes: int) -> np.ndarray:
    """Number of images [true class, predicted class]."""
    return (labels * classes + predicted).bincount(minlength=classes**2).view(classes, classes).numpy()


def most_confused(confusion: np.ndarray) -> tuple[int, int, int]:
    """The two classes that are most often taken for one another, and in how many images, from a stored confusion."""
    either_way = np.triu(confusion + confusion.T, 1)
    first, second = np.unravel_index(either_way.argmax(), either_way.shape)
    return int(first), int(second), int(either_way[first, second])


@torch.no_grad()
def _analogies(model: M1M2, run: int, images: Images, test: Pixels) -> dict[str, np.ndarray]:
    """What Figure 10 shows: a test image of each class, and its style in every class, as bytes."""
    index = torch.stack([(images.test_labels == k).nonzero()[0, 0] for k in images.test_labels.unique()])
    generator = torch.Generator(model.device).manual_seed(0)
    x = test.batch(index.to(model.device), generator).expand(model.runs, -1, -1)
    restyled = (model.restyle(x)[run].sigmoid() * 255).round().byte()
    return {"originals": images.test[index].numpy(), "restyled": restyled.cpu().numpy()}
