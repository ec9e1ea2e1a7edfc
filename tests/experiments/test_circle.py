"""Figure 1's numbers against cases whose answer is known, against another formula and against quadrature."""

import types
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from svae_repro import evaluation, study
from svae_repro.experiments import circle
from svae_repro.models import VAE
from svae_repro.plots import aligned
from svae_repro.spaces import space
from svae_repro.store import Results
from svae_repro.training import run_generators

ANGLES = np.random.default_rng(0).uniform(-np.pi, np.pi, 400)


def wrapped(angle: np.ndarray) -> np.ndarray:
    return np.arctan2(np.sin(angle), np.cos(angle))


def pairwise_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Fisher and Lee (1983), Eq. 2.1, as they print it: sums over all pairs of points."""
    first, second = np.triu_indices(len(a), 1)
    u, v = np.sin(a[first] - a[second]), np.sin(b[first] - b[second])
    return (u * v).sum() / np.sqrt((u**2).sum() * (v**2).sum())


@pytest.mark.parametrize("other", [ANGLES, wrapped(ANGLES + 2.5), wrapped(1.0 - ANGLES)], ids=["same", "turn", "flip"])
def test_circular_correlation_is_one_for_rotations_and_reflections(other):
    assert circle.fisher_lee_correlation(ANGLES, other) == pytest.approx(1, abs=1e-12)


def test_circular_correlation_is_small_for_independent_angles():
    # n rho_T is asymptotically a difference of unit exponentials: |rho| > 10 / n happens with probability e^-10.
    independent = np.random.default_rng(1).uniform(-np.pi, np.pi, len(ANGLES))
    assert circle.fisher_lee_correlation(ANGLES, independent) < 10 / len(ANGLES)


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_circular_correlation_agrees_with_the_sum_over_pairs(noise, sign):
    rng = np.random.default_rng(2)
    a = rng.vonmises(0.3, 0.8, 200)
    b = wrapped(sign * a + rng.normal(0, noise, 200))
    expected = pairwise_correlation(a, b)
    assert np.sign(expected) == sign and 0.2 < abs(expected) < 1
    assert circle.fisher_lee_correlation(a, b) == pytest.approx(abs(expected), abs=1e-12)


def test_latent_angles_do_not_depend_on_where_the_plane_has_its_origin():
    ring = 3 * np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
    np.testing.assert_allclose(
        circle.latent_angle(ring + np.array([40, -7]), "e2"), circle.latent_angle(ring, "e2"), atol=1e-12
    )
    np.testing.assert_allclose(circle.latent_angle(ring / 3, "s1"), ANGLES, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("turn", [0.0, 2.0, -3.1])
def test_aligned_angles_undo_turn_and_reflection(sign, turn):
    np.testing.assert_allclose(aligned(wrapped(sign * ANGLES + turn), ANGLES), ANGLES, atol=1e-12)


def test_cluster_recovery_is_one_for_separate_clusters_whatever_their_names_and_near_zero_for_noise():
    rng = np.random.default_rng(3)
    cluster = rng.integers(3, size=600)
    centres = np.array([[0, 0], [10, 0], [0, 10]])
    points = centres[cluster] + rng.normal(size=(600, 2))
    assert circle.cluster_recovery(points, (cluster + 1) % 3, seed=0) == 1
    # The adjusted index of a random partition has mean 0 and here a standard deviation of about 0.002.
    assert abs(circle.cluster_recovery(rng.normal(size=(600, 2)), cluster, seed=0)) < 0.02


def model_with(posterior: Callable, latent: str = "e1") -> types.SimpleNamespace:
    """What `marginal_kl` uses of a model with one run; ``posterior`` maps data [1, N, 1] to a distribution."""
    return types.SimpleNamespace(posterior=posterior, space=space(latent), device=torch.device("cpu"), runs=1)


def gaussians(loc: list[float], scale: list[float]) -> Callable:
    kind = type(space("e1").prior())
    loc, scale = (torch.tensor(v, dtype=torch.float64).reshape(1, -1, 1) for v in (loc, scale))
    return lambda x: kind(loc, scale)


def marginal_kl(model, points: int, samples: int) -> float:
    return evaluation.marginal_kl(model, torch.zeros(1, points, 1), run_generators([0]), samples).item()


@pytest.mark.parametrize("latent", ["e1", "e2", "s1"])
def test_marginal_kl_is_zero_if_every_posterior_is_the_prior(latent):
    prior = space(latent).prior()
    assert abs(marginal_kl(model_with(lambda x: prior.expand((1, 50)), latent), 50, 200)) < 1e-5


def test_marginal_kl_of_one_posterior_is_its_kl_divergence():
    loc, scale = 0.7, 0.4
    exact = 0.5 * (scale**2 + loc**2 - 1) - np.log(scale)
    samples = 40_000
    found = marginal_kl(model_with(gaussians([loc], [scale])), 1, samples)
    # log q - log p = (z^2 - e^2) / 2 - log s with z = m + s e; its standard deviation bounds the error at 5 sigma.
    sd = np.sqrt((scale**2 - 1) ** 2 / 2 + (loc * scale) ** 2)
    assert found == pytest.approx(exact, abs=5 * sd / np.sqrt(samples))


def test_marginal_kl_of_a_mixture_agrees_with_quadrature():
    loc, scale = [-1.5, 0.2, 1.0], [0.3, 0.5, 0.2]

    def density(z):
        return np.mean([stats.norm(m, s).pdf(z) for m, s in zip(loc, scale, strict=True)])

    def moment(k):
        terms = (lambda z: density(z) * (np.log(density(z)) - stats.norm.logpdf(z)) ** k, -5, 5)
        return integrate.quad(*terms, limit=500)[0]

    samples = 30_000
    found = marginal_kl(model_with(gaussians(loc, scale)), 3, samples)
    sd = np.sqrt(moment(2) - moment(1) ** 2)
    assert found == pytest.approx(moment(1), abs=5 * sd / np.sqrt(samples))


def test_marginal_kl_of_real_models_does_not_depend_on_the_other_runs():
    initial = run_generators([0, 1])
    model = VAE(space("s1"), 5, (4,), initial)
    x = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0))
    both = evaluation.marginal_kl(model, x, run_generators([5, 6]), 100)
    alone = VAE(space("s1"), 5, (4,), initial[:1])
    alone.load_state_dict({k: v[:1] for k, v in model.state_dict().items()})
    torch.testing.assert_close(evaluation.marginal_kl(alone, x[:1], run_generators([5]), 100), both[:1])


def test_smoke_run_gives_metrics_in_their_ranges_and_arrays_for_the_first_seed_only(home):
    results = study.run("circle", "smoke", seeds=[0, 1], device="cpu", jobs=1, say=lambda line: None)
    assert [c["configuration"]["model"] for c in results.cells] == [m for m in circle.MODELS for _ in range(2)]
    for cell in results.cells:
        metrics, model = cell["metrics"], cell["configuration"]["model"]
        assert 0 <= metrics["circular_correlation"] <= 1 and -0.5 <= metrics["cluster_recovery"] <= 1
        assert (metrics["marginal_kl"] is None) == (model == "ae") and (metrics["KL"] > 0) == (model != "ae")
        assert metrics["mean_radius"] == pytest.approx(1) if model == "s" else metrics["mean_radius"] > 0
        arrays = results.arrays(cell["seed"], model=model)
        assert (arrays is None) == (cell["seed"] > 0)
        if arrays is not None:
            assert arrays["latent"].shape == arrays["samples"].shape == (100, 2)
            assert set(arrays["cluster"]) == {0, 1, 2} and np.abs(arrays["angle"]).max() <= np.pi + 1e-5
            share = np.linalg.norm(arrays["samples"], axis=1) < metrics["mean_radius"] / 2
            assert metrics["centre_share"] == pytest.approx(share.mean(), abs=0.02)


def made_up(**changes) -> Results:
    """Cells in which all four claims hold, but for ``changes`` such as ``s_marginal_kl=2.0``."""
    typical = {
        "ae": (0.98, 11.0, 0.0, None),
        "n": (0.8, 0.9, 0.15, 0.1),
        "n-beta": (0.97, 1.8, 0.0, 2.5),
        "s": (0.98, 1.0, 0.0, 0.05),
    }
    cells = []
    for model, values in typical.items():
        metrics = dict(zip(circle.CLAIMED, values, strict=True))
        metrics |= {k: changes[f"{model}_{k}"] for k in metrics if f"{model}_{k}" in changes}
        for seed in range(3):
            wobble = {k: None if v is None else v + 1e-3 * seed for k, v in metrics.items()}
            cells.append({"configuration": {"model": model}, "seed": seed, "metrics": wobble})
    return Results("circle", "paper", False, cells, len(cells))


def verdicts(results: Results) -> list[str]:
    return [verdict for _, verdict, _ in circle.claims(results)]


def test_every_claim_can_be_reproduced_partly_or_not_and_stays_open_without_runs():
    assert verdicts(made_up()) == ["reproduced"] * 4
    assert verdicts(made_up(ae_circular_correlation=0.5))[0] == "partly"
    assert verdicts(made_up(n_centre_share=0.0))[1] == "partly"
    assert verdicts(made_up(n_centre_share=0.0, n_mean_radius=2.0))[1] == "not reproduced"
    assert verdicts(made_up(s_marginal_kl=3.0))[3] == "partly"
    without = made_up()
    without.cells = without.where(model="s")
    assert verdicts(without) == ["open"] * 4


def test_prior_centre_is_the_share_of_the_normal_distribution_itself():
    # The median point lies beyond: a Rayleigh variable below half its mean.
    assert stats.rayleigh().cdf(stats.rayleigh().mean() / 2) == pytest.approx(circle.PRIOR_CENTRE, abs=1e-12)


def test_the_spherical_claim_needs_both_comparisons():
    assert verdicts(made_up(**{"n-beta_marginal_kl": 0.01}))[3] == "partly"
