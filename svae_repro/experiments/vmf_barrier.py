"""The published sampler's barrier: how many trainings are stuck below it after their first epochs?

Between kappa = 10 and 11 the gradient of the sampler in circulation has the wrong sign, from m = 14 on (`vmf_checks`).
Models begin at kappa = 1.7 and end in the hundreds, so that every training must pass. Whether it does is settled early
and hangs on little, seeds and even the rounding of sums: a rate, which takes many runs to measure. These are the
trainings of `vmf_training`, broken off after three epochs.
"""

from dataclasses import dataclass

from scipy import stats

from ..distributions.as_published import SWITCH
from ..store import Outcome, Results
from ..study import Job
from ..training import Schedule
from ..verdicts import SIGNIFICANCE
from . import mnist_vae, vmf_training
from .vmf_training import ESTIMATORS

BARRIER = SWITCH + 1  # where the blend ends


@dataclass(frozen=True)
class Settings(vmf_training.Settings):
    estimators: tuple[str, ...] = ("exact", "uncorrected", "published")


PRESETS = {
    "smoke": Settings(
        dims=(40,),
        seeds=1,
        schedule=Schedule(max_epochs=1),
        hidden=(32, 16),
        train_size=1000,
        validation_size=200,
        test_size=200,
    ),
    # Half of the paper's first epoch, in eighths, at its rate of warm-up.
    "quick": Settings(
        dims=(40,),
        seeds=4,
        schedule=Schedule(warmup_epochs=800, max_epochs=4),
        train_size=6250,
        validation_size=100,
        test_size=500,
        estimators=("exact", "published"),
    ),
    "paper": Settings(dims=(5, 20, 40), seeds=40, schedule=Schedule(max_epochs=3)),
}

TITLE = "The published sampler's barrier"
TABLES: dict = {}
load_data = mnist_vae.load_data
configurations = vmf_training.configurations


def run_cells(job: Job) -> list[Outcome]:
    """Train the seeds of one configuration in lockstep for the first epochs."""
    train_over = ESTIMATORS[job.configuration["estimator"]][0]
    model, fitted = mnist_vae.train_model(job, train_over(job.configuration["d"]))
    quantiles = vmf_training.concentrations(mnist_vae.test_posterior(job, model))
    return [
        Outcome({"concentration": q, "validation_loss": loss}, training_seconds=fitted.seconds / len(job.seeds))
        for q, (*_, loss) in zip(quantiles.tolist(), fitted.validation_curves, strict=True)
    ]


def stuck(results: Results, d: int, estimator: str) -> tuple[int, int]:
    """Of how many runs half of the test images have a kappa below the end of the blend, and the number of runs."""
    cells = results.where(d=d, estimator=estimator)
    return sum(cell["metrics"]["concentration"][1] < BARRIER for cell in cells), len(cells)


def limits(count: int, runs: int, level: float = SIGNIFICANCE) -> tuple[float, float]:
    """Clopper and Pearson's exact confidence interval for a rate, each limit at ``level``."""
    low, high = stats.binomtest(count, runs).proportion_ci(1 - 2 * level, method="exact")
    return float(low), float(high)


RARE = 0.25


def claims(results: Results) -> list[tuple[str, str, str]]:
    """(claim, verdict, numbers) for each of the samplers and gradients but the exact.

    "some stuck": in some dimension more trainings are stuck than of the exact ones, by Fisher's test at p < 0.01 shared
    among the dimensions. "few or none stuck": in every dimension the upper 99 % limit of the rate is below `RARE`.
    """
    dims = PRESETS[results.preset].dims
    found = []
    for estimator in PRESETS[results.preset].estimators:
        if estimator == "exact":
            continue
        more, rare, numbers = False, True, []
        for d in dims:
            (count, runs), (exact, exact_runs) = (stuck(results, d, name) for name in (estimator, "exact"))
            if min(runs, exact_runs) < 2:
                rare = False
                continue
            table = [[count, runs - count], [exact, exact_runs - exact]]
            more |= bool(stats.fisher_exact(table, alternative="greater").pvalue < SIGNIFICANCE / len(dims))
            rare &= limits(count, runs)[1] < RARE
            numbers.append(f"d={d}: {count} of {runs} stuck, exact {exact} of {exact_runs}")
        verdict = "some stuck" if more else "few or none stuck" if rare else "open"
        why = "; ".join(numbers) if numbers else "fewer than two runs of each"
        found.append((f"trainings with the {ESTIMATORS[estimator][2]}, below κ = {BARRIER:g}", verdict, why))
    return found
