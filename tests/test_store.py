"""Cells on disk: what is read and refused, and writing that is whole or absent."""

import json

import numpy as np
import pytest

from svae_repro import experiments, options, paths, store
from svae_repro.errors import UserError
from svae_repro.store import Outcome, cell_path, command, read_cell, slug, write_atomically, write_cell
from tests.handmade import PROVENANCE

CONFIGURATION = {"d": 2, "space": "s"}


@pytest.fixture
def cell(tmp_path):
    path = cell_path(tmp_path, "mnist_vae", CONFIGURATION, 3)
    write_cell(path, "mnist_vae", CONFIGURATION, 3, Outcome({"LL": -1.5}, {"curve": np.arange(3)}), PROVENANCE)
    return path


def test_a_cell_lies_where_its_configuration_says_and_is_read_back(tmp_path, cell):
    assert cell == tmp_path / "mnist_vae" / "d=2,space=s" / "seed-3.json"
    expected = {
        "experiment": "mnist_vae",
        "configuration": CONFIGURATION,
        "seed": 3,
        "metrics": {"LL": -1.5},
        "provenance": PROVENANCE,
    }
    assert json.loads(cell.read_text()) == expected
    assert read_cell(cell) == expected | {"path": cell}
    assert slug(CONFIGURATION) == cell.parent.name
    with np.load(cell.with_suffix(".npz")) as arrays:
        assert arrays["curve"].tolist() == [0, 1, 2]
    assert sorted(file.name for file in cell.parent.iterdir()) == ["seed-3.json", "seed-3.npz"]


def test_a_cell_written_again_without_arrays_has_none(tmp_path, cell):
    write_cell(cell, "mnist_vae", CONFIGURATION, 3, Outcome({"LL": -2.5}), PROVENANCE)
    assert read_cell(cell)["metrics"] == {"LL": -2.5} and not cell.with_suffix(".npz").exists()


def test_arrays_that_cannot_be_written_leave_the_old_cell(tmp_path, cell, monkeypatch):
    before = cell.read_bytes(), cell.with_suffix(".npz").read_bytes()
    monkeypatch.setattr(np, "savez_compressed", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(UserError, match=r"seed-3\.npz: No space left"):
        write_cell(cell, "mnist_vae", CONFIGURATION, 3, Outcome({"LL": -2.5}, {"curve": np.ones(3)}), PROVENANCE)
    assert (cell.read_bytes(), cell.with_suffix(".npz").read_bytes()) == before
    assert len(list(cell.parent.iterdir())) == 2


def test_two_runs_may_try_the_folder_at_once(tmp_path, monkeypatch):
    written = store.write_atomically
    monkeypatch.setattr(store, "write_atomically", lambda path, write: (written(path, write), path.unlink()))
    store.check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_validation_curve_is_read_or_the_command_named_that_makes_it(tmp_path, cell):
    results = store.Results("mnist_vae", tmp_path.name, False, [read_cell(cell)], 1)
    with pytest.raises(UserError, match=r"seed-3\.npz is missing; recompute it: .* --where d=2,space=s --seeds 3"):
        results.validation_curve(results.cells[0])
    outcome = Outcome({"LL": -1.5}, {"validation_curve": np.arange(3)})
    write_cell(cell, "mnist_vae", CONFIGURATION, 3, outcome, PROVENANCE)
    assert results.validation_curve(results.cells[0]).tolist() == [0, 1, 2]


def edited(**changes):
    return lambda text: json.dumps(json.loads(text) | changes).encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2].encode(),
        lambda text: b"[]",
        lambda text: b"null",
        lambda text: json.dumps(" ".join(store.KEYS)).encode(),
        lambda text: b"\xff\xfe\x00",
        lambda text: json.dumps({"seed": 3}).encode(),
        edited(metrics=[1, 2]),
        edited(configuration="d=2,space=s"),
        edited(provenance={}),
        edited(provenance={key: value for key, value in PROVENANCE.items() if key != "commit"}),
        edited(provenance=PROVENANCE | {"seconds": "1"}),
        edited(provenance=PROVENANCE | {"seconds": float("nan")}),
        edited(provenance=PROVENANCE | {"data": "hand-made"}),
        edited(provenance=PROVENANCE | {"data": {"sha256": "0"}}),
        edited(provenance=PROVENANCE | {"settings": None}),
        edited(seed="3"),
        edited(seed=4),
        edited(configuration={"d": 2, "space": "e"}),
    ],
    ids=[
        "empty",
        "half",
        "list",
        "null",
        "text",
        "bytes",
        "keys",
        "metrics",
        "configuration",
        "provenance",
        "commit",
        "seconds",
        "nan",
        "data",
        "description",
        "settings",
        "seed as text",
        "seed",
        "s/e",
    ],
)
def test_what_is_no_cell_is_refused_in_one_line_with_file_and_remedy(cell, damage):
    cell.write_bytes(damage(cell.read_text()))
    with pytest.raises(UserError) as error:
        read_cell(cell)
    assert str(cell) in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).endswith(
        f"python -m svae_repro run mnist_vae --preset {cell.parents[2].name} --where d=2,space=s --seeds 3 --fresh"
    )


def test_where_cells_come_from_is_said_in_a_few_lines(cell):
    trained = store.Results("mnist_vae", "paper", False, [read_cell(cell)] * 2, 100)
    assert store.provenances(trained).splitlines() == [
        "mnist_vae: 2 of 100 cells (paper preset)",
        "  commit: 0123456789",
        "  device: a cpu",
        "  sha256 of the data: 0",
        "data: real (hand-made)",
    ]
    digits = PROVENANCE | {"data": {"description": "stand-in (digits)", "sha256": "1"}}
    other = digits | {"commit": "f" * 40, "dirty": True, "device": "x86_64, AVX2"}
    cells = [{"provenance": digits}, {"provenance": other}]
    standin = store.Results("mnist_warmup", "paper", True, cells, 18)
    missing = store.Results("m1m2", "paper", False, [], 135)
    assert store.provenances(trained, standin, missing).splitlines()[4:] == [
        "mnist_warmup: 2 of 18 cells (paper preset)",
        "  commit: 0123456789, ffffffffff with changes",
        "  device: a cpu; x86_64, AVX2",
        "  sha256 of the data: 1",
        "m1m2: 0 of 135 cells (paper preset)",
        "data: stand-in (digits); real (hand-made)",  # what nobody should overlook comes first
    ]
    assert store.provenances(missing).endswith("data: no results yet")


def test_a_metric_that_a_cell_lacks_is_named_with_file_and_remedy(cell):
    metrics = read_cell(cell)["metrics"]
    assert metrics == {"LL": -1.5} and metrics.get("KL") is None and "KL" not in metrics
    with pytest.raises(UserError, match=r"seed-3\.json lacks the metric KL; recompute it: .* --fresh$"):
        metrics["KL"]


def test_the_command_for_a_cell_selects_its_configuration_and_no_other(tmp_path):
    for name in experiments.NAMES:
        experiment = experiments.load(name)
        for preset, settings in experiment.PRESETS.items():
            grid = experiment.configurations(settings)
            for standin in (False, True):
                for configuration in grid:
                    words = command(cell_path(paths.results(preset, standin), name, configuration, 7)).split()
                    assert words[:6] == ["python", "-m", "svae_repro", "run", name, "--preset"]
                    chosen = dict(zip(words[5::2], words[6::2], strict=True))
                    assert options.select(grid, options.parse_where(chosen.pop("--where"))) == [configuration]
                    assert chosen == {"--preset": preset, "--seeds": "7"} | ({"--data": "standin"} if standin else {})


def test_writing_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    write_atomically(path, lambda f: f.write(b"old"))

    def fail(file):
        file.write(b"new, but not all of")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot write .*file.txt: No space left on device"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_other_errors_while_writing_leave_nothing_either(tmp_path):
    def fail(file):
        raise TypeError("not JSON")

    with pytest.raises(TypeError):
        write_atomically(tmp_path / "file.txt", fail)
    assert list(tmp_path.iterdir()) == []


def test_provenance_outside_a_git_checkout_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(store.paths, "REPOSITORY", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert store._commit.__wrapped__() == {"commit": "unknown", "dirty": None}


def test_the_device_of_a_cpu_names_its_instructions(monkeypatch):
    monkeypatch.setattr(store.platform, "processor", lambda: "")
    monkeypatch.setattr(store.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(store.torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert store._processor() == "x86_64, AVX2"


def test_provenance_names_the_commit_and_whether_the_code_differs_from_it(tmp_path, monkeypatch):
    import subprocess

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "svae_repro").mkdir()
    (tmp_path / "svae_repro" / "code.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    monkeypatch.setattr(store.paths, "REPOSITORY", tmp_path)
    assert store._commit.__wrapped__() == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "notes.txt").write_text("not code")
    assert store._commit.__wrapped__()["dirty"] is False
    (tmp_path / "svae_repro" / "code.py").write_text("a = 2\n")
    assert store._commit.__wrapped__()["dirty"] is True
