"""The blog's MNIST study: its grid, its cells on the stand-in digits, the post's objective, the claims."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from svae_repro import evaluation, paths, tables
from svae_repro.data.mnist import Pixels
from svae_repro.distributions import kl_tangent
from svae_repro.experiments import blog, blog_mnist
from svae_repro.experiments.blog import MODELS
from svae_repro.experiments.blog_mnist import PRESETS, claims, configurations, load_data, run_cells, table_rows
from svae_repro.spaces import space
from svae_repro.store import Results
from svae_repro.study import Job
from svae_repro.training import Schedule

SCHEDULE = Schedule(batch_size=50, warmup_epochs=0, patience=2, max_epochs=3)
TINY = replace(PRESETS["smoke"], train_size=200, validation_size=50, test_size=60, schedule=SCHEDULE)


def outcomes(seeds, model, d=2, layers=2, settings=TINY):
    return run_cells(Job({"d": d, "layers": layers, "model": model}, seeds, settings, load_data("standin", settings)))


def test_the_paper_preset_is_the_posts_grid():
    published = pd.read_csv(paths.published() / "blog_mnist.csv")
    posted = set(published[["d", "hidden_layers", "method"]].itertuples(index=False, name=None))
    grid = configurations(PRESETS["paper"])
    assert {(c["d"], c["layers"], MODELS[c["model"]][1]) for c in grid if c["model"] in "esh"} == posted
    assert len(posted) == 45 and len(grid) == 45 + 5 + 1  # the post's objective for each d, the autoencoder
    paper = PRESETS["paper"]
    assert paper.width == 128 and paper.binarisation == "none" and paper.schedule.warmup_epochs == 0
    assert paper.train_size is paper.validation_size is paper.test_size is None


@pytest.mark.parametrize("model", ["e", "s", "h", "h-tangent", "ae"])
def test_a_cell_has_its_metrics_and_arrays(model):
    first, second = outcomes([0, 3], model)
    metrics, arrays = first.metrics, first.arrays
    assert metrics["ELBO"] == pytest.approx(metrics["RE"] - metrics["KL"])
    assert -60 < metrics["RE"] < 0 and (metrics["KL"] > 0) == (model != "ae")
    assert ("KL_tangent" in metrics) == model.startswith("h")
    latent = space(f"{MODELS[model][0]}2")
    assert arrays["latent"].shape == (60, latent.ambient_dim) and arrays["latent"].dtype == np.float32
    assert arrays["grid"].shape == (400, 64)
    assert arrays["originals"].shape == arrays["reconstructions"].shape == (10, 64)
    assert ("walks" in arrays) == ("box_grid" in arrays) == (model in ("e", "ae"))
    assert second.arrays == {}  # the figures show seed 0
    assert set(outcomes([0], model, layers=1)[0].arrays) == set()
    assert set(outcomes([0], "e", d=3)[0].arrays) == {"originals", "reconstructions"}


def test_the_arrays_of_the_plane_start_and_end_where_they_say(monkeypatch):
    seen = []
    decoded = blog.decoded
    monkeypatch.setattr(blog, "decoded", lambda model, run, z: seen.append(z) or decoded(model, run, z))
    arrays = outcomes([0], "ae")[0].arrays
    modes, labels = torch.tensor(arrays["latent"]), torch.tensor(arrays["labels"])
    reconstructed, _, box, walks = seen
    first = [int((labels == k).nonzero()[0]) for k in range(10)]
    assert torch.equal(reconstructed, modes[first])
    assert torch.equal(torch.tensor(arrays["originals"]), load_data("standin", TINY).test[first])
    for walk, (a, b) in zip(walks.view(4, 11, 2), blog_mnist.PAIRS, strict=True):
        torch.testing.assert_close(walk[[0, -1]], modes[[first[a], first[b]]])
        torch.testing.assert_close(walk[5], (walk[0] + walk[-1]) / 2)
    low, high = torch.tensor(arrays["box"])
    assert ((modes >= low) & (modes <= high)).all(1).float().mean() > 0.9
    step = (high - low) / 20
    rows = box.view(20, 20, 2)  # from top left, half a step inside
    torch.testing.assert_close(rows[0, 0], torch.stack([low[0] + step[0] / 2, high[1] - step[1] / 2]))
    torch.testing.assert_close(rows[-1, -1], torch.stack([high[0] - step[0] / 2, low[1] + step[1] / 2]))


@pytest.mark.parametrize("model, d", [("h", 3), ("h-tangent", 2), ("s", 2)])
def test_cells_in_lockstep_are_those_trained_alone(model, d):
    for together, seed in zip(outcomes([2, 0, 1], model, d), (2, 0, 1), strict=True):
        (alone,) = outcomes([seed], model, d)
        assert together.metrics["best_epoch"] == alone.metrics["best_epoch"]
        for name in ("ELBO", "RE", "KL", "validation_loss"):  # float32: another order of addition, few steps
            assert together.metrics[name] == pytest.approx(alone.metrics[name], rel=1e-5)


def test_the_posts_objective_is_the_closed_form_and_its_score_the_real_elbo(monkeypatch):
    models = []
    original = evaluation.elbo
    monkeypatch.setattr(blog.evaluation, "elbo", lambda model, *rest: models.append(model) or original(model, *rest))
    (outcome,) = outcomes([0], "h-tangent", d=3)
    (model,), data = models, load_data("standin", TINY)
    posterior = model.posterior(Pixels(data.test, "none").batch(torch.arange(60)[None]))
    prior = model.space.prior()
    assert outcome.metrics["KL_tangent"] == pytest.approx(kl_tangent(posterior, prior).mean().item(), rel=1e-5)
    z = posterior.rsample((2000,), generator=[torch.Generator().manual_seed(0)])
    true = (posterior.log_prob(z) - prior.log_prob(z)).mean().item()
    assert outcome.metrics["KL"] == pytest.approx(true, abs=0.5)  # one sample each of 60 images
    assert outcomes([0], "h", d=3)[0].metrics["validation_loss"] != outcome.metrics["validation_loss"]


def test_training_makes_the_model_better():
    long = replace(TINY, train_size=None, schedule=replace(SCHEDULE, learning_rate=3e-3, max_epochs=12))
    for model in ("h", "h-tangent"):
        (short,), (trained,) = outcomes([0], model), outcomes([0], model, settings=long)
        assert trained.metrics["ELBO"] > short.metrics["ELBO"] + 3


def cells(values):
    return [
        {
            "configuration": {"d": d, "layers": layers, "model": model},
            "seed": seed,
            "metrics": {"ELBO": value},
            "path": "cell",
        }
        for (d, layers, model), of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]


def results(values, preset="paper"):
    return Results("blog_mnist", preset, False, cells(values), 153)


def as_posted(changes=()):
    """Three runs close around every mean of the post's table, with ``changes``."""
    published = pd.read_csv(paths.published() / "blog_mnist.csv")
    letters = {name: model for model, (_, name) in MODELS.items()}
    values = {(r.d, r.hidden_layers, letters[r.method]): around(r.mean) for r in published.itertuples(index=False)}
    return values | dict(changes)


def around(mean):
    return [mean - 0.05, mean, mean + 0.05]


def test_the_claims_hold_for_the_posts_own_numbers():
    assert [word for _, word, _ in claims(results(as_posted()))] == ["reproduced"] * 3


def test_the_claims_are_judged_by_means_over_seeds():
    changed = as_posted({(2, 1, "e"): around(-160), (50, 2, "s"): around(-100), (50, 1, "h"): around(-1)})
    verdicts = claims(results(changed))
    assert [word for _, word, _ in verdicts] == ["partly", "partly", "not reproduced"]
    assert "shown in 2 of 3, another space in 1" in verdicts[0][2] and "-160.0 / -168.9 / -174.0" in verdicts[0][2]
    assert "best: Hyperbolic, d = 50, 1 layer, -1.0; next: Spherical, d = 50, 2 layers" in verdicts[2][2]
    assert claims(results(as_posted({(10, 1, "h"): around(-50)})))[2][1] == "partly"


def test_a_higher_mean_alone_is_no_winner():
    wide = {place: [mean - 60, mean, mean + 60] for place, (_, mean, _) in as_posted().items()}
    verdicts = claims(results(wide))
    assert [word for _, word, _ in verdicts] == ["not reproduced"] * 3
    assert "shown in 0 of 3, another space in 0" in verdicts[0][2]
    assert "no winner shown" in verdicts[2][2]
    # Where only the depth is not decided, the space and its dimension still are.
    alike = as_posted({(10, 2, "h"): around(-121.21)})
    assert claims(results(alike))[2][1] == "partly"


def test_the_winner_is_told_from_every_other_by_welchs_test():
    a, b, c = [1.0, 1.1, 1.2], [2.0, 2.1, 2.2], [2.1, 2.3, 2.5]
    scattered = [-40.0, 0.0, 40.0]  # far below the best on average, and yet not told from it
    assert blog.winner({"b": b, "a": a, "scattered": scattered}) is None
    assert blog.winner({"a": a, "b": b}) == "b" and blog.winner({"a": a, "b": b}, lowest=True) == "a"
    assert blog.winner({"a": a, "b": b, "c": c}) is None and blog.winner({"a": a, "b": b, "c": c}, lowest=True) == "a"
    gap, deviation = np.mean(b) - np.mean(a), np.sqrt(0.01 / 3 + 0.01 / 3)
    p = 2 * stats.t.sf(gap / deviation, df=4)  # equal variances and sizes: Welch's is Student's
    assert p < 0.01 and blog.differ(a, b)
    near = [value + stats.t.isf(0.0051, df=4) * deviation for value in a]
    assert not blog.differ(a, near) and blog.differ(a, [value + 0.01 for value in near])


@pytest.mark.parametrize("left", [0, 1])
def test_claims_are_open_under_two_runs(left):
    values = as_posted()
    values[50, 3, "s"] = values[50, 3, "s"][:left]
    assert [word for _, word, _ in claims(results(values))] == ["reproduced", "open", "open"]


def test_the_table_has_the_posts_rows_and_only_those():
    values = as_posted({(2, 2, "h-tangent"): [-1.0], (2, 2, "ae"): [-1.0]})
    (table,) = tables.build(results(values))
    assert len(table.frame) == 45 and (table.frame["n"] == 3).all()
    assert np.allclose(table.frame["mean"], table.frame["published_mean"])
    assert table_rows(cells({(2, 2, "ae"): [-1.0]})[0]) == {"blog_mnist": []}
    assert "| 2 | 1 | ELBO |" in table.markdown() and "Hyperbolic, the post" in table.markdown()
