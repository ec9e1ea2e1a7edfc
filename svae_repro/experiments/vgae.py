"""Table 4 and Figure 3: link prediction in citation graphs with variational graph auto-encoders.

Protocol of Kipf and Welling (2016), which Davidson et al. (2018), Section 5.4, take over: 10 % of the edges for testing
and 5 % for validation, with as many pairs that are no edge; the encoder sees the training edges only, at test too; one
hidden layer of 32 graph convolutions, 16 latent dimensions, Adam 0.01, 200 epochs of one step on the whole graph, no
dropout, the last weights; the weighted loss over all pairs of nodes plus 1/N of the KL divergence of a node; AUC and
average precision (AP) by the dot products of the posteriors' modes, on the sphere times a learnable scale.

The paper leaves open, and we choose: ten splits, which all models share, seed k being split k and initialisation k;
d = 16 is the manifold's dimension, so S^16 in R^17; the scale is positive and 1 at first; standard deviations are the
softplus of the encoder's output, as everywhere in this study, where Kipf's are the exponential.

Models beside the paper's two: GAE, the plain graph auto-encoder (no sampling, no KL); S-GAE, the same on the sphere
with the learnable scale, so its geometry without the variational part; VGNAE, the encoder of Ahn and Kim (2021) with
normal posteriors (`svae_repro.models.vgae.NormalisedEncoder`), under the protocol and latent size of all others.

Protocols: ``fixed`` is the one above. ``searched`` trains every point of `Settings.search` on a split and keeps the one
with the highest mean of AUC and AP on that split's validation edges; the test edges have no say in it. ``plane`` has
two latent dimensions, for Figure 3. The loss ``sampled`` is the stated alternative to ``dense``: as many random pairs
of nodes as there are edges, new ones for every step.
"""

import itertools
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor
from torch.nn.functional import logsigmoid

from ..data.planetoid import PLANETOID, CitationGraphs, Graph, load_planetoid, split_edges
from ..models.edge_losses import logits, sampled_bce, weighted_bce
from ..models.vgae import VGAE, GCNEncoder, NormalisedEncoder, TrainingGraphs
from ..spaces import space
from ..store import Outcome, slug
from ..study import Job
from ..training import INITIALISATION, Schedule, fit, run_generators
from . import Published


@dataclass(frozen=True)
class Point:
    """What the search varies."""

    d: int = 16
    dropout: float = 0.0
    learning_rate: float = 0.01


FIXED, PLANE = Point(), Point(d=2)


@dataclass(frozen=True)
class Settings:
    datasets: tuple[str, ...]
    seeds: int
    epochs: int = 200
    hidden: int = 32
    search_d: tuple[int, ...] = (8, 16, 32, 64)
    search_dropout: tuple[float, ...] = (0.0, 0.5)
    search_learning_rate: tuple[float, ...] = (0.01, 0.02)
    searched: tuple[str, ...] = ()

    @property
    def search(self) -> list[Point]:
        grid = itertools.product(self.search_d, self.search_dropout, self.search_learning_rate)
        return [Point(*values) for values in grid]


PRESETS = {
    "smoke": Settings(
        ("Cora",), seeds=2, epochs=5, search_d=(8, 16), search_dropout=(0.0, 0.5), searched=("Cora",), hidden=8
    ),
    "quick": Settings(("Cora", "Citeseer"), seeds=2),
    "paper": Settings(tuple(PLANETOID), seeds=10, searched=("Cora", "Citeseer")),
}

# model -> (latent space, whether it samples, encoder, name)
MODELS = {
    "n": ("e", True, GCNEncoder, "N-VGAE"),
    "s": ("s", True, GCNEncoder, "S-VGAE"),
    "gae": ("e", False, GCNEncoder, "GAE"),
    "s-gae": ("s", False, GCNEncoder, "S-GAE"),
    "vgnae": ("e", True, NormalisedEncoder, "VGNAE"),
}
COMPARED = ("n", "s")  # by the paper
LARGE = ("Pubmed",)  # graphs on which the dense loss takes minutes: only the models that the paper compares
SUFFIXES = {"dense": "", "sampled": ", sampled pairs", "fixed": "", "searched": ", searched"}
# The paper does not say how many runs its numbers are of; we take those of Table 1.
TABLES = {"table4": Published(["method", "dataset", "metric"], ("AUC", "AP"), runs=10, paired=True)}


def table_rows(cell: dict) -> dict[str, list[tuple]]:
    """The rows that one cell adds to Table 4, in per cent."""
    configuration, metrics = cell["configuration"], cell["metrics"]
    if configuration["protocol"] == "plane":
        return {"table4": []}
    method = MODELS[configuration["model"]][-1]
    method += SUFFIXES[configuration["protocol"]] + SUFFIXES[configuration["loss"]]
    return {"table4": [(method, configuration["dataset"], name, 100 * metrics[name]) for name in ("AUC", "AP")]}


def load_data(source: str, settings: Settings) -> CitationGraphs:
    return load_planetoid(source, settings.datasets)


def configurations(settings: Settings) -> list[dict]:
    small = [name for name in settings.datasets if name not in LARGE]
    large = [name for name in settings.datasets if name in LARGE]
    grid = [
        *itertools.product(small, MODELS, ["dense"], ["fixed"]),
        *itertools.product(settings.datasets[:1], COMPARED, ["dense"], ["plane"]),
        *itertools.product(settings.datasets, MODELS, ["sampled"], ["fixed"]),
        *itertools.product(settings.searched, COMPARED, ["dense"], ["searched"]),
        *itertools.product(large, COMPARED, ["dense"], ["fixed"]),
    ]
    return [dict(zip(("dataset", "model", "loss", "protocol"), values, strict=True)) for values in grid]


def run_cells(job: Job) -> list[Outcome]:
    """Train and score the seeds of one configuration in lockstep."""
    graph: Graph = job.data.graphs[job.configuration["dataset"]]
    if job.configuration["protocol"] == "searched":
        trained = [_train(replace(job, checkpoint=_checkpoint(job, p)), graph, p) for p in job.settings.search]
        return [_search(outcomes) for outcomes in zip(*trained, strict=True)]
    return _train(job, graph, PLANE if job.configuration["protocol"] == "plane" else FIXED)


def _checkpoint(job: Job, point: Point) -> Path | None:
    """A file for each point of a search; all stay until the cell is stored, so that no point is trained twice."""
    return None if job.checkpoint is None else job.checkpoint.with_suffix(f".{slug(asdict(point))}.ckpt")


def _train(job: Job, graph: Graph, point: Point) -> list[Outcome]:
    """Outcomes of the seeds at one point of the search."""
    seeds, settings = job.seeds, job.settings
    splits = [split_edges(graph, seed) for seed in seeds]
    seen = TrainingGraphs(graph.features.to(job.device), torch.stack([s.train for s in splits]).to(job.device))
    validation, test = (
        torch.stack([torch.cat(halves) for halves in pairs]).to(job.device)  # [R, 2K, 2], first the edges
        for pairs in (
            [(s.validation, s.validation_non_edges) for s in splits],
            [(s.test, s.test_non_edges) for s in splits],
        )
    )
    model = build(job.configuration["model"], graph, point, settings.hidden, seeds).to(job.device)

    def loss(index, weight, generators):  # all nodes are one batch
        embedding, kl = model.sample(seen, generators)
        if job.configuration["loss"] == "dense":
            reconstruction = weighted_bce(embedding, seen.edges)
        else:
            reconstruction = sampled_bce(embedding, seen.edges, generators)
        return reconstruction + weight * kl.mean(1) / seen.nodes

    def predict(pairs):
        return logits(model.embed(model.posterior(seen).mode), pairs)

    def validate(generators):
        edges, non_edges = predict(validation).chunk(2, dim=1)
        return -logsigmoid(edges).mean(1) - logsigmoid(-non_edges).mean(1)

    schedule = Schedule(
        learning_rate=point.learning_rate,
        batch_size=None,
        warmup_epochs=0,
        patience=None,
        max_epochs=settings.epochs,
    )
    fitted = fit(model, seeds, schedule, seen.nodes, loss, validate, job.checkpoint, job.deadline, job.report)
    with torch.no_grad():
        posterior = model.posterior(seen)
        scores = {"validation_": predict(validation), "": predict(test)}
    outcomes = []
    for run, seed in enumerate(seeds):
        metrics = asdict(point)
        for prefix, both in scores.items():
            metrics |= {prefix + name: value for name, value in ranking(both[run]).items()}
        if model.log_scale is not None:
            metrics["scale"] = model.log_scale[run].exp().item()
        arrays = fitted.arrays(run)
        if seed == 0 and point == PLANE:
            arrays["latent"] = posterior.mode[run].cpu().numpy()
            arrays["labels"] = graph.labels.numpy().astype(np.uint8)
            arrays["degree"] = splits[run].train.flatten().bincount(minlength=len(graph)).numpy().astype(np.uint16)
        outcomes.append(Outcome(metrics, arrays, fitted.seconds / len(seeds)))
    return outcomes


def build(name: str, graph: Graph, point: Point, hidden: int, seeds: list[int]) -> VGAE:
    """The model called ``name`` in `MODELS`, with initial weights for every seed."""
    letter, stochastic, encoder, _ = MODELS[name]
    latent = space(f"{letter}{point.d}")
    generators = run_generators(seeds, INITIALISATION)
    features = graph.features.shape[1]
    if encoder is NormalisedEncoder:
        network = NormalisedEncoder(features, point.d, latent.n_params, generators)
    else:
        network = GCNEncoder(features, hidden, latent.n_params, generators, point.dropout)
    return VGAE(latent, network, len(seeds), stochastic)


def ranking(scores: Tensor) -> dict[str, float]:
    """AUC and AP in [0, 1] of scores [2K], those of the edges before those of as many pairs without an edge."""
    truth = np.repeat([1, 0], len(scores) // 2)
    scores = scores.double().cpu().numpy()
    return {"AUC": float(roc_auc_score(truth, scores)), "AP": float(average_precision_score(truth, scores))}


def _search(outcomes: list[Outcome]) -> Outcome:
    """The outcome that validation prefers among those of one seed; its metrics also list all that were tried."""
    best = max(outcomes, key=lambda o: o.metrics["validation_AUC"] + o.metrics["validation_AP"])
    metrics = best.metrics | {"tried": [o.metrics for o in outcomes]}
    return Outcome(metrics, best.arrays, sum(o.training_seconds for o in outcomes))
