"""What makes a notebook run from its file alone, on Colab or any Jupyter that has PyTorch.

Every notebook's first code cell is `FIRST_CELL`; `python -m svae_repro.notebooks --first-cell` puts it there. It finds
or fetches the repository and calls `install_missing`. Needs the standard library only.
"""

import importlib
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path

from svae_repro import paths

FIRST_CELL = """\
# On Colab, or with only this file, fetch the code and what it needs; inside the repository there is nothing to do.
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = os.environ.get("SVAE_REPOSITORY", "")  # the address for git clone; there is no public one yet

here = Path.cwd()
folder = next((f for f in (here, *here.parents) if (f / "svae_repro").is_dir()), here / "svae-repro")
if not folder.exists():
    failed, said = subprocess.getstatusoutput(f"git clone --quiet --depth 1 '{REPOSITORY}' '{folder}'")
    if failed:
        said = " ".join(said.split())
        sys.exit(f"cannot clone {REPOSITORY!r} ({said}): set REPOSITORY in this cell to the repository's address")
sys.path.insert(0, str(folder))

from svae_repro import colab  # noqa: E402

colab.install_missing()"""

NOT_FOR_NOTEBOOKS = {"jupyter", "papermill", "latex2mathml"}  # there already, or for run_all.sh and the report only


def missing() -> list[str]:
    """The requirements of the notebooks, as `pyproject.toml` has them, of which no version is installed."""
    project = tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["notebooks"]]
    names = {requirement: re.split(r"[<>=\[]", requirement)[0] for requirement in wanted}
    return [r for r, name in names.items() if name not in NOT_FOR_NOTEBOOKS and not _installed(name)]


def install_missing() -> None:
    """Install by pip what the notebooks need and is not here. What is here, PyTorch above all, stays as it is."""
    requirements = missing()
    if not requirements:
        return
    if any(requirement.startswith("torch>") for requirement in requirements):
        sys.exit(
            "PyTorch is not installed here, and which build suits this machine is for you to say: pip install torch"
        )
    print("Installing", ", ".join(requirements), "...")
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept.txt"
        kept.write_text(f"torch=={metadata.version('torch')}\n")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(kept)]
        pip = subprocess.run([*command, *requirements], capture_output=True, text=True)
    if pip.returncode:
        sys.exit(
            f"pip could not install {', '.join(requirements)}: {(pip.stderr.strip() or 'no message').splitlines()[-1]}"
        )
    importlib.invalidate_caches()


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False
