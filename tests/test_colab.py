"""The first cell of the notebooks, in a process that starts from nothing but its text, and what it may install."""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from svae_repro import colab
from svae_repro.paths import REPOSITORY

SHOW = "\nimport svae_repro; print(svae_repro.__file__)"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository with this checkout's code, to be cloned."""
    folder = tmp_path / "an origin"
    shutil.copytree(REPOSITORY / "svae_repro", folder / "svae_repro", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


def run(folder: Path, repository: str) -> subprocess.CompletedProcess:
    """The first cell in an interpreter without PYTHONPATH, working in ``folder``."""
    folder.mkdir(exist_ok=True)
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "SVAE_REPOSITORY": repository}
    command = [sys.executable, "-c", colab.FIRST_CELL + SHOW]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_from_the_notebook_file_alone(tmp_path: Path, origin: Path):
    folder = tmp_path / "content"
    for _ in range(2):  # the second time it is there
        result = run(folder, f"file://{origin}")
        assert (result.stdout, result.stderr) == (f"{folder}/svae-repro/svae_repro/__init__.py\n", "")


def test_inside_the_repository_nothing_is_fetched(origin: Path):
    result = run(origin / "notebooks", "/nowhere")
    assert (result.stdout, result.stderr) == (f"{origin}/svae_repro/__init__.py\n", "")
    assert not (origin / "notebooks" / "svae-repro").exists()


@pytest.mark.parametrize("repository", ["", "/nowhere"])
def test_a_repository_that_cannot_be_cloned_is_one_line(tmp_path: Path, repository: str):
    result = run(tmp_path / "content", repository)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert f"cannot clone '{repository}'" in result.stderr and "set REPOSITORY in this cell" in result.stderr


def lacking(monkeypatch, *names: str) -> None:
    monkeypatch.setattr(colab, "_installed", lambda name: name not in names)


def pip(monkeypatch, code: int = 0, stderr: str = "") -> list[str]:
    """What pip is asked for, without asking it; the constraints it is given follow as the last item."""
    asked: list[str] = []

    def record(command, **_):
        asked.extend([*command[3:], Path(command[command.index("-c") + 1]).read_text()])
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(subprocess, "run", record)
    return asked


def test_here_nothing_is_missing(monkeypatch):
    asked = pip(monkeypatch)
    colab.install_missing()
    assert colab.missing() == [] and asked == []


def test_only_what_is_missing_is_installed_and_torch_stays(monkeypatch, capsys):
    lacking(monkeypatch, "torch-geometric", "plotly", "jupyter")
    asked = pip(monkeypatch)
    colab.install_missing()
    constraint = asked.pop()
    assert [item for item in asked if item[0] not in "-/"] == ["install", "torch-geometric>=2.5", "plotly>=6.0"]
    assert constraint == f"torch=={metadata.version('torch')}\n"
    assert capsys.readouterr().out == "Installing torch-geometric>=2.5, plotly>=6.0 ...\n"


def test_failures_are_one_line(monkeypatch):
    lacking(monkeypatch, "plotly")
    pip(monkeypatch, code=1, stderr="WARNING: slow\nERROR: no network")
    with pytest.raises(SystemExit, match=r"pip could not install plotly>=6\.0: ERROR: no network"):
        colab.install_missing()
    lacking(monkeypatch, "torch", "plotly")
    with pytest.raises(SystemExit, match="PyTorch is not installed here"):
        colab.install_missing()
