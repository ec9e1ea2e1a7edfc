"""What the figures show in numbers: measures at inputs with a known answer, and an overview that follows the cells."""

import math

import numpy as np
import pytest

from svae_repro import figures, paths, summary
from svae_repro.spaces import space
from svae_repro.store import Outcome, write_cell
from tests.handmade import PROVENANCE


@pytest.mark.parametrize("name", ["e2", "s2"])
def test_the_grid_of_equal_prior_probability_is_even(name):
    share, divergence = figures.evenness(space(name).grid(20).numpy())
    assert share == 1 and divergence == pytest.approx(0, abs=1e-9)


def test_points_in_one_cell_are_as_uneven_as_can_be():
    share, divergence = figures.evenness(np.full((50, 2), 0.01))
    assert share == 0.01 and divergence == pytest.approx(math.log(100))


def test_the_centre_and_what_the_prior_has_there():
    inside, prior = figures.central(np.array([[0.1, 0.1], [2.0, 0.0], [0.0, 0.49]]))
    assert inside.tolist() == [True, False, True]
    draws = np.random.default_rng(0).normal(size=(100_000, 2))
    assert figures.central(draws)[0].mean() == pytest.approx(prior, abs=0.005)  # five standard errors


def test_neighbours_of_the_same_class():
    clusters = np.concatenate([np.arange(10)[:, None] * [[1e-3, 0]], 5 + np.arange(10)[:, None] * [[1e-3, 0]]])
    assert figures.own_class(clusters, np.repeat([0, 1], 10)) == 1
    assert figures.own_class(clusters, np.arange(20)) == 0


def strokes(leans, width: int = 1, side: int = 28) -> np.ndarray:
    """Images [N, side^2] of one stroke each that shifts by ``leans`` pixels for each pixel upwards."""
    y, x = np.mgrid[:side, :side]
    centre = (side - 1) / 2
    return np.stack([255 * (abs(x - centre + lean * (y - centre)) <= width).ravel() for lean in leans]).astype(np.uint8)


def test_slant_of_strokes():
    leans = [-0.4, 0.0, 0.2, 0.4]
    assert figures.slant(strokes(leans)) == pytest.approx(leans, abs=0.03)  # of whole pixels


def test_columns_that_are_classes_and_rows_that_are_styles():
    leans = np.linspace(-0.3, 0.3, 10)
    restyled = np.stack([strokes(leans), strokes(leans, width=8)], axis=1)  # two classes: thin and thick
    assert figures.recognised(restyled) == 1
    word, text = figures.disentangled(strokes(leans), restyled)
    assert word == "agrees" and "100% of the images" in text
    # A style that is not the original's, and classes that change places in every other row
    order = [5, 0, 9, 3, 7, 1, 8, 4, 2, 6]
    assert figures.disentangled(strokes(leans[order]), restyled)[0] == "partly"
    shuffled = restyled.copy()
    shuffled[::2] = shuffled[::2, ::-1]
    assert figures.recognised(shuffled) < 0.6
    assert figures.disentangled(strokes(leans), shuffled)[0] == "partly"


def lines(found) -> dict[str, list[str]]:
    rows = [[x.strip() for x in row.strip("|").split("|")] for row in figures.overview(found).splitlines()[2:]]
    return {row[0]: row[3:] for row in rows}


def test_without_any_run_only_illustrations_have_a_word(home):
    words = {figure: word for figure, (word, _) in lines(summary.stored("paper")).items()}
    assert list(words) == [str(number) for number in range(1, 11)]
    assert {figure for figure, word in words.items() if word != "**open**"} == {"4", "5", "6"}
    assert "largest in R^7" in lines(summary.stored("paper"))["6"][1]


def write(experiment: str, configuration: dict, seed: int, metrics: dict, arrays=None, preset="paper") -> None:
    path = paths.results(preset) / experiment / ",".join(f"{k}={v}" for k, v in configuration.items())
    write_cell(path / f"seed-{seed}.json", experiment, configuration, seed, Outcome(metrics, arrays or {}), PROVENANCE)


def test_the_overview_follows_the_cells(home):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50).astype(np.uint8)
    angle = np.where(labels, 0, math.pi) + rng.normal(size=100) / 10
    sphere = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(100)])
    ring = 2 * sphere[rng.permutation(100), :2]
    for model, points in (("n", ring), ("s", sphere)):
        configuration = {"dataset": "Cora", "model": model, "loss": "dense", "protocol": "plane"}
        for seed in range(3):
            arrays = {"latent": points, "labels": labels} if seed == 0 else None
            write(
                "vgae", configuration, seed, {"AUC": 0.9 + (0.05 + seed / 1000) * (model == "s") + seed / 100}, arrays
            )
    write("mnist_vae", {"d": 2, "space": "e"}, 0, {}, {"latent": rng.normal(size=(500, 2)), "samples": np.zeros(1)})
    found = lines(summary.stored("paper"))
    assert found["3"][0] == "**agrees**" and "0.0% of the nodes" in found["3"][1] and "+5.1 points" in found["3"][1]
    assert found["2"][0] == "**open**" and "S-VAE: not there yet" in found["2"][1]
    assert found["7"] == ["**drawn**", "d = 2: for the eye, nothing to test"] and found["8"][0] == "**open**"
    write("mnist_vae", {"d": 2, "space": "s"}, 0, {}, {"latent": sphere})
    assert lines(summary.stored("paper"))["2"][0] == "**differs**"  # on the equator


@pytest.mark.parametrize("used, word", [(1.0, "agrees"), (0.6, "partly"), (0.5, "differs")])
def test_figure_2_wants_the_sphere_used_much_more_evenly(home, used, word):
    """Of the plane half of the cells of equal prior probability are used (log 2 nats), of the sphere this share."""
    for letter, share in (("e", 0.5), ("s", used)):
        points = space(f"{letter}2").grid(20).numpy()
        write("mnist_vae", {"d": 2, "space": letter}, 0, {}, {"latent": points[: round(share * len(points))]})
    assert lines(summary.stored("paper"))["2"][0] == f"**{word}**"


def test_other_presets_are_drawn_and_not_judged(home):
    write("mnist_vae", {"d": 2, "space": "e"}, 0, {}, {"latent": np.zeros((5, 2))}, "quick")
    write("mnist_vae", {"d": 2, "space": "s"}, 0, {}, {"latent": np.eye(3)}, "quick")
    word, why = lines(summary.stored("quick"))["2"]
    assert word == "**drawn**" and why.startswith("quick preset; ")
