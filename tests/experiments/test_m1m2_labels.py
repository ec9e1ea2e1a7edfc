"""What decides the errors of two spheres: every labelled set with the rest of every seed, and what is made of it."""

from dataclasses import replace

import numpy as np
import pytest

from svae_repro import paths, store
from svae_repro.errors import UserError
from svae_repro.experiments import m1m2_labels, m1m2_style
from svae_repro.experiments.m1m2_labels import ACCURACY, ERRORS, PRESETS, claims, configurations, scores, share
from svae_repro.store import Outcome, Results, cell_path, read_cell, write_cell
from svae_repro.study import Job
from tests.handmade import PROVENANCE

TINY = replace(PRESETS["smoke"], hidden=(8,), train_size=200, validation_size=50, test_size=60)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_labelled_set_meets_every_seed_under_the_settings_of_the_styles(preset):
    ours, theirs = PRESETS[preset], m1m2_style.PRESETS[preset]
    assert vars(ours) == vars(replace(theirs, seeds=ours.seeds)) and ours.seeds >= 2
    assert ours.seeds == theirs.seeds or preset != "paper"
    assert [c["labelled_set"] for c in configurations(ours)] == list(range(ours.seeds))


def test_with_its_own_labelled_set_a_seed_trains_as_in_the_study_of_styles():
    data = m1m2_labels.load_data("standin", TINY)
    ours = m1m2_labels.run_cells(Job({"d": 4, "labelled_set": 1}, [0, 1], TINY, data))
    theirs = m1m2_style.run_cells(Job({"d": 4, "z1": "s4", "z2": "s4"}, [0, 1], TINY, data))
    assert ours[1].metrics == theirs[1].metrics
    assert ours[0].metrics != theirs[0].metrics
    assert {name: array.sum() for name, array in ours[0].arrays.items()} == {"confusion": 60}


@pytest.fixture
def stored(home):
    """Stores a cell with these errors between 4 and 9, 3 and 5, the first digit taken for the second in all but one."""

    def write(seed, labelled_set, errors, accuracy=0.9, arrays=True):
        counts = np.diag(np.arange(10))
        for (first, second), count in zip(((4, 9), (3, 5)), errors, strict=True):
            counts[first, second], counts[second, first] = count - 1, 1
        configuration = {"d": 10, "labelled_set": labelled_set}
        path = cell_path(paths.results("paper", standin=False), "m1m2_labels", configuration, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        outcome = Outcome({"accuracy": accuracy}, {"confusion": counts} if arrays else {})
        write_cell(path, "m1m2_labels", configuration, seed, outcome, PROVENANCE)
        return read_cell(path)

    return write


def test_errors_and_accuracy_stand_by_seed_and_labelled_set(stored):
    stored(3, 1, (700, 20), accuracy=0.85)
    stored(7, 1, (700, 20))  # beyond the preset's seeds
    found = scores(store.load("m1m2_labels", "paper"))
    assert [table[3, 1] for table in found.values()] == [700, 20, 85]
    assert list(found) == [*ERRORS, ACCURACY] == ["errors between 4 and 9", "errors between 3 and 5", ACCURACY]
    assert all(np.isfinite(table).sum() == 1 and table.shape == (5, 5) for table in found.values())


def test_a_lost_confusion_is_named_with_the_remedy(stored):
    stored(0, 1, (5, 5), arrays=False)
    with pytest.raises(UserError, match=r"labelled_set=1/seed-0.npz is missing; recompute it: .*--seeds 0 --fresh"):
        scores(store.load("m1m2_labels", "paper"))


def test_the_claims_are_open_until_every_run_is_there(stored):
    assert [(word, why) for _, word, why in claims(Results("m1m2_labels", "paper", False, [], 25))] == [
        ("open", "0 of 25 runs")
    ] * 4
    for seed in range(5):
        for labelled_set in range(5):
            if (seed, labelled_set) != (4, 4):
                stored(seed, labelled_set, (700 + 10 * labelled_set, 20))
    assert {why for *_, why in claims(store.load("m1m2_labels", "paper"))} == {"24 of 25 runs"}


def test_what_decides_is_told_apart(stored):
    for seed in range(5):
        for labelled_set in range(5):
            errors = 100 * labelled_set + 7 * ((seed * 3 + labelled_set) % 5) + 1
            accuracy = 0.8 + seed / 100 + 0.001 * ((seed + 2 * labelled_set) % 5)
            stored(seed, labelled_set, (errors, 20), accuracy)
    found = claims(store.load("m1m2_labels", "paper"))
    assert [(claim, word) for claim, word, _ in found] == [
        ("the labelled set matters for the errors between 4 and 9", "yes"),
        ("what else the seed draws matters for the errors between 4 and 9", "not shown"),
        ("the labelled set matters for the accuracy in per cent", "not shown"),
        ("what else the seed draws matters for the accuracy in per cent", "yes"),
    ]
    assert found[0][2] == "means by seed, from 0 on: 15, 115, 215, 315, 415; 100% of the variance, p=0.0001"
    assert found[3][2].startswith("means by seed, from 0 on: 80.2, 81.2, 82.2, 83.2, 84.2; 99% of the variance")


def test_the_share_is_all_nothing_or_between():
    assert share(np.ones((3, 1)) * [1.0, 2, 4]) == pytest.approx(1)
    assert share(np.array([[1.0], [2], [4]]) * np.ones(3)) == 0
    assert share(np.zeros((2, 2))) == 0
    assert share(np.array([[0.0, 1], [1, 2]])) == pytest.approx(0.5)
