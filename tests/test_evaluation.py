"""Evaluation: ELBO and log-likelihood against models solved exactly or by quadrature, k-NN against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import softplus

from svae_repro import evaluation
from svae_repro.models import VAE
from svae_repro.models.vae import gaussian
from svae_repro.spaces import space

SIGMA = 0.5
RUNS = 2


def generators(runs=RUNS, seed=0):
    return [torch.Generator().manual_seed(100 * seed + run) for run in range(runs)]


def picker(x):
    """The data [N, P] as a function of an index [R, B] that may run over it several times."""
    return lambda index: x[index % len(x)]


# A linear-Gaussian model x = z W + b + sigma epsilon: its evidence is normal, and as the rows of W are orthogonal,
# its posterior is a diagonal normal that a linear encoder hits exactly.


class LinearGaussian:
    """R solved models in float64. ``spread`` and ``shift`` move the encoder away from the true posterior."""

    def __init__(self, spread=1.0, shift=0.0, features=6, dim=3):
        self.model = VAE(space(f"e{dim}"), features, (), generators(), gaussian(SIGMA)).double()
        self.rng = np.random.default_rng(0)
        self.evidence, posteriors = [], []
        for run in range(RUNS):
            rows = np.linalg.qr(self.rng.normal(size=(features, dim)))[0].T
            w, b = rows * self.rng.uniform(0.5, 2, size=(dim, 1)), self.rng.normal(size=features)
            self.evidence.append(stats.multivariate_normal(b, w.T @ w + SIGMA**2 * np.eye(features)))
            variance = 1 / (1 + (w**2).sum(1) / SIGMA**2)
            gain = w.T * variance / SIGMA**2  # the posterior mean is (x - b) gain
            std = spread * np.sqrt(variance)
            encoder, decoder = self.model.encoder[0], self.model.decoder[0]
            with torch.no_grad():
                decoder.weight[run], decoder.bias[run, 0] = torch.tensor(w), torch.tensor(b)
                encoder.weight[run] = torch.tensor(np.hstack([gain, np.zeros_like(gain)]))
                raw = np.log(np.expm1(std))  # softplus turns it into std
                encoder.bias[run, 0] = torch.tensor(np.concatenate([shift * std - b @ gain, raw]))
            posteriors.append((std, variance, shift * std))
        self.x = torch.tensor(self.rng.normal(size=(37, features)) * 1.5)
        # KL divergence from the encoder's normal to the true posterior, the same for every x
        self.gap = [float((np.log(np.sqrt(v) / s) + (s**2 + d**2) / (2 * v) - 0.5).sum()) for s, v, d in posteriors]

    @property
    def log_evidence(self):
        return torch.tensor([law.logpdf(self.x.numpy()).mean() for law in self.evidence])

    def log_likelihood(self, samples, seed=0):
        return self.importance(samples, seed)["LL"]

    def importance(self, samples, seed=0):
        return evaluation.log_likelihood(self.model, picker(self.x), len(self.x), generators(seed=seed), samples)


@pytest.mark.parametrize("rows", [1, 7, 64, 10**6])
@pytest.mark.parametrize("samples", [1, 10, 33])
def test_likelihood_is_exact_where_the_posterior_is_and_memory_is_bounded(monkeypatch, rows, samples):
    # Every importance weight is then p(x) itself: no Monte-Carlo error, only that of float64.
    monkeypatch.setitem(evaluation.ROWS_IN_MEMORY, "cpu", rows)
    exact = LinearGaussian()
    decode, held = exact.model.decode, []
    monkeypatch.setattr(exact.model, "decode", lambda z: held.append(z.shape[0] * z.shape[1]) or decode(z))
    torch.testing.assert_close(exact.log_likelihood(samples), exact.log_evidence, rtol=1e-9, atol=1e-9)
    assert max(held) <= RUNS * rows
    assert sum(held) == RUNS * samples * len(exact.x)


@pytest.mark.parametrize("rows", [64, 4096])
def test_likelihood_approaches_the_evidence_where_the_posterior_is_wrong(monkeypatch, rows):
    monkeypatch.setitem(evaluation.ROWS_IN_MEMORY, "cpu", rows)
    wrong = LinearGaussian(spread=1.2, shift=0.3)
    # 2,000 samples for each of 37 examples: over 20 seeds the standard deviation was 0.0025, the bias below 0.0005
    torch.testing.assert_close(wrong.log_likelihood(2000), wrong.log_evidence, rtol=0, atol=0.012)


def test_more_importance_samples_tighten_the_bound_from_elbo_to_evidence():
    wrong = LinearGaussian(spread=1.5, shift=0.8)
    few, some, many = (
        torch.stack([wrong.log_likelihood(samples, seed) for seed in range(20)]).mean(0) for samples in (1, 5, 100)
    )
    gap = torch.tensor(wrong.gap, dtype=torch.float64)
    assert (gap > 2).all()
    # One sample is the ELBO, which lies the gap below the evidence. Standard errors of the means over 20 seeds, as
    # measured: 0.13 with one sample, 0.045 with five, 0.009 with a hundred.
    torch.testing.assert_close(wrong.log_evidence - few, gap, rtol=0, atol=0.6)
    assert (few + 0.6 < some).all() and (some + 0.2 < many).all()
    assert (many < wrong.log_evidence + 0.04).all()


@pytest.mark.parametrize("samples, repeats", [(1, 400), (7, 400), (200, 40)])
def test_the_ratio_of_prior_to_posterior_is_averaged_like_the_weights(monkeypatch, samples, repeats):
    """Against NumPy with the encoder's normals; over 20 seeds the standard deviation of either was at most 0.021."""
    monkeypatch.setitem(evaluation.ROWS_IN_MEMORY, "cpu", 60)  # so that 200 samples come in chunks
    solved = LinearGaussian(spread=1.2, shift=0.3)
    size = repeats * len(solved.x)
    found = evaluation.log_likelihood(solved.model, picker(solved.x), size, generators(), samples)["log_ratio"]
    loc, scale = solved.model.encoder(solved.x.expand(RUNS, -1, -1)).detach().chunk(2, -1)
    loc, scale = loc.numpy(), softplus(scale).numpy()
    z = loc + scale * np.random.default_rng(5).normal(size=(repeats, samples, *loc.shape))
    log_ratio = (stats.norm.logpdf(z) - stats.norm.logpdf(z, loc, scale)).sum(-1)
    expected = special.logsumexp(log_ratio, axis=1, b=1 / samples).mean(axis=(0, 2))
    np.testing.assert_allclose(found.numpy(), expected, atol=0.1)
    if samples == 1:
        kl = ((scale**2 + loc**2 - 1) / 2 - np.log(scale)).sum(-1).mean(1)
        np.testing.assert_allclose(found.numpy(), -kl, atol=0.1)


def test_elbo_terms_are_those_of_the_solved_model():
    wrong = LinearGaussian(spread=1.2, shift=0.5)
    size = 37 * 1000
    found = evaluation.elbo(wrong.model, picker(wrong.x), size, generators())
    loc, scale = (
        part.double() for part in wrong.model.encoder(wrong.x.expand(RUNS, -1, -1)).split(wrong.model.space.dim, -1)
    )
    scale = softplus(scale)
    kl = ((scale**2 + loc**2 - 1) / 2 - scale.log()).sum(-1).mean(1)
    torch.testing.assert_close(found["KL"], kl, rtol=1e-9, atol=1e-9)
    # One sample for each of 37,000 examples: the standard deviation over seeds was 0.016
    torch.testing.assert_close(
        found["ELBO"], wrong.log_evidence - torch.tensor(wrong.gap, dtype=torch.float64), rtol=0, atol=0.08
    )
    torch.testing.assert_close(found["ELBO"], found["RE"] - found["KL"])


@pytest.mark.parametrize("size, rows", [(37, 1000), (37, 10), (37, 1)])
def test_elbo_covers_every_example_once_whatever_the_blocks(size, rows):
    exact = LinearGaussian()
    seen = []
    batch = picker(exact.x)
    evaluation.elbo(exact.model, lambda index: seen.append(index) or batch(index), size, generators(), rows)
    assert max(index.shape[1] for index in seen) <= rows
    for run in range(RUNS):
        assert torch.cat([index[run] for index in seen]).tolist() == list(range(size))
    whole, parts = (evaluation.features(exact.model, batch, size, n) for n in (1000, rows))
    torch.testing.assert_close(parts, whole)


def test_likelihood_covers_every_example_and_reports():
    exact, seen = LinearGaussian(), []
    evaluation.log_likelihood(exact.model, picker(exact.x), 37, generators(), 100, lambda *now: seen.append(now))
    done = [count for count, _ in seen]
    assert len(done) > 3 and done == sorted(set(done)) and done[-1] == 37
    assert {size for _, size in seen} == {37}


# Spheres: p(x) and E_q[log p(x|z)] by quadrature over the sphere itself


def quadrature(dim):
    """Points of S^1 or S^2 and their shares of the surface; both rules are exact to 1e-10 for what is integrated."""
    if dim == 1:
        angle = 2 * np.pi * np.arange(400) / 400
        return np.stack([np.cos(angle), np.sin(angle)], -1), np.full(400, 1 / 400)
    height, weight = np.polynomial.legendre.leggauss(60)
    angle = 2 * np.pi * np.arange(120) / 120
    radius = np.sqrt(1 - height**2)
    points = [np.outer(radius, np.cos(angle)), np.outer(radius, np.sin(angle)), np.repeat(height[:, None], 120, 1)]
    return np.stack(points, -1).reshape(-1, 3), np.repeat(weight / 2, 120) / 120


@pytest.fixture(params=["s1", "s2"])
def spherical(request):
    """A Bernoulli model on a sphere, data, and by quadrature the evidence, the RE and the KL divergence [R, N]."""
    model = VAE(space(request.param), 5, (), generators()).double()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.tensor(rng.normal(size=parameter.shape)))
    x = torch.tensor(rng.integers(0, 2, size=(16, 5)).astype(float))
    points, share = quadrature(model.space.dim)
    m = model.space.ambient_dim
    params = model.encoder(x.expand(RUNS, -1, -1)).detach().numpy()
    loc = params[..., :m] / np.linalg.norm(params[..., :m], axis=-1, keepdims=True)
    kappa = np.log1p(np.exp(params[..., m])) + 1
    weight, bias = (p.detach().numpy() for p in model.decoder[0].parameters())
    logits = points @ weight + bias  # [R, Q, P]
    log_p = (x.numpy()[:, None] * logits[:, None] - np.logaddexp(0, logits[:, None])).sum(-1)  # [R, N, Q]
    evidence = special.logsumexp(log_p, b=share, axis=-1)
    # The vMF density relative to the uniform distribution, normalised by the quadrature itself
    log_q = kappa[..., None] * (loc @ points.T)
    log_q -= special.logsumexp(log_q, b=share, axis=-1)[..., None]
    q = np.exp(log_q) * share
    return model, x, evidence.mean(1), (q * log_p).sum(-1).mean(1), (q * log_q).sum(-1).mean(1)


def test_likelihood_on_a_sphere_is_the_integral_over_it(spherical):
    model, x, evidence, _, _ = spherical
    found = evaluation.log_likelihood(model, picker(x), len(x), generators(), 20_000)["LL"]
    # 20,000 samples for each of 16 examples: over 20 seeds the standard deviation was at most 0.011
    np.testing.assert_allclose(found.numpy(), evidence, atol=0.05)


def test_elbo_on_a_sphere_is_the_integral_over_it(spherical):
    model, x, evidence, re, kl = spherical
    found = evaluation.elbo(model, picker(x), 16 * 2000, generators())
    np.testing.assert_allclose(found["KL"].numpy(), kl, rtol=1e-8)
    # One sample for each of 32,000 examples: the standard deviation over seeds was 0.0043
    np.testing.assert_allclose(found["RE"].numpy(), re, atol=0.02)
    assert (found["ELBO"].numpy() < evidence).all()


@pytest.fixture
def mixed():
    """A Bernoulli model on R x H^1, data, and by quadrature the evidence, the RE and the KL divergence [R, N].

    The hyperbolic line has no curvature: by arc length its wrapped normal distributions are normal ones.
    """
    model = VAE(space("e1h1"), 5, (), generators()).double()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.tensor(0.4 * rng.normal(size=parameter.shape)))
        model.encoder[0].bias[..., [1, 3]] += 1  # wider than the true posterior, or the weights have no variance
    x = torch.tensor(rng.integers(0, 2, size=(16, 5)).astype(float))
    z, t = (a.ravel() for a in np.meshgrid(*[np.linspace(-9, 9, 301)] * 2))
    share = (18 / 300) ** 2
    weight, bias = (p.detach().numpy() for p in model.decoder[0].parameters())
    logits = np.stack([z, np.cosh(t), np.sinh(t)], axis=-1) @ weight + bias  # [R, Q, P]
    log_p = (x.numpy()[:, None] * logits[:, None] - np.logaddexp(0, logits[:, None])).sum(-1)  # [R, N, Q]
    prior = stats.norm.logpdf(z) + stats.norm.logpdf(t)
    evidence = special.logsumexp(log_p + prior, b=share, axis=-1)
    params = model.encoder(x.expand(RUNS, -1, -1)).detach().numpy()[..., None]
    scale = np.log1p(np.exp(params[..., [1, 3], :]))
    log_q = stats.norm.logpdf(z, params[..., 0, :], scale[..., 0, :])
    log_q = log_q + stats.norm.logpdf(t, params[..., 2, :], scale[..., 1, :])
    q = np.exp(log_q) * share
    return model, x, evidence.mean(1), (q * log_p).sum(-1).mean(1), (q * (log_q - prior)).sum(-1).mean(1)


def test_likelihood_and_elbo_on_a_product_are_integrals_over_it(mixed):
    model, x, evidence, re, kl = mixed
    found = evaluation.log_likelihood(model, picker(x), len(x), generators(), 20_000)["LL"]
    # 20,000 samples for each of 16 examples: over 10 seeds the standard deviation was at most 0.01
    np.testing.assert_allclose(found.numpy(), evidence, atol=0.05)
    found = evaluation.elbo(model, picker(x), 16 * 2000, generators())
    # One sample for each of 32,000 examples, for the divergence on H^1 too: standard deviations below 0.02
    np.testing.assert_allclose(found["KL"].numpy(), kl, atol=0.08)
    np.testing.assert_allclose(found["RE"].numpy(), re, atol=0.08)
    assert (found["ELBO"].numpy() < evidence).all()


@pytest.mark.parametrize("name", ["s4", "h3", "e2s2h2"])
def test_likelihood_of_a_decoder_that_ignores_the_latent_point(name):
    """p(x) is then that of the constant decoder, whatever the posterior."""
    model = VAE(space(name), 5, (), generators()).double()
    with torch.no_grad():
        model.decoder[0].weight.zero_()
        model.decoder[0].bias.copy_(torch.linspace(-2, 2, 10).view(RUNS, 1, 5))
        model.encoder[0].weight.mul_(0.2)
        model.encoder[0].bias.fill_(0.7)  # posteriors wider than the prior, or the weights have no variance
    x = torch.tensor(np.random.default_rng(2).integers(0, 2, size=(30, 5)).astype(float))
    expected = torch.distributions.Bernoulli(logits=model.decoder[0].bias).log_prob(x).sum(-1).mean(1)
    found = evaluation.log_likelihood(model, picker(x), 30, generators(), 4000)["LL"]
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=0.06)  # standard deviation over seeds 0.013


# The aggregate posterior


@pytest.mark.parametrize("name", ["e2", "s2", "h2", "e1s1h1"])
def test_marginal_kl_of_equal_posteriors_is_their_kl(name):
    model = VAE(space(name), 5, (), generators()).double()
    with torch.no_grad():
        model.encoder[0].weight.zero_()
        model.encoder[0].bias.copy_(torch.linspace(-1, 2, 2 * model.space.n_params).view(RUNS, 1, -1))
    x = torch.zeros(RUNS, 30, 5, dtype=torch.float64)
    many = torch.zeros(RUNS, 20_000, 5, dtype=torch.float64)  # for the spaces that estimate it
    expected = model.elbo_terms(many, generators(seed=1))[1].mean(1)
    found = evaluation.marginal_kl(model, x, generators(), samples=20_000)
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=0.1)  # standard deviation over seeds 0.023


def test_marginal_kl_of_a_mixture_is_the_integral(monkeypatch):
    """Normals at -2 and 3 on the line, by quadrature; in blocks and at once."""
    model = VAE(space("e1"), 1, (), generators(1)).double()
    with torch.no_grad():
        model.encoder[0].weight.copy_(torch.tensor([[[1.0, 0.0]]]))
        model.encoder[0].bias.copy_(torch.tensor([[[0.0, math.log(math.expm1(0.7))]]]))
    x = torch.tensor([[[-2.0], [3.0]]], dtype=torch.float64)
    z = np.linspace(-12, 12, 20_001)
    q = (stats.norm(-2, 0.7).pdf(z) + stats.norm(3, 0.7).pdf(z)) / 2
    expected = np.trapezoid(special.xlogy(q, q) - q * stats.norm.logpdf(z), z)
    found = evaluation.marginal_kl(model, x, generators(1), samples=20_000).item()
    assert found == pytest.approx(expected, abs=0.1)  # the standard deviation of log q/p is below 3 nats: 0.02
    monkeypatch.setattr(evaluation, "DISTANCES_IN_MEMORY", 1000)
    assert evaluation.marginal_kl(model, x, generators(1), samples=20_000).item() == pytest.approx(found, rel=1e-12)


def test_marginal_kl_gives_each_example_as_many_points():
    """4,000 examples and 2,000 points asked for: no example is left out."""
    model = VAE(space("e1"), 1, (), generators(1)).double()
    with torch.no_grad():
        model.encoder[0].weight.copy_(torch.tensor([[[1.0, 0.0]]]))
        model.encoder[0].bias.copy_(torch.tensor([[[0.0, math.log(math.expm1(0.5))]]]))
    x = torch.tensor([-1.0, 4.0], dtype=torch.float64).repeat_interleave(2000).view(1, -1, 1)
    halves = torch.tensor([-1.0, 4.0], dtype=torch.float64).view(1, -1, 1)
    found = evaluation.marginal_kl(model, x, generators(1), samples=2000).item()
    expected = evaluation.marginal_kl(model, halves, generators(1), samples=20_000).item()
    assert found == pytest.approx(expected, abs=0.2)  # the standard deviation of log q/p is below 3 nats


# k-nearest neighbours


def arc(x, y):
    return math.acos(min(1.0, max(-1.0, float(x @ y))))


def hyperbolic(x, y):
    """Distance between points of H^(m-1) by their space coordinates."""
    times = math.sqrt(1 + x @ x) * math.sqrt(1 + y @ y)
    return math.acosh(max(1.0, times - x @ y))


METRICS = [
    ("e3", "euclidean"),
    ("s2", arc),
    ("h2", lambda x, y: hyperbolic(x[1:], y[1:])),
    ("e1h1", lambda x, y: math.hypot(x[0] - y[0], hyperbolic(x[2:], y[2:]))),
]


@pytest.mark.parametrize("name, metric", METRICS, ids=[name for name, _ in METRICS])
@pytest.mark.parametrize("neighbours", [1, 5])
def test_nearest_neighbours_are_scikit_learns(monkeypatch, name, metric, neighbours):
    rng = np.random.default_rng(3)
    labelled, points = rng.normal(size=(60, 3)), rng.normal(size=(200, 3))
    if name == "s2":
        labelled, points = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (labelled, points))
    labels = rng.integers(0, 4, size=60)
    oracle = KNeighborsClassifier(neighbours, metric=metric, algorithm="brute").fit(labelled, labels)
    votes = np.sort(oracle.predict_proba(points), axis=1)
    points = points[votes[:, -1] > votes[:, -2]]  # scikit-learn breaks ties by the lowest label
    assert len(points) > 100
    predicted = oracle.predict(points)
    arguments = [torch.tensor(a) for a in (labelled, labels, points, predicted)]
    assert evaluation.knn_accuracy(space(name), *arguments, neighbours) == 1
    wrong = predicted.copy()
    wrong[: len(wrong) // 4] += 1
    monkeypatch.setattr(evaluation, "DISTANCES_IN_MEMORY", 1000)  # blocks of five points
    accuracy = evaluation.knn_accuracy(space(name), *arguments[:3], torch.tensor(wrong), neighbours)
    assert accuracy == 1 - (len(wrong) // 4) / len(wrong)


@pytest.mark.parametrize(
    "order, winner",  # classes of the five neighbours, the nearest first
    [
        ([0, 1, 1, 2, 2], 1),
        ([3, 0, 1, 2, 4], 3),
        ([0, 1, 1, 1, 0], 1),
        ([2, 0, 0, 1, 2], 0),
        # two, two and one, the pairs at the same mean rank: the lower number
        ([2, 1, 0, 1, 2], 1),
        ([1, 2, 0, 2, 1], 1),
        ([0, 1, 2, 1, 0], 0),
        ([1, 0, 2, 0, 1], 0),
        # of seven and of nine, pairs and triples at the same mean rank
        ([2, 1, 0, 3, 0, 1, 2], 0),
        ([1, 3, 0, 0, 3, 1, 2], 0),
        ([2, 0, 1, 1, 0, 2, 0, 1, 2], 0),
        ([2, 1, 1, 2, 0, 2, 1, 1, 2], 1),
    ],
)
def test_ties_go_to_the_class_that_ranks_closer_on_average_then_to_the_lower_number(order, winner):
    labelled = torch.arange(1.0, 1 + len(order)).unsqueeze(1)
    point, labels = torch.zeros(1, 1), torch.tensor(order)
    assert evaluation.knn_accuracy(space("e1"), labelled, labels, point, torch.tensor([winner]), len(order)) == 1


def test_too_few_labelled_points_raise():
    points, labels = torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
    with pytest.raises(ValueError, match="4 labelled points are fewer than the 5 neighbours"):
        evaluation.knn_accuracy(space("e2"), points, labels, points, labels)


@pytest.mark.parametrize("name", ["e3", "s2", "e1h2"])
def test_features_are_the_modes(name):
    model = VAE(space(name), 5, (), generators()).double()
    x = torch.tensor(np.random.default_rng(4).normal(size=(11, 5)))
    raw = torch.stack([x @ w + b for w, b in zip(model.encoder[0].weight, model.encoder[0].bias, strict=True)])
    expected = raw[..., :3]
    if name == "s2":
        expected = expected / expected.norm(dim=-1, keepdim=True)
    if name == "e1h2":
        line, v = raw[..., :1], raw[..., 2:4]
        r = v.norm(dim=-1, keepdim=True)
        expected = torch.cat([line, r.cosh(), v * r.sinh() / r], dim=-1)
    torch.testing.assert_close(evaluation.features(model, picker(x), 11), expected.detach())


# Angles


def test_angular_error_is_the_shorter_way_round():
    a = torch.tensor([0.0, 0, 179, -179, 90, -180, 30]).deg2rad()
    b = torch.tensor([10.0, 180, -179, 179, -90, 180, 390]).deg2rad()
    expected = torch.tensor([10.0, 180, 2, 2, 180, 0, 0])
    torch.testing.assert_close(evaluation.angular_error(a, b), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(evaluation.angular_error(b, a), expected, atol=1e-4, rtol=0)


def canonical_correlations(a, b):
    """Between (cos, sin) of two series of angles, from the covariance matrices as Jupp and Mardia write them."""
    u, v = (torch.stack([x.cos(), x.sin()]).double() for x in (a, b))
    joint = torch.cov(torch.cat([u, v]))
    inner = torch.linalg.solve(joint[:2, :2], joint[:2, 2:]) @ torch.linalg.solve(joint[2:, 2:], joint[2:, :2])
    return torch.linalg.eigvals(inner).real


def test_circular_correlation_is_jupp_and_mardias():
    generator = torch.Generator().manual_seed(0)
    for spread in (0.05, 0.5, 3.0):
        a = 6 * torch.rand(500, generator=generator)
        b = 2 * a + spread * torch.randn(500, generator=generator)
        expected = (canonical_correlations(a, b).sum() / 2).sqrt().item()
        assert evaluation.circular_correlation(a, b) == pytest.approx(expected, abs=1e-6)


def test_circular_correlation_is_1_for_turns_and_reflections_and_sees_flat_angles():
    generator = torch.Generator().manual_seed(1)
    a = 7 * torch.rand(1000, generator=generator)
    assert evaluation.circular_correlation(a, a + 2) == pytest.approx(1, abs=1e-6)
    assert evaluation.circular_correlation(a, 1 - a) == pytest.approx(1, abs=1e-6)
    b = 7 * torch.rand(1000, generator=generator)
    assert evaluation.circular_correlation(a, b) < 0.1
    flat = torch.pi * (a > 3).float()  # 0 or 180: one direction of two varies, so half the square is the most
    assert evaluation.circular_correlation(flat, torch.pi - flat) == pytest.approx(0.5**0.5, abs=1e-6)
    assert evaluation.circular_correlation(flat, torch.pi * (b > 3).float()) < 0.1
    assert evaluation.circular_correlation(a, torch.zeros(1000)) == 0
