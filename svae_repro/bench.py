"""Speed as ratios on one machine in one run: `python -m svae_repro bench`.

Every number is the median over interleaved repetitions, on one CPU thread, in units that were measured beside it, so
that a slow or busy machine moves both. The bars are those of the design; a ratio above its bar is printed as such.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from torch.distributions import kl_divergence

from . import evaluation, pairs
from .captured import CapturedStep
from .data.mnist import Pixels
from .data.planetoid import CitationGraphs, Graph
from .distributions import HypersphericalUniform, VonMisesFisher
from .errors import UserError
from .models import VAE
from .spaces import space
from .study import Job
from .training import INITIALISATION, TRAINING, run_generators

HIDDEN, PIXELS, BATCH = (256, 128), 784, 64
EVALUATED = 10_000  # images of the full log-likelihood, to which a part is scaled up


def main(only: list[str] | None = None) -> None:
    """Measure and print; ``only`` names some of the measurements."""
    measurements = {"step": _step, "vmf": _vmf, "ll": _ll, "lockstep": _lockstep, "pubmed": _pubmed}
    for name in only or []:
        if name not in measurements:
            raise UserError(f"unknown measurement {name!r}: choose among {', '.join(measurements)}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        print(f"{'what':68} {'ratio':>8} {'bar':>8}")
        for name, measure in measurements.items():
            if not only or name in only:
                for what, value, bar in measure():
                    mark = "" if bar is None or value <= bar else "  above the bar"
                    print(f"{what:68} {value:8.2f} {'' if bar is None else bar:>8}{mark}", flush=True)
    finally:
        torch.set_num_threads(threads)


def medians(
    actions: dict[str, Callable[[], object]], repetitions: int = 200, warmup: int = 20, clock=time.perf_counter
) -> dict[str, float]:
    """Median seconds of each action, all repeated in turn so that a drift of the machine's speed meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for repetition in range(warmup + repetitions):
        for name, action in actions.items():
            started = clock()
            action()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repetition >= warmup:
                times[name].append(clock() - started)
    return {name: float(np.median(values)) for name, values in times.items()}


def _training_step(name: str, pixels: Pixels, runs: int = 1) -> Callable[[], None]:
    """One step as `svae_repro.training.fit` takes it."""
    seeds, device = list(range(runs)), pixels.device
    model = VAE(space(name), PIXELS, HIDDEN, run_generators(seeds, INITIALISATION)).to(device)
    on_gpu = device.type == "cuda"
    optimiser = torch.optim.Adam(model.parameters(), fused=True, capturable=on_gpu)
    generators = run_generators(seeds, TRAINING, device=device)
    index = torch.randint(len(pixels), (runs, BATCH), device=device)

    def take_step(index, weight):
        optimiser.zero_grad(set_to_none=True)
        re, kl = model.elbo_terms(pixels.batch(index, generators), generators)
        (weight * kl - re).mean(1).sum().backward()
        optimiser.step()

    step = CapturedStep(take_step, generators) if on_gpu else take_step
    return lambda: step(index, 0.5)


def _matrix_products() -> Callable[[], None]:
    """The matrix products of an N-VAE step at d = 10, forward and backward, and nothing else."""
    widths = [(PIXELS, 256), (256, 128), (128, 20), (10, 128), (128, 256), (256, PIXELS)]
    layers = [(torch.randn(BATCH, a), torch.randn(a, b), torch.randn(BATCH, b)) for a, b in widths]

    def products():
        for number, (x, weight, grad) in enumerate(layers):
            x @ weight
            x.T @ grad
            if number:  # the data need no gradient
                grad @ weight.T

    return products


def _images(device: str = "cpu") -> Pixels:
    return Pixels(torch.randint(256, (5000, PIXELS), dtype=torch.uint8), device=device)


def _draw_batch(pixels: Pixels) -> Callable[[], None]:
    """A batch of binarised images with its share of the shuffling."""
    generators = run_generators([0], TRAINING)
    batches = len(pixels) // BATCH
    orders: list[torch.Tensor] = []

    def draw():
        if not orders:
            orders.extend(torch.randperm(len(pixels), generator=generators[0])[: batches * BATCH].split(BATCH))
        pixels.batch(orders.pop().unsqueeze(0), generators)

    return draw


def _step():
    pixels = _images()
    actions = {name: _training_step(name, pixels) for name in ("e10", "s10", "e2", "s2")}
    actions |= {"products": _matrix_products(), "data": _draw_batch(pixels)}
    t = medians(actions)
    yield "N-VAE training step / its matrix products alone (d=10, batch 64)", t["e10"] / t["products"], 2.3
    yield "S-VAE training step / N-VAE training step (d=10, batch 64)", t["s10"] / t["e10"], 1.25
    yield "S-VAE training step / N-VAE training step (d=2, batch 64)", t["s2"] / t["e2"], 1.25
    yield "shuffling, drawing and binarising a batch / N-VAE training step", t["data"] / t["e10"], 0.05


def _vmf():
    loc = torch.nn.functional.normalize(torch.randn(640, 11), dim=-1).requires_grad_()
    kappa = (50 * torch.rand(640)).requires_grad_()
    prior = HypersphericalUniform(11)
    a, b = torch.randn(640, PIXELS), torch.randn(PIXELS, 256)
    t = medians(
        {
            "unit": lambda: a @ b,
            "sample": lambda: VonMisesFisher(loc, kappa, validate_args=False).rsample().sum().backward(),
            "kl": lambda: kl_divergence(VonMisesFisher(loc, kappa, validate_args=False), prior).sum().backward(),
        }
    )
    yield "vMF rsample + backward, 640 x m=11 / one 640x784x256 product", t["sample"] / t["unit"], 2.5
    yield "KL(vMF, uniform) + backward, the same", t["kl"] / t["unit"], 0.9


def _ll():
    """Seconds for 10,000 images, scaled up from a part of them, and the ratio to the decoder's matrix products."""
    part, samples = 80, evaluation.IMPORTANCE_SAMPLES
    pixels = _images()
    generators = run_generators([0], TRAINING)
    rows = torch.randn(evaluation.ROWS_IN_MEMORY["cpu"], 10)
    weights = [torch.randn(a, b) for a, b in ((10, 128), (128, 256), (256, PIXELS))]

    def products():
        for _ in range(part * samples // len(rows)):
            x = rows
            for weight in weights:
                x = x @ weight

    for name in ("e10", "s10"):
        model = VAE(space(name), PIXELS, HIDDEN, run_generators([0], INITIALISATION))
        batch = lambda index: pixels.batch(index, generators)  # noqa: E731 (used at once)
        actions = {
            "ll": lambda model=model, batch=batch: evaluation.log_likelihood(model, batch, part, generators),
            "products": products,
        }
        t = medians(actions, repetitions=5, warmup=1)
        what = f"{'N' if name == 'e10' else 'S'}-VAE log-likelihood, 500 samples, d=10"
        yield f"{what} / decoder's matrix products", t["ll"] / t["products"], None
        yield f"{what} x 10,000 images, seconds (one thread)", t["ll"] * EVALUATED / part, 45


def _lockstep():
    """Ten runs in lockstep against ten steps one after another: on a CPU it saves a third, on a GPU far more."""
    for device in ("cpu", "cuda"):
        if device == "cuda" and not torch.cuda.is_available():
            print("ten S-VAE runs in lockstep on a GPU: there is none here")
            continue
        pixels = _images(device)
        t = medians({"ten": _training_step("s10", pixels, 10), "one": _training_step("s10", pixels)}, repetitions=30)
        what = f"ten S-VAE runs in lockstep / one after another ({device.upper()})"
        yield what, t["ten"] / (10 * t["one"]), 0.125 if device == "cuda" else None


PUBMED = {"nodes": 19_717, "edges": 44_324, "features": 500}


def _pubmed():
    """A process of its own has a peak of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        seconds, peak = pool.submit(pubmed_cell).result()
    yield "S-VGAE on a graph of Pubmed's size, dense loss, seconds an epoch", seconds, None
    yield "peak memory of its training and scoring, GB", peak, 3.0


def pubmed_cell(epochs: int = 5) -> tuple[float, float]:
    """Seconds an epoch and this process's peak memory in GB for a cell of Table 4 on a random graph."""
    from .experiments import vgae

    torch.set_num_threads(1)
    number = torch.randint(pairs.count(PUBMED["nodes"]), (PUBMED["edges"],)).unique()
    words = torch.rand(PUBMED["nodes"], PUBMED["features"])
    graph = Graph("Pubmed", words * (words < 0.1), pairs.decode(number), torch.zeros(PUBMED["nodes"]).long())
    configuration = {"dataset": "Pubmed", "model": "s", "loss": "dense", "protocol": "fixed"}
    settings = vgae.Settings(("Pubmed",), seeds=1, epochs=epochs)
    (outcome,) = vgae.run_cells(Job(configuration, [0], settings, CitationGraphs({"Pubmed": graph}, True, "")))
    unit = 2**30 if sys.platform == "darwin" else 2**20  # of ru_maxrss in a GB
    return outcome.training_seconds / epochs, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
