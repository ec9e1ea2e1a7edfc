"""Each study does what its page says: the split, the objective, the model, the seed and the settings it uses.

Small trainings on the stand-ins; what `fit` is given is caught on the way and asked again with the same noise.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from svae_repro import evaluation
from svae_repro.data.mnist import Pixels
from svae_repro.distributions import PowerSpherical, VonMisesFisher, kl_tangent
from svae_repro.distributions.as_published import PublishedVonMisesFisher, UncorrectedVonMisesFisher
from svae_repro.experiments import (
    blog,
    blog_lfw,
    blog_mnist,
    blog_qm9,
    circle,
    m1m2,
    mixed,
    mixed_curvature,
    mnist_vae,
    vgae,
    vmf_training,
)
from svae_repro.models.edge_losses import sampled_bce, weighted_bce
from svae_repro.models.vae import gaussian
from svae_repro.models.vgae import GCNEncoder, NormalisedEncoder, TrainingGraphs
from svae_repro.spaces import Euclidean, Hyperboloid, Sphere
from svae_repro.store import Results
from svae_repro.study import Job
from svae_repro.training import Schedule, fit, run_generators

ONE = Schedule(batch_size=50, warmup_epochs=0, patience=2, max_epochs=1)
SIZES = {"train_size": 200, "validation_size": 50, "test_size": 60}
SMALL = {
    mnist_vae: replace(mnist_vae.PRESETS["smoke"], hidden=(9, 8), samples=5, labelled=(20,), schedule=ONE, **SIZES),
    blog_mnist: replace(blog_mnist.PRESETS["smoke"], schedule=ONE, **SIZES),
    blog_lfw: replace(blog_lfw.PRESETS["smoke"], schedule=ONE),
    blog_qm9: replace(blog_qm9.PRESETS["smoke"], schedule=ONE, **SIZES),
    m1m2: replace(m1m2.PRESETS["smoke"], hidden=(8,), pilot_epochs=1, schedule=ONE, **SIZES),
    vgae: replace(vgae.PRESETS["smoke"], epochs=2),
}
CONFIGURATION = {
    mnist_vae: {"d": 2, "space": "s"},
    blog_mnist: {"d": 2, "layers": 1, "model": "e"},
    blog_lfw: {"d": 2, "layers": 1, "model": "e"},
    blog_qm9: {"d": 2, "likelihood": "von-mises", "model": "e"},
    m1m2: {"dim_z1": 2, "dim_z2": 3, "topology": "S+N"},
}


def run(study, data=None, seeds=(0,), settings=None, **changes):
    settings = settings or SMALL[study]
    data = data or study.load_data("standin", settings)
    return study.run_cells(Job(CONFIGURATION.get(study, {}) | changes, list(seeds), settings, data))


@pytest.fixture
def fits(monkeypatch):
    """Every training: its model, schedule, loss and validation."""
    seen = []

    def spy(model, seeds, schedule, size, loss, validate, *rest, **options):
        seen.append({"model": model, "schedule": schedule, "loss": loss, "validate": validate})
        return fit(model, seeds, schedule, size, loss, validate, *rest, **options)

    for module in (mnist_vae, blog, blog_qm9, m1m2, vgae, circle):
        monkeypatch.setattr(module, "fit", spy)
    return seen


def other(part):
    """Other examples of the same kind: images mirrored and upside down, the molecules' angles in another order."""
    if isinstance(part, torch.Tensor):
        return part.flip(1)
    return replace(part, angle=part.angle.flip(0), present=part.present.flip(0))


def losses(study, outcome) -> tuple[float, float]:
    """The validation loss of the only epoch, and the score."""
    loss = outcome.arrays["validation_curve"][0] if study is m1m2 else outcome.metrics["validation_loss"]
    return float(loss), outcome.metrics["bound" if study is m1m2 else "ELBO"]


@pytest.mark.parametrize("study", CONFIGURATION, ids=lambda s: s.__name__.rpartition(".")[2])
def test_validation_stops_and_the_test_set_is_scored(study):
    """One epoch: other validation images change the validation loss alone, other test images the scores alone."""
    data, settings = study.load_data("standin", SMALL[study]), SMALL[study]
    if study is m1m2:
        settings = replace(settings, alphas=(1.0,))
    loss, score = losses(study, *run(study, data, settings=settings))
    found = {
        name: losses(study, *run(study, replace(data, **{name: other(getattr(data, name))}), settings=settings))
        for name in ("train", "validation", "test")
    }
    assert found["test"][0] == loss and found["test"][1] != score
    assert found["validation"][0] != loss and found["validation"][1] == score
    assert found["train"][0] != loss and found["train"][1] != score


def test_circle_validates_on_the_validation_points(fits):
    settings = circle.Settings(seeds=1, size=100, hidden=(8,), schedule=replace(ONE, batch_size=20))
    data = circle.load_data("auto", settings)
    curves = []
    for part in ("validation", "test"):
        split = getattr(data, part)
        changed = replace(data, **{part: replace(split, x=split.x + 1)})
        circle.run_cells(Job({"model": "n"}, [0], settings, changed))
        curves.append(fits[-1]["validate"](run_generators([0], 7)).item())
    circle.run_cells(Job({"model": "n"}, [0], settings, data))
    own = fits[-1]["validate"](run_generators([0], 7)).item()
    assert curves[0] != own == curves[1]


@pytest.mark.parametrize(
    "study, binarisation", [(mnist_vae, "dynamic"), (blog_mnist, "none"), (blog_lfw, "none"), (m1m2, "dynamic")]
)
def test_every_split_is_binarised_as_the_settings_say(study, binarisation, monkeypatch):
    made = []

    class Spy(Pixels):
        def __init__(self, images, kind="dynamic", *rest):
            made.append(kind)
            super().__init__(images, kind, *rest)

    for module in (mnist_vae, blog, blog_lfw, m1m2):
        monkeypatch.setattr(module, "Pixels", Spy)
    run(study)
    assert len(made) >= 3 and set(made) == {binarisation}


def slope(loss, index):
    """Loss at KL weights of 0, 1/2 and 1 with the same noise: it is affine; returns what the weight multiplies."""
    with torch.no_grad():
        none, half, whole = (loss(index, w, run_generators([0], 7)) for w in (0.0, 0.5, 1.0))
    torch.testing.assert_close(2 * half, none + whole, rtol=1e-4, atol=1e-4)
    return whole - none


def test_table_1_trains_on_the_weighted_elbo_with_the_settings_it_was_given(fits):
    run(mnist_vae)
    (seen,) = fits
    assert seen["schedule"] == ONE
    assert [layer.weight.shape[2] for layer in seen["model"].encoder[::2]][:2] == [9, 8]
    images = Pixels(mnist_vae.load_data("standin", SMALL[mnist_vae]).train)
    index, own = torch.arange(50)[None], run_generators([0], 7)
    re, kl = seen["model"].elbo_terms(images.batch(index, own), own)
    torch.testing.assert_close(slope(seen["loss"], index), kl.mean(1).detach(), rtol=1e-3, atol=1e-3)
    own = run_generators([0], 7)
    torch.testing.assert_close(seen["loss"](index, 0.0, own), -re.mean(1))


def test_table_1_takes_the_importance_samples_asked_for(monkeypatch):
    seen, original = [], evaluation.log_likelihood
    monkeypatch.setattr(evaluation, "log_likelihood", lambda *a: seen.append(a[2:5:2]) or original(*a))
    run(mnist_vae)
    assert seen == [(60, 5)]


def test_labelled_sets_differ_between_seeds_and_distances_are_the_spaces(monkeypatch):
    seen = []

    monkeypatch.setattr(evaluation, "knn_accuracy", lambda latent, *rest: seen.append(latent) or 0.5)
    chosen, original = [], mnist_vae.balanced_subset
    monkeypatch.setattr(mnist_vae, "balanced_subset", lambda *a: chosen.append(original(*a)) or chosen[-1])
    run(mnist_vae, seeds=(0, 1))
    assert len(chosen) == 2 and not torch.equal(*chosen)
    assert seen and all(isinstance(latent, Sphere) for latent in seen)
    settings = replace(mixed_curvature.PRESETS["smoke"], labelled=(20,), schedule=ONE, **SIZES)
    job = Job({"d": 3, "space": "h3", "curvature": "fixed"}, [0], settings, mnist_vae.load_data("standin", settings))
    mixed_curvature.run_cells(job)
    assert isinstance(seen[-1], Hyperboloid)


@pytest.mark.parametrize("model, layers", [("e", 1), ("s", 3), ("h-tangent", 2), ("h", 2)])
def test_the_blogs_objective_depth_and_validation(model, layers, fits):
    run(blog_mnist, model=model, layers=layers)
    (seen,) = fits
    net, data = seen["model"], blog_mnist.load_data("standin", SMALL[blog_mnist])
    assert len(net.encoder[::2]) == layers + 1 and seen["schedule"] == ONE

    def terms(pixels, own):
        x = Pixels(pixels, "none").batch(torch.arange(50)[None])
        if model != "h-tangent":
            return net.elbo_terms(x, own)
        q = net.posterior(x)
        return net.likelihood(x, net.decode(q.rsample(generator=own))), kl_tangent(q, net.space.prior())

    re, kl = terms(data.train, run_generators([0], 7))
    torch.testing.assert_close(slope(seen["loss"], torch.arange(50)[None]), kl.mean(1).detach(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(seen["loss"](torch.arange(50)[None], 0.0, run_generators([0], 7)), -re.mean(1))
    re, kl = terms(data.validation, run_generators([0], 7))
    with torch.no_grad():
        found = seen["validate"](run_generators([0], 7))
    torch.testing.assert_close(found.float(), (kl - re).mean(1).detach(), rtol=1e-4, atol=1e-4)


def test_faces_are_told_apart_by_training_faces(monkeypatch):
    seen = []
    monkeypatch.setattr(evaluation, "knn_accuracy", lambda *a: seen.append(a) or 0.25)
    settings = SMALL[blog_lfw]
    data = blog_lfw.load_data("standin", settings)
    (outcome,) = run(blog_lfw, data)
    (_, known, labels, asked, truth, neighbours), *_ = seen
    assert labels.tolist() == data.train_labels.tolist() and truth.tolist() == data.test_labels.tolist()
    assert (len(known), len(asked), neighbours) == (len(data.train), len(data.test), 5)
    assert not torch.equal(known[: len(asked)], asked)
    most = data.train_labels.bincount().argmax()
    assert outcome.metrics["majority"] == (data.test_labels == most).double().mean().item()


@pytest.mark.parametrize("model", ["h", "h-tangent"])
def test_the_molecules_objective_is_the_posts_where_asked(model, fits):
    run(blog_qm9, likelihood="cosine", model=model)
    (seen,) = fits
    net = seen["model"]
    x = blog_qm9.load_data("standin", SMALL[blog_qm9]).train.encode()[None, :50]
    _, kl = net.elbo_terms(x, run_generators([0], 7))
    closed = kl_tangent(net.posterior(x), net.space.prior())
    expected = (closed if model == "h-tangent" else kl).mean(1).detach()
    torch.testing.assert_close(slope(seen["loss"], torch.arange(50)[None]), expected, rtol=1e-3, atol=1e-4)


def test_the_likelihood_of_angles_has_the_bound_of_the_settings_and_errors_are_at_the_mode(fits):
    """A standard deviation of two degrees: of perfect predictions of M angles log p is M log density at the mode."""
    data = blog_qm9.load_data("standin", SMALL[blog_qm9])
    (outcome,) = run(blog_qm9, data)
    net = fits[0]["model"]
    angle = torch.tensor([[0.4]], dtype=torch.float64)
    pair = torch.cat([angle.cos(), angle.sin()], dim=-1)
    peak = stats.vonmises.logpdf(0, np.radians(2.0) ** -2)
    assert net.likelihood(pair, 1e9 * pair).item() == pytest.approx(peak, abs=1e-3)
    predicted = blog_qm9.direction(net.decode(net.posterior(data.test.encode()[None]).mode)).detach()[0]
    assert outcome.metrics["angular_error"] == pytest.approx(blog_qm9.score(data.test, predicted)[0]["angular_error"])


# M1+M2


@pytest.mark.parametrize("topology, names", [("N+N", ("e2", "e3")), ("S+S", ("s2", "s3")), ("S+N", ("s2", "e3"))])
def test_topologies_and_dimensions_are_those_asked_for_and_only_the_pilot_is_short(topology, names, fits):
    settings = replace(SMALL[m1m2], schedule=replace(ONE, max_epochs=2, patience=1), pilot_epochs=3)
    run(m1m2, settings=settings, topology=topology)
    for seen in fits:
        assert (seen["model"].space_z1.name, seen["model"].space_z2.name) == names
    pilot, whole = (seen["schedule"] for seen in fits)
    assert whole == settings.schedule and pilot == replace(settings.schedule, patience=None, max_epochs=3)


def test_the_loss_of_m1m2_by_hand(fits, monkeypatch):
    """90 images without a label at a bound of -50 in each class, 10 with one at -20, q(y | z1) not uniform."""
    run(m1m2)
    pilot, _ = fits  # two runs, alpha 0.1 and 1
    weights, q = [], torch.softmax(torch.arange(10.0) / 5, 0)

    def bounds(x, generator=None, style_weight=1.0):
        weights.append(style_weight)
        found = torch.full((2, 100, 10), -50.0)
        found[:, 90:] = -20.0
        log_q = q.log().expand(2, 100, 10).clone()
        log_q[:, 90:] = -3.0
        return found, log_q

    monkeypatch.setattr(pilot["model"], "bounds", bounds)
    loss = pilot["loss"](torch.arange(90).expand(2, -1), 0.25, run_generators([0, 0], 7))
    entropy = -(q * q.log()).sum()
    expected = torch.tensor([0.1, 1.0]) * 3 - (90 * (-50 + entropy) + 10 * -20) / 100
    torch.testing.assert_close(loss, expected)
    assert weights == [0.25]


def test_m1m2_validates_on_the_whole_bound_and_chooses_by_validation_labels(fits, monkeypatch):
    data = m1m2.load_data("standin", SMALL[m1m2])
    run(m1m2, data)
    seen = fits[-1]
    found = seen["validate"](run_generators([0], 7)).item()
    expected = -m1m2.mean_bound(seen["model"], Pixels(data.validation), run_generators([0], 7)).item()
    assert found == pytest.approx(expected, rel=1e-6)
    used = []
    original = m1m2.accuracy
    monkeypatch.setattr(
        m1m2, "accuracy", lambda m, p, labels, runs: used.append(labels) or original(m, p, labels, runs)
    )
    run(m1m2, data)
    assert len(used) == 2 and all(torch.equal(labels, data.validation_labels) for labels in used)


def test_the_labelled_images_differ_between_seeds_and_not_between_alphas(monkeypatch):
    chosen, original = [], m1m2.balanced_subset
    monkeypatch.setattr(m1m2, "balanced_subset", lambda *a: chosen.append(original(*a)) or chosen[-1])
    run(m1m2, seeds=(0, 1))
    first, again, second, _, *whole = chosen  # the pilot's four runs, then two
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert torch.equal(whole[0], first) and torch.equal(whole[1], second)


# Graphs


def graph_run(seeds=(0, 1), protocol="fixed", **keys):
    settings = SMALL[vgae]
    c = {"dataset": "Cora", "model": "n", "loss": "dense", "protocol": protocol} | keys
    return vgae.run_cells(Job(c, list(seeds), settings, vgae.load_data("standin", settings)))


@pytest.mark.parametrize("kind", ["dense", "sampled"])
@pytest.mark.parametrize("model", ["n", "s"])
def test_the_loss_of_a_graph_is_the_one_named_and_a_share_of_the_divergence(model, kind, fits):
    graph_run(model=model, loss=kind)
    (seen,) = fits
    graph = vgae.load_data("standin", SMALL[vgae]).graphs["Cora"]
    edges = torch.stack([vgae.split_edges(graph, seed).train for seed in (0, 1)])
    own = run_generators([0, 1], 7)
    seen["model"].eval()
    with torch.no_grad():
        embedding, kl = seen["model"].sample(TrainingGraphs(graph.features, edges), own)
        value = weighted_bce(embedding, edges) if kind == "dense" else sampled_bce(embedding, edges, own)
        found = seen["loss"](None, 1.0, run_generators([0, 1], 7))
        free = seen["loss"](None, 0.0, run_generators([0, 1], 7))
    torch.testing.assert_close(free, value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, value + kl.mean(1) / len(graph), rtol=1e-6, atol=1e-7)
    assert seen["schedule"] == Schedule(0.01, None, 0, None, 2)


@pytest.mark.parametrize(
    "model, latent, stochastic, encoder",
    [
        ("n", Euclidean, True, GCNEncoder),
        ("s", Sphere, True, GCNEncoder),
        ("gae", Euclidean, False, GCNEncoder),
        ("s-gae", Sphere, False, GCNEncoder),
        ("vgnae", Euclidean, True, NormalisedEncoder),
    ],
)
def test_a_models_name_is_what_it_is(model, latent, stochastic, encoder, fits):
    graph_run(model=model)
    net = fits[0]["model"]
    assert type(net.space) is latent and net.stochastic is stochastic and type(net.encoder) is encoder


def test_the_search_trains_each_point_as_it_says(fits):
    graph_run((0,), "searched")
    found = [(s["model"].space.dim, s["model"].encoder.dropout, s["schedule"].learning_rate) for s in fits]
    assert found == [(p.d, p.dropout, p.learning_rate) for p in SMALL[vgae].search]
    assert len(set(found)) == len(found)


def test_each_seed_has_its_own_split(monkeypatch):
    seen, original = [], vgae.split_edges
    monkeypatch.setattr(vgae, "split_edges", lambda graph, seed: seen.append(seed) or original(graph, seed))
    graph_run((3, 0))
    assert seen == [3, 0]


# The published sampler


@pytest.mark.parametrize(
    "estimator, family",
    [
        ("exact", VonMisesFisher),
        ("uncorrected", UncorrectedVonMisesFisher),
        ("published", PublishedVonMisesFisher),
        ("power", PowerSpherical),
    ],
)
def test_models_are_trained_over_the_law_named_and_reported_by_it(estimator, family, monkeypatch):
    trained, scored, likelihoods = [], [], mnist_vae.likelihoods
    monkeypatch.setattr(
        mnist_vae,
        "fit",
        lambda model, *rest, **options: trained.append(model.space.family) or fit(model, *rest, **options),
    )

    def spy(job, model, *rest):
        scored.append(model.space.family)
        return likelihoods(job, model, *rest)

    monkeypatch.setattr(mnist_vae, "likelihoods", spy)
    settings = replace(vmf_training.PRESETS["smoke"], hidden=(8,), samples=5, labelled=(20,), schedule=ONE, **SIZES)
    data = vmf_training.load_data("standin", settings)
    vmf_training.run_cells(Job({"d": 4, "estimator": estimator}, [0], settings, data))
    exact = PowerSpherical if estimator == "power" else VonMisesFisher
    assert trained == [family] and scored == [family] * (estimator == "published") + [exact]


@pytest.mark.parametrize("share, word", [(0.99, "moves"), (1.01, "open")])
def test_the_interval_of_a_claim_is_that_of_the_t_test_shared_among_dimensions(share, word):
    """Gaps whose p is just below, or above, 0.01 by the number of dimensions and the two rules, in one of them."""
    dims = vmf_training.PRESETS["quick"].dims
    shape = np.array([-1.5, -0.5, 0.5, 1.5])
    gaps = shape + stats.t.isf(0.01 / len(dims) / 2 / 2 * share, 3) * stats.sem(shape)
    cells = [
        {"configuration": {"d": dims[0], "estimator": name}, "seed": seed, "metrics": {"LL": seed - 100.0 + gap}}
        for name, added in (("exact", 0 * gaps), ("published", gaps))
        for seed, gap in enumerate(added)
    ]
    assert vmf_training.claims(Results("vmf_training", "quick", False, cells, 1))[1][1] == word


# Figure 1


@pytest.mark.parametrize("model, weight", [("ae", 0.0), ("n", 1.0), ("n-beta", 0.1), ("s", 1.0)])
def test_the_circles_models_have_their_weight_and_unit_variance(model, weight, fits):
    settings = circle.Settings(seeds=1, size=100, hidden=(8,), schedule=replace(ONE, batch_size=20))
    data = circle.load_data("auto", settings)
    circle.run_cells(Job({"model": model}, [0], settings, data))
    (seen,) = fits
    assert seen["schedule"] == settings.schedule
    _, kl = seen["model"].elbo_terms(data.train.x[:50][None], run_generators([0], 7))
    found = slope(seen["loss"], torch.arange(50)[None])
    torch.testing.assert_close(found, weight * kl.mean(1).detach(), rtol=1e-3, atol=1e-3)
    x = torch.ones(1, 1, 3)
    assert seen["model"].likelihood(x, x).item() == gaussian(1.0)(x, x).item()


# Mixed curvature


def test_a_learned_radius_begins_at_one():
    job = Job({"d": 6, "space": "s6", "curvature": "learned"}, [0, 1], mixed_curvature.PRESETS["smoke"], None)
    assert mixed.latent_space(job).radius.tolist() == [1.0, 1.0]
