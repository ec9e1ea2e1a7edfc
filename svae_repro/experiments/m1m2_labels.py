"""The errors of S+S in Table 3: does the labelled set decide them, or what else comes from the seed?

In our runs of Table 3 two spheres hardly tell 4 from 9 with most seeds, but do with seed 2, at dim 10 and at dim 50. A
seed draws the 100 labelled images, and it draws the initial weights, the order of the data and the noise. Here each of
the labelled sets of five seeds meets the rest of each of them: S+S as in `m1m2_style`, with its protocol and number of
epochs. Where both are of the same seed, that is the training of that study, but for rounding.
"""

from dataclasses import replace

import numpy as np

from ..spaces import space
from ..store import Outcome, Results
from ..study import Job
from ..verdicts import SIGNIFICANCE, columns_alike_p
from . import m1m2, m1m2_style

# Two of either at least: with one there is nothing to compare
PRESETS = {name: replace(settings, seeds=max(2, settings.seeds)) for name, settings in m1m2_style.PRESETS.items()}

TITLE = "The labelled sets of Table 3"
TABLES: dict = {}  # nobody has published such numbers
load_data = m1m2.load_data

PAIRS = ((4, 9), (3, 5))  # the digits that two spheres took for one another most often in Table 3
ERRORS = tuple(f"errors between {first} and {second}" for first, second in PAIRS)
ACCURACY = "accuracy in per cent"


def configurations(settings: m1m2.Settings) -> list[dict]:
    return [{"d": d, "labelled_set": seed} for d in settings.dims for seed in range(settings.seeds)]


def run_cells(job: Job) -> list[Outcome]:
    """Train and score S+S with the labelled set of one seed and all else from the seeds of the job."""
    sphere = space(f"s{job.configuration['d']}")
    labelled_sets = [job.configuration["labelled_set"]] * len(job.seeds)
    outcomes = m1m2_style.trained(job, (sphere, sphere), labelled_sets)
    for outcome in outcomes:
        outcome.arrays = {"confusion": outcome.arrays["confusion"]}
    return outcomes


def scores(results: Results) -> dict[str, np.ndarray]:
    """The test images of one digit of a pair of `PAIRS` that were taken for the other, and the test accuracy.

    Each is an array [seed, labelled set] over the preset's seeds, NaN where a run is not there.
    """
    count = PRESETS[results.preset].seeds
    found = {name: np.full((count, count), np.nan) for name in (*ERRORS, ACCURACY)}
    for cell in results.cells:
        place = cell["seed"], cell["configuration"]["labelled_set"]
        if max(place) >= count:  # further seeds meet no labelled set of their own
            continue
        counts = results.array(cell, "confusion")
        for name, (first, second) in zip(ERRORS, PAIRS, strict=True):
            found[name][place] = counts[first, second] + counts[second, first]
        found[ACCURACY][place] = 100 * cell["metrics"]["accuracy"]
    return found


def share(table: np.ndarray) -> float:
    """How much of the variance of a table is that of the means of its columns."""
    total = table.var()
    return float(table.mean(axis=0).var() / total) if total > 0 else 0.0


def claims(results: Results) -> list[tuple[str, str, str]]:
    """(claim, verdict, numbers): what matters for the errors between 4 and 9, and for the accuracy.

    "yes" if a permutation test gives p < 0.01; "open" until every run is there.
    """
    every = scores(results)
    found = []
    for score in (ERRORS[0], ACCURACY):
        for source, table in (("the labelled set", every[score]), ("what else the seed draws", every[score].T)):
            word, numbers = "open", f"{np.isfinite(table).sum()} of {table.size} runs"
            if not np.isnan(table).any():
                p = columns_alike_p(table)
                word = "yes" if p < SIGNIFICANCE else "not shown"
                means = ", ".join(f"{mean:.4g}" for mean in table.mean(axis=0))
                numbers = f"means by seed, from 0 on: {means}; {share(table):.0%} of the variance, p={p:.2g}"
            found.append((f"{source} matters for the {score}", word, numbers))
    return found
