"""Citation graphs (Table 4): Cora, Citeseer and Pubmed, their stand-ins, and the splits of their edges.

Letters: N nodes, F features, E edges. An edge is undirected and stands once, as the pair u < v.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from svae_repro import pairs
from svae_repro.data import source as files
from svae_repro.errors import UserError
from svae_repro.geometric import torch_geometric

PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
# Names as in the paper's Table 4 -> folder of torch-geometric's Planetoid, sha256 of the files in the order of PARTS
PLANETOID = {
    "Cora": (
        "Cora",
        (
            "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
            "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
            "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
            "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
            "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
            "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
            "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
            "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
        ),
    ),
    "Citeseer": (
        "CiteSeer",
        (
            "d20de19150741e555de0ed037195630fc194114ebc7fd72ced62810148aa22f6",
            "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
            "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
            "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924",
            "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce",
            "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95",
            "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
            "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
        ),
    ),
    "Pubmed": (
        "PubMed",
        (
            "fbe9cb5c47200d1b7769a26e579be3b7130b556831f9d850e77c4c74f2599b33",
            "4eb5f5d0f30f26497eb0ac6ac9719d09c67e284f1ed0385c93f3ef27a671da3d",
            "508e538e2abdccdd54c4d3e9f49d638b4af7107d85845f66ddea5a5152658b7e",
            "e6c807633307a07ed659249006536a147c7999c797f11a2560752990181b41b3",
            "ee2e0d4819d9fbcc403689c3bf2e49face401b605932f093bc58ab6461130fdd",
            "0c37bbe3b5014ec365e9d393cf4791925e5ed94fb194305d74f064a8d7b50f0e",
            "5b89f0036ca22909471f1e6558eb42fa06e0c730a577bde5b058b40638f81dc9",
            "b101d421688bbaecbd82e8a18f1e282378d6830f3a37666f28ebc47f844341b5",
        ),
    ),
}
# Stand-ins: nodes, classes, edges within a class and between classes for each node, words, words of a document
STANDINS = {
    "Cora": (400, 7, 3.2, 0.8, 300, 18),
    "Citeseer": (450, 6, 2.4, 0.6, 400, 25),
    "Pubmed": (900, 3, 3.6, 0.9, 250, 30),
}
TOPICAL = 0.35  # share of a document's words that are drawn from its class's own ones


@dataclass(frozen=True, eq=False)
class Graph:
    """An undirected graph with features and classes of its nodes."""

    name: str
    features: Tensor  # [N, F] float32, words of a document: 0 and 1, or TF-IDF for Pubmed
    edges: Tensor  # [E, 2] int64, in the order of their numbers (`svae_repro.pairs`)
    labels: Tensor  # [N] int64

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True, eq=False)
class CitationGraphs:
    """The graphs of a study by name; `sha256` identifies them together."""

    graphs: dict[str, Graph]
    standin: bool
    sha256: str
    name: str = "planetoid"

    @property
    def description(self) -> str:
        """What to print after `data: `."""
        names = ", ".join(self.graphs)
        if self.standin:
            return f"stand-in (planted-partition graphs in place of {names})"
        return f"real ({names}, sha256 {self.sha256[:12]}...)"


def load_planetoid(source: str = "auto", names: Sequence[str] = tuple(PLANETOID)) -> CitationGraphs:
    """The citation graphs of Sen et al. (2008) as Yang et al. (2016) prepared them, without loops and repeated edges.

    The stand-ins are planted-partition graphs whose nodes carry bags of words, smaller than the real ones. Raises
    UserError for an unknown `source` or name, corrupt files, or with `"real"` where there is no way to get them.
    """
    for name in names:
        if name not in PLANETOID:
            raise UserError(f"unknown citation graph {name!r}: choose among {', '.join(PLANETOID)}")
    return files.choose(source, lambda: _real(names), lambda: _standins(names))


@dataclass(frozen=True, eq=False)
class EdgeSplit:
    """A graph's edges in three parts and, for the two held-out ones, as many pairs that are no edge of the graph."""

    train: Tensor  # [E_train, 2] in the graph's order: all that an encoder may see, at test too
    validation: Tensor
    test: Tensor
    validation_non_edges: Tensor
    test_non_edges: Tensor


def split_edges(graph: Graph, seed: int, validation: float = 0.05, test: float = 0.10) -> EdgeSplit:
    """Kipf's split number `seed` of the edges: shares of them, rounded down, held out for validation and test.

    The non-edges are drawn evenly among all pairs without an edge in the whole graph; no pair stands twice.

    Raises:
        UserError: there is nothing to train on, nothing held out, or fewer pairs without an edge than held-out edges.
    """
    total = len(graph.edges)
    held_out = [int(total * validation), int(total * test)]
    train = total - sum(held_out)
    if min(train, *held_out) < 1:
        raise UserError(
            f"a split of the {total} edges of {graph.name} leaves {max(train, 0)} for training, {held_out[0]} for "
            f"validation and {held_out[1]} for testing, and each part needs one: change the shares"
        )
    absent = pairs.count(len(graph)) - total
    if sum(held_out) > absent:
        raise UserError(
            f"{graph.name} has {absent} pairs without an edge, fewer than its {sum(held_out)} held-out edges: "
            "lower the shares"
        )
    rng = np.random.default_rng(seed)
    index = torch.from_numpy(rng.permutation(total)).split([*held_out, train])
    rank = torch.from_numpy(rng.choice(absent, sum(held_out), replace=False))
    non_edges = pairs.non_edges(rank, pairs.encode(graph.edges)).split(held_out)
    return EdgeSplit(graph.edges[index[2].sort().values], graph.edges[index[0]], graph.edges[index[1]], *non_edges)


def _real(names: Sequence[str]) -> CitationGraphs:
    read_planetoid_data = torch_geometric("io").read_planetoid_data
    graphs, listed = {}, []
    for name in names:
        folder, checksums = PLANETOID[name]
        listed += (own := _files(folder, checksums))
        with tempfile.TemporaryDirectory() as temporary:
            for file in own:  # every byte is verified before any of them, most being pickles, is parsed
                (Path(temporary) / Path(file.path).name).write_bytes(files.read(file, _download))
            data = read_planetoid_data(temporary, folder)
        graphs[name] = Graph(name, data.x, _undirected(data.edge_index), data.y)
    return CitationGraphs(graphs, False, files.digest(listed))


def _files(folder: str, checksums: Sequence[str]) -> list[files.DataFile]:
    names = [f"Planetoid/{folder}/raw/ind.{folder.lower()}.{part}" for part in PARTS]
    return [files.DataFile(*file) for file in zip(names, checksums, strict=True)]


def _undirected(edge_index: Tensor) -> Tensor:
    """Edges [E, 2] in the order of their numbers from directed ones [2, 2E]."""
    return pairs.decode(pairs.encode(edge_index.T).unique())


def _download(file: files.DataFile, folder: Path) -> None:
    url = f"{torch_geometric('datasets').Planetoid.url}/{Path(file.path).name}"
    if not files.reachable(url):
        raise OSError(f"no answer from {url}")
    torch_geometric("data").download_url(url, str(folder), log=False)


def _standins(names: Sequence[str]) -> CitationGraphs:
    graphs = {name: _planted_partition(name, *STANDINS[name]) for name in names}
    arrays = (array for g in graphs.values() for array in (g.features.byte(), g.edges, g.labels))
    sha256 = hashlib.sha256(b"".join(array.numpy().tobytes() for array in arrays)).hexdigest()
    return CitationGraphs(graphs, True, sha256, "planted partition")


def _planted_partition(name: str, nodes: int, classes: int, within: float, between: float, words: int, length: int):
    """Edges more likely within a class than between two (Condon and Karp 2001); words typical of a node's class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=nodes)
    every = pairs.decode(torch.arange(pairs.count(nodes)))
    same = torch.from_numpy(labels)[every].diff(dim=-1).squeeze(-1) == 0
    # Expected degrees: `within` to the nodes of the own class, `between` to all others
    probability = np.where(same, within * classes / nodes, between * classes / ((classes - 1) * nodes))
    edges = every[torch.from_numpy(rng.random(len(every)) < probability)]
    own = np.array_split(rng.permutation(words), classes)
    features = torch.zeros(nodes, words)
    for node, label in enumerate(labels):
        topical = rng.binomial(length, TOPICAL)
        features[node, rng.choice(own[label], topical)] = 1
        features[node, rng.integers(words, size=length - topical)] = 1
    return Graph(name, features, edges, torch.from_numpy(labels))
