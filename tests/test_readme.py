"""The README is in step with the results, and its code runs."""

import re
from dataclasses import asdict

import pytest

from svae_repro import experiments, paths, store, summary
from svae_repro.__main__ import main

README = (paths.REPOSITORY / "README.md").read_text()


def test_verdicts_and_tables_are_those_of_the_committed_results(monkeypatch):
    monkeypatch.delenv("SVAE_HOME", raising=False)
    (block,) = summary.README_BLOCK.findall(README)
    assert block.strip() == summary.summary(data="real").strip(), "run: python -m svae_repro tables --readme"


@pytest.mark.parametrize("name", experiments.NAMES)
def test_every_committed_cell_is_of_the_settings_of_now(monkeypatch, name):
    monkeypatch.delenv("SVAE_HOME", raising=False)
    stated = [cell["provenance"] for cell in store.load(name, "paper").cells]
    now = asdict(experiments.settings(experiments.load(name), "paper"))
    for source in stated:
        data = stated[0]["data"] | {"standin": False}
        assert store.made_otherwise(source["settings"], source["data"]["sha256"], {"settings": now, "data": data}) == []
        assert source["data"] == data


def test_results_of_another_folder_do_not_get_into_it(home, capsys):
    assert main(["tables", "--readme"]) == 2
    assert "SVAE_HOME is" in capsys.readouterr().err and (paths.REPOSITORY / "README.md").read_text() == README


def test_the_examples_run_one_after_the_other():
    names: dict = {}
    for example in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(example, names)
    assert names["h"].grad.isfinite().all() and names["z"].shape == (64, 10)
    assert names["re"].shape == names["kl"].shape == (2, 64)
    assert all(parameter.grad.isfinite().all() for parameter in names["vae"].parameters())


def test_every_named_path_exists():
    for path in re.findall(r"^\| `([^`]+)`", README, flags=re.MULTILINE):
        if "/" in path or path.endswith(".py"):
            assert (paths.REPOSITORY / path).exists(), path
