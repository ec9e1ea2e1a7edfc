"""The MNIST study: its grid, its cells on the stand-in digits, the labelled sets."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from svae_repro import evaluation
from svae_repro.data.mnist import Pixels
from svae_repro.experiments import mnist_vae
from svae_repro.experiments.mnist_vae import (
    PRESETS,
    balanced_subset,
    bound_gaps,
    configurations,
    load_data,
    run_cells,
    table_rows,
)
from svae_repro.spaces import space
from svae_repro.store import Results
from svae_repro.study import Job
from svae_repro.training import EVALUATION, Schedule, run_generators

TINY = replace(
    PRESETS["smoke"], hidden=(8,), train_size=200, validation_size=50, test_size=60, samples=5, labelled=(20, 40)
)


def outcomes(seeds, letter="s", d=2, settings=TINY, device="cpu"):
    job = Job({"d": d, "space": letter}, list(seeds), settings, load_data("standin", settings), device)
    return run_cells(job)


def test_the_paper_preset_is_the_papers_protocol():
    paper = PRESETS["paper"]
    assert (paper.dims, paper.seeds, paper.hidden) == ((2, 5, 10, 20, 40), 10, (256, 128))
    assert paper.schedule == Schedule(1e-3, batch_size=64, warmup_epochs=100, patience=50, max_epochs=2000)
    assert (paper.samples, paper.labelled, paper.neighbours) == (500, (100, 600, 1000), 5)
    assert paper.binarisation == "dynamic" and paper.train_size is paper.validation_size is paper.test_size is None


def test_the_grid_has_every_dimension_in_both_spaces():
    grid = configurations(PRESETS["paper"])
    assert [(c["d"], c["space"]) for c in grid] == [(d, s) for d in (2, 5, 10, 20, 40) for s in "es"]


@pytest.mark.parametrize("letter", ["e", "s"])
def test_a_cell_has_its_metrics_and_arrays(letter):
    first, second = outcomes([0, 3], letter)
    metrics = first.metrics
    assert metrics["ELBO"] == pytest.approx(metrics["RE"] - metrics["KL"])
    assert metrics["ELBO"] < 0 < metrics["KL"]
    # 64 pixels: a decoder that knows nothing gives -64 log 2 = -44.4 nats; one sample or five make little difference
    assert -46 < metrics["ELBO"] < metrics["LL"] + 0.5 < 0
    assert set(metrics["knn"]) == {"20", "40"} and all(0 <= a <= 1 for a in metrics["knn"]["20"])
    assert first.arrays["latent"].shape == (60, mnist_vae.space(f"{letter}2").ambient_dim)
    assert first.arrays["labels"].tolist() == load_data("standin", TINY).test_labels.tolist()
    assert first.arrays["samples"].shape == (100, 64) and first.arrays["grid"].shape == (400, 64)
    assert len(first.arrays["validation_curve"]) == metrics["stopped_epoch"]
    assert set(second.arrays) == {"validation_curve"}  # the figures show seed 0


def test_coordinates_in_use_are_those_whose_mean_varies(monkeypatch):
    """Posterior means of variance 0.25, 0.02 and 0.005 over the images in one run, and constant ones in the other."""
    wave = torch.linspace(-1, 1, 61).sign()[:, None]
    means = torch.stack([wave * torch.tensor([0.25, 0.02, 0.005]).sqrt(), torch.full((61, 3), 5.0)])
    monkeypatch.setattr(evaluation, "features", lambda *arguments: means)
    monkeypatch.setattr(mnist_vae, "_knn", lambda *arguments: {})
    monkeypatch.setattr(mnist_vae, "_figure_arrays", lambda *arguments: {})
    assert [outcome.metrics["in_use"] for outcome in outcomes([0, 1], "e", 3)] == [2, 0]
    assert all("in_use" not in outcome.metrics for outcome in outcomes([0, 1], "s"))


@pytest.mark.parametrize("letter, d", [("e", 2), ("s", 3)])
def test_cells_in_lockstep_are_those_trained_alone(letter, d):
    settings = replace(TINY, schedule=Schedule(warmup_epochs=1, patience=1, max_epochs=6), samples=50)
    for together, seed in zip(outcomes([2, 0, 1], letter, d, settings), (2, 0, 1), strict=True):
        (alone,) = outcomes([seed], letter, d, settings)
        for name in ("best_epoch", "stopped_epoch", "knn"):
            assert together.metrics[name] == alone.metrics[name]
        for name in ("LL", "ELBO", "RE", "KL", "validation_loss"):  # float32: another order of addition, few steps
            assert together.metrics[name] == pytest.approx(alone.metrics[name], rel=1e-5)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("letter, d", [("e", 2), ("s", 2), ("s", 4)])
def test_a_gpu_finds_what_a_cpu_finds(letter, d):
    """Other random numbers, so the same statistics: five means of twenty runs each within their sampling error."""
    settings = replace(TINY, hidden=(32,), train_size=None, schedule=Schedule(3e-3, 32, 2, patience=5, max_epochs=10))
    found = {device: outcomes(range(20), letter, d, settings, device) for device in ("cpu", "cuda")}
    for name in ("LL", "ELBO", "RE", "KL", "validation_loss"):
        ours, theirs = (np.array([o.metrics[name] for o in of_device]) for of_device in found.values())
        error = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / len(ours))
        assert abs(ours.mean() - theirs.mean()) < 5 * error, name  # by chance once in 100,000


def test_a_cell_repeats_bit_for_bit():
    (first,), (again,) = outcomes([1]), outcomes([1])
    assert first.metrics == again.metrics
    assert np.array_equal(first.arrays["validation_curve"], again.arrays["validation_curve"])


def test_training_makes_the_model_better():
    long = replace(TINY, hidden=(32,), train_size=None, schedule=Schedule(3e-3, 32, 2, patience=5, max_epochs=15))
    (short,), (trained,) = outcomes([0]), outcomes([0], settings=long)
    assert trained.metrics["LL"] > short.metrics["LL"] + 5
    assert trained.metrics["knn"]["40"][0] > 0.25  # ten classes: chance is 0.1


@pytest.mark.parametrize("letter", "es")
def test_the_released_log_likelihood_never_decodes_its_samples(letter):
    """Prior over posterior at K samples and the decoder's term of another: in its place may stand any decoder.

    With one sample it is the ELBO but for the noise of 60 images, at most 0.41 nats over 20 seeds.
    """
    job = Job({"d": 4, "space": letter}, [0, 1], replace(TINY, samples=1), load_data("standin", TINY))
    model, _ = mnist_vae.train_model(job, space(f"{letter}4"))
    test = Pixels(job.data.test)
    scores = {}
    for samples in (1, 100):
        job.settings = replace(TINY, samples=samples)
        scores[samples] = mnist_vae.likelihoods(job, model, test, run_generators(job.seeds, EVALUATION))
    assert (scores[1]["LL_released"] - scores[1]["ELBO"]).abs().max() < 1.5
    gain = scores[100]["LL_released"] - scores[100]["RE"]
    assert (gain > scores[1]["LL_released"] - scores[1]["RE"]).all() and (gain < 0.1).all()
    with torch.no_grad():
        for layer in model.decoder:
            for parameter in layer.parameters():
                parameter *= 3
    other = mnist_vae.likelihoods(job, model, test, run_generators(job.seeds, EVALUATION))
    torch.testing.assert_close(other["LL_released"] - other["RE"], gain)
    assert (other["LL"] - other["RE"] - (scores[100]["LL"] - scores[100]["RE"])).abs().min() > 0.5


def test_the_gap_of_a_bound_is_each_runs_own():
    """The released LL of some runs is not held against the ELBO of others."""
    scores = [{"LL": -3.0, "ELBO": -5.0}, {"LL": -3.0, "ELBO": -6.0, "LL_released": -5.0}]
    cells = [{"configuration": {"d": 2, "space": "s"}, "metrics": metrics} for metrics in scores]
    (gap,) = bound_gaps(Results("mnist_vae", "paper", False, cells, 2)).reset_index().to_dict("records")
    assert gap == {"method": "S-VAE", "d": 2, "LL": 2.5, "LL_released": 1.0, "n of LL": 2, "n of LL_released": 1}
    assert bound_gaps(Results("mnist_vae", "paper", False, [], 2)).empty


def test_balanced_subset_is_balanced_and_seeded():
    labels = torch.tensor(np.random.default_rng(0).choice(10, size=2000, p=np.arange(1, 11) / 55))
    chosen = balanced_subset(labels, 100, np.random.default_rng(1))
    assert len(set(chosen.tolist())) == 100
    assert labels[chosen].bincount().tolist() == [10] * 10
    assert torch.equal(chosen, balanced_subset(labels, 100, np.random.default_rng(1)))
    assert not torch.equal(chosen, balanced_subset(labels, 100, np.random.default_rng(2)))
    # Every example of a class is as likely: 300 draws of 10 among the 36 or so of class 0 miss none (p < 1e-30).
    rng = np.random.default_rng(3)
    drawn = {i for _ in range(300) for i in balanced_subset(labels, 100, rng).tolist() if labels[i] == 0}
    assert drawn == set((labels == 0).nonzero().squeeze(1).tolist())


def test_labelled_sets_of_a_cell_differ_and_those_of_a_seed_are_the_same_for_both_spaces(monkeypatch):
    seen = []

    def spy(latent, labelled, labels, points, point_labels, neighbours):
        seen.append(labels.tolist())
        assert len(points) == 60 and neighbours == 5
        return 0.5

    monkeypatch.setattr(mnist_vae.evaluation, "knn_accuracy", spy)
    settings = replace(TINY, labelled=(40,), labelled_sets=2)
    subsets = []
    original = balanced_subset
    monkeypatch.setattr(mnist_vae, "balanced_subset", lambda *a: subsets.append(original(*a)) or subsets[-1])
    for letter in "es":
        assert outcomes([0], letter, settings=settings)[0].metrics["knn"] == {"40": [0.5, 0.5]}
    assert [len(labels) for labels in seen] == [40] * 4
    assert torch.equal(subsets[0], subsets[2]) and torch.equal(subsets[1], subsets[3])
    assert not torch.equal(subsets[0], subsets[1])


def test_table_rows_carry_every_number_of_a_cell():
    metrics = {"LL": -1.0, "ELBO": -2.0, "RE": -0.5, "KL": 1.5, "knn": {"100": [0.25, 0.5], "600": [0.75]}}
    rows = table_rows({"configuration": {"d": 5, "space": "s"}, "seed": 3, "metrics": metrics})
    assert rows["table1"] == [
        ("S-VAE", 5, name, value) for name, value in (("LL", -1), ("ELBO", -2), ("RE", -0.5), ("KL", 1.5))
    ]
    assert rows["table2"] == [("S-VAE", 5, labels, "accuracy", value) for labels, value in ((100, 37.5), (600, 75))]
