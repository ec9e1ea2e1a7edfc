"""Training: runs in lockstep against each run alone, the schedule on scripted validation curves, resumption."""

import math
import time

import pytest
import torch
from torch import Tensor, nn

from svae_repro import evaluation, training
from svae_repro.models import VAE
from svae_repro.spaces import space
from svae_repro.training import INITIALISATION, Fit, OutOfTime, Schedule, fit, run_generators

DATA = (torch.rand(150, 12, generator=torch.Generator().manual_seed(0)) < 0.3).double()
# A high learning rate makes the validation loss go up and down, so that the runs stop at different epochs.
BUMPY = Schedule(learning_rate=0.05, batch_size=16, warmup_epochs=2, patience=2, max_epochs=30)


def train(name: str, seeds, schedule=BUMPY, validation=DATA, **options) -> tuple[VAE, Fit]:
    model = VAE(space(name), DATA.shape[1], (8,), run_generators(seeds, INITIALISATION)).double()

    def loss(index, weight, generators):
        re, kl = model.elbo_terms(DATA[index], generators)
        return (weight * kl - re).mean(1)

    def validate(generators):
        return -evaluation.elbo(model, lambda index: validation[index], len(validation), generators)["ELBO"]

    return model, fit(model, seeds, schedule, len(DATA), loss, validate, **options)


def assert_same(model: VAE, fitted: Fit, other: VAE, expected: Fit):
    """Bit for bit, the time apart."""
    assert fitted.best_epoch == expected.best_epoch
    assert fitted.stopped_epoch == expected.stopped_epoch
    assert fitted.best_loss == expected.best_loss
    assert fitted.validation_curves == expected.validation_curves
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


# Lockstep


def assert_alone_as_together(name: str, seeds, schedule=BUMPY, validation=DATA, **options) -> Fit:
    # The random numbers are the same bit for bit, but the matrix product of several runs adds in another order than
    # that of one. In float64 that is at most 2e-14 after the steps taken here; in float32 it grows to 1e-3.
    together, fitted = train(name, seeds, schedule, validation, **options)
    for run, seed in enumerate(seeds):
        alone, own = train(name, [seed], schedule, validation)
        assert fitted.best_epoch[run] == own.best_epoch[0]
        assert fitted.stopped_epoch[run] == own.stopped_epoch[0]
        assert fitted.best_loss[run] == pytest.approx(own.best_loss[0], rel=1e-9)
        assert fitted.validation_curves[run] == pytest.approx(own.validation_curves[0], rel=1e-9)
        for ours, theirs in zip(together.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(ours[run], theirs[0], rtol=1e-9, atol=1e-9)
    return fitted


@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize("name", ["e2", "s2", "s3"])  # S^2 is sampled by inversion, S^3 by rejection
def test_lockstep_equals_one_by_one(name, shrink):
    fitted = assert_alone_as_together(name, [5, 0, 11], shrink=shrink)
    # What makes the comparison worth something: the runs stop at different epochs, one after its best epoch.
    assert len(set(fitted.stopped_epoch)) > 1 and len(set(fitted.best_epoch)) > 1
    assert [len(curve) for curve in fitted.validation_curves] == fitted.stopped_epoch
    assert max(fitted.stopped_epoch) < BUMPY.max_epochs


def test_with_shrink_the_steps_are_those_of_the_runs_that_go_on():
    seeds, weights, seen = [5, 0, 11], [], []
    model = VAE(space("s3"), DATA.shape[1], (8,), run_generators(seeds, INITIALISATION)).double()

    def loss(index, weight, generators):
        seen.append((model.runs, len(index), len(generators)))
        return model.elbo_terms(DATA[index], generators)[1].mean(1)

    def validate(generators):
        weights.append(model.encoder[0].weight.detach().clone())
        return curves[: len(generators), len(weights) - 1]

    # The last run stops first, then the middle one.
    curves = torch.tensor([[9.0, 8, 7, 6, 5, 4, 4, 4], [9, 8, 7, 6, 7, 7, 7, 7], [9, 8, 9, 9, 9, 9, 9, 9]])
    fitted = fit(model, seeds, Schedule(batch_size=150, warmup_epochs=1, patience=2), 150, loss, validate, shrink=True)
    assert fitted.stopped_epoch == [8, 6, 4] and fitted.best_epoch == [6, 4, 2]
    assert seen == [(runs,) * 3 for runs in (3, 3, 3, 3, 2, 2, 1, 1)]
    best = torch.stack([weights[5][0], weights[3][1], weights[1][2]])
    assert torch.equal(model.encoder[0].weight, best) and model.runs == 3


def test_lockstep_equals_one_by_one_whatever_the_batch():
    """Five times 1,000 validation examples are a large batch where 1,000 are a small one."""
    schedule = Schedule(batch_size=50, warmup_epochs=1, patience=5, max_epochs=2)
    assert_alone_as_together("s3", [0, 1, 2, 3, 4], schedule, DATA.repeat(7, 1)[:1000])


def test_runs_of_different_seeds_differ_and_of_the_same_seed_agree():
    model, fitted = train("e2", [1, 2, 1], Schedule(batch_size=16, warmup_epochs=1, max_epochs=2))
    losses = [curve[0] for curve in fitted.validation_curves]
    assert losses[0] == losses[2] != losses[1]
    weight = model.encoder[0].weight
    assert torch.equal(weight[0], weight[2]) and not torch.equal(weight[0], weight[1])


def test_generators_depend_on_seed_and_purpose_only():
    def first(*arguments):
        return [torch.rand(1, generator=g).item() for g in run_generators(*arguments)]

    assert first([3, 4], 1, 7) == first([3], 1, 7) + first([4], 1, 7)
    everything = [first([seed], *purpose)[0] for seed in (0, 1) for purpose in ((0,), (1,), (1, 1), (1, 2), (2, 1))]
    assert len(set(everything)) == len(everything)


# The schedule, on a model of one weight for each run, whose validation loss is read from a script


class Scripted:
    """Trains a single weight per run downhill; ``weights[epoch - 1]`` is its value when it was validated."""

    def __init__(self, curves: list[list[float]], schedule: Schedule, size: int = 8, **options):
        self.curves, self.weights, self.kl_weights, self.batches = curves, [], [], []
        self.model = nn.Module()
        self.model.weight = nn.Parameter(torch.zeros(len(curves), 1))
        seeds = list(range(len(curves)))
        self.fit = fit(self.model, seeds, schedule, size, self.loss, self.validate, **options)

    def loss(self, index, weight, generators):
        self.kl_weights.append(weight)
        self.batches.append(index)
        return self.model.weight.sum(1)

    def validate(self, generators):
        self.weights.append(self.model.weight.detach().clone())
        return torch.tensor([curve[len(self.weights) - 1] for curve in self.curves])


def schedule(**changes) -> Schedule:
    return Schedule(**({"batch_size": 8, "warmup_epochs": 3, "patience": 2, "max_epochs": 20} | changes))


def test_warmup_raises_the_kl_weight_linearly_to_one():
    run = Scripted([[0.0] * 7], schedule(warmup_epochs=4, max_epochs=7, patience=99), size=16)
    assert run.kl_weights == [w for weight in (0.25, 0.5, 0.75, 1, 1, 1, 1) for w in (weight, weight)]  # two batches
    assert Scripted([[0.0]], schedule(warmup_epochs=0, max_epochs=1)).kl_weights == [1.0]


@pytest.mark.parametrize(
    "curve, best, stopped",
    [
        # the low values of epochs 1 and 2 lie in the warm-up of three epochs and do not count
        ([1, 2, 9, 8, 9, 8.5, 7, 7, 7], 4, 6),
        # no improvement after the warm-up: the patience counts from its end
        ([1, 2, 5, 6, 6, 1, 1, 1, 1], 3, 5),
        # an improvement in the last moment gives two more epochs; an equal value is none
        ([1, 2, 9, 9.5, 8, 8, 8, 1, 1], 5, 7),
        # improving to the end
        ([9, 8, 7, 6, 5, 4, 3, 2, 1], 9, 9),
    ],
)
def test_early_stopping_counts_after_the_warmup_and_keeps_the_best_weights(curve, best, stopped):
    run = Scripted([curve], schedule(max_epochs=9))
    assert run.fit.best_epoch == [best]
    assert run.fit.best_loss == [curve[best - 1]]
    assert run.fit.stopped_epoch == [stopped]
    assert run.fit.validation_curves == [curve[:stopped]]
    assert torch.equal(run.model.weight, run.weights[best - 1])
    assert len({w.item() for w in run.weights}) == stopped  # every epoch left other weights


def test_each_run_stops_by_its_own_curve():
    first, second = [9, 9, 5, 6, 7, 1, 1, 1, 1], [9, 9, 5, 4, 3, 4, 2, 3, 3]
    run = Scripted([first, second], schedule())
    assert run.fit.best_epoch == [3, 7]
    assert run.fit.stopped_epoch == [5, 9]  # the 1 of epoch 6 came after the first run had stopped
    assert run.fit.best_loss == [5, 2]
    assert torch.equal(run.model.weight, torch.stack([run.weights[2][0], run.weights[6][1]]))


def test_a_training_that_ends_inside_the_warmup_keeps_its_last_weights():
    run = Scripted([[1, 2], [4, 3]], schedule(warmup_epochs=5, max_epochs=2))
    assert run.fit.best_epoch == run.fit.stopped_epoch == [2, 2]
    assert run.fit.best_loss == [2, 3]
    assert torch.equal(run.model.weight, run.weights[1])


def test_without_patience_all_epochs_are_trained_and_the_last_weights_kept():
    reported = []
    options = schedule(warmup_epochs=0, patience=None, max_epochs=5)
    run = Scripted([[5, 1, 2, 3, 4], [1, 2, 3, 4, 5]], options, report=reported.append)
    assert run.fit.best_epoch == run.fit.stopped_epoch == [5, 5] and run.fit.best_loss == [4, 5]
    assert torch.equal(run.model.weight, run.weights[4]) and run.kl_weights == [1.0] * 5
    assert [(p.earliest_end, p.latest_end) for p in reported] == [(5, 5)] * 5


def test_without_a_batch_size_an_epoch_is_one_step_on_all_examples():
    run = Scripted([[3.0, 2.0, 1.0]], schedule(batch_size=None, max_epochs=3), size=11)
    assert [sorted(batch[0].tolist()) for batch in run.batches] == [list(range(11))] * 3


def test_the_last_incomplete_batch_is_left_out_and_the_order_is_new_each_epoch():
    run = Scripted([[3.0, 2.0], [3.0, 2.0]], schedule(batch_size=4, max_epochs=2), size=11)
    assert [tuple(batch.shape) for batch in run.batches] == [(2, 4)] * 4  # two batches in each of two epochs
    orders = [torch.cat(run.batches[:2], 1), torch.cat(run.batches[2:], 1)]
    for order in (order for both in orders for order in both.tolist()):
        assert len(set(order)) == 8 and set(order) <= set(range(11))
    assert len({tuple(order) for both in orders for order in both.tolist()}) == 4


def test_too_few_examples_for_a_batch_raise():
    with pytest.raises(ValueError, match="7 training examples do not fill one batch of 8"):
        Scripted([[0.0]], schedule(), size=7)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("epoch", [2, 4])  # in the warm-up and after it
def test_divergence_raises_one_line(epoch, value):
    curve = [9.0, 8, 7, 6, 5]
    curve[epoch - 1] = value
    with pytest.raises(FloatingPointError, match=f"epoch {epoch} .*diverged") as error:
        Scripted([[9.0, 8, 7, 6, 5], curve], schedule())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["e2", "s2", "s3"])
def test_a_real_divergence_raises_the_same(name):
    with pytest.raises(FloatingPointError, match="diverged"):
        train(name, [0], Schedule(learning_rate=1e200, batch_size=16, warmup_epochs=1, max_epochs=5))


def test_what_becomes_of_a_run_after_it_stopped_does_not_matter():
    run = Scripted([[9, 9, 5, 6, 7, math.nan, math.nan, math.nan], [9, 9, 5, 4, 3, 2, 3, 3]], schedule())
    assert run.fit.best_epoch == [3, 6] and run.fit.stopped_epoch == [5, 8]


def test_every_epoch_is_reported():
    seen = []
    Scripted([[9, 9, 5, 6, 7, 8], [9, 9, 7, 4, 9, 8]], schedule(), report=seen.append)
    assert [p.epoch for p in seen] == [1, 2, 3, 4, 5, 6]
    assert [p.validation_loss for p in seen] == [9, 9, 6, 5, 8, 8]  # the mean over the runs
    assert [p.earliest_end for p in seen] == [5, 5, 5, 6, 6, 6]  # the second run improves in epoch 4
    assert all(p.latest_end == 20 for p in seen)


# Denormal numbers


def averages_of_a_dead_unit(fit, path) -> tuple[Tensor, Tensor]:
    """A weight that has a gradient in the first step only, and Adam's average of it after 1,200 steps."""
    model, steps = nn.Module(), iter(range(1200))
    model.weight = nn.Parameter(torch.zeros(1, 3))
    schedule = Schedule(batch_size=1, patience=None, max_epochs=1)
    fit(
        model,
        [0],
        schedule,
        1200,
        lambda index, weight, generators: model.weight.sum(1) * (next(steps) == 0),
        lambda generators: torch.zeros(1),
        checkpoint=path,
    )
    return model.weight.detach(), torch.load(path, weights_only=True)["optimiser"]["state"][0]["exp_avg"]


def test_what_has_decayed_to_denormal_numbers_is_zero_and_the_weights_are_the_same(tmp_path):
    expected, stuck = averages_of_a_dead_unit(fit.__wrapped__, tmp_path / "plain.ckpt")
    assert ((stuck > 0) & (stuck < torch.finfo(torch.float32).tiny)).all()  # what is to be prevented
    weight, average = averages_of_a_dead_unit(fit, tmp_path / "ours.ckpt")
    assert (average == 0).all()
    assert torch.equal(weight, expected) and (weight < -1e-3).all()


@pytest.mark.parametrize("before", [False, True])
def test_denormal_numbers_are_outside_of_training_what_they_were(before):
    tiny = torch.tensor(1e-40)
    torch.set_flush_denormal(before)
    try:
        train("e2", [0], Schedule(batch_size=150, warmup_epochs=0, max_epochs=1))
        with pytest.raises(FloatingPointError):
            Scripted([[math.nan]], schedule())
        assert (tiny * 1 == 0) == before
    finally:
        torch.set_flush_denormal(False)


# Resumption


def interrupted(path, name="s3", seeds=(5, 0), **options) -> tuple[VAE, Fit, int]:
    """Trains with a deadline that is always past, which is one epoch at a time."""
    interruptions = 0
    while True:
        try:
            model, fitted = train(name, list(seeds), checkpoint=path, deadline=time.monotonic() - 1, **options)
            return model, fitted, interruptions
        except OutOfTime:
            interruptions += 1
            assert path.exists()


@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize("name", ["e2", "s3"])
def test_a_training_resumed_after_every_epoch_is_the_undisturbed_one(tmp_path, name, shrink):
    expected = train(name, [5, 0, 11], shrink=shrink)
    model, fitted, interruptions = interrupted(tmp_path / "folder" / "it.ckpt", name, (5, 0, 11), shrink=shrink)
    assert interruptions == max(expected[1].stopped_epoch) > 5
    assert min(expected[1].stopped_epoch) < interruptions  # where they shrink, there is something to resume without
    assert_same(model, fitted, *expected)
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["it.ckpt"]  # no temporary file is left


def test_a_checkpoint_without_the_runs_that_stopped_is_resumed_where_no_run_leaves(tmp_path):
    path = tmp_path / "it.ckpt"
    expected = train("s3", [5, 0, 11], shrink=True)
    present = [0, 1, 2]
    while len(present) == 3:
        with pytest.raises(OutOfTime):
            train("s3", [5, 0, 11], checkpoint=path, deadline=time.monotonic() - 1, shrink=True)
        present = torch.load(path, weights_only=True)["present"]
    assert len(present) == 2
    model, fitted = train("s3", [5, 0, 11], checkpoint=path)
    assert fitted.best_epoch == expected[1].best_epoch and fitted.stopped_epoch == expected[1].stopped_epoch
    for ours, theirs in zip(model.parameters(), expected[0].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_checkpoint_of_a_cpu_leaves_the_optimiser_of_a_gpu_as_it_is(tmp_path):
    path = tmp_path / "it.ckpt"
    with pytest.raises(OutOfTime):
        train("e2", [0], checkpoint=path, deadline=time.monotonic() - 1)
    model = VAE(space("e2"), DATA.shape[1], (8,), run_generators([0], INITIALISATION)).double()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05, capturable=True)  # what a captured step asks for
    state = training._State(model, optimiser, [0], BUMPY, path)
    assert state.epoch == 1 and len(optimiser.state) == len(list(model.parameters()))
    assert optimiser.param_groups[0]["capturable"]


def test_checkpoints_are_kept_up_to_date_while_training(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    path, epochs = tmp_path / "it.ckpt", []

    def report(progress):
        if path.exists():
            epochs.append((progress.epoch, torch.load(path, weights_only=True)["epoch"]))

    train("e2", [0], checkpoint=path, report=report)
    assert len(epochs) > 3 and all(stored == epoch - 1 for epoch, stored in epochs)


def test_what_is_killed_after_the_training_need_not_train_again(tmp_path):
    path, epochs = tmp_path / "it.ckpt", []
    first = train("e2", [0], checkpoint=path)  # over before a periodic checkpoint is due
    again = train("e2", [0], checkpoint=path, report=epochs.append)
    assert epochs == []
    assert_same(*first, *again)


def shorten(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a checkpoint"),
        lambda path: shorten(path, 0.5),
        lambda path: shorten(path, 0.99),
        lambda path: torch.save({}, path),
        lambda path: torch.save([1, 2], path),
    ],
    ids=["empty", "garbage", "half", "99 per cent", "another dictionary", "no dictionary"],
)
def test_a_damaged_checkpoint_means_starting_anew(tmp_path, damage):
    path = tmp_path / "it.ckpt"
    with pytest.raises(OutOfTime):
        train("e2", [5], checkpoint=path, deadline=time.monotonic() - 1)
    damage(path)
    assert_same(*train("e2", [5], checkpoint=path), *train("e2", [5]))


@pytest.mark.parametrize(
    "change", [{"seeds": [6]}, {"schedule": Schedule(batch_size=30, max_epochs=3)}, {"name": "e3"}]
)
def test_a_checkpoint_of_other_settings_is_not_used(tmp_path, change):
    path = tmp_path / "it.ckpt"
    with pytest.raises(OutOfTime):
        train("e2", [5], checkpoint=path, deadline=time.monotonic() - 1)
    settings = {"name": "e2", "seeds": [5], "schedule": BUMPY} | change
    assert_same(*train(**settings, checkpoint=path), *train(**settings))
