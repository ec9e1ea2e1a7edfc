"""Table 3 without the warm-up of the style: its models and protocol are those of the other styles, and its claims."""

from dataclasses import replace

import numpy as np
import pytest

from svae_repro.experiments import m1m2_style, m1m2_warmup
from svae_repro.experiments.m1m2_style import models
from svae_repro.experiments.m1m2_warmup import CLAIMS, PRESETS, beside_warm_up, claims, configurations
from svae_repro.store import Results
from svae_repro.study import Job

TINY = replace(PRESETS["smoke"], hidden=(8,), train_size=200, validation_size=50, test_size=60)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_are_those_of_the_styles_but_for_the_warm_up(preset):
    ours, theirs = PRESETS[preset], m1m2_style.PRESETS[preset]
    assert ours.schedule == replace(theirs.schedule, warmup_epochs=0) != theirs.schedule
    assert vars(ours) == vars(replace(theirs, schedule=ours.schedule))
    (d,) = ours.dims
    plane, sphere = f"e{d}", f"s{d}"
    assert {(c["z1"], c["z2"]) for c in configurations(ours)} == {(plane, plane), (sphere, plane), (sphere, sphere)}
    assert all(c in m1m2_style.configurations(theirs) for c in configurations(ours))


@pytest.mark.parametrize("z1, z2", [("e4", "e4"), ("s4", "e4"), ("s4", "s4")])
def test_the_whole_kl_divergence_of_the_style_counts_from_the_first_epoch_on(z1, z2):
    """Two epochs: as with a warm-up that ends with the first of them, and not as with one of two."""
    data = m1m2_warmup.load_data("standin", TINY)

    def metrics(study, warmup):
        settings = replace(TINY, schedule=replace(TINY.schedule, warmup_epochs=warmup))
        return study.run_cells(Job({"d": 4, "z1": z1, "z2": z2}, [0, 3], settings, data))[1].metrics

    assert metrics(m1m2_warmup, 0) == metrics(m1m2_style, 1) != metrics(m1m2_style, 2)


def cells(accuracies, style_kl):
    """Cells of the paper preset by topology, accuracies in per cent."""
    return [
        {
            "configuration": {"d": 10} | dict(zip(("z1", "z2"), models(10)[topology], strict=True)),
            "seed": seed,
            "metrics": {"accuracy": value / 100, "style_KL": style_kl * (1 + seed / 100)},
        }
        for topology, values in accuracies.items()
        for seed, value in enumerate(values)
    ]


LEVEL = np.array([90.0, 91, 92, 93, 94])
WIGGLE = np.array([0.1, 0, -0.1, 0.2, 0])


@pytest.fixture
def judged(monkeypatch):
    """Frames and verdicts from accuracies by topology, with the warm-up and without, and KL divergences of z2."""

    def judge(with_it, without, style_kl=(2.0, 1.0)):
        warmed_up = Results("m1m2_style", "paper", False, cells(with_it | {"N+S": LEVEL}, style_kl[0]), 30)
        monkeypatch.setattr(m1m2_warmup.store, "load", lambda *_: warmed_up)
        ours = Results("m1m2_warmup", "paper", False, cells(without, style_kl[1]), 15)
        return beside_warm_up(ours), [word for _, word, _ in claims(ours)], [why for *_, why in claims(ours)]

    return judge


def test_each_run_stands_beside_its_like_with_the_warm_up(judged):
    frames, words, _ = judged({"N+N": LEVEL, "S+S": LEVEL[:2] - 4}, {"N+N": LEVEL[:1] - 1, "S+N": [80.0]})
    assert list(frames["accuracy"].columns) == [(t, w) for t in ("N+N", "S+S", "S+N") for w in ("with", "without")]
    assert list(frames["accuracy"].index) == [0, 1, 2, 3, 4]
    assert frames["accuracy"].loc[0].tolist() == pytest.approx([90, 89, 86, np.nan, np.nan, 80], nan_ok=True)
    assert frames["style_KL"].loc[1].tolist() == pytest.approx(
        [2.02, np.nan, 2.02, np.nan, np.nan, np.nan], nan_ok=True
    )
    assert words == ["open"] * 4


def test_no_run_at_all_leaves_every_claim_open(judged):
    frames, words, reasons = judged({}, {})
    assert len(frames["accuracy"]) == 0 and words == ["open"] * len(CLAIMS)
    assert set(reasons) == {"fewer than two pairs of runs"}


def test_the_claims_are_tested_in_pairs(judged):
    with_it = dict.fromkeys(("N+N", "S+S", "S+N"), LEVEL)
    without = {"N+N": LEVEL - 5 + WIGGLE, "S+S": LEVEL - 2 + WIGGLE[::-1], "S+N": LEVEL - 1 - WIGGLE}
    _, words, reasons = judged(with_it, without)
    assert words == ["yes", "yes", "yes", "yes"]
    assert reasons[0].startswith("KL of z2 in nats, with less without: N+N +1.02 ± 0.02 (n=5")
    assert reasons[1].startswith("accuracy in points, with less without: N+N +4.96 ± 0.11 (n=5")
    assert reasons[2].startswith("accuracy in points: loss of N+N − loss of S+S +3.00 ± 0.16 (n=5")
    assert reasons[3].startswith("accuracy in points: S+S − (N+N) +3.00 ± 0.16 (n=5")
    _, words, _ = judged(without, with_it, style_kl=(1.0, 2.0))  # the warm-up is what costs nats and digits
    assert words[:3] == ["no", "no", "no"]
    _, words, _ = judged(with_it, without | {"S+S": LEVEL - 5 - WIGGLE})
    assert words[1:] == ["yes", "partly", "partly"]
