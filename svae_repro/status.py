"""What is done, in training and missing, and how long the rest may take."""

import math
import time
from pathlib import Path

import numpy as np

from . import experiments, paths
from .store import cell_path, group_seeds, load, slug

RUNNING_SECONDS = 180.0  # a checkpoint younger than this belongs to a training that goes on


def status(preset: str, standin: bool = False) -> str:
    """A table of the cells done, in training and missing of each experiment, and the time the missing may take."""
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
            left = "unknown" if math.isnan(hours) else f"{hours:.1f}"
            rows.append((name, slug(configuration), len(done), running, missing, left))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [("experiment", "configuration", "done", "running", "missing", "hours left"), *rows]
    return "\n".join(f"{r[0]:{first}} {r[1]:{second}} {r[2]:>5} {r[3]:>8} {r[4]:>8} {r[5]:>11}" for r in lines)


def _age(file: Path) -> float:
    """Seconds since a file was written; one that is gone is infinitely old."""
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return math.inf
