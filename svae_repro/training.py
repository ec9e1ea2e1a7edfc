"""Training: Adam, linear KL warm-up, early stopping for each run, exact resumption.

All random numbers of an epoch come from generators seeded by (run seed, epoch), one for each run. A run therefore
trains to the same result alone or in lockstep with others, and a checkpoint needs no random state: the epoch is it.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .captured import CapturedStep
from .errors import UserError
from .files import whole_or_absent

CHECKPOINT_SECONDS = 45.0


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train. Epochs are counted from 1.

    ``patience`` is the look-ahead of early stopping in epochs; it is counted, and the best weights are recorded, only
    after the warm-up, on the unweighted validation loss. None means no early stopping: the last of
    ``max_epochs`` leaves the weights. A ``batch_size`` of None makes every epoch one step on all examples.
    """

    learning_rate: float = 1e-3
    batch_size: int | None = 64
    warmup_epochs: int = 100
    patience: int | None = 50
    max_epochs: int = 2000

    def kl_weight(self, epoch: int) -> float:
        """Weight of the KL divergence, rising linearly to 1 over the warm-up."""
        return min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0

    def end(self, best: int = 0) -> int:
        """Epoch at which a run stops that does not improve after ``best``."""
        if self.patience is None:
            return self.max_epochs
        return min(max(best, self.warmup_epochs) + self.patience, self.max_epochs)


@dataclass
class Progress:
    """What `fit` reports after every epoch."""

    epoch: int
    earliest_end: float  # epoch at which training ends if no run improves any more
    latest_end: float
    seconds: float  # that this epoch took
    validation_loss: float  # mean over the runs
    stage: str = ""  # of a cell that is trained in several, as " of the pilot"


@dataclass
class Fit:
    """Outcome of a training: for each run the epoch of its best weights, the loss there and where it stopped."""

    best_epoch: list[int]
    best_loss: list[float]
    stopped_epoch: list[int]
    seconds: float
    validation_curves: list[list[float]]  # of each run, up to the epoch where it stopped

    def arrays(self, run: int) -> dict[str, np.ndarray]:
        """What a cell stores of a run's training."""
        return {"validation_curve": np.array(self.validation_curves[run], np.float32)}


class OutOfTime(Exception):
    """The deadline came before the training ended; its state is in the checkpoint."""


def run_generators(seeds: Sequence[int], *purpose: int, device: torch.device | str = "cpu") -> list[torch.Generator]:
    """One generator for each run, its stream fixed by the run's seed and by what it is for."""
    return reseed([torch.Generator(device) for _ in seeds], seeds, *purpose)


def reseed(generators: list[torch.Generator], seeds: Sequence[int], *purpose: int) -> list[torch.Generator]:
    """The same generators with the streams that `run_generators` gives."""
    for generator, seed in zip(generators, seeds, strict=True):
        state = np.random.SeedSequence([seed, *purpose]).generate_state(1, np.uint64)[0]
        generator.manual_seed(int(state) >> 1)
    return generators


INITIALISATION, TRAINING, VALIDATION, EVALUATION = range(4)  # purposes of generators


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Denormal numbers are zero in here, on this thread; afterwards all is as it was.

    When a hidden unit has died, Adam's averages of its gradients decay into the denormal numbers and stay there, as
    0.9 of the least of them is rounded up to itself. A processor takes many times as long for these: late in a
    training they cost half of its time. No weight moves by them, as Adam adds 1e-8 to what it divides by.
    """
    before = torch.tensor(1e-40).mul(1).item() == 0  # PyTorch has a setter only
    torch.set_flush_denormal(True)  # without effect on a processor that cannot
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@denormals_as_zero()
def fit(
    model: nn.Module,
    seeds: Sequence[int],
    schedule: Schedule,
    size: int,
    loss: Callable[[Tensor, float, list[torch.Generator]], Tensor],
    validate: Callable[[list[torch.Generator]], Tensor],
    checkpoint: Path | None = None,
    deadline: float | None = None,
    report: Callable[[Progress], None] | None = None,
    shrink: bool = False,
) -> Fit:
    """Train the R runs of ``model`` in lockstep and leave each with its best weights (without patience its last).

    Args:
        model: parameters and buffers with a leading runs axis.
        seeds: one for each run.
        schedule: learning rate, batches, warm-up, early stopping.
        size: number of training examples.
        loss: (index [R, B], KL weight, generators) -> mean loss [R] of a batch.
        validate: generators -> unweighted validation loss [R].
        checkpoint: file to continue from if it exists, and to keep up to date; the caller removes it.
        deadline: `time.monotonic` value after which the state is saved and `OutOfTime` raised.
        report: called after every epoch.
        shrink: take a run that has stopped out of ``model`` until the others have stopped, too, which spares a CPU its
            part of the work. ``loss`` and ``validate`` then see the runs that are left: they have to go by the number
            of generators they are given or of runs in ``model``. On a GPU, where a step takes as long for one run as
            for all and its graph is captured for all, the runs stay.
    """
    device = next(model.parameters()).device
    on_gpu = device.type == "cuda"
    optimiser = torch.optim.Adam(model.parameters(), lr=schedule.learning_rate, fused=True, capturable=on_gpu)
    state = _State(model, optimiser, seeds, schedule, checkpoint)
    batch_size = schedule.batch_size or size
    batches = size // batch_size
    if batches == 0:
        raise ValueError(f"{size} training examples do not fill one batch of {batch_size}")
    generators = run_generators([seeds[run] for run in state.present], device=device)

    def take_step(index: Tensor, weight: Tensor | float) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss(index, weight, generators).sum().backward()
        optimiser.step()

    step = CapturedStep(take_step, generators) if on_gpu else take_step
    saved, last_save = state.epoch, time.monotonic()
    while state.epoch < schedule.max_epochs and not all(state.stopped):
        started = time.monotonic()
        state.epoch += 1
        present = [seeds[run] for run in state.present]
        reseed(generators, present, TRAINING, state.epoch)
        order = torch.stack([torch.randperm(size, generator=g, device=device) for g in generators])
        weight = schedule.kl_weight(state.epoch)
        model.train()
        for batch in order[:, : batches * batch_size].split(batch_size, dim=1):
            step(batch, weight)
        model.eval()
        with torch.no_grad():
            losses = validate(run_generators(present, VALIDATION, state.epoch, device=device)).tolist()
        seconds = time.monotonic() - started
        state.record(losses, seconds)
        if shrink and not on_gpu:
            state.shrink()
            del generators[len(state.present) :]  # any will do: they are seeded anew in every epoch
        if report is not None:
            report(Progress(state.epoch, state.earliest_end, schedule.max_epochs, seconds, float(np.mean(losses))))
        out_of_time = deadline is not None and time.monotonic() > deadline
        if checkpoint is not None and (out_of_time or time.monotonic() - last_save > CHECKPOINT_SECONDS):
            state.save()
            saved, last_save = state.epoch, time.monotonic()
        if out_of_time:
            raise OutOfTime
    if checkpoint is not None and saved < state.epoch:
        state.save()  # what is killed while it scores the model need not train it again
    model.eval()  # also where a checkpoint of the last epoch left nothing to train
    return state.finish()


class _State:
    """Everything that a training carries from one epoch to the next."""

    SCALARS = ("epoch", "seconds", "best_epoch", "best_loss", "stopped", "curves", "present")

    def __init__(self, model: nn.Module, optimiser, seeds, schedule: Schedule, path: Path | None):
        self.model, self.optimiser, self.schedule, self.path = model, optimiser, schedule, path
        self.identity = {"seeds": list(seeds), **asdict(schedule)}
        self.epoch = 0
        self.seconds = 0.0
        self.best_epoch = [0] * len(seeds)
        self.best_loss = [math.inf] * len(seeds)
        self.stopped = [0] * len(seeds)  # the epoch at which a run stopped, 0 while it goes on
        self.curves: list[list[float]] = [[] for _ in seeds]
        self.present = list(range(len(seeds)))  # the runs that ``model`` holds, in this order
        self.best = {name: value.clone() for name, value in model.state_dict().items()}
        if path is not None and path.exists():
            self._load()

    def record(self, losses: list[float], seconds: float) -> None:
        """Early stopping: take in the validation losses of the epoch just ended."""
        self.seconds += seconds
        running = [
            (position, run, losses[position]) for position, run in enumerate(self.present) if not self.stopped[run]
        ]
        for _, run, value in running:
            self.curves[run].append(value)
        if not all(math.isfinite(value) for _, _, value in running):
            raise FloatingPointError(f"the validation losses of epoch {self.epoch} are {losses}: training diverged")
        if self.schedule.patience is None or self.epoch < self.schedule.warmup_epochs:
            return
        current = self.model.state_dict()
        for position, run, value in running:
            if value < self.best_loss[run]:
                self.best_loss[run], self.best_epoch[run] = value, self.epoch
                for name, best in self.best.items():
                    best[run] = current[name][position]
            elif self.epoch - max(self.best_epoch[run], self.schedule.warmup_epochs) >= self.schedule.patience:
                self.stopped[run] = self.epoch

    @property
    def earliest_end(self) -> int:
        going_on = [best for best, stopped in zip(self.best_epoch, self.stopped, strict=True) if not stopped]
        return max(map(self.schedule.end, going_on), default=self.epoch)

    def shrink(self) -> None:
        """Leave in model and optimiser the runs that go on; if none does, all that are there."""
        going_on = [run for run in self.present if not self.stopped[run]]
        if not going_on or going_on == self.present:
            return
        kept = [self.present.index(run) for run in going_on]
        for parameter in self.model.parameters():
            moments = self.optimiser.state[parameter]
            moments |= {name: value[kept] for name, value in moments.items() if value.shape == parameter.shape}
        self._hold({name: value[kept] for name, value in self.model.state_dict().items()})
        self.present = going_on

    def _hold(self, weights: dict[str, Tensor]) -> None:
        """Put ``weights`` into the model, of however many runs they are."""
        for name, value in self.model.state_dict(keep_vars=True).items():
            value.data, value.grad = weights[name], None

    def finish(self) -> Fit:
        last = self.model.state_dict()
        # Nothing was recorded without early stopping, or where training ended inside the warm-up: no run has left.
        for run in (run for run, epoch in enumerate(self.best_epoch) if epoch == 0):
            self.best_epoch[run], self.best_loss[run] = self.epoch, self.curves[run][-1]
            for name, best in self.best.items():
                best[run] = last[name][run]
        self._hold(self.best)
        stopped = [epoch or self.epoch for epoch in self.stopped]
        return Fit(self.best_epoch, self.best_loss, stopped, self.seconds, self.curves)

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        content = {name: getattr(self, name) for name in ("identity", "best", *self.SCALARS)}
        content |= {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        try:
            with whole_or_absent(self.path) as temporary:
                torch.save(content, temporary)
        except (OSError, RuntimeError) as error:  # torch's writer raises a RuntimeError of many lines on a full disk
            reason = getattr(error, "strerror", None) or "no space left, or the folder is gone"
            raise UserError(f"cannot write the checkpoint {self.path}: {reason}") from None

    def _load(self) -> None:
        device = next(self.model.parameters()).device
        try:
            content = torch.load(self.path, map_location=device, weights_only=True)
            scalars = {name: content[name] for name in self.SCALARS}
            present = {name: value[scalars["present"]] for name, value in self.best.items()}
            shapes = [_shapes(content["best"]), _shapes(content["model"])]
            same = content["identity"] == self.identity and shapes == [_shapes(self.best), _shapes(present)]
        except Exception:  # whatever torch makes of a damaged file: a checkpoint only saves time, so start anew
            return
        if not same:
            return  # left by another schedule or model: start anew
        self._hold(content["model"])
        own = {"param_groups": self.optimiser.state_dict()["param_groups"]}  # the file may be of another device
        self.optimiser.load_state_dict(content["optimiser"] | own)
        self.best = content["best"]
        for name, value in scalars.items():
            setattr(self, name, value)


def _shapes(weights: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}
