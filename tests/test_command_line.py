"""The command line: exit codes, one line for every mistake, nothing written by any of them."""

import subprocess
import sys

import pytest
import torch

from svae_repro import __version__, paths
from svae_repro.__main__ import main
from svae_repro.experiments import circle


def error_line(capsys, arguments) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.out + captured.err
    return captured.err


RUN = ["run", "mnist_vae", "--preset", "smoke", "--data", "standin"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["run", "minst_vae"], "'minst_vae': choose one of circle, mnist_vae"),
        (["run", "mnist_vae", "--preset", "huge"], "'huge': choose one of smoke, quick, paper"),
        ([*RUN, "--where", "space=x"], "space=x: choose among e, s"),
        ([*RUN, "--where", "d=3"], "d=3: choose among 2"),
        ([*RUN, "--where", "dim=2"], "'dim' in --where: choose among d, space"),
        ([*RUN, "--where", "d:2"], "'d:2'"),
        ([*RUN, "--seeds", "a"], "'a'"),
        ([*RUN, "--seeds", "5-1"], "'5-1'"),
        ([*RUN, "--data", "fake"], "'fake'"),
        ([*RUN, "--device", "tpu"], "'tpu': choose auto, cpu or cuda"),
        ([*RUN, "--backend", "slurm"], "'slurm': choose one of loky, dask, ray"),
        ([*RUN, "--backend", "dask"], "--scheduler"),
        ([*RUN, "--backend", "dask", "--scheduler", "nowhere"], "nowhere"),
        ([*RUN, "--scheduler", "tcp://nowhere:1"], "for --backend dask"),
        ([*RUN, "--jobs", "0"], "--jobs"),
        ([*RUN, "--jobs", "-2"], "--jobs"),
        ([*RUN, "--jobs", "two"], "two"),
        ([*RUN, "--lockstep", "0"], "--lockstep"),
        ([*RUN, "--minutes", "soon"], "soon"),
        ([*RUN, "--minutes=-1"], "-1"),
        ([*RUN, "--minutes", "nan"], "nan"),
        ([*RUN, "--pres", "smoke"], "--pres"),
        ([*RUN, "circle"], "circle"),
        (["run"], "experiment"),
        ([], "command"),
        (["train"], "train"),
        (["status", "--preset", "huge"], "'huge'"),
        (["tables", "--preset", "huge"], "'huge'"),
        (["bench", "--only", "everything"], "'everything'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(home, capsys, arguments, said):
    assert said in error_line(capsys, arguments)
    assert list(home.rglob("*")) == []


def test_cuda_without_a_device_is_one_line(home, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "--device cpu" in error_line(capsys, [*RUN, "--device", "cuda"])
    assert list(home.rglob("*")) == []


def test_ray_that_is_not_installed_is_one_line(home, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.util.joblib", None)
    assert "pip install ray" in error_line(capsys, [*RUN, "--backend", "ray"])
    assert list(home.rglob("*")) == []


def test_a_mirror_that_is_no_folder_is_one_line(home, capsys, monkeypatch):
    monkeypatch.setenv("SVAE_DATA_MIRROR", str(home / "nowhere"))
    assert "SVAE_DATA_MIRROR" in error_line(capsys, ["run", "mnist_vae", "--preset", "smoke", "--data", "auto"])
    assert list(home.rglob("*")) == []


def test_broken_data_is_one_line(home, capsys):
    from svae_repro.data.mnist import FILES

    broken = home / "data" / FILES[0].path
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"not MNIST")
    assert "is corrupt" in error_line(capsys, ["run", "mnist_vae", "--preset", "smoke"])
    assert not (home / "results").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_and_version(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert __version__ in shown if arguments == ["--version"] else "usage: python -m svae_repro" in shown


def test_help_lists_what_can_be_run_and_given(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capsys.readouterr().out
    for word in (
        "circle",
        "mnist_vae",
        "smoke",
        "quick",
        "paper",
        "--where",
        "--seeds",
        "--fresh",
        "--minutes",
        "dask",
    ):
        assert word in shown


def test_run_status_and_tables_together(home, capsys):
    assert main(["run", "circle", "--preset", "smoke", "--jobs", "1", "--where", "model=n", "--seeds", "0"]) == 0
    said = capsys.readouterr().out
    assert "circle model=n seeds [0]: done (1 of 1" in said
    assert main(["status", "--preset", "smoke"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    counts = {line[1]: line[2:5] for line in lines if line[0] == "circle"}
    expected = {f"model={model}": ["0", "0", "1"] for model in circle.MODELS} | {"model=n": ["1", "0", "0"]}
    assert counts == expected
    assert main(["tables", "--preset", "smoke"]) == 0  # nothing of MNIST is there: empty tables
    assert "tables" in capsys.readouterr().out


def test_a_real_process_ends_with_the_exit_code(home):
    command = [sys.executable, "-m", "svae_repro", "run", "mnist_vae", "--preset", "huge"]
    result = subprocess.run(command, cwd=paths.REPOSITORY, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: unknown preset 'huge'") and result.stderr.count("\n") == 1


def test_tables_want_no_library_for_figures(home):
    code = "import sys; sys.modules |= dict.fromkeys(['matplotlib', 'plotly']); from svae_repro.__main__ import main; "
    code += "sys.exit(main(['tables', '--preset', 'smoke']))"
    result = subprocess.run([sys.executable, "-c", code], cwd=paths.REPOSITORY, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "") and "table1 (smoke preset)" in result.stdout


def test_training_imports_nothing_of_the_notebooks():
    code = "import sys, svae_repro.__main__, svae_repro.study; from svae_repro.experiments import mnist_vae, circle; "
    code += "print(sorted({'matplotlib', 'plotly', 'papermill', 'nbformat', 'torchvision', 'dask'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=paths.REPOSITORY, capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
