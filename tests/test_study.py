"""The study: cells are trained once and kept, whatever kills the process, whatever the back end."""

import hashlib
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime

import joblib
import numpy as np
import psutil
import pytest
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError

from svae_repro import backends, experiments, paths, status, store, study, training
from svae_repro.__main__ import main
from svae_repro.errors import UserError
from svae_repro.experiments import mnist_vae
from svae_repro.experiments.mnist_vae import PRESETS, Settings
from svae_repro.plots.common import stored
from svae_repro.training import Schedule

SMOKE = PRESETS["smoke"]
TINY = replace(SMOKE, hidden=(8,), train_size=200, validation_size=50, test_size=50, samples=5, labelled=(20,))
# Long enough to be killed in the middle: some hundred steps
LONG = replace(TINY, schedule=Schedule(batch_size=20, warmup_epochs=3, patience=100, max_epochs=60))


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "smoke", TINY)


@pytest.fixture
def long(monkeypatch):
    monkeypatch.setitem(PRESETS, "smoke", LONG)


def run(*options, expect=0):
    """The command line in this process, on one job of a CPU with the stand-in data."""
    jobs = () if "--jobs" in options or "--backend" in options else ("--jobs", "1")
    code = main(["run", "mnist_vae", "--preset", "smoke", "--data", "standin", "--device", "cpu", *jobs, *options])
    assert code == expect
    torch.set_num_threads(1)


def cells(home):
    return sorted((home / "results" / "smoke-standin").rglob("seed-*.json"))


def metrics(home):
    return {str(file.relative_to(home)): json.loads(file.read_text())["metrics"] for file in cells(home)}


def contents(home):
    """Every file below a folder with its bytes and the time it was written."""
    files = [file for file in home.rglob("*") if file.is_file()]
    return {file: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns) for file in files}


def one_line(captured, *parts):
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1, captured.err
    assert all(str(part) in captured.err for part in parts), captured.err


@contextmanager
def no_training():
    """Training a cell in here is a failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist_vae, "run_cells", lambda job: pytest.fail(f"{job.configuration} {job.seeds} was trained"))
        yield


# Cells


def test_a_cell_says_what_made_it(home, tiny):
    before = time.time()
    run("--where", "space=s", "--seeds", "3")
    (file,) = cells(home)
    assert file == home / "results" / "smoke-standin" / "mnist_vae" / "d=2,space=s" / "seed-3.json"
    cell = json.loads(file.read_text())
    assert list(cell) == ["experiment", "configuration", "seed", "metrics", "provenance"]
    assert (cell["experiment"], cell["configuration"], cell["seed"]) == ("mnist_vae", {"d": 2, "space": "s"}, 3)
    assert {"LL", "ELBO", "RE", "KL", "knn"} < set(cell["metrics"])
    source = cell["provenance"]
    git = ["git", "-C", str(paths.REPOSITORY), "rev-parse", "HEAD"]
    assert source["commit"] in (subprocess.run(git, capture_output=True, text=True).stdout.strip(), "unknown")
    assert source["dirty"] in (True, False, None)
    assert source["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert source["versions"]["python"] == sys.version.split()[0] and source["versions"]["numpy"] == np.__version__
    assert source["device"] and 0 < source["seconds"] < time.time() - before + 1
    data = mnist_vae.load_data("standin", TINY)
    assert (source["data"]["sha256"], source["data"]["standin"]) == (data.sha256, True)
    assert abs(datetime.fromisoformat(source["started"]).timestamp() - before) < 60
    assert source["settings"]["samples"] == 5
    with np.load(file.with_suffix(".npz")) as arrays:
        assert len(arrays["validation_curve"]) == cell["metrics"]["stopped_epoch"]
    assert sorted(f.name for f in file.parent.iterdir()) == ["seed-3.json", "seed-3.npz"]  # and no checkpoint


def test_present_means_done_and_fresh_means_again(home, tiny):
    run("--where", "space=e")
    before, first = contents(home), metrics(home)
    assert len(first) == 2
    with no_training():
        run("--where", "space=e")
    assert contents(home) == before
    run("--where", "space=e", "--seeds", "1", "--fresh")
    after = contents(home)
    for file in before:
        same = after[file] == before[file]
        assert same == ("seed-0" in file.name), file
    assert metrics(home) == first


def test_fresh_forgets_every_checkpoint_of_its_own(home, tiny, monkeypatch):
    folder = home / "results/smoke-standin/mnist_vae/d=2,space=e"
    folder.mkdir(parents=True)
    others = ["seeds-1-2.ckpt", "seeds-11.ckpt"]
    for name in ["seeds-1.ckpt", "seeds-1.pilot", "seeds-1.d=8,dropout=0.5.ckpt", *others]:
        (folder / name).touch()
    seen, train = [], mnist_vae.run_cells

    def run_cells(job):
        seen.extend(sorted(file.name for file in folder.iterdir()))
        job.checkpoint.with_suffix(".pilot").touch()
        return train(job)

    monkeypatch.setattr(mnist_vae, "run_cells", run_cells)
    run("--where", "space=e", "--seeds", "1", "--fresh")
    assert seen == ["seeds-1-2.ckpt", "seeds-1.origin.json", "seeds-11.ckpt"]
    assert sorted(file.name for file in folder.iterdir()) == ["seed-1.json", "seed-1.npz", *others]


def test_only_what_is_missing_is_trained(home, tiny, monkeypatch):
    run("--where", "space=e")
    trained, original = [], mnist_vae.run_cells
    monkeypatch.setattr(
        mnist_vae, "run_cells", lambda job: trained.append((job.configuration["space"], job.seeds)) or original(job)
    )
    (home / "results/smoke-standin/mnist_vae/d=2,space=e/seed-1.json").unlink()
    run()
    assert trained == [("e", [1]), ("s", [0]), ("s", [1])]
    assert len(cells(home)) == 4


def test_seeds_given_twice_are_trained_once(home, tiny, monkeypatch):
    trained, original = [], mnist_vae.run_cells
    monkeypatch.setattr(mnist_vae, "run_cells", lambda job: trained.extend(job.seeds) or original(job))
    run("--where", "space=e", "--seeds", "1,0-1,1")
    assert trained == [1, 0]


def test_load_finds_the_cells_in_order_and_their_arrays(home, tiny):
    run("--seeds", "10,0,2", "--where", "space=s")
    run("--seeds", "1", "--where", "space=e")
    results = store.load("mnist_vae", "smoke", standin=True)
    assert [(c["configuration"]["space"], c["seed"]) for c in results.cells] == [
        ("e", 1),
        ("s", 0),
        ("s", 2),
        ("s", 10),
    ]
    assert [c["seed"] for c in results.where(space="s", d=2)] == [0, 2, 10]
    assert set(results.arrays(0, space="s")) >= {"validation_curve", "latent", "grid"}
    assert results.arrays(7, space="s") is None
    assert "stand-in" in results.data
    assert store.load("mnist_vae", "smoke").cells == [] and results.wanted == 4
    shown = study.obtain("mnist_vae", "smoke", train=False, data="standin")
    assert [c["path"] for c in shown.cells] == [c["path"] for c in results.cells]


def test_standin_results_never_lie_among_real_ones(home, tiny, monkeypatch):
    run("--where", "space=e", "--seeds", "0")
    assert [f.name for f in (home / "results").iterdir()] == ["smoke-standin"]
    digits = mnist_vae.load_data("standin", TINY)
    monkeypatch.setattr(mnist_vae, "load_data", lambda source, settings: replace(digits, standin=False))
    run("--where", "space=e", "--seeds", "0")
    assert sorted(f.name for f in (home / "results").iterdir()) == ["smoke", "smoke-standin"]


@pytest.mark.parametrize("text", ["{", "", "null", '{"seed": 0}'])
def test_a_broken_result_is_reported_kept_and_recomputed_only_with_fresh(home, tiny, capsys, text):
    run("--where", "space=s")
    good, path = metrics(home), cells(home)[0]
    path.write_text(text)
    before = contents(home)
    capsys.readouterr()
    with no_training():  # not even the third one, which is missing
        run("--where", "space=s", "--seeds", "0-2", expect=2)
        one_line(capsys.readouterr(), path, "--fresh")
        for command in ("status", "tables"):
            assert main([command, "--preset", "smoke", "--standin"]) == 2
            one_line(capsys.readouterr(), path, "--fresh")
    assert contents(home) == before
    run("--where", "space=s", "--seeds", path.stem.removeprefix("seed-"), "--fresh")
    assert metrics(home) == good


def follow(text: str) -> None:
    """Run the one command that a message gives, as it stands there."""
    (command,) = re.findall(r"python -m svae_repro (run .*)", text)
    assert main([*command.split(), "--device", "cpu", "--jobs", "1"]) == 0
    torch.set_num_threads(1)


@pytest.mark.parametrize("value", [None, "abc", [1.0], float("nan"), float("inf")], ids=str)
def test_a_result_without_the_numbers_of_its_table_is_reported_with_the_command_that_helps(home, tiny, capsys, value):
    run("--where", "space=s")
    good, path = metrics(home), cells(home)[1]
    untouched = contents(home)
    cell = json.loads(path.read_text())
    cell["metrics"]["LL"] = value
    path.write_text(json.dumps(cell))
    capsys.readouterr()
    assert main(["tables", "--preset", "smoke", "--standin"]) == 2
    error = capsys.readouterr()
    one_line(error, path, "LL", "mnist_vae --preset smoke --where d=2,space=s --seeds 1 --data standin --fresh")
    follow(error.err)
    assert metrics(home) == good
    assert {f for f, before in untouched.items() if contents(home)[f] != before} == {path, path.with_suffix(".npz")}


@pytest.mark.parametrize("damage", [b"", b"not an archive", b"half"], ids=["empty", "text", "half"])
def test_arrays_that_cannot_be_read_are_one_line_with_the_command_that_helps(home, tiny, damage):
    run("--where", "space=s", "--seeds", "0")
    (file,) = home.rglob("*.npz")
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2] if damage == b"half" else damage)
    with pytest.raises(UserError) as error:
        store.load("mnist_vae", "smoke", standin=True).arrays(0, space="s")
    assert str(file) in str(error.value) and "\n" not in str(error.value)
    follow(str(error.value))
    assert set(store.load("mnist_vae", "smoke", standin=True).arrays(0, space="s")) >= {"validation_curve", "latent"}


def test_a_figure_names_the_commands_that_make_its_cells_and_no_others(home, tiny, capsys):
    run("--where", "space=s")
    file = home / "results/smoke-standin/mnist_vae/d=2,space=s/seed-0.npz"
    file.unlink()
    grid = mnist_vae.configurations(TINY)

    def asked():
        capsys.readouterr()
        found = stored(store.load("mnist_vae", "smoke", standin=True), "latent", grid)
        return found, capsys.readouterr().out.splitlines()

    found, lines = asked()
    start = "python -m svae_repro run mnist_vae --preset smoke --where"
    assert found == [] and lines[1:] == [
        f"{start} d=2,space=e --seeds 0 --data standin",
        f"{start} d=2,space=s --seeds 0 --data standin --fresh",
    ]
    before = contents(home)
    for line in lines[1:]:
        follow(line)
    found, lines = asked()
    assert [configuration for configuration, _ in found] == grid and lines == []
    assert all(contents(home)[f] == before[f] for f in before if f.stem != "seed-0")
    assert [file.name for file in cells(home)] == ["seed-0.json", "seed-0.json", "seed-1.json"]


def test_a_diverged_training_is_one_line_that_names_the_cell(home, monkeypatch, capsys):
    bad = replace(TINY, schedule=replace(TINY.schedule, learning_rate=1e30))
    monkeypatch.setitem(PRESETS, "smoke", bad)
    run("--where", "space=e", "--seeds", "4", expect=2)
    one_line(capsys.readouterr(), "mnist_vae d=2,space=e seeds [4]", "diverged")
    run("--where", "space=e", "--seeds", "3,4", "--lockstep", "2", expect=2)
    one_line(capsys.readouterr(), "seeds [3, 4]", "diverged", "--lockstep 1 spares the others")
    assert cells(home) == []


def test_a_diverged_training_ends_no_other(home, tiny, monkeypatch, capsys):
    train = mnist_vae.run_cells

    def run_cells(job):
        if job.seeds == [0]:
            raise FloatingPointError("training diverged")
        return train(job)

    monkeypatch.setattr(mnist_vae, "run_cells", run_cells)
    run("--where", "space=e", expect=2)
    one_line(capsys.readouterr(), "d=2,space=e seeds [0]", "diverged")
    assert [file.name for file in cells(home)] == ["seed-1.json"]


def test_runs_in_lockstep_are_stored_one_by_one(home, tiny, monkeypatch):
    """What a GPU does, on a CPU: all missing seeds of a configuration are one task."""
    run("--seeds", "0-2")
    alone = metrics(home)
    for file in cells(home)[1:3] + cells(home)[3:]:
        file.unlink()
    groups, original = [], mnist_vae.run_cells

    def spy(job):
        groups.append((job.configuration["space"], job.seeds, job.device, job.checkpoint.name))
        job.device = "cpu"
        return original(job)

    monkeypatch.setattr(mnist_vae, "run_cells", spy)
    monkeypatch.setattr(study, "resolve_device", lambda device: "cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    run("--seeds", "0-2")
    assert groups == [("e", [1, 2], "cuda", "seeds-1-2.ckpt"), ("s", [0, 1, 2], "cuda", "seeds-0-1-2.ckpt")]
    together = metrics(home)
    assert set(together) == set(alone)
    for name, expected in alone.items():
        for key in ("LL", "ELBO", "KL"):
            assert together[name][key] == pytest.approx(expected[key], rel=1e-5)  # float32, see test_training


def test_lockstep_divides_the_seeds_into_tasks(home, tiny, monkeypatch):
    groups, original = [], mnist_vae.run_cells
    monkeypatch.setattr(mnist_vae, "run_cells", lambda job: groups.append(job.seeds) or original(job))
    run("--seeds", "0-4", "--where", "space=e", "--lockstep", "2")
    assert groups == [[0, 1], [2, 3], [4]]
    assert len(cells(home)) == 5


# Back ends


def test_two_jobs_give_the_same_as_one(home, tmp_path, monkeypatch):
    run("--where", "space=s", "--jobs", "2")
    first = metrics(home)
    monkeypatch.setenv("SVAE_HOME", str(tmp_path / "other"))
    run("--where", "space=s", "--jobs", "1")
    assert len(first) == 2 and metrics(tmp_path / "other") == first


def test_a_dask_cluster_gives_the_same_as_this_machine(home, tiny, tmp_path, monkeypatch, capsys):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options, protocol="tcp://", silence_logs=50) as cluster:
        run("--where", "space=s", "--backend", "dask", "--scheduler", cluster.scheduler_address)
        assert "done (2 of 2" in capsys.readouterr().out
        first = metrics(home)
    monkeypatch.setenv("SVAE_HOME", str(tmp_path / "other"))
    run("--where", "space=s")
    assert len(first) == 2 and metrics(tmp_path / "other") == first


def waits_for(file, then):
    """Nothing but ``then`` once ``file`` is there; a test that fails where it is not within half a minute."""
    end = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < end, f"{file} was not stored while another cell was in training"
        time.sleep(0.05)
    return then()


def test_a_dask_cluster_stores_a_cell_while_another_is_in_training_and_after_one_diverged(
    home, tiny, monkeypatch, capsys
):
    distributed = pytest.importorskip("distributed")
    first, train = home / "results/smoke-standin/mnist_vae/d=2,space=e/seed-0.json", mnist_vae.run_cells

    def run_cells(job):
        if job.seeds == [0]:
            return train(job)
        if job.seeds == [1]:
            waits_for(first, lambda: None)
            raise FloatingPointError("training diverged")
        return waits_for(first, lambda: train(job))

    monkeypatch.setattr(mnist_vae, "run_cells", run_cells)
    options = {"n_workers": 1, "threads_per_worker": 3, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options, protocol="tcp://", silence_logs=50) as cluster:
        where = ("--where", "space=e", "--seeds", "0-2")
        run(*where, "--backend", "dask", "--scheduler", cluster.scheduler_address, expect=2)
    one_line(capsys.readouterr(), "d=2,space=e seeds [1]", "diverged")
    assert [file.name for file in cells(home)] == ["seed-0.json", "seed-2.json"]


class ReturnsTheWholeList(joblib._parallel_backends.ThreadingBackend):
    """As joblib's back end for Ray, the multiprocessing one in origin, which has no generators."""

    supports_return_generator = False


def test_a_ray_cluster_stores_a_round_of_jobs_before_the_next(home, tiny, monkeypatch):
    """A stand-in for Ray, which need not be installed: a back end with the same restriction."""
    joblib.register_parallel_backend("ray", ReturnsTheWholeList)
    monkeypatch.setattr(backends, "cluster", lambda *_: nullcontext())
    second, train = home / "results/smoke-standin/mnist_vae/d=2,space=e/seed-1.json", mnist_vae.run_cells

    def run_cells(job):
        return train(job) if job.seeds[0] < 2 else waits_for(second, lambda: train(job))

    monkeypatch.setattr(mnist_vae, "run_cells", run_cells)
    run("--where", "space=e", "--seeds", "0-2", "--jobs", "2", "--backend", "ray")
    assert len(cells(home)) == 3


# Time limits, kills, full disks


def test_a_run_out_of_time_leaves_checkpoints_and_goes_on_to_the_same_result(home, tiny, tmp_path, monkeypatch, capsys):
    # Two epochs a cell: the first call trains one epoch of the first cell, the second the other one and so on.
    with monkeypatch.context() as patch:
        clock, epochs, original = [0.0], [], training._State.record

        def record(state, losses, seconds):
            original(state, losses, seconds)
            epochs.append(state.epoch)
            clock[0] = 1e6  # from now on it is too late

        patch.setattr(training._State, "record", record)
        now, monotonic = time.time, time.monotonic
        patch.setattr(study.time, "time", lambda: now() + clock[0])
        patch.setattr(study.time, "monotonic", lambda: monotonic() + clock[0])
        run("--where", "space=s", "--minutes", "5", expect=3)
        said = capsys.readouterr().out
        assert "time is up: 2 cells are not finished" in said and cells(home) == []
        checkpoints = list(home.rglob("*.ckpt"))
        assert [file.name for file in checkpoints] == ["seeds-0.ckpt"] and epochs == [1]
    run("--where", "space=s")
    assert not list(home.rglob("*.ckpt"))
    monkeypatch.setenv("SVAE_HOME", str(tmp_path / "other"))
    run("--where", "space=s")
    assert metrics(home) == metrics(tmp_path / "other")


def test_no_time_at_all_trains_nothing(home, tiny):
    with no_training():
        run("--minutes", "0", expect=3)
    assert cells(home) == []


CHILD = f"""
import os, signal, sys, time
from svae_repro import store, study, training
from svae_repro.__main__ import main
from svae_repro.experiments import mnist_vae
from svae_repro.experiments.mnist_vae import Settings
from svae_repro.training import Schedule
mnist_vae.PRESETS["smoke"] = {LONG!r}
training.CHECKPOINT_SECONDS = study._Reporter.SECONDS = 0.0
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell started in the background
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@contextmanager
def child(extra: str, *options: str):
    """``run`` in a process of its own, which stores a checkpoint and prints a line after every epoch."""
    script = CHILD + extra + '\nsys.exit(main(["run", "mnist_vae", *sys.argv[1:]]))'
    where = ["--device", "cpu", "--jobs", "1"]
    command = [sys.executable, "-c", script, "--preset", "smoke", "--data", "standin", *where, *options]
    process = subprocess.Popen(
        command,
        cwd=paths.REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process, text: str) -> str:
    for line in process.stdout:
        if text in line:
            return line
    pytest.fail(f"the process ended without {text!r}: {process.stderr.read()}")


def epoch_of(checkpoint) -> int:
    return torch.load(checkpoint, weights_only=True)["epoch"]


HALF_A_CHECKPOINT = """
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
save, calls = torch.save, []
def half(content, path):
    save(content, path)
    calls.append(path)
    if len(calls) == 5:
        os.truncate(path, os.path.getsize(path) // 2)
        kill()
torch.save = half
"""
BETWEEN_ARRAYS_AND_CELL = """
replace = os.replace
os.replace = lambda file, name: kill() if name.name == "seed-0.json" else replace(file, name)
"""


def test_a_killed_run_leaves_no_broken_file_and_resumes_to_the_undisturbed_result(home, long, tmp_path, monkeypatch):
    where = ("--where", "space=s", "--seeds", "0")
    checkpoint = home / "results/smoke-standin/mnist_vae/d=2,space=s/seeds-0.ckpt"
    with child("", *where) as process:  # killed from outside at no particular instant
        wait_for(process, "epoch 8,")
        process.kill()
        assert process.wait() == -signal.SIGKILL
    first = epoch_of(checkpoint)
    assert 7 <= first < 60 and cells(home) == []
    with child(HALF_A_CHECKPOINT, *where) as process:  # killed with half of a checkpoint written
        assert f"epoch {first + 1}," in wait_for(process, "epoch ")  # it goes on where the first one was
        assert process.wait() == -signal.SIGKILL
    assert epoch_of(checkpoint) == first + 4 and cells(home) == []
    with child(BETWEEN_ARRAYS_AND_CELL, *where) as process:  # killed while the cell is written
        wait_for(process, "epoch 60,")
        assert process.wait() == -signal.SIGKILL
    assert epoch_of(checkpoint) == 60 and cells(home) == [] and checkpoint.with_name("seed-0.npz").exists()
    assert store.load("mnist_vae", "smoke", standin=True).cells == []  # the leavings disturb nobody
    run(*where)
    assert not checkpoint.exists() and len(cells(home)) == 1
    monkeypatch.setenv("SVAE_HOME", str(tmp_path / "other"))
    run(*where)
    assert metrics(home) == metrics(tmp_path / "other")
    arrays = [store.load("mnist_vae", "smoke", standin=True).arrays(0)]
    monkeypatch.setenv("SVAE_HOME", str(home))
    arrays.append(store.load("mnist_vae", "smoke", standin=True).arrays(0))
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(arrays[0][key], arrays[1][key]) for key in arrays[0])


def test_a_truncated_checkpoint_is_no_obstacle(home, tiny, monkeypatch):
    # What is not signed would be removed before it is read.
    monkeypatch.setattr(study._Task, "claim_checkpoints", lambda task, source: source)
    folder = home / "results/smoke-standin/mnist_vae/d=2,space=s"
    folder.mkdir(parents=True)
    (folder / "seeds-0.ckpt").write_bytes(b"PK\x03\x04 half of a checkpoint")
    run("--where", "space=s", "--seeds", "0")
    assert [file.name for file in sorted(folder.iterdir())] == ["seed-0.json", "seed-0.npz"]


def out_of_time(train):
    """``train`` with its deadline behind it: it leaves a checkpoint after the first epoch."""

    def run_cells(job):
        job.deadline = time.monotonic() - 1
        return train(job)

    return run_cells


@pytest.mark.parametrize("change", ["nothing", "commit", "grid", "settings", "data", "unsigned", "note"])
def test_only_a_checkpoint_of_the_same_settings_and_data_is_continued(home, tiny, monkeypatch, change):
    where, train, found = ("--where", "space=s", "--seeds", "0"), mnist_vae.run_cells, []
    monkeypatch.setattr(mnist_vae, "run_cells", out_of_time(train))
    run(*where, expect=3)
    folder = home / "results/smoke-standin/mnist_vae/d=2,space=s"
    assert sorted(file.name for file in folder.iterdir()) == ["seeds-0.ckpt", "seeds-0.origin.json"]
    ours = store.provenance("cpu", mnist_vae.load_data("standin", TINY), TINY)["commit"]
    if change == "commit":
        monkeypatch.setattr(store, "_commit", lambda: {"commit": "a later one", "dirty": False})
    elif change == "grid":
        monkeypatch.setitem(PRESETS, "smoke", replace(TINY, seeds=9))
    elif change == "settings":
        monkeypatch.setitem(PRESETS, "smoke", replace(TINY, samples=6))
    elif change == "note":
        (folder / "seeds-0.origin.json").write_text('{"settings": []}')
    elif change == "data":
        load = mnist_vae.load_data
        monkeypatch.setattr(mnist_vae, "load_data", lambda *a: replace(load(*a), sha256="another"))
    elif change == "unsigned":
        (folder / "seeds-0.origin.json").unlink()
    monkeypatch.setattr(mnist_vae, "run_cells", lambda job: found.append(job.checkpoint.exists()) or train(job))
    run(*where)
    assert found == [change in ("nothing", "commit", "grid")]
    assert sorted(file.name for file in folder.iterdir()) == ["seed-0.json", "seed-0.npz"]
    source = json.loads((folder / "seed-0.json").read_text())["provenance"]
    assert source.get("started_commit") == (ours if change == "commit" else None)


def test_a_cell_names_the_commit_whose_code_ran(monkeypatch):
    """Not one that came while the process trained."""
    before = store.provenance("cpu", mnist_vae.load_data("standin", TINY), TINY)["commit"]
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("asked again"))
    assert store.provenance("cpu", mnist_vae.load_data("standin", TINY), TINY)["commit"] == before


@pytest.mark.parametrize("change", ["nothing", "grid", "settings", "data"])
def test_finished_cells_of_other_settings_or_data_are_named(home, tiny, monkeypatch, capsys, change):
    run("--where", "space=e")
    if change == "grid":
        monkeypatch.setitem(PRESETS, "smoke", replace(TINY, dims=(2, 3), seeds=2))
    elif change == "settings":
        monkeypatch.setitem(PRESETS, "smoke", replace(TINY, samples=6, labelled=(10, 20)))
    elif change == "data":
        load = mnist_vae.load_data
        monkeypatch.setattr(mnist_vae, "load_data", lambda *a: replace(load(*a), sha256="another"))
    capsys.readouterr()
    with no_training():
        run("--where", "d=2,space=e")
    out = capsys.readouterr().out
    names = {"settings": "labelled, samples", "data": "data"}.get(change)
    if names:
        assert f"2 of them differ in {names} from what would be made now" in out
    else:
        assert "differ" not in out


def test_progress_of_other_groups_is_named(home, tiny, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr(mnist_vae, "run_cells", out_of_time(mnist_vae.run_cells))
        run("--where", "space=s", "--seeds", "0-1", "--lockstep", "2", expect=3)
    capsys.readouterr()
    for group in ("0-1", "1-2"):  # as a search keeps one for each of its points, the tasks' own among them
        (home / f"results/smoke-standin/mnist_vae/d=2,space=s/seeds-{group}.point.ckpt").touch()
    run("--where", "space=s", "--seeds", "1-2", "--lockstep", "2")
    out = capsys.readouterr().out
    assert "seeds-0-1.ckpt is not continued" in out and out.count("not continued") == 1
    run("--where", "space=s", "--seeds", "3")
    assert "not continued" not in capsys.readouterr().out


def test_what_another_run_has_finished_meanwhile_is_not_trained_again(home, tiny, monkeypatch):
    train, trained = mnist_vae.run_cells, []

    def run_cells(job):
        trained.append(job.seeds)
        if job.seeds == [0]:  # while another process trains the second cell
            outcomes = train(replace(job, seeds=[1], checkpoint=None))
            path = home / "results/smoke-standin/mnist_vae/d=2,space=e/seed-1.json"
            source = store.provenance("cpu", job.data, job.settings) | {"seconds": 1.0}
            store.write_cell(path, "mnist_vae", job.configuration, 1, outcomes[0], source)
        return train(job)

    monkeypatch.setattr(mnist_vae, "run_cells", run_cells)
    run("--where", "space=e", "--seeds", "0-2")
    assert trained == [[0], [2]] and len(cells(home)) == 3


SECOND_SEED_WAITS = """
train = mnist_vae.run_cells
mnist_vae.run_cells = lambda job: train(job) if job.seeds == [0] else (print("waiting", flush=True), time.sleep(60))
"""


def test_ctrl_c_keeps_the_finished_cells(home):
    with child(SECOND_SEED_WAITS, "--where", "space=e", "--seeds", "0-1") as process:
        wait_for(process, "waiting")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.count("\n") == 1 and error.startswith("stopped") and "Traceback" not in error
    assert [file.name for file in cells(home)] == ["seed-0.json"]
    assert json.loads(cells(home)[0].read_text())["seed"] == 0


def trainers(process) -> list[psutil.Process]:
    """The processes that train for one which has just written its first cell."""
    wait_for(process, "done (1 of ")
    found = [p for p in psutil.Process(process.pid).children() if "LokyProcess" in " ".join(p.cmdline())]
    assert len(found) == 2
    return found


def test_a_training_that_nobody_waits_for_ends_at_its_next_report():
    for driver in (None, os.getppid(), os.getpid()):
        study._Reporter("ours", print, driver).evaluation(1, 2)
    with pytest.raises(SystemExit, match="orphan: left to its checkpoint"):
        study._Reporter("orphan", print, -1).evaluation(1, 2)


def test_more_jobs_than_tasks_are_no_more_processes(home, tiny):
    """A single task is then trained by joblib in this process, which is its own driver."""
    run("--where", "space=e", "--seeds", "0", "--jobs", "3")
    assert len(cells(home)) == 1


def wait_until_idle(processes) -> None:
    """Until none of them has computed for two seconds; joblib ends them later."""
    busy = None
    for _ in range(20):
        before, busy = busy, [sum(p.cpu_times()[:2]) for p in processes if p.is_running()]
        if busy == before:
            return
        time.sleep(2)
    pytest.fail(f"they train on: {busy}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_processes_that_train_end_with_the_one_that_writes(home, number):
    """After SIGKILL, of which it cannot tell them, each ends itself at its next report."""
    command = [sys.executable, "-m", "svae_repro", "run", "mnist_vae", "--preset", "smoke", "--data", "standin"]
    process = subprocess.Popen(
        [*command, "--where", "space=e", "--seeds", "0-99", "--jobs", "2"],
        cwd=paths.REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # these tests may run under nohup
    )
    try:
        workers = trainers(process)
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait()
            wait_until_idle(workers)
        else:
            assert psutil.wait_procs(workers, timeout=60)[1] == []
            _, error = process.communicate(timeout=60)
            assert process.returncode == 128 + number and error.startswith("stopped") and error.count("\n") == 1
    finally:
        for one in (process, *workers):
            with suppress(psutil.NoSuchProcess):
                one.kill()


def test_a_log_that_cannot_be_written_stops_no_training(home):
    """As when the reader of a pipe, or the disk of the log, is gone."""
    with child("", "--where", "space=e", "--seeds", "0-1") as process:
        process.stdout.close()
        assert process.wait(timeout=120) == 0
        process.stdout = None
    assert len(cells(home)) == 2


def test_fresh_says_that_the_others_are_as_they_were(home):
    with child(SECOND_SEED_WAITS, "--where", "space=e", "--seeds", "0-1", "--fresh") as process:
        wait_for(process, "waiting")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "as they were" in error


@pytest.mark.parametrize("content", ["null", "[]", "3", '"x"'])
def test_a_note_of_a_checkpoint_that_says_nothing_is_replaced(home, tiny, content):
    folder = home / "results/smoke-standin/mnist_vae/d=2,space=s"
    folder.mkdir(parents=True)
    (folder / "seeds-0.origin.json").write_text(content)
    (folder / ".seeds-0.ckpt.0123.tmp").write_text("what a kill has left")
    run("--where", "space=s", "--seeds", "0")
    assert sorted(file.name for file in folder.iterdir()) == ["seed-0.json", "seed-0.npz"]


@contextmanager
def full_disk(size):
    """No file may grow beyond ``size`` bytes, which looks to the writer like a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_no_partial_file(home, tiny, capsys, monkeypatch):
    run("--where", "space=e", "--seeds", "0")
    before = contents(home)
    capsys.readouterr()
    monkeypatch.setattr(training._State, "save", lambda state: None)  # it would be the first to fail
    with full_disk(1000):
        run("--where", "space=s", "--seeds", "0", expect=2)
    one_line(capsys.readouterr(), "seed-0.json", "cannot write")
    signed = home / "results/smoke-standin/mnist_vae/d=2,space=s/seeds-0.origin.json"
    assert contents(home).keys() - before.keys() == {signed} and before.items() <= contents(home).items()


def test_a_disk_too_full_for_a_checkpoint_is_one_line(home, tiny, capsys, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    with full_disk(1000):
        run("--where", "space=s", "--seeds", "0", expect=2)
    one_line(capsys.readouterr(), "seeds-0.ckpt", "cannot write")
    assert [file.name for file in contents(home)] == ["seeds-0.origin.json"]


def test_results_that_cannot_be_written_are_found_out_before_the_training(home, tiny, capsys):
    (home / "results").write_text("a file where the folder should be")
    with no_training():
        run(expect=2)
    one_line(capsys.readouterr(), "cannot write", home / "results")
    assert [file.name for file in home.rglob("*")] == ["results"]


# Progress


def test_the_time_left_follows_the_pace_of_the_last_epochs():
    """What an earlier process, or a pause, made of the first ones does not matter any more."""
    lines = []
    reporter = study._Reporter("a cell", lines.append)
    reporter.epoch(training.Progress(1, 100, 200, 3600.0, 5.0))
    reporter.last = -math.inf
    reporter.epoch(training.Progress(2, 100, 200, 0.0, 4.0))
    for epoch in (3, 4):
        reporter.last = -math.inf if epoch == 4 else math.inf
        reporter.epoch(training.Progress(epoch, 100, 200, 6.0, 3.0, " of the pilot"))
    assert lines == [
        "a cell: epoch 2, validation loss 4.00, 1800.0 s an epoch, 2940 to 5940 min left",
        "a cell: epoch 4 of the pilot, validation loss 3.00, 6.0 s an epoch, 10 to 20 min left",
    ]


# Status


def test_status_counts_what_is_done_running_and_missing(home, tiny, monkeypatch):
    run("--where", "space=s", "--seeds", "0")
    folder = home / "results/smoke-standin/mnist_vae/d=2,space=e"
    folder.mkdir()
    (folder / "seeds-1.ckpt").touch()

    def counts():
        lines = [line.split() for line in status.status("smoke", standin=True).splitlines()]
        return {line[1]: line[2:5] for line in lines if line[0] == "mnist_vae"}

    assert counts() == {"d=2,space=s": ["1", "0", "1"], "d=2,space=e": ["0", "1", "1"]}
    (folder / "seeds-1.d=8,dropout=0.5.ckpt").touch()  # another one of the same task
    assert counts()["d=2,space=e"] == ["0", "1", "1"]
    lines = status.status("smoke", standin=True).splitlines()
    assert len({len(line) for line in lines}) == 1 and any(line.startswith("mixed_curvature ") for line in lines)
    totals = {tuple(line.split()[1:-4]): line.split()[-4:] for line in lines if line.startswith("total ")}
    assert totals["mnist_vae",][:3] == ["1", "1", "2"] and totals["mnist_vae",][3] != "unknown"
    assert set(experiments.NAMES) == {name for (name, *_) in totals} - {"all"}
    every = totals["all", "experiments"]
    assert every == [*(str(sum(int(totals[name,][k]) for name in experiments.NAMES)) for k in range(3)), "unknown"]
    (folder / "seeds-1.d=8,dropout=0.5.ckpt").unlink()
    old = time.time() - 3600  # nothing has written to it for an hour: not running
    os.utime(folder / "seeds-1.ckpt", (old, old))
    assert counts()["d=2,space=e"] == ["0", "0", "2"]
    run("--where", "space=s", "--seeds", "0,5-7")  # more than the preset has
    assert counts()["d=2,space=s"] == ["1", "0", "1"]
    monkeypatch.setattr(type(folder), "stat", lambda *a, **k: (_ for _ in ()).throw(FileNotFoundError))  # just removed
    assert status._age(folder / "seeds-1.ckpt") == math.inf


def test_settings_survive_as_text():
    """What the killed processes above rest on."""
    assert eval(repr(LONG), {"Settings": Settings, "Schedule": Schedule}) == LONG


def test_a_killed_worker_is_one_line(home, tiny, capsys, monkeypatch):
    def killed(*arguments):
        raise TerminatedWorkerError("a worker process was unexpectedly terminated")

    monkeypatch.setattr(joblib.Parallel, "__call__", killed)
    run("--where", "space=e", "--jobs", "2", expect=2)
    one_line(capsys.readouterr(), "killed", "--jobs")
