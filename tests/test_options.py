"""What the words of a command line mean."""

import subprocess
import sys

import pytest

from svae_repro import options
from svae_repro.errors import UserError
from svae_repro.experiments import mnist_vae
from svae_repro.experiments.mnist_vae import PRESETS


@pytest.mark.parametrize(
    "text, seeds",
    [("0", [0]), ("0-3", [0, 1, 2, 3]), ("7,2", [7, 2]), ("0-1,5,3-4", [0, 1, 5, 3, 4]), ("0,0-1", [0, 1])],
)
def test_seeds(text, seeds):
    assert options.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,", ",1", "1,,2", "3-1", "-1", "1-", "1-2-3", "0.5", "1 2", "0-3,b"])
def test_misspelt_seeds_are_one_line(text):
    with pytest.raises(UserError, match="--seeds") as error:
        options.parse_seeds(text)
    assert repr(text) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["0-99999999", str(2**32), "0-999999999999", "9" * 5000, "٣"])
def test_seeds_that_nobody_means_are_one_line(text):
    with pytest.raises(UserError, match="--seeds") as error:
        options.parse_seeds(text)
    assert len(str(error.value)) < 120 and "\n" not in str(error.value)


def test_where():
    assert options.parse_where("") == {} and options.parse_where("d=2,space=s") == {"d": "2", "space": "s"}
    grid = mnist_vae.configurations(PRESETS["paper"])
    assert options.select(grid, {}) == grid
    assert options.select(grid, {"d": "5"}) == [{"d": 5, "space": "e"}, {"d": 5, "space": "s"}]
    assert options.select(grid, {"d": "5", "space": "s"}) == [{"d": 5, "space": "s"}]


def test_where_that_selects_nothing_is_one_line():
    grid = [{"d": 2, "space": "s"}, {"d": 5}]
    with pytest.raises(UserError, match=r"\Ano configuration has all of d=5,space=s: leave out one of them\Z"):
        options.select(grid, {"d": "5", "space": "s"})
    assert options.select(grid, {"space": "s"}) == grid[:1]
    with pytest.raises(UserError, match="names a key twice"):
        options.parse_where("d=2,d=5")


@pytest.mark.parametrize("text", ["d", "d=", "=2", "d=2,", "d==2", "d=2=3", ","])
def test_misspelt_where_is_one_line(text):
    with pytest.raises(UserError, match="--where") as error:
        options.parse_where(text)
    assert "\n" not in str(error.value)


def test_abbreviations_and_unknown_options_are_one_line():
    parser = options.Parser()
    parser.add_argument("--preset")
    for given in (["--pre", "quick"], ["--other"]):
        with pytest.raises(UserError, match="--help") as error:
            parser.parse_args(given)
        assert "\n" not in str(error.value)


def test_the_runner_of_the_notebooks_checks_its_options_before_anything_is_installed():
    """With `-S` no installed package is found."""
    runner = [sys.executable, "-S", "-m", "svae_repro.notebooks", "--check-only"]
    assert subprocess.run(runner, capture_output=True, check=False).returncode == 0
    wrong = subprocess.run([*runner, "--seeds", "3-1"], capture_output=True, check=False, text=True)
    assert wrong.returncode == 2 and "'3-1'" in wrong.stderr and wrong.stderr.count("\n") == 1
