"""Runs a grid of cells: cache, resumption, parallel back ends, progress.

A cell that is on disk is done. Cells are independent, so they run on the local cores or on a cluster through joblib's
back ends. Only the driver writes results; the processes that train write their own checkpoints.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import joblib
import torch
from tqdm.auto import tqdm

from . import experiments, paths
from .backends import BACKENDS
from .data.source import check_source
from .errors import UserError
from .options import discard_output, parse_seeds, select
from .store import (
    Results,
    cell_path,
    check_writable,
    group_seeds,
    load,
    made_otherwise,
    provenance,
    read_cell,
    slug,
    write_atomically,
    write_cell,
)
from .training import OutOfTime, Progress


@dataclass
class Job:
    """What an experiment needs to train the seeds of one configuration."""

    configuration: dict
    seeds: list[int]
    settings: Any
    data: Any
    device: str = "cpu"
    checkpoint: Path | None = None
    deadline: float | None = None
    report: Callable[[Progress], None] | None = None
    report_evaluation: Callable[[int, int], None] | None = None


def resolve_device(device: str) -> str:
    """ "auto", "cpu" or "cuda" -> "cpu" or "cuda"; a `UserError` if there is no CUDA device to use."""
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"unknown device {device!r}: choose auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda, but PyTorch finds no CUDA device here: use --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def run(
    name: str,
    preset: str,
    *,
    where: dict[str, str] | None = None,
    seeds: list[int] | None = None,
    source: str = "auto",
    device: str = "auto",
    jobs: int | None = None,
    lockstep: int | None = None,
    backend: str = "loky",
    minutes: float | None = None,
    fresh: bool = False,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> Results:
    """Train every missing cell of an experiment's preset and return the cells that are there afterwards.

    ``lockstep`` missing seeds of a configuration train together as one task, by default all of them on a GPU and one on
    a CPU; ``jobs`` tasks (on a CPU as many as it has cores, on a GPU one) run at a time with one thread each, a single
    one with all threads. What another process finishes meanwhile is left out. After ``minutes`` unfinished cells are
    left in their checkpoints. ``progress`` shows a bar; ``say`` takes the lines that report.

    Raises:
        UserError: bad arguments, data that cannot be had, a result file that cannot be read, a folder that cannot be
            written or, once all others have ended, trainings that diverged.
    """
    experiment = experiments.load(name)
    settings = experiments.settings(experiment, preset)
    device = resolve_device(device)
    if backend not in BACKENDS:
        raise UserError(f"unknown back end {backend!r}: choose one of {', '.join(BACKENDS)}")
    check_source(source)
    if minutes is not None and not minutes >= 0:  # NaN compares false
        raise UserError(f"--minutes must be a number of at least 0, got {minutes:g}")
    if fresh and minutes is not None:
        raise UserError("--fresh starts anew every time and --minutes stops it: leave out one of them")
    if jobs is None:
        jobs = 1 if device == "cuda" else joblib.cpu_count()
    for option, value in (("jobs", jobs), ("lockstep", lockstep)):
        if value is not None and value < 1:
            raise UserError(f"--{option} must be at least 1, got {value}")
    say = say or (tqdm.write if progress else _print)
    seeds = list(range(settings.seeds)) if seeds is None else seeds
    configurations = select(experiment.configurations(settings), where or {})
    data = experiment.load_data(source, settings)
    source = "standin" if data.standin else "real"  # what the processes that train must find as well
    folder = paths.results(preset, data.standin)
    check_writable(folder)
    tasks, done = [], []
    for configuration in configurations:
        missing = []
        for seed in seeds:
            path = cell_path(folder, name, configuration, seed)
            if path.exists() and not fresh:
                done.append(read_cell(path)["provenance"])
            else:
                missing.append(seed)
        size = lockstep or (len(seeds) if device == "cuda" else 1)
        groups = [missing[i : i + size] for i in range(0, len(missing), size)]
        tasks += [_Task(name, preset, configuration, group, source, device, folder, fresh) for group in groups]
    total = sum(len(task.seeds) for task in tasks)
    say(f"{name}, {preset} preset: {len(done)} cells done, {total} to train ({data.description})")
    now = provenance(device, data, settings)
    others = [names for p in done if (names := made_otherwise(p["settings"], p["data"]["sha256"], now))]
    if others:
        names = ", ".join(sorted(set(chain(*others))))
        say(f"{len(others)} of them differ in {names} from what would be made now: --fresh makes them anew")
    for aside in _left_aside(tasks):
        say(f"{aside} is not continued: its seeds train together with the --seeds and --lockstep it was begun with")
    started, trained, late, diverged = time.monotonic(), 0, 0, []
    deadline = None if minutes is None else time.time() + 60 * minutes
    with tqdm(total=total, disable=not progress, unit="cell") as bar:
        for task, outcomes in _execute(tasks, jobs, backend, deadline, say):
            if outcomes is None:
                late += len(task.missing())
                continue
            if isinstance(outcomes, UserError):
                diverged.append(str(outcomes))
                continue
            for seed, outcome, source_of in zip(task.seeds, *outcomes, strict=True):
                path = cell_path(folder, name, task.configuration, seed)
                write_cell(path, name, task.configuration, seed, outcome, source_of)
            task.remove_checkpoints()
            trained += len(task.seeds)
            bar.update(len(task.seeds))
            halves = min(jobs - 1, total - trained) / 2  # those still in training count as half done
            left = (time.monotonic() - started) / (trained + halves) * (total - trained - halves) / 60
            say(f"{task.title}: done ({trained} of {total}, about {left:.1f} min left)")
    if late:
        say(f"time is up: {late} cells are not finished; the same command goes on from their checkpoints")
    if diverged:
        raise UserError("; ".join(diverged))
    results = load(name, preset, data.standin)
    results.unfinished = late
    return results


def obtain(
    name: str,
    preset: str,
    *,
    train: bool,
    data: str = "auto",
    device: str = "auto",
    jobs: int | None = None,
    seeds: str | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> Results:
    """What a notebook begins with: the stored cells or, with ``train``, those and the missing ones trained now.

    Without ``train`` nothing is computed and ``data`` only says whose results to show, the stand-in's if "standin".
    """
    if not train:
        return load(name, preset, standin=data == "standin")
    chosen = None if seeds is None else parse_seeds(str(seeds))
    return run(name, preset, source=data, device=device, jobs=jobs, seeds=chosen, fresh=fresh, progress=progress)


@dataclass
class _Task:
    """One unit of work for a process: the seeds of a configuration that train together."""

    name: str
    preset: str
    configuration: dict
    seeds: list[int]
    source: str
    device: str
    folder: Path
    fresh: bool

    @property
    def title(self) -> str:
        return f"{self.name} {slug(self.configuration)} seeds {self.seeds}"

    @property
    def checkpoint(self) -> Path:
        path = cell_path(self.folder, self.name, self.configuration, self.seeds[0])
        return path.with_name(f"seeds-{'-'.join(map(str, self.seeds))}.ckpt")

    def missing(self) -> list[int]:
        """The seeds whose cells are not on disk."""
        return [s for s in self.seeds if not cell_path(self.folder, self.name, self.configuration, s).exists()]

    def claim_checkpoints(self, source: dict) -> dict:
        """Remove checkpoints of other settings or data than those of ``source``, a provenance, and sign the new ones.

        Returns:
            ``source``, with ``started_commit`` where the code of another commit began what is continued now.
        """
        note = self.checkpoint.with_suffix(".origin.json")
        own = {"settings": source["settings"], "data": source["data"]["sha256"], "commit": source["commit"]}
        try:
            found = json.loads(note.read_text())
            other = bool(made_otherwise(found["settings"], found["data"], source))
            began = found["commit"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # no note, or not one of ours
            other = True
        if self.fresh or other:
            self.remove_checkpoints()
            began = source["commit"]
            write_atomically(note, lambda f: f.write((json.dumps(own) + "\n").encode()))
        return source | ({} if began == source["commit"] else {"started_commit": began})

    def remove_checkpoints(self) -> None:
        """The task's own and those that an experiment keeps beside it, under the same name up to the first dot."""
        for pattern in (f"{self.checkpoint.stem}.*", f".{self.checkpoint.stem}.*.tmp"):  # and what a kill has left
            for file in self.checkpoint.parent.glob(pattern):
                file.unlink(missing_ok=True)


def _left_aside(tasks: list[_Task]) -> list[Path]:
    """Checkpoints of other groups of the seeds that are to be trained now, whose progress these tasks cannot use.

    Of several that a group keeps, under one name up to the first dot, the first.
    """
    groups = {}
    for file in sorted({file for task in tasks for file in task.checkpoint.parent.glob("seeds-*.ckpt")}, reverse=True):
        groups[file.parent, file.name.partition(".")[0]] = file
    for task in tasks:
        groups.pop((task.checkpoint.parent, task.checkpoint.stem), None)
    seeds = {(task.checkpoint.parent, str(seed)) for task in tasks for seed in task.seeds}
    return sorted(f for f in groups.values() if any((f.parent, seed) in seeds for seed in group_seeds(f)))


def _execute(tasks: list[_Task], jobs: int, backend: str, deadline: float | None, say) -> Iterator[tuple]:
    """(task, what `_perform` says of it) as the tasks end.

    Through joblib a Ray cluster returns nothing before everything it was given has ended, so it is given ``jobs`` tasks
    at a time.
    """
    if jobs == 1 and backend == "loky":
        for task in tasks:
            yield _perform(task, deadline, torch.get_num_threads(), say)
        return
    jobs = min(jobs, max(len(tasks), 1))
    with joblib.parallel_config(backend=backend, n_jobs=jobs):
        whole = backend == "ray"
        parallel = joblib.Parallel(return_as="list" if whole else "generator_unordered")
        driver = os.getpid() if backend == "loky" else None
        calls = [joblib.delayed(_perform)(task, deadline, 1, _print, driver) for task in tasks]
        size = jobs if whole else max(len(calls), 1)
        try:
            for start in range(0, len(calls), size):
                yield from parallel(calls[start : start + size])
        except BrokenExecutor:
            raise UserError(
                "a process that trains was killed, perhaps for want of memory: finished cells are kept; "
                "run the same command again, if need be with fewer --jobs"
            ) from None


def _print(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:  # nobody reads on, or the disk of the log is full: no reason to stop a training
        discard_output()


def _perform(
    task: _Task, deadline: float | None, threads: int, say: Callable[[str], None], driver: int | None = None
) -> tuple:
    """Train and score one task in this process, a child of the ``driver`` if it has one.

    Returns:
        The task and its (outcomes, provenances), None if its time ran out or another process has finished it, or the
        `UserError` to report if it diverged: raised, it would end all others.
    """
    late = deadline is not None and time.time() > deadline
    if late or not (task.fresh or task.missing()):
        return task, None
    torch.set_num_threads(threads)
    experiment = experiments.load(task.name)
    settings = experiments.settings(experiment, task.preset)
    data = experiment.load_data(task.source, settings)
    clock = time.monotonic()
    common = task.claim_checkpoints(provenance(task.device, data, settings))
    reporter = _Reporter(task.title, say, driver)
    job = Job(
        task.configuration,
        task.seeds,
        settings,
        data,
        task.device,
        task.checkpoint,
        None if deadline is None else clock + deadline - time.time(),
        reporter.epoch,
        reporter.evaluation,
    )
    try:
        outcomes = experiment.run_cells(job)
    except OutOfTime:
        return task, None
    except FloatingPointError as error:
        remedy = "; --lockstep 1 spares the others" if len(task.seeds) > 1 else ""
        return task, UserError(f"{task.title}: {error}{remedy}")
    seconds = (time.monotonic() - clock) / len(task.seeds)
    return task, (outcomes, [common | {"seconds": round(max(seconds, o.training_seconds), 3)} for o in outcomes])


class _Reporter:
    """Turns progress into a line every half minute, and ends a training that nobody waits for."""

    SECONDS = 30.0

    def __init__(self, title: str, say: Callable[[str], None], driver: int | None = None):
        self.title, self.say, self.driver, self.last = title, say, driver, time.monotonic()
        self.paces: list[float] = []  # seconds of each epoch since the last line: those before may have been slower

    def _due(self) -> bool:
        if self.driver not in (None, os.getpid(), os.getppid()):  # killed; only it writes results
            raise SystemExit(f"{self.title}: left to its checkpoint, as the process that began it is gone")
        now = time.monotonic()
        if now - self.last < self.SECONDS:
            return False
        self.last = now
        return True

    def epoch(self, p: Progress) -> None:
        self.paces.append(p.seconds)
        if self._due():
            each = sum(self.paces) / len(self.paces)
            self.paces.clear()
            least, most = (each * (end - p.epoch) / 60 for end in (p.earliest_end, p.latest_end))
            self.say(
                f"{self.title}: epoch {p.epoch}{p.stage}, validation loss {p.validation_loss:.2f}, "
                f"{each:.1f} s an epoch, {least:.0f} to {most:.0f} min left"
            )

    def evaluation(self, done: int, size: int) -> None:
        if self._due():
            self.say(f"{self.title}: log-likelihood of {done} of {size} examples")
