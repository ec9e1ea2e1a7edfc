"""Training steps as CUDA graphs: the bookkeeping around the graph anywhere, the graph itself where there is a GPU."""

import pytest
import torch

from svae_repro import captured, evaluation, pairs, training
from svae_repro.captured import WARM_UP_STEPS, CapturedStep
from svae_repro.curvature import learnable
from svae_repro.distributions.wrapped_normal import kl_tangent
from svae_repro.experiments.vmf_training import PublishedSphere, UncorrectedSphere
from svae_repro.models import M1M2, VAE, edge_losses
from svae_repro.models.layers import RunsLinear
from svae_repro.models.m1m2 import marginal_bound
from svae_repro.models.vae import von_mises
from svae_repro.models.vgae import VGAE
from svae_repro.spaces import space
from svae_repro.training import INITIALISATION, Schedule, fit, reseed, run_generators

SEEDS = [3, 4]


def steps(name: str, device: str = "cpu"):
    """A model, its generators and a step that trains it."""
    data = (torch.rand(40, 12, generator=torch.Generator().manual_seed(0)) < 0.3).float().to(device)
    model = VAE(space(name), 12, (8,), run_generators(SEEDS, INITIALISATION)).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01, capturable=device == "cuda")
    generators = run_generators(SEEDS, device=device)

    def step(index, weight):
        optimiser.zero_grad(set_to_none=True)
        re, kl = model.elbo_terms(data[index], generators)
        (weight * kl - re).mean(1).sum().backward()
        optimiser.step()

    return model, generators, step


@pytest.fixture
def on_cpu(monkeypatch):
    """A graph that simply calls what it captured, and the number of captures."""
    captures = []
    monkeypatch.setattr(captured, "_aside", lambda call: call())
    monkeypatch.setattr(captured, "_capture", lambda call, generators: captures.append(generators) or call)
    return captures


@pytest.mark.parametrize("name", ["e2", "s4"])
def test_every_call_gets_its_own_batch_and_weight(name, on_cpu):
    plain, plain_generators, plain_step = steps(name)
    model, generators, step = steps(name)
    captured_step = CapturedStep(step, generators)
    batches = torch.randint(40, (8, 2, 10), generator=torch.Generator().manual_seed(1))
    for number, batch in enumerate(batches):
        if number % 3 == 0:  # a new epoch
            reseed(generators, SEEDS, 1, number)
            reseed(plain_generators, SEEDS, 1, number)
        plain_step(batch, number / 7)
        captured_step(batch, number / 7)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)  # the weight is a float32 tensor here
    assert on_cpu == [generators]


def test_capture_comes_after_the_warm_up(on_cpu):
    _, generators, step = steps("e2")
    captured_step = CapturedStep(step, generators)
    for number in range(WARM_UP_STEPS):
        captured_step(torch.zeros(2, 10, dtype=torch.long), 1.0)
        assert not on_cpu, number
    captured_step(torch.zeros(2, 10, dtype=torch.long), 1.0)
    assert len(on_cpu) == 1


def test_without_a_graph_training_goes_on_and_says_so(on_cpu, monkeypatch):
    def fail(call, generators):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(captured, "_capture", fail)
    model, generators, step = steps("e2")
    captured_step = CapturedStep(step, generators)
    before = model.encoder[0].weight.clone()
    with pytest.warns(UserWarning, match="none could be captured: operation not permitted$"):
        for _ in range(WARM_UP_STEPS + 1):
            captured_step(torch.zeros(2, 10, dtype=torch.long), 1.0)
    moved = model.encoder[0].weight.clone()
    assert not torch.equal(before, moved)
    captured_step(torch.zeros(2, 10, dtype=torch.long), 1.0)
    assert not torch.equal(moved, model.encoder[0].weight)


# What a graph holds must not ask for a value, such as whether all proposals are accepted: it waits for none. Tensors on
# the meta device have shapes and no values, so there every such question is an error, also in the backward pass.


def on_meta(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, device="meta")


def assert_trained(model: torch.nn.Module, loss: torch.Tensor) -> None:
    loss.sum().backward()
    assert loss.shape == (len(SEEDS),) and all(p.grad is not None and p.grad.is_meta for p in model.parameters())


def test_a_question_fails_on_the_meta_device():
    with pytest.raises(RuntimeError, match="meta"):
        bool(on_meta(3).any())


SPACES = ["e2", "s1", "s2", "s4", "s40", "p4", "h2", "h10", "e2s2h2", "s4s4s4"]
LATENT = {name: lambda name=name: space(name) for name in SPACES} | {
    "learned": lambda: learnable("e2s2h3", torch.ones(len(SEEDS))),
    "published": lambda: PublishedSphere(4),
    "uncorrected": lambda: UncorrectedSphere(4),
}


@pytest.mark.parametrize("name", LATENT)
def test_a_step_of_a_vae_waits_for_no_value(name):
    model = VAE(LATENT[name](), 12, (8,), run_generators(SEEDS, INITIALISATION)).to("meta")
    re, kl = model.elbo_terms(on_meta(2, 10, 12))
    assert_trained(model, (on_meta() * kl - re).mean(1))


@pytest.mark.parametrize("likelihood", [von_mises(1.0), von_mises(largest=800.0)], ids=["cosine", "von-mises"])
def test_a_step_on_angles_with_the_posts_kl_term_waits_for_no_value(likelihood):
    model = VAE(space("h5"), 12, (8,), run_generators(SEEDS, INITIALISATION), likelihood).to("meta")
    x = on_meta(2, 10, 12)
    posterior = model.posterior(x)
    re = model.likelihood(x, model.decode(posterior.rsample()))
    assert_trained(model, (kl_tangent(posterior, model.space.prior(x.device, x.dtype)) - re).mean(1))


@pytest.mark.parametrize("names", [("e5", "e10"), ("s5", "s10"), ("s5", "e10")], ids=str)
def test_a_step_of_m1m2_waits_for_no_value(names):
    spaces = map(space, names)
    model = M1M2(*spaces, 12, 3, (8,), run_generators(SEEDS, INITIALISATION)).to("meta")
    bounds, log_q_y = model.bounds(on_meta(2, 10, 12), style_weight=on_meta())
    assert_trained(model, -marginal_bound(bounds, log_q_y).mean(1))


class Flat(torch.nn.Module):
    """An encoder without a graph: the meta device has no sparse matrices."""

    def __init__(self, outputs: int):
        super().__init__()
        self.linear = RunsLinear(6, outputs, run_generators(SEEDS, INITIALISATION))

    def forward(self, graph, generators=None):
        return self.linear(graph)


@pytest.mark.parametrize("loss", [edge_losses.weighted_bce, edge_losses.sampled_bce])
@pytest.mark.parametrize("name", ["e16", "s16"])
def test_a_step_on_a_graph_waits_for_no_value(name, loss, monkeypatch):
    monkeypatch.setitem(edge_losses.BLOCK, "meta", 16)
    latent, nodes = space(name), 40
    model = VGAE(latent, Flat(latent.n_params), len(SEEDS)).to("meta")
    embedding, kl = model.sample(on_meta(2, nodes, 6))
    edges = pairs.decode(torch.zeros(2, 30, dtype=torch.long, device="meta"))
    assert_trained(model, loss(embedding, edges) + kl.mean(1) / nodes)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["e2", "s2", "s4", "p4", "h2", "e2s2h2"])
def test_a_graph_trains_to_the_loss_of_single_steps(name, monkeypatch, recwarn):
    """The same law, other random numbers: the mean validation loss of twenty runs within its sampling error."""
    data = (torch.rand(150, 12, generator=torch.Generator().manual_seed(0)) < 0.3).float().cuda()
    seeds = list(range(20))

    def train():
        model = VAE(space(name), 12, (8,), run_generators(seeds, INITIALISATION)).cuda()

        def loss(index, weight, generators):
            re, kl = model.elbo_terms(data[index], generators)
            return (weight * kl - re).mean(1)

        def validate(generators):
            return -evaluation.elbo(model, lambda index: data[index], len(data), generators)["ELBO"]

        schedule = Schedule(learning_rate=0.01, batch_size=15, warmup_epochs=2, max_epochs=10)
        return torch.tensor(
            [curve[-1] for curve in fit(model, seeds, schedule, len(data), loss, validate).validation_curves]
        )

    with_graph = train()
    assert not [w for w in recwarn if "CUDA graph" in str(w.message)]
    monkeypatch.setattr(training, "CapturedStep", lambda step, generators: step)
    without = train()
    error = ((with_graph.var() + without.var()) / len(seeds)).sqrt()
    assert (with_graph.mean() - without.mean()).abs() < 4 * error  # fails once in 16,000 runs of each of the six spaces
