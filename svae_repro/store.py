"""The cells on disk: one file each, whole or absent, with where it came from.

A cell is an experiment, a configuration and a seed. It is stored as
``results/<preset>/<experiment>/<configuration>/seed-<k>.json`` with a ``.npz`` beside it where a figure needs arrays.
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from . import experiments, paths
from .errors import UserError
from .files import whole_or_absent

KEYS = ("experiment", "configuration", "seed", "metrics", "provenance")
PROVENANCE = ("commit", "dirty", "device", "seconds", "data", "settings")  # what is relied on of it
RECORDED_VERSIONS = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "torch-geometric")


@dataclass
class Outcome:
    """What one cell yields: plain metrics, small arrays for figures, its share of the training time."""

    metrics: dict
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    training_seconds: float = 0.0


@dataclass
class Results:
    """The cells of an experiment that are there, and what they were made from."""

    experiment: str
    preset: str
    standin: bool
    cells: list[dict]
    wanted: int  # how many cells the preset asks for
    unfinished: int = 0  # how many the last call of `run` left for want of time

    @property
    def data(self) -> str:
        """One line on the data behind the cells."""
        descriptions = sorted({cell["provenance"]["data"]["description"] for cell in self.cells})
        return "; ".join(descriptions) or "no results yet"

    def where(self, **condition) -> list[dict]:
        """Cells whose configuration agrees with every condition, in order of seed."""
        return [c for c in self.cells if all(c["configuration"].get(k) == v for k, v in condition.items())]

    def differences(self, metric: str, first: dict, second: dict) -> np.ndarray:
        """``metric`` of the cells that meet one condition less that of another's, for the seeds that both have."""
        ours, theirs = (
            {cell["seed"]: cell["metrics"][metric] for cell in self.where(**condition)} for condition in (first, second)
        )
        return np.array([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())])

    def arrays(self, seed: int = 0, **condition) -> dict[str, np.ndarray] | None:
        """Arrays of the one cell with that seed and configuration; None if the cell or its file of arrays is missing.

        Raises:
            UserError: the file cannot be read.
        """
        for cell in self.where(**condition):
            if cell["seed"] == seed and (file := cell["path"].with_suffix(".npz")).exists():
                try:
                    with np.load(file) as stored:
                        return dict(stored)
                except Exception as error:  # whatever NumPy makes of a damaged file
                    remedy = command(cell["path"], fresh=True)
                    raise UserError(f"cannot read the arrays {file}: {error}; recompute them: {remedy}") from None
        return None

    def validation_curve(self, cell: dict) -> np.ndarray:
        """Unweighted validation loss of a trained cell after each epoch; a `UserError` if it has lost its arrays."""
        return self.array(cell, "validation_curve")

    def array(self, cell: dict, name: str) -> np.ndarray:
        """The array of that name that every cell of the experiment has; a `UserError` if this one has lost its own."""
        arrays = self.arrays(cell["seed"], **cell["configuration"]) or {}
        if name not in arrays:
            raise broken(cell["path"], f"{cell['path'].with_suffix('.npz')} is missing")
        return arrays[name]


def slug(configuration: dict) -> str:
    """Folder name of a configuration, in the syntax of ``--where``: ``d=10,space=s``."""
    return ",".join(f"{key}={value}" for key, value in configuration.items())


def cell_path(folder: Path, experiment: str, configuration: dict, seed: int) -> Path:
    return folder / experiment / slug(configuration) / f"seed-{seed}.json"


def group_seeds(file: Path) -> list[str]:
    """The seeds that train together, from the name of their checkpoint, `seeds-0-1.ckpt`, or of a file beside it."""
    return file.name.partition(".")[0].split("-")[1:]


def command(path: Path, fresh: bool = False) -> str:
    """The command that makes the cell of this `cell_path`; with ``fresh`` although it is there."""
    folder, experiment, configuration = (path.parents[level].name for level in (2, 1, 0))
    preset = folder.removesuffix("-standin")
    cell = f"{experiment} --preset {preset} --where {configuration} --seeds {path.stem.removeprefix('seed-')}"
    return f"python -m svae_repro run {cell}" + " --data standin" * (folder != preset) + " --fresh" * fresh


def broken(path: Path, fault: str) -> UserError:
    """The complaint about the cell of this `cell_path`, with the command that makes it anew."""
    return UserError(f"{fault}; recompute it: {command(path, fresh=True)}")


class Metrics(dict):
    """The metrics of a stored cell; asking for one that it lacks is a `UserError` that names the file."""

    def __init__(self, path: Path, metrics: dict):
        super().__init__(metrics)
        self._path = path

    def __missing__(self, name: str):
        raise broken(self._path, f"the result {self._path} lacks the metric {name}")


def read_cell(path: Path) -> dict:
    """The cell stored in ``path``; a `UserError` naming the file if it cannot be read or is not a cell."""
    try:
        cell = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise broken(path, f"cannot read the result {path}: {error}") from None
    if not isinstance(cell, dict):
        raise broken(path, f"the result {path} is not a cell")
    missing = [key for key in KEYS if key not in cell]
    nested = ("configuration", "metrics", "provenance")
    missing = missing or [key for key in nested if not isinstance(cell[key], dict)]
    missing = missing or [key for key in PROVENANCE if key not in cell["provenance"]]
    if missing:
        raise broken(path, f"the result {path} lacks {', '.join(missing)}")
    described, seconds, settings = (cell["provenance"][key] for key in ("data", "seconds", "settings"))
    if not (isinstance(described, dict) and {"description", "sha256"} <= described.keys()):
        raise broken(path, f"the result {path} does not describe its data")
    if not isinstance(settings, dict):
        raise broken(path, f"the result {path} does not name its settings")
    if not (isinstance(seconds, int | float) and math.isfinite(seconds)):
        raise broken(path, f"the result {path} took {seconds!r} seconds")
    if type(cell["seed"]) is not int:
        raise broken(path, f"the result {path} has the seed {cell['seed']!r}")
    if (slug(cell["configuration"]), f"seed-{cell['seed']}") != (path.parent.name, path.stem):
        raise broken(path, f"the result {path} is of {slug(cell['configuration'])}, seed {cell['seed']}")
    return cell | {"metrics": Metrics(path, cell["metrics"]), "path": path}


def load(name: str, preset: str, standin: bool = False) -> Results:
    """Every cell of an experiment's preset that is there, in the order of its grid.

    Raises:
        UserError: unknown experiment or preset, or a result file that cannot be read.
    """
    experiment = experiments.load(name)
    settings = experiments.settings(experiment, preset)
    folder = paths.results(preset, standin)
    configurations = experiment.configurations(settings)
    cells = []
    for configuration in configurations:
        files = cell_path(folder, name, configuration, 0).parent.glob("seed-*.json")
        cells += sorted((read_cell(file) for file in files), key=lambda cell: cell["seed"])
    return Results(name, preset, standin, cells, len(configurations) * settings.seeds)


def provenance(device: str, data, settings) -> dict:
    """Which code, data and machine a result comes from."""
    return {
        **_commit(),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in RECORDED_VERSIONS},
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "data": {"name": data.name, "standin": data.standin, "sha256": data.sha256, "description": data.description},
        "settings": asdict(settings),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def made_otherwise(settings: dict, sha256: str, source: dict) -> list[str]:
    """Which of the ``settings`` of a cell, or "data", differ from those of ``source``, a provenance.

    Settings of the grid do not count, nor those that came or went with the code.
    """
    today = json.loads(json.dumps(source["settings"]))  # as a file gives it back: no tuples
    both = settings.keys() & today.keys() - set(experiments.GRID)
    changed = sorted(name for name in both if settings[name] != today[name])
    return changed + ["data"] * (sha256 != source["data"]["sha256"])


def _processor() -> str:
    """Kind of the CPU with the instructions that PyTorch uses on it: the last digits of a sum hang on them."""
    return f"{platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def provenances(*found: Results) -> str:
    """What a notebook ends with: for each experiment where its cells come from, then one line on all their data."""
    lines = []
    for results in found:
        lines.append(f"{results.experiment}: {len(results.cells)} of {results.wanted} cells ({results.preset} preset)")
        stated = [cell["provenance"] for cell in results.cells]
        for name, separator, values in (
            ("commit", ", ", {p["commit"][:10] + (" with changes" if p["dirty"] else "") for p in stated}),
            ("device", "; ", {p["device"] for p in stated}),  # the name of one may hold a comma
            ("sha256 of the data", ", ", {p["data"]["sha256"] for p in stated}),
        ):
            if values:
                lines.append(f"  {name}: {separator.join(sorted(values))}")
    # Stand-ins first: nobody should overlook them.
    data = sorted({(not results.standin, results.data) for results in found if results.cells})
    return "\n".join([*lines, "data: " + ("; ".join(text for _, text in data) or "no results yet")])


@cache
def _commit() -> dict:
    """Commit of the code that runs, and whether files differ from it; unknown outside a git checkout.

    Asked once, when a process begins to train: what is committed later is not what runs.
    """
    git = ["git", "-C", str(paths.REPOSITORY)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        code = ["--", "svae_repro"]
        status = subprocess.run(
            [*git, "status", "--porcelain", *code], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return {"commit": "unknown", "dirty": None}
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def write_cell(path: Path, name: str, configuration: dict, seed: int, outcome: Outcome, provenance: dict) -> None:
    """The arrays and the JSON file whose presence means that the cell is done, each whole or absent."""
    cell = dict(zip(KEYS, (name, configuration, seed, outcome.metrics, provenance), strict=True))
    arrays = path.with_suffix(".npz")

    def write(file) -> None:
        file.write((json.dumps(cell, indent=1) + "\n").encode())
        file.flush()
        if outcome.arrays:  # under their name just before the JSON file gets its own
            write_atomically(arrays, lambda f: np.savez_compressed(f, **outcome.arrays))
        else:
            arrays.unlink(missing_ok=True)  # an earlier cell's

    write_atomically(path, write)


def write_atomically(path: Path, write: Callable) -> None:
    """Write ``path`` whole or not at all by calling ``write`` on a binary file; a `UserError` if that is impossible."""
    try:
        with whole_or_absent(path) as temporary, open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; nothing that was finished is lost") from None


def check_writable(folder: Path) -> None:
    """Find out before the training that the results can be stored after it."""
    probe = folder / ".probe"
    write_atomically(probe, lambda f: f.write(b"x"))
    probe.unlink(missing_ok=True)  # another run may have just done so
