"""The semi-supervised study: its grid, its cells on the stand-in digits, what chooses alpha."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from svae_repro import options
from svae_repro.data.mnist import Pixels
from svae_repro.errors import UserError
from svae_repro.experiments import m1m2
from svae_repro.experiments.m1m2 import (
    PRESETS,
    TOPOLOGIES,
    configurations,
    load_data,
    most_confused,
    run_cells,
    table_rows,
)
from svae_repro.models import M1M2
from svae_repro.study import Job
from svae_repro.training import OutOfTime, Schedule, run_generators

TINY = replace(
    PRESETS["smoke"],
    schedule=Schedule(batch_size=50, warmup_epochs=1, patience=1, max_epochs=3),
    hidden=(8,),
    pilot_epochs=2,
    train_size=200,
    validation_size=50,
    test_size=60,
)


def outcomes(seeds, topology="S+N", settings=TINY):
    job = Job({"dim_z1": 2, "dim_z2": 3, "topology": topology}, list(seeds), settings, load_data("standin", settings))
    return run_cells(job)


def test_the_paper_preset_is_the_papers_protocol():
    paper = PRESETS["paper"]
    assert (paper.dims, paper.hidden, paper.labels) == ((5, 10, 50), (500,), 100)
    assert (paper.schedule.learning_rate, paper.schedule.batch_size, paper.schedule.patience) == (1e-3, 100, 50)
    assert all(0.1 <= alpha <= 1 for alpha in paper.alphas)
    assert paper.binarisation == "dynamic" and paper.train_size is paper.validation_size is paper.test_size is None


def test_the_grid_has_every_pair_of_dimensions_in_every_topology():
    grid = configurations(PRESETS["paper"])
    assert len(grid) == 27
    assert {(c["dim_z1"], c["dim_z2"], c["topology"]) for c in grid} == {
        (a, b, topology) for a in (5, 10, 50) for b in (5, 10, 50) for topology in ("N+N", "S+S", "S+N")
    }


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_cell_has_its_metrics_and_arrays(topology):
    first, second = outcomes([0, 3], topology)
    metrics, arrays = first.metrics, first.arrays
    assert set(metrics["pilot_accuracy"]) == {"0.1", "1.0"}
    assert metrics["pilot_accuracy"][str(metrics["alpha"])] == max(metrics["pilot_accuracy"].values())
    assert -64 < metrics["bound"] < -30  # 64 pixels: -44.4 nats for a decoder that knows nothing, less KL divergences
    assert metrics["style_KL"] > 0
    assert len(arrays["validation_curve"]) == metrics["stopped_epoch"]
    labels = load_data("standin", TINY).test_labels
    assert arrays["confusion"].sum(1).tolist() == labels.bincount(minlength=10).tolist()
    assert np.trace(arrays["confusion"]) / 60 == pytest.approx(metrics["accuracy"])
    assert arrays["originals"].shape == (10, 64) and arrays["restyled"].shape == (10, 10, 64)
    assert set(second.arrays) == {"validation_curve", "confusion"}  # Figure 10 shows seed 0


def test_a_single_alpha_needs_no_pilot(monkeypatch):
    trained = []
    original = m1m2.train_model
    monkeypatch.setattr(
        m1m2, "train_model", lambda job, latent, runs, _: trained.append(runs) or original(job, latent, runs, _)
    )
    (outcome,) = outcomes([4], settings=replace(TINY, alphas=(0.5,)))
    assert trained == [[(4, 0.5)]]
    assert outcome.metrics["alpha"] == 0.5 and outcome.metrics["pilot_accuracy"] == {"0.5": None}


def test_the_best_alpha_of_the_pilot_is_kept_for_each_seed(monkeypatch):
    trained = []
    original = m1m2.train_model
    monkeypatch.setattr(
        m1m2, "train_model", lambda job, latent, runs, _: trained.append(runs) or original(job, latent, runs, _)
    )
    shares = {(4, 0.1): 0.2, (4, 1.0): 0.3, (7, 0.1): 0.6, (7, 1.0): 0.5}
    monkeypatch.setattr(m1m2, "accuracy", lambda model, pixels, labels, runs: [shares[run] for run in runs])
    outcomes([4, 7])
    assert trained == [list(shares), [(4, 1.0), (7, 0.1)]]


def test_the_seconds_of_the_pilot_count(monkeypatch):
    def timed(*arguments, original=m1m2.train_model):
        model, fitted = original(*arguments)
        return model, replace(fitted, seconds=7.0)

    monkeypatch.setattr(m1m2, "train_model", timed)
    assert [outcome.training_seconds for outcome in outcomes([0, 3])] == [7.0, 7.0]  # half of the pilot and of the rest


def test_cells_in_lockstep_are_those_trained_alone():
    for together, seed in zip(outcomes([2, 0]), (2, 0), strict=True):
        (alone,) = outcomes([seed])
        for name in ("accuracy", "alpha", "validation_accuracy", "pilot_accuracy", "best_epoch", "stopped_epoch"):
            assert together.metrics[name] == alone.metrics[name]
        for name in ("bound", "style_KL"):  # float32: another order of addition
            assert together.metrics[name] == pytest.approx(alone.metrics[name], rel=1e-4)


def test_a_cell_repeats_bit_for_bit():
    (first,), (again,) = outcomes([1]), outcomes([1])
    assert first.metrics == again.metrics


def test_a_pilot_reports_when_the_whole_cell_ends():
    """Two alphas a seed make an epoch of the pilot as long as two of the training, which ends after 3 to 6."""
    settings = replace(TINY, schedule=Schedule(batch_size=100, warmup_epochs=1, patience=2, max_epochs=6))
    configuration = {"dim_z1": 2, "dim_z2": 3, "topology": "N+N"}
    seen = []
    run_cells(Job(configuration, [0], settings, load_data("standin", settings), report=seen.append))
    pilot, training = seen[:2], seen[2:]
    assert [(p.epoch, p.earliest_end, p.latest_end, p.stage) for p in pilot] == [
        (epoch, 2 + 3 / 2, 2 + 6 / 2, " of the pilot") for epoch in (1, 2)
    ]
    assert [(p.epoch, p.latest_end, p.stage) for p in training] == [
        (epoch, 6, "") for epoch in range(1, len(training) + 1)
    ]


def test_a_cell_continues_from_its_checkpoint(tmp_path):
    configuration = {"dim_z1": 2, "dim_z2": 3, "topology": "S+S"}
    data = load_data("standin", TINY)
    whole = run_cells(Job(configuration, [0], TINY, data))
    file = tmp_path / "seeds-0.ckpt"
    interruptions = 0
    while True:  # an epoch at a time, of the pilot and then of the training
        try:
            (outcome,) = run_cells(Job(configuration, [0], TINY, data, checkpoint=file, deadline=0.0))
            break
        except OutOfTime:
            interruptions += 1
    assert interruptions == TINY.pilot_epochs + whole[0].metrics["stopped_epoch"]
    assert outcome.metrics == whole[0].metrics
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seeds-0.ckpt", "seeds-0.pilot"]  # till stored


def test_training_learns_from_labels_and_from_images_without():
    """With 50 labels of 1283 digits, against chance of 0.1; the bound improves as well."""
    schedule = Schedule(3e-3, 50, warmup_epochs=10, patience=9, max_epochs=20)
    long = replace(TINY, alphas=(1.0,), hidden=(64,), train_size=None, test_size=None, schedule=schedule)
    (short,), (trained,) = outcomes([0]), outcomes([0], settings=long)
    assert trained.metrics["accuracy"] > 0.45
    assert trained.metrics["bound"] > short.metrics["bound"] + 3


def test_labels_that_are_not_among_the_hundred_are_never_read(monkeypatch):
    """Labels of other training images make no difference, and with a single alpha those of the validation set none."""
    settings = replace(TINY, alphas=(1.0,))
    data = load_data("standin", settings)
    kept = m1m2.balanced_subset(data.train_labels, settings.labels, np.random.default_rng([0]))
    scrambled = (data.train_labels + 1) % 10
    scrambled[kept] = data.train_labels[kept]
    monkeypatch.setattr(m1m2, "balanced_subset", lambda *_: kept)
    configuration = {"dim_z1": 2, "dim_z2": 2, "topology": "N+N"}
    (honest,) = run_cells(Job(configuration, [0], settings, data))
    changed = replace(data, train_labels=scrambled, validation_labels=(data.validation_labels + 1) % 10)
    (other,) = run_cells(Job(configuration, [0], settings, changed))
    assert honest.metrics["accuracy"] == other.metrics["accuracy"]
    assert honest.metrics["bound"] == other.metrics["bound"]
    assert np.array_equal(honest.arrays["validation_curve"], other.arrays["validation_curve"])


def test_style_kl_is_the_weighted_divergence_of_z2():
    data = load_data("standin", TINY)
    model = M1M2(m1m2.space("s2"), m1m2.space("e3"), 64, 10, (8,), run_generators([5], 0))
    pixels = Pixels(data.test[:40], "threshold")
    measured = m1m2._style_kl(model, pixels, [5])
    x = pixels.batch(torch.arange(40)).unsqueeze(0)
    total = 0.0
    with torch.no_grad():
        for sample in range(50):
            generator = torch.Generator().manual_seed(sample)
            z1 = model.posterior(x).rsample(generator=generator)
            probability = model.classifier(z1).softmax(-1)
            for k in range(10):
                y = torch.eye(10)[k].expand(1, 40, 10)
                params = model.style_encoder(torch.cat([z1, y], dim=-1))
                loc, scale = params[..., :3], torch.nn.functional.softplus(params[..., 3:])
                kl = 0.5 * (scale**2 + loc**2 - 1 - 2 * scale.log()).sum(-1)
                total += (probability[..., k] * kl).mean().item() / 50
    assert measured.item() == pytest.approx(total, rel=0.05)


def test_the_most_confused_classes_are_counted_both_ways_round():
    """True classes in rows: 5 of the 0s and 4 of the 2s go to the other, and 8 of the 1s to 2, but none comes back."""
    counts = np.array([[90, 0, 5], [0, 80, 8], [4, 0, 99]])
    assert most_confused(counts) == most_confused(counts.T) == (0, 2, 9)
    assert most_confused(np.diag([3, 3, 3]))[2] == 0


def test_table_rows_are_per_cent():
    cell = {"configuration": {"dim_z1": 5, "dim_z2": 10, "topology": "S+N"}, "metrics": {"accuracy": 0.9375}}
    assert table_rows(cell) == {"table3": [("S+N", 5, 10, "accuracy", 93.75)]}


def test_an_unknown_topology_is_one_clear_line():
    with pytest.raises(UserError, match=r"no configuration has topology=H\+H: choose among N\+N, S\+N, S\+S"):
        options.select(configurations(PRESETS["paper"]), options.parse_where("topology=H+H"))


def test_the_test_set_chooses_nothing():
    """With other test images and labels alpha, its pilot and the training are the same; the accuracy is not."""
    data = load_data("standin", TINY)
    changed = replace(data, test=data.test.flip(1), test_labels=(data.test_labels + 1) % 10)
    configuration = {"dim_z1": 2, "dim_z2": 3, "topology": "S+N"}
    (honest,), (other,) = (run_cells(Job(configuration, [0], TINY, d)) for d in (data, changed))
    for name in ("alpha", "pilot_accuracy", "validation_accuracy", "best_epoch", "stopped_epoch"):
        assert honest.metrics[name] == other.metrics[name], name
    assert np.array_equal(honest.arrays["validation_curve"], other.arrays["validation_curve"])
    assert honest.metrics["bound"] != other.metrics["bound"]
