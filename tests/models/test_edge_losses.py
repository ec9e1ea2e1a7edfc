"""The blocked loss against Kipf's dense formula, on Cora too; the sampled loss against the mean over all non-edges."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from svae_repro import pairs, paths
from svae_repro.data import load_planetoid, split_edges
from svae_repro.models import edge_losses
from svae_repro.models.edge_losses import logits, sampled_bce, softplus_of_all_products, weighted_bce


def random_graphs(runs: int, nodes: int, edges: int, seed: int = 0) -> torch.Tensor:
    """Edges [R, E, 2] in ascending order, other ones in each run."""
    generator = torch.Generator().manual_seed(seed)
    numbers = [torch.randperm(pairs.count(nodes), generator=generator)[:edges].sort().values for _ in range(runs)]
    return pairs.decode(torch.stack(numbers))


def normal(*shape, scale=1.0, dtype=torch.float64) -> torch.Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * scale).to(dtype)


def kipf(embedding: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """The loss of one run as Kipf's code has it, with matrices of all N^2 pairs, in float64."""
    nodes = len(embedding)
    adjacency = torch.zeros(nodes, nodes, dtype=torch.float64)
    adjacency[edges[:, 0], edges[:, 1]] = 1
    adjacency += adjacency.clone().T
    positive = adjacency.sum()
    weight = (nodes**2 - positive) / positive
    norm = nodes**2 / (2 * (nodes**2 - positive))
    labels = adjacency + torch.eye(nodes, dtype=torch.float64)
    y = embedding.double()
    return norm * binary_cross_entropy_with_logits(y @ y.T, labels, pos_weight=weight)


def assert_equal_to_kipf(embedding: torch.Tensor, edges: torch.Tensor, tolerance: float):
    blocked = embedding.clone().requires_grad_()
    value = weighted_bce(blocked, edges)
    factors = torch.arange(1.0, len(edges) + 1, dtype=torch.float64)  # another weight for every run
    (value * factors).sum().backward()
    for run, own in enumerate(edges):
        dense = embedding[run].double().requires_grad_()
        expected = kipf(dense, own)
        (expected * factors[run]).backward()
        assert value[run].item() == pytest.approx(expected.item(), rel=tolerance)
        error = (blocked.grad[run].double() - dense.grad).norm() / dense.grad.norm()
        assert error < tolerance


@pytest.mark.parametrize("scale", [0.01, 0.5, 2.0])  # logits up to 0.001, 5 and 100
@pytest.mark.parametrize("block", [7, 50, 64, 1000])  # blocks that do not divide the nodes, and a single one
def test_the_blocked_loss_is_kipfs(monkeypatch, block, scale):
    monkeypatch.setitem(edge_losses.BLOCK, "cpu", block)
    edges = random_graphs(3, 130, 200)
    assert_equal_to_kipf(normal(3, 130, 5, scale=scale), edges, 1e-12)
    assert_equal_to_kipf(normal(3, 130, 5, scale=scale, dtype=torch.float32), edges, 1e-6)


@pytest.mark.parametrize("scale", [0.05, 0.5, 1.5])
def test_the_blocked_loss_is_kipfs_on_cora(home, scale):
    if paths.data_mirror() is None:
        pytest.skip("SVAE_DATA_MIRROR is not set")
    graph = load_planetoid("real", ["Cora"]).graphs["Cora"]
    edges = split_edges(graph, 0).train[None]
    embedding = normal(1, len(graph), 16, scale=scale, dtype=torch.float32)
    assert_equal_to_kipf(embedding, edges, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_of_10000_are_finite(dtype):
    """The product of sigmoids that stands for a sum of logarithms must not underflow."""
    embedding = torch.tensor([100.0, -100.0, 0.0], dtype=dtype).repeat(70).view(1, -1, 1).requires_grad_()
    value = softplus_of_all_products(embedding)
    # Of the 9 x 70^2 pairs two ninths have 10,000, as many -10,000 and five ninths 0.
    assert value.item() == pytest.approx(70**2 * (2 * 1e4 + 5 * math.log(2)), rel=1e-6)
    value.sum().backward()
    assert embedding.grad.isfinite().all()


def test_the_gradient_of_the_sum_passes_gradcheck(monkeypatch):
    monkeypatch.setitem(edge_losses.BLOCK, "cpu", 3)
    assert torch.autograd.gradcheck(softplus_of_all_products, normal(2, 7, 3).requires_grad_())


def test_logits_are_the_dot_products_of_each_run():
    embedding, of = normal(2, 9, 3), random_graphs(2, 9, 5)
    every = embedding @ embedding.mT
    expected = [[every[run, u, v] for u, v in own] for run, own in enumerate(of.tolist())]
    assert torch.allclose(logits(embedding, of), torch.tensor(expected), rtol=1e-12)


@pytest.mark.statistical
def test_the_sampled_loss_is_unbiased_for_the_mean_over_all_non_edges():
    """Mean of 3,000 draws within 3.9 standard errors for each of two runs: one failure in 5,000 for both together."""
    embedding, edges = normal(2, 12, 3), random_graphs(2, 12, 20)
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    draws = torch.stack([sampled_bce(embedding, edges, generators) for _ in range(3000)])
    for run, own in enumerate(edges):
        linked = torch.zeros(12, 12, dtype=torch.bool)
        linked[own[:, 0], own[:, 1]] = True
        s = embedding[run] @ embedding[run].T
        upper = torch.ones(12, 12, dtype=torch.bool).triu(1)
        expected = -s[linked].sigmoid().log().mean() - (-s[upper & ~linked]).sigmoid().log().mean()
        error = draws[:, run].std() / 3000**0.5
        assert abs(draws[:, run].mean() - expected) < 3.9 * error < 0.1 * expected


def test_the_sampled_loss_of_runs_in_lockstep_is_that_of_each_alone():
    embedding, edges = normal(3, 30, 4), random_graphs(3, 30, 40)
    together = sampled_bce(embedding, edges, [torch.Generator().manual_seed(s) for s in range(3)])
    for run in range(3):
        alone = sampled_bce(embedding[[run]], edges[[run]], [torch.Generator().manual_seed(run)])
        assert together[run].item() == pytest.approx(alone.item(), rel=1e-12)
