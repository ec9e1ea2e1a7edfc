"""Tables 1 and 2 without the KL warm-up: the models are those of mnist_vae, and the claims compare with the paper."""

from dataclasses import replace

import pandas as pd
import pytest

from svae_repro import paths
from svae_repro.experiments import mnist_vae, mnist_warmup
from svae_repro.experiments.mnist_warmup import PRESETS, beside_warm_up, claims
from svae_repro.store import Results
from svae_repro.study import Job
from svae_repro.training import Schedule

TINY = replace(
    PRESETS["smoke"], hidden=(8,), train_size=200, validation_size=50, test_size=60, samples=5, labelled=(20,)
)


def outcomes(letter, seeds, study=mnist_warmup, schedule=TINY.schedule):
    settings = replace(TINY, schedule=schedule)
    return study.run_cells(Job({"d": 3, "space": letter}, seeds, settings, study.load_data("standin", settings)))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_are_those_of_mnist_vae_but_for_the_warm_up(preset):
    ours, theirs = PRESETS[preset], mnist_vae.PRESETS[preset]
    assert ours.schedule == replace(theirs.schedule, warmup_epochs=0)
    assert set(ours.dims) <= set(theirs.dims) and ours.seeds <= theirs.seeds
    assert vars(ours) == vars(replace(theirs, dims=ours.dims, seeds=ours.seeds, schedule=ours.schedule))


def test_the_whole_kl_divergence_counts_from_the_first_epoch_on():
    """Three epochs: as a warm-up that ends with the first of them, and not as one of three."""
    schedules = [Schedule(warmup_epochs=w, patience=None, max_epochs=3) for w in (0, 1, 3)]
    losses = [outcomes("e", [0], schedule=schedule)[0].metrics["validation_loss"] for schedule in schedules]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("letter", "es")
def test_a_cell_has_the_numbers_of_mnist_vae(letter):
    ours, theirs = outcomes(letter, [0, 3]), outcomes(letter, [0, 3], mnist_vae)
    for one, other in zip(ours, theirs, strict=True):
        assert one.metrics == other.metrics
        assert set(one.arrays) == {"validation_curve"}
    assert ours[0].metrics["LL"] != ours[1].metrics["LL"]


def table_of_the_paper(d):
    """(method, metric or labels) -> (mean, standard deviation)."""
    found = {}
    for name, column in (("table1", "metric"), ("table2", "labels")):
        rows = pd.read_csv(paths.published() / f"{name}.csv").query(f"d == {d}")
        found |= {(row["method"], row[column]): (row["mean"], row["std"]) for _, row in rows.iterrows()}
    return found


def cells(d, off, runs=2):
    """Runs with the paper's numbers, but for those in ``off``: metric -> published standard deviations away."""
    paper = table_of_the_paper(d)
    found = []
    for seed in range(runs):
        for letter, method in mnist_vae.METHODS.items():
            value = {
                key: mean + std * (off.get(key, 0) + 0.1 * seed)
                for (m, key), (mean, std) in paper.items()
                if m == method
            }
            knn = {str(labels): [value[labels] / 100] * 2 for labels in (100, 600, 1000)}
            metrics = {name: value[name] for name in ("LL", "ELBO", "RE", "KL")} | {"knn": knn, "LL_released": -7.0}
            found.append({"configuration": {"d": d, "space": letter}, "seed": seed, "metrics": metrics, "path": None})
    return found


@pytest.fixture
def judged(monkeypatch):
    """Verdicts and numbers by method for d = 40, from how far the runs with and without the warm-up are off."""

    def judge(with_it, without, runs=2, preset="paper"):
        table1 = Results("mnist_vae", preset, False, [*cells(40, with_it), *cells(2, {})], 1)
        monkeypatch.setattr(mnist_warmup.store, "load", lambda *_: table1)
        found = claims(Results("mnist_warmup", preset, False, cells(40, without, runs), 1))
        return {title.split(" has ")[0].removeprefix("without a KL warm-up the "): rest for title, *rest in found}

    return judge


@pytest.mark.parametrize(
    "with_it, without, verdict",
    [
        ({"RE": 4, 100: -4}, {}, "yes"),
        ({"RE": 4, 100: -4}, {600: 5}, "partly"),
        ({"RE": 4}, {"ELBO": -4}, "no"),
        ({"LL": 4}, {"LL": -4}, "either way"),  # the published LL is another one
        ({}, {"KL": 4}, "no"),
        ({}, {}, "either way"),
        ({"RE": 2.5}, {"KL": -2.8}, "either way"),  # within three standard deviations
    ],
)
def test_claims_ask_whether_the_papers_numbers_are_met(judged, with_it, without, verdict):
    found = judged(with_it, without)
    assert found["N-VAE at d = 40"][0] == found["S-VAE at d = 40"][0] == verdict
    assert found["N-VAE at d = 2"][0] == "open"  # not trained without


def test_claims_name_what_differs(judged):
    (_, numbers) = judged({"RE": 4, 100: -4}, {})["N-VAE at d = 40"]
    assert (
        numbers
        == "with warm-up 2 of 6 means differ (n=2): RE, k-NN (100 labels); without warm-up 0 of 6 means differ (n=2)"
    )
    assert judged({}, {"KL": 4}, runs=1)["S-VAE at d = 40"] == ["open", "fewer than two runs of each"]
    assert judged({}, {}, preset="quick") == {
        f"{method} at d = 10": ["open", "not the paper's protocol"] for method in ("N-VAE", "S-VAE")
    }


def test_beside_each_other_stand_the_two_trainings_and_the_paper(monkeypatch):
    table1 = Results("mnist_vae", "paper", False, [*cells(40, {"LL": -9}), *cells(2, {})], 1)
    monkeypatch.setattr(mnist_warmup.store, "load", lambda *_: table1)
    frame = beside_warm_up(Results("mnist_warmup", "paper", False, cells(40, {}, runs=3), 1))
    assert len(frame) == 16 and set(frame.index.get_level_values("d")) == {40}
    (mean, std), row = table_of_the_paper(40)["S-VAE", "LL"], frame.loc["S-VAE", 40, "LL"]
    assert row["mean without"] == pytest.approx(mean + 0.1 * std) and row["n without"] == 3
    assert row["mean with"] == pytest.approx(mean - 8.95 * std) and row["n with"] == 2
    assert (row["published_mean"], row["published_std"]) == (mean, std)
    assert (row["verdict without"], row["verdict with"]) == ("agrees", "lower")
