"""The circle of Figure 1 against SciPy's von Mises law and against what a faithful map must satisfy.

The statistical tests use fixed seeds; each fails a correct program with probability 1e-3 over its whole grid.
"""

import numpy as np
import pytest
import torch
from scipy import stats

from svae_repro.data import circle_map, load_circle
from svae_repro.errors import UserError

FAILURE_RATE = 1e-3


@pytest.mark.parametrize("kappas", [(10.0, 10.0, 10.0), (0.0, 3.0, 40.0)])
def test_every_cluster_is_von_mises_and_equally_likely(kappas):
    circle = load_circle(n=20_000, seed=1, kappas=kappas)
    values = []
    for k, kappa in enumerate(kappas):
        angle = circle.train.angle[circle.train.cluster == k].double().numpy()
        centred = (angle - circle.means[k] + np.pi) % (2 * np.pi) - np.pi
        law = stats.vonmises(kappa) if kappa else stats.uniform(-np.pi, 2 * np.pi)
        values.append(stats.kstest(centred, law.cdf).pvalue)
    values.append(stats.chisquare(circle.train.cluster.bincount(minlength=3).numpy()).pvalue)
    assert min(values) > FAILURE_RATE / len(values)
    assert np.allclose(circle.means, [0, 2 * np.pi / 3, 4 * np.pi / 3])


def test_the_splits_have_their_sizes_types_and_ranges_and_share_no_point():
    circle = load_circle(n=1000)
    splits = circle.train, circle.validation, circle.test
    assert [len(split) for split in splits] == [1000, 200, 200]
    for split in splits:
        assert split.x.shape == (len(split), 100) and split.x.dtype == torch.float32
        assert split.angle.dtype == torch.float32 and split.angle.abs().max() <= np.pi + 1e-5
        assert split.cluster.dtype == torch.int64
    assert len(torch.cat([split.x for split in splits]).unique(dim=0)) == 1400


@pytest.mark.parametrize("map_seed", [0, 1, 2])
def test_the_map_is_non_linear_smooth_and_tells_all_points_apart(map_seed):
    angle = 2 * np.pi * np.arange(720) / 720
    point = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x = circle_map(angle, map_seed=map_seed)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(x.std(0), 1, atol=1e-3)
    design = np.column_stack([point, np.ones(720)])
    residual = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    assert (residual**2).mean() > 0.15  # share of the variance that no linear decoder explains
    apart = ~np.eye(720, dtype=bool)
    stretch = np.linalg.norm(x[:, None] - x, axis=-1)[apart] / np.linalg.norm(point[:, None] - point, axis=-1)[apart]
    assert stretch.min() > 7 and stretch.max() < 26  # bounds both ways: an embedding, without a fold or a jump


def test_the_noise_is_gaussian_and_of_the_stated_size():
    circle = load_circle(n=2000, noise=0.3)
    noise = (circle.train.x.double().numpy() - circle_map(circle.train.angle.double().numpy())).ravel()
    assert stats.kstest(noise, stats.norm(0, 0.3).cdf).pvalue > FAILURE_RATE
    clean = load_circle(n=50, noise=0.0).train
    np.testing.assert_allclose(clean.x, circle_map(clean.angle.double().numpy()), atol=1e-4)


def test_a_seed_fixes_the_points_and_leaves_the_map_alone():
    first, again, other = load_circle(n=100, seed=3), load_circle(n=100, seed=3), load_circle(n=100, seed=4)
    assert torch.equal(first.test.x, again.test.x) and first.sha256 == again.sha256
    assert not torch.equal(first.test.x, other.test.x) and first.sha256 != other.sha256
    assert first.sha256 != load_circle(n=100, seed=3, map_seed=1).sha256
    assert not first.standin and first.description == f"generated (circle, sha256 {first.sha256[:12]}...)"


@pytest.mark.parametrize("wrong", [{"n": 4}, {"noise": -0.1}, {"kappas": (1.0, -1.0)}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UserError, match="circle needs"):
        load_circle(**wrong)
