"""What is done, in training and missing, and how long the rest may take."""

import math
import time
from pathlib import Path

import numpy as np

from . import experiments, paths
from .store import cell_path, group_seeds, load, slug

RUNNING_SECONDS = 180.0  # a checkpoint younger than this belongs to a training that goes on


def status(preset: str, standin: bool = False) -> str:
    """A table of the cells done, in training and missing, and of the hours of one core that the rest may take.

    A row for each configuration, then a total for each experiment and for all.
    """
    rows = []
    for name in experiments.NAMES:
        experiment = experiments.load(name)
        settings = experiments.settings(experiment, preset)
        results = load(name, preset, standin)
        mean = np.mean([c["provenance"]["seconds"] for c in results.cells]) if results.cells else math.nan
        for configuration in experiment.configurations(settings):
            done = [cell for cell in results.where(**configuration) if cell["seed"] < settings.seeds]
            folder = cell_path(paths.results(preset, standin), name, configuration, 0).parent
            recent = [f for f in folder.glob("seeds-*") if _age(f) < RUNNING_SECONDS]
            running = len({seed for file in recent for seed in group_seeds(file)})
            missing = max(0, settings.seeds - len(done) - running)
            own = np.mean([c["provenance"]["seconds"] for c in done]) if done else mean
            hours = (missing + running) * own / 3600 if missing + running else 0.0
            rows.append((name, slug(configuration), len(done), running, missing, hours))
    totals = [_total(name, [row for row in rows if row[0] == name]) for name in experiments.NAMES]
    rows += [*totals, _total("all experiments", totals)]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    rows = [(*row[:5], "unknown" if math.isnan(row[5]) else f"{row[5]:.1f}") for row in rows]
    lines = [("experiment", "configuration", "done", "running", "missing", "hours left"), *rows]
    return "\n".join(f"{r[0]:{first}} {r[1]:{second}} {r[2]:>5} {r[3]:>8} {r[4]:>8} {r[5]:>11}" for r in lines)


def _total(name: str, rows: list[tuple]) -> tuple:
    """A row of sums; hours of which some are unknown are unknown."""
    return ("total", name, *(sum(column) for column in list(zip(*rows, strict=True))[2:]))


def _age(file: Path) -> float:
    """Seconds since a file was written; one that is gone is infinitely old."""
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return math.inf
