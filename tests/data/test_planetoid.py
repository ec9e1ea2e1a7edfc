"""Citation graphs against torch-geometric and their known counts, Kipf's split, and what bad files and settings say."""

import dataclasses
import hashlib
import shutil

import numpy as np
import pytest
import torch

from svae_repro import pairs, paths
from svae_repro.data import load_planetoid, planetoid, source, split_edges
from svae_repro.data.planetoid import PLANETOID, Graph
from svae_repro.errors import UserError

# Nodes, undirected edges, isolated nodes, features, classes
COUNTS = {
    "Cora": (2708, 5278, 0, 1433, 7),
    "Citeseer": (3327, 4552, 48, 3703, 6),
    "Pubmed": (19_717, 44_324, 0, 500, 3),
}


@pytest.fixture(autouse=True)
def no_memory_of_failed_downloads(monkeypatch):
    monkeypatch.setattr(source, "_offline", {})


@pytest.fixture
def mirror():
    folder = paths.data_mirror()
    if folder is None or not (folder / "Planetoid").exists():
        pytest.skip("SVAE_DATA_MIRROR offers no citation graphs")
    return folder


def standin(name="Cora") -> Graph:
    return load_planetoid("standin", [name]).graphs[name]


# The data


def test_real_graphs_have_their_known_counts(home, mirror):
    data = load_planetoid("real")
    assert list(data.graphs) == list(COUNTS) and not data.standin
    assert data.description == f"real (Cora, Citeseer, Pubmed, sha256 {data.sha256[:12]}...)"
    for name, graph in data.graphs.items():
        isolated = len(graph) - len(graph.edges.unique())
        assert (len(graph), len(graph.edges), isolated, graph.features.shape[1]) == COUNTS[name][:4]
        assert graph.labels.unique().tolist() == list(range(COUNTS[name][4]))
        assert (graph.edges[:, 0] < graph.edges[:, 1]).all()
        assert (pairs.encode(graph.edges).diff() > 0).all()  # in order, none twice


def test_a_real_graph_is_what_torch_geometric_reads(home, mirror):
    from torch_geometric.datasets import Planetoid

    root = home / "pyg"
    shutil.copytree(mirror / "Planetoid" / "CiteSeer", root / "CiteSeer", copy_function=shutil.copyfile)
    theirs = Planetoid(str(root), "CiteSeer")[0]
    graph = load_planetoid("real", ["Citeseer"]).graphs["Citeseer"]
    assert torch.equal(graph.features, theirs.x) and torch.equal(graph.labels, theirs.y)
    expected = {(u, v) for u, v in theirs.edge_index.T.tolist() if u < v}
    assert {tuple(edge) for edge in graph.edges.tolist()} == expected


def test_nothing_is_parsed_before_its_checksum_is_verified(home, mirror, monkeypatch):
    import torch_geometric.io

    parsed = []
    monkeypatch.setattr(torch_geometric.io, "read_planetoid_data", lambda *a: parsed.append(a))
    broken = home / "data/Planetoid/Cora/raw/ind.cora.graph"
    broken.parent.mkdir(parents=True)
    content = bytearray((mirror / "Planetoid/Cora/raw/ind.cora.graph").read_bytes())
    content[1000] ^= 1
    broken.write_bytes(content)
    with pytest.raises(UserError, match=r"\A[^\n]*ind\.cora\.graph is corrupt[^\n]*delete it[^\n]*\Z"):
        load_planetoid("auto", ["Cora"])
    assert parsed == []


def test_the_pinned_checksums_are_those_of_the_mirror(mirror):
    for folder, checksums in PLANETOID.values():
        for file in planetoid._files(folder, checksums):
            assert hashlib.sha256((mirror / file.path).read_bytes()).hexdigest() == file.sha256


def test_without_any_way_to_get_it_auto_is_the_standin_and_real_one_line(home, monkeypatch):
    monkeypatch.delenv("SVAE_DATA_MIRROR", raising=False)
    monkeypatch.setattr(source, "reachable", lambda url: False)
    assert load_planetoid("auto", ["Cora"]).standin
    with pytest.raises(UserError, match=r"\A[^\n]*no answer from https://[^\n]*SVAE_DATA_MIRROR[^\n]*\Z"):
        load_planetoid("real", ["Cora"])


def test_an_unknown_graph_is_one_line():
    with pytest.raises(UserError, match=r"\Aunknown citation graph 'Kora': choose among Cora, Citeseer, Pubmed\Z"):
        load_planetoid("standin", ["Kora"])


@pytest.mark.parametrize("name", PLANETOID)
def test_the_standin_is_a_planted_partition_with_bags_of_words_and_says_so(name):
    data = load_planetoid("standin", [name])
    assert data.standin and data.description.startswith("stand-in (planted-partition graphs")
    graph, again = data.graphs[name], standin(name)
    assert torch.equal(graph.edges, again.edges) and torch.equal(graph.features, again.features)
    nodes, classes, within, between, *_ = planetoid.STANDINS[name]
    assert (len(graph), len(graph.labels.unique())) == (nodes, classes)
    assert (pairs.encode(graph.edges).diff() > 0).all() and graph.features.unique().tolist() == [0, 1]
    same = (graph.labels[graph.edges[:, 0]] == graph.labels[graph.edges[:, 1]]).double()
    assert 2 * len(graph.edges) / nodes == pytest.approx(within + between, rel=0.1)
    assert same.mean().item() == pytest.approx(within / (within + between), abs=0.05)
    centres = torch.stack([graph.features[graph.labels == k].mean(0) for k in range(classes)])
    nearest = torch.cdist(graph.features, centres).argmin(1)
    assert (nearest == graph.labels).double().mean() > 0.9  # the words tell the class


# The split


def as_set(part) -> set:
    return {tuple(pair) for pair in part.tolist()}


@pytest.mark.parametrize("seed", [0, 7])
def test_the_split_has_kipfs_shares_and_its_parts_are_disjoint(seed):
    graph = standin()
    split, total = split_edges(graph, seed), len(graph.edges)
    sizes = {field.name: len(getattr(split, field.name)) for field in dataclasses.fields(split)}
    validation, test = int(0.05 * total), int(0.10 * total)
    assert sizes == {
        "train": total - validation - test,
        "validation": validation,
        "test": test,
        "validation_non_edges": validation,
        "test_non_edges": test,
    }
    edges = [as_set(part) for part in (split.train, split.validation, split.test)]
    assert set().union(*edges) == as_set(graph.edges) and sum(map(len, edges)) == total
    non_edges = [as_set(part) for part in (split.validation_non_edges, split.test_non_edges)]
    assert not set().union(*non_edges) & as_set(graph.edges)
    assert len(set().union(*non_edges)) == validation + test  # none twice
    assert all(u < v for u, v in set().union(*non_edges))
    assert (pairs.encode(split.train).diff() > 0).all()


def test_real_splits_have_the_sizes_of_kipfs_code(home, mirror):
    """floor(5278 / 20) = 263 and floor(5278 / 10) = 527 in Cora, and so on."""
    expected = {"Cora": (4488, 263, 527), "Citeseer": (3870, 227, 455), "Pubmed": (37_676, 2216, 4432)}
    for name, graph in load_planetoid("real").graphs.items():
        split = split_edges(graph, 0)
        assert (len(split.train), len(split.validation), len(split.test)) == expected[name]


def test_splits_are_fixed_by_their_seed():
    graph = standin()
    first, again, other = split_edges(graph, 1), split_edges(graph, 1), split_edges(graph, 2)
    for field in dataclasses.fields(first):
        a, b, c = (getattr(split, field.name) for split in (first, again, other))
        assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.statistical
def test_every_edge_and_every_other_pair_is_held_out_alike():
    """Chi-squared over 400 splits: one failure in 1,000 correct programs for both together (z of 3.5, fixed seeds)."""
    graph = standin()
    edges, others = torch.zeros(pairs.count(400)), torch.zeros(pairs.count(400))
    splits = 400
    for seed in range(splits):
        split = split_edges(graph, seed)
        edges[pairs.encode(split.test)] += 1
        others[pairs.encode(split.test_non_edges)] += 1
    number = pairs.encode(graph.edges)
    absent = torch.ones(len(others), dtype=torch.bool)
    absent[number] = False
    assert edges[absent].sum() == others[number].sum() == 0
    for counts in (edges[number], others[absent]):
        expected = counts.sum().item() / len(counts)
        statistic = ((counts - expected) ** 2).sum().item() / expected
        spread = np.sqrt(len(counts) * (2 + 1 / expected))  # of Poisson counts; those of a split vary less
        assert abs(statistic - len(counts) * (1 - expected / splits)) < 3.5 * spread


@pytest.mark.parametrize(
    ("shares", "said"),
    [((0.5, 0.5), "leaves 0 for training"), ((0.6, 0.6), "leaves 0 for training"), ((0.0, 0.1), "0 for validation")],
)
def test_a_split_without_training_edges_is_one_line(shares, said):
    with pytest.raises(UserError, match=rf"\A[^\n]*{said}[^\n]*\Z"):
        split_edges(standin(), 0, *shares)


def test_a_graph_of_three_edges_cannot_be_split():
    graph = Graph("tiny", torch.ones(4, 2), torch.tensor([[0, 1], [0, 2], [1, 2]]), torch.zeros(4, dtype=torch.long))
    with pytest.raises(UserError, match="the 3 edges of tiny"):
        split_edges(graph, 0)
    complete = Graph("full", torch.ones(10, 2), torch.combinations(torch.arange(10)), torch.zeros(10, dtype=torch.long))
    with pytest.raises(UserError, match="full has 0 pairs without an edge, fewer than its 6 held-out edges"):
        split_edges(complete, 0)
