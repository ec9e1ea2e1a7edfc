"""The encoders against dense algebra and torch-geometric, the decoder's scale, runs with graphs of their own, leaks."""

import subprocess
import sys

import pytest
import torch
from torch.distributions import kl_divergence
from torch_geometric.nn import GCNConv

from svae_repro import pairs, paths
from svae_repro.data import load_planetoid, split_edges
from svae_repro.models.vgae import VGAE, GCNEncoder, NormalisedEncoder, SparseMatrix, TrainingGraphs
from svae_repro.spaces import space
from svae_repro.training import INITIALISATION, run_generators

NODES, FEATURES = 40, 11


def graphs(runs=3, nodes=NODES, edges=60, seed=0) -> TrainingGraphs:
    generator = torch.Generator().manual_seed(seed)
    numbers = [torch.randperm(pairs.count(nodes), generator=generator)[:edges].sort().values for _ in range(runs)]
    features = (torch.rand(nodes, FEATURES, generator=generator) < 0.3).double()
    return TrainingGraphs(features, pairs.decode(torch.stack(numbers)))


def dense_features(graph: TrainingGraphs) -> torch.Tensor:
    return graph.features.matrix.to_dense()[: graph.nodes, :FEATURES]


def dense_adjacency(graph: TrainingGraphs, run: int) -> torch.Tensor:
    """D^-1/2 (A + I) D^-1/2 by its definition."""
    a = torch.eye(graph.nodes, dtype=torch.float64)
    for u, v in graph.edges[run].tolist():
        a[u, v] = a[v, u] = 1
    return a / torch.outer(a.sum(0), a.sum(0)).sqrt()


def model(name="e4", runs=3, seeds=None, dropout=0.0, stochastic=True) -> VGAE:
    seeds = list(range(runs)) if seeds is None else seeds
    latent = space(name)
    encoder = GCNEncoder(FEATURES, 8, latent.n_params, run_generators(seeds, INITIALISATION), dropout)
    return VGAE(latent, encoder, len(seeds), stochastic).double()


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


# Sparse matrices


def test_products_with_a_sparse_matrix_and_their_gradient():
    dense = torch.rand(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).round(decimals=1) - 0.5
    index = dense.nonzero().T
    shuffled = index[:, torch.randperm(index.shape[1], generator=torch.Generator().manual_seed(1))]
    matrix = SparseMatrix(shuffled, dense[shuffled[0], shuffled[1]], (5, 7))
    x = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert torch.allclose(matrix @ x, dense @ x, rtol=1e-14)
    assert torch.autograd.gradcheck(lambda x: matrix @ x, x)
    doubled = matrix.with_values(2 * matrix.values)
    assert torch.allclose(doubled @ x, 2 * dense @ x, rtol=1e-14)
    assert torch.autograd.gradcheck(lambda x: doubled @ x, x)


# Encoders


def test_the_gcn_encoder_is_two_convolutions_with_the_normalised_adjacency_of_each_run():
    graph, net = graphs(), model().encoder
    x = dense_features(graph)
    for run, found in enumerate(net(graph)):
        a = dense_adjacency(graph, run)
        expected = a @ (a @ x @ net.first[run]).relu() @ net.second[run]
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_the_gcn_encoder_is_torch_geometrics():
    graph, net = graphs(runs=1), model(runs=1).encoder
    first, second = GCNConv(FEATURES, 8, bias=False).double(), GCNConv(8, 8, bias=False).double()
    with torch.no_grad():
        first.lin.weight.copy_(net.first[0].T)
        second.lin.weight.copy_(net.second[0].T)
    one_way = graph.edges[0].T
    edge_index = torch.cat([one_way, one_way.flip(0)], dim=1)
    expected = second(first(dense_features(graph), edge_index).relu(), edge_index)
    assert torch.allclose(net(graph)[0], expected, rtol=1e-12, atol=1e-14)


def test_gradients_of_the_encoder_are_those_of_dense_algebra():
    graph, net = graphs(), model().encoder
    net(graph).square().sum().backward()
    x = dense_features(graph)
    first, second = (w.detach().clone().requires_grad_() for w in (net.first, net.second))
    a = torch.stack([dense_adjacency(graph, run) for run in range(3)])
    (a @ (a @ x @ first).relu() @ second).square().sum().backward()
    assert torch.allclose(net.first.grad, first.grad, rtol=1e-12)
    assert torch.allclose(net.second.grad, second.grad, rtol=1e-12)


def test_the_normalised_encoder_scales_locations_to_1_8_before_it_propagates_them():
    graph = graphs()
    net = NormalisedEncoder(FEATURES, 4, 8, run_generators([0, 1, 2], 0)).double()
    torch.nn.init.normal_(net.bias, generator=torch.Generator().manual_seed(0))
    x = dense_features(graph)
    for run, found in enumerate(net(graph)):
        flat = x @ net.weight[run] + net.bias[run]
        location = 1.8 * flat[:, :4] / flat[:, :4].norm(dim=1, keepdim=True)
        expected = dense_adjacency(graph, run) @ torch.cat([location, flat[:, 4:]], dim=1)
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_dropout_is_for_training_only_and_keeps_the_mean():
    graph, net = graphs(), model(dropout=0.5)
    net.eval()
    plain = net.encoder(graph)
    assert torch.equal(plain, net.encoder(graph, generators(0, 1, 2)))
    net.train()
    gens = generators(0, 1, 2)
    draws = torch.stack([graph.project(net.encoder.first, 0.5, gens) for _ in range(2000)])
    error = draws.std(0) / 2000**0.5
    difference = draws.mean(0) - graph.project(net.encoder.first)
    assert (difference.abs() <= 5.5 * error + 1e-12).all()  # 960 numbers, each of which fails once in 2.6e7
    assert not torch.equal(net.encoder(graph, gens), net.encoder(graph, gens))


# The model


@pytest.mark.parametrize("name", ["e4", "s4", "p4", "h3", "e2s2"])
def test_any_space_serves(name):
    graph, net = graphs(), model(name)
    embedding, kl = net.sample(graph, generators(0, 1, 2))
    assert embedding.shape == (3, NODES, space(name).ambient_dim) and kl.shape == (3, NODES)
    (embedding.sum() + kl.sum()).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_the_scale_is_for_spheres_and_multiplies_the_dot_product():
    graph, net = graphs(), model("s4")
    with torch.no_grad():
        net.log_scale.copy_(torch.tensor([0.0, 1.0, -0.5]))
    z = net.posterior(graph).mode
    y = net.embed(z)
    expected = net.log_scale.exp()[:, None, None] * (z @ z.mT)
    assert torch.allclose(y @ y.mT, expected, rtol=1e-12)
    assert model("e4").log_scale is None and torch.equal(model("e4").embed(z), z)


def test_the_kl_divergence_is_that_of_the_posterior_and_of_a_plain_autoencoder_zero():
    graph = graphs()
    net = model("s4")
    _, kl = net.sample(graph, generators(0, 1, 2))
    assert torch.equal(kl, kl_divergence(net.posterior(graph), net.space.prior(dtype=torch.float64)))
    plain = model("s4", stochastic=False)
    embedding, kl = plain.sample(graph)
    assert torch.equal(embedding, plain.posterior(graph).mode) and not kl.any()  # the scale is 1 at first


@pytest.mark.parametrize("name, dropout", [("e4", 0.0), ("s4", 0.5)])
def test_runs_in_lockstep_are_those_alone(name, dropout):
    graph = graphs()
    embedding, kl = model(name, seeds=[4, 5, 6], dropout=dropout).sample(graph, generators(7, 8, 9))
    for run in range(3):
        alone = TrainingGraphs(dense_features(graph), graph.edges[[run]])
        own, own_kl = model(name, seeds=[4 + run], dropout=dropout).sample(alone, generators(7 + run))
        assert torch.allclose(embedding[run], own[0], rtol=1e-10) and torch.allclose(kl[run], own_kl[0], rtol=1e-10)


# Leaks


def test_the_encoder_sees_the_training_edges_and_no_others():
    """Its matrix has an entry for every training edge, both ways, and for every node; none for a held-out edge."""
    citations = load_planetoid("standin", ["Cora"]).graphs["Cora"]
    split = split_edges(citations, 0)
    seen = TrainingGraphs(citations.features, split.train[None])
    entries = seen.adjacency.matrix.to_dense().nonzero()
    trained = {tuple(pair) for pair in split.train.tolist()}
    loops = {(node, node) for node in range(len(citations))}
    assert {tuple(pair) for pair in entries.tolist()} == trained | {(v, u) for u, v in trained} | loops
    held_out = {tuple(pair) for pair in torch.cat([split.validation, split.test]).tolist()}
    assert held_out and not held_out & trained


# torch-geometric


def test_its_import_says_nothing():
    """It uses torch.jit.script, of which torch warns; the command line shows errors in one line."""
    code = "from svae_repro.geometric import torch_geometric as pyg; pyg('io'); print(pyg('nn.conv.gcn_conv').__name__)"
    run = subprocess.run([sys.executable, "-c", code], cwd=paths.REPOSITORY, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("torch_geometric.nn.conv.gcn_conv\n", "")
