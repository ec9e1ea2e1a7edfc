"""run_all.sh from the outside: options, the virtual environment, and what becomes of notebooks that end well or badly.

The environments built here come from an empty lock, so nothing is downloaded; the notebooks are a few lines each.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from svae_repro.paths import REPOSITORY as ROOT

DECLARATIONS = 'preset = "paper"  # smoke, quick or paper\ntrain = False\ndevice = "auto"\nprogress = True'


def run(*command, env=None, **options) -> subprocess.CompletedProcess:
    command, env = [str(part) for part in command], os.environ | (env or {})
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=400, **options)


# Options and the virtual environment


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the scripts in a folder with a space in its name, with an empty lock and a notebook."""
    folder = tmp_path / "a check out"
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks" / "01_first.ipynb").write_text("{}")
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copytree(ROOT / "svae_repro", folder / "svae_repro", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run_all.sh", folder)
    (folder / "requirements.lock").write_text("# empty\n")
    return folder


def build(checkout: Path, **env) -> subprocess.CompletedProcess:
    """Only the environment, without the notebooks behind it."""
    command = f'set -euo pipefail; source "{checkout}/scripts/venv.sh"; ensure_venv; echo "ready $VENV"'
    return run("bash", "-c", command, env={"SVAE_VENV": "", "PYTHON": "", **env}, cwd="/")


def one_error_line(result: subprocess.CompletedProcess) -> str:
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_help_needs_nothing_but_bash(checkout: Path):
    result = run(checkout / "run_all.sh", "--preset", "quick", "--help", env={"PYTHON": "/nowhere"}, cwd="/")
    assert result.returncode == 0 and result.stdout.startswith("usage: ./run_all.sh")
    for option in ("--preset", "--only", "--data", "--device", "--jobs", "--seeds", "--fresh"):
        assert option in result.stdout
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--preset huge", "huge"),
        ("--only 99", "there is no notebook 99, only 01"),
        ("--only first", "'first' is not a list"),
        ("--data fake", "fake"),
        ("--device tpu", "tpu"),
        ("--jobs 0", "'0' is not a whole number"),
        ("--seeds 9-0", "'9-0' is not of the form"),
        ("--seeds a", "'a' is not of the form"),
        ("--pres quick", "--pres"),
        ("quick", "quick"),
        ("--jobs", "--jobs"),
    ],
)
def test_bad_options_end_in_one_line_before_anything_is_built(checkout: Path, options: str, said: str):
    result = run(checkout / "run_all.sh", *options.split(), env={"SVAE_VENV": "", "PYTHON": sys.executable}, cwd="/")
    assert result.returncode == 2
    assert said in one_error_line(result)
    assert not (checkout / ".venv").exists()


def fake_python(path: Path, script: str) -> Path:
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return path


def test_a_python_that_will_not_do_is_named(checkout: Path, tmp_path: Path):
    old = fake_python(tmp_path / "old", 'case "$2" in *print*) echo 3.9 ;; *) exit 1 ;; esac')
    assert "is Python 3.9; install Python 3.11 or newer" in one_error_line(build(checkout, PYTHON=str(old)))
    assert "no '/nowhere/python' on this machine" in one_error_line(build(checkout, PYTHON="/nowhere/python"))
    bare = fake_python(
        tmp_path / "bare",
        f'case "$2" in *ensurepip*) exit 1 ;; *_base_executable*) echo "$0" ;; *) exec "{sys.executable}" "$@" ;; esac',
    )
    assert "lacks the venv module" in one_error_line(build(checkout, PYTHON=str(bare)))
    assert not (checkout / ".venv").exists()


def test_environment_is_built_once_and_again_when_the_lock_changes(checkout: Path):
    first = build(checkout)
    assert first.returncode == 0 and "Building" in first.stdout, first.stderr
    assert first.stdout.endswith(f"ready {checkout}/.venv\n")
    code = "import svae_repro; print(svae_repro.__file__)"
    found = run(checkout / ".venv/bin/python", "-c", code, env={"PYTHONPATH": ""}, cwd="/")
    assert found.stdout.startswith(str(checkout))  # importable without PYTHONPATH
    assert "Building" not in build(checkout).stdout

    (checkout / "requirements.lock").write_text("# changed\n")
    (checkout / ".venv" / "kept").touch()
    assert "Building" in build(checkout).stdout
    assert (checkout / ".venv" / "kept").exists()  # updated in place

    # An installation that was cut short is not trusted: the folder is built from nothing.
    (checkout / ".venv" / ".svae-lock-sha256").write_text("building\n")
    assert "Building" in build(checkout).stdout
    assert not (checkout / ".venv" / "kept").exists()
    assert "Building" not in build(checkout).stdout


def test_failed_installation_shows_why_and_is_tried_again(checkout: Path):
    (checkout / "requirements.lock").write_text("./no-such-package\n")
    result = build(checkout)
    assert result.returncode == 1 and "ready" not in result.stdout
    assert "no-such-package" in result.stderr and "WARNING: Location" not in result.stderr
    assert "error: could not build" in result.stderr.splitlines()[-1]
    (checkout / "requirements.lock").write_text("# repaired\n")
    assert build(checkout).returncode == 0


def test_a_folder_that_is_no_environment_is_never_cleared(checkout: Path, tmp_path: Path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letters.txt").touch()
    assert "is not a virtual environment" in one_error_line(build(checkout, SVAE_VENV=str(precious)))
    assert (precious / "letters.txt").exists()


def test_the_lists_of_dependencies_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {re.split(r"[>=]", requirement)[0] for group in groups for requirement in group}
    conda = re.findall(r"^      - (\S+) +# ", (ROOT / "environment.yml").read_text(), flags=re.MULTILINE)
    assert set(conda) == wanted
    lock = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r'[\w.-]+==\S+( ; platform_system == "Linux")?', line) for line in lock)
    locked = {line.split("==")[0].lower() for line in lock}
    assert {name.partition("[")[0] for name in wanted} <= locked
    assert all("Linux" in line for line in lock if re.match(r"nvidia|cuda|triton", line))


def test_importing_the_package_is_light():
    code = "import sys, svae_repro.notebooks; print({'torch', 'numpy', 'papermill'} & set(sys.modules))"
    assert run(sys.executable, "-c", code, cwd=ROOT).stdout == "set()\n"


# The notebooks


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "note books"
    folder.mkdir()
    return folder


def write(folder: Path, name: str, *cells: str, declarations: str = DECLARATIONS) -> Path:
    code = [new_code_cell(source) for source in (declarations, *cells)]
    code[0].metadata.tags = ["parameters"]
    path = folder / f"{name}.ipynb"
    metadata = {"kernelspec": {"name": "python3", "display_name": "mine", "language": "python"}}
    nbformat.write(new_notebook(cells=code, metadata=metadata), path)
    return path


def execute(folder: Path, *options: str, **env) -> subprocess.CompletedProcess:
    return run(sys.executable, "-m", "svae_repro.notebooks", "--notebooks", folder, *options, env=env, cwd=ROOT)


def test_all_are_executed_and_the_table_says_what_became_of_them(home: Path, notebooks: Path):
    write(notebooks, "00_overview", "print('the overview')")
    write(
        notebooks,
        "01_real",
        "import os, sys\nprint((preset, train, device, progress), os.getcwd(), sys.executable)",
        "print('data: real (mnist 0123); generated (circle)')",
    )
    write(notebooks, "02_broken", "1 / 0", "print('never')")
    write(
        notebooks,
        "03_standin",
        "print(seeds, jobs)\nprint('data: stand-in (digits)')",
        declarations=DECLARATIONS + "\nseeds = None\njobs = None",
    )
    result = execute(notebooks, "--preset", "smoke", "--seeds", "0-2", "--jobs", "2")
    assert result.returncode == 1
    assert f"('smoke', True, 'auto', False) {notebooks} {sys.executable}\n" in result.stdout
    assert "0-2 2\n" in result.stdout
    assert "[4/4] 00_overview" in result.stdout and " left\n" in result.stdout  # the overview last
    assert "cell [3] raised ZeroDivisionError: division by zero" in result.stderr

    table = dict(line.split(maxsplit=1) for line in result.stdout.splitlines()[-5:])
    assert re.fullmatch(r"ok +\d+\.\d  real \(mnist 0123\)", table["01_real"])
    assert table["generated"] == "(circle)"  # each data set has a line
    assert re.fullmatch(r"failed +\d+\.\d  -", table["02_broken"])
    assert re.fullmatch(r"ok +\d+\.\d  stand-in \(digits\)", table["03_standin"])
    assert re.fullmatch(r"ok +\d+\.\d  -", table["00_overview"])

    written = sorted(str(path.relative_to(home)) for path in home.rglob("*.*") if path.is_file())
    assert written == [
        "results/smoke-standin/notebooks/03_standin.ipynb",
        "results/smoke/notebooks/00_overview.ipynb",
        "results/smoke/notebooks/01_real.ipynb",
        "results/smoke/notebooks/02_broken.failed.ipynb",
        "results/smoke/report/00_overview.html",
        "results/smoke/report/01_real.html",
        "results/smoke/report/03_standin.html",
        "results/smoke/report/index.html",
    ]
    assert f"report: {home}/results/smoke/report/index.html" in result.stdout

    # Repaired and run again, the remains of the failure go.
    write(notebooks, "02_broken", "print(1)")
    assert execute(notebooks, "--preset", "smoke", "--only", "2").returncode == 0
    left = {path.name for path in (home / "results/smoke/notebooks").glob("02*")}
    assert left == {"02_broken.ipynb"}


def test_parameters_that_a_notebook_does_not_know_are_errors(home: Path, notebooks: Path):
    write(notebooks, "01_one", "print(1)")
    result = execute(notebooks, "--seeds", "0-9")
    assert result.returncode == 2 and "none of these notebooks has a parameter seeds" in one_error_line(result)
    write(notebooks, "02_two", declarations=DECLARATIONS.replace("preset", "presett"))
    result = execute(notebooks)
    assert result.returncode == 2
    assert "02_two.ipynb does not declare the parameter preset; its parameters cell has" in one_error_line(result)
    assert "presett" in result.stderr
    (notebooks / "02_two.ipynb").write_text("no notebook")
    result = execute(notebooks)
    assert result.returncode == 2 and "cannot read 02_two.ipynb" in one_error_line(result)
    assert not (home / "results").exists()


def test_what_cannot_work_is_said_before_anything_runs(home: Path, notebooks: Path):
    assert "no notebooks" in one_error_line(execute(notebooks))
    write(notebooks, "01_one")
    (home / "results").touch()  # stands for a read-only or full folder
    assert "cannot write results" in one_error_line(execute(notebooks))
    result = execute(notebooks, "--in-place", "--data", "real")
    assert result.returncode == 2 and "leave out --data" in one_error_line(result)
    result = execute(notebooks, "--device", "cuda", CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 2 and "torch finds no GPU" in one_error_line(result)


def test_a_kernel_that_dies_fails_its_notebook_only(home: Path, notebooks: Path):
    write(notebooks, "01_killed", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    write(notebooks, "02_fine")
    result = execute(notebooks)
    assert result.returncode == 1 and "DeadKernelError" in result.stderr
    assert [line.split()[1] for line in result.stdout.splitlines()[-2:]] == ["failed", "ok"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_says_how_to_go_on_and_leaves_no_kernel(home: Path, notebooks: Path, number: signal.Signals):
    write(notebooks, "01_done")
    ended = f"open({str(home / 'ended')!r}, 'w').close()"  # stands for joblib ending its workers
    long = f"import os, time\nprint('kernel', os.getpid())\ntry:\n    time.sleep(300)\nfinally:\n    {ended}"
    write(notebooks, "02_long", long)
    write(notebooks, "03_later")
    command = [sys.executable, "-u", "-m", "svae_repro.notebooks", "--notebooks", str(notebooks)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "kernel" in line:
                kernel = int(line.split()[1])
                break
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    lines = output.splitlines()
    assert "Finished cells are kept" in lines[-1]
    assert [line.split()[1] for line in lines[-4:-1]] == ["ok", "stopped", "skipped"]
    assert [path.name for path in home.rglob("*.ipynb")] == ["01_done.ipynb"]
    assert (home / "ended").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)


def test_in_place_refresh_is_byte_identical_and_clean(home: Path, notebooks: Path):
    path = write(
        notebooks,
        "01_figure",
        "print(preset, train)\nimport sys\nprint('one', flush=True)\nprint('two')",
        "import matplotlib.pyplot as plt\nplt.plot([0, 1])\nplt.show()",
        "import ipywidgets\nipywidgets.IntSlider()",
    )
    assert execute(notebooks, "--in-place", MPLBACKEND="Agg").returncode == 0
    first = path.read_bytes()
    assert execute(notebooks, "--in-place").returncode == 0
    assert path.read_bytes() == first

    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4]
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert [cell.metadata for cell in notebook.cells] == [{"tags": ["parameters"]}, {}, {}, {}]
    assert notebook.cells[1].outputs[0].text == "paper False\none\ntwo\n"
    assert "image/png" in notebook.cells[2].outputs[0].data
    assert list(notebook.cells[3].outputs[0].data) == ["text/plain"]

    # A failure leaves the committed file as it was.
    broken = write(notebooks, "02_broken", "raise ValueError('no')")
    before = broken.read_bytes()
    result = execute(notebooks, "--in-place", "--only", "02")
    assert result.returncode == 1 and "raised ValueError: no" in result.stderr
    assert broken.read_bytes() == before
