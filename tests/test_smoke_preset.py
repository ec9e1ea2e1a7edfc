"""Every notebook trains its smoke preset and runs to the end: on the real data where a mirror has them."""

import os
import subprocess
import sys

import pytest

from svae_repro.paths import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_a_notebook_trains_and_runs_to_the_end(tmp_path, notebook):
    options = ["--preset", "smoke", "--only", notebook.name[:2], "--device", "cpu"]
    if '"jobs = ' in notebook.read_text():  # those that train
        data = "auto" if os.environ.get("SVAE_DATA_MIRROR") else "standin"  # no test downloads anything
        options += ["--jobs", "1", "--data", data]
    result = subprocess.run(
        [sys.executable, "-m", "svae_repro.notebooks", *options],
        cwd=REPOSITORY,
        env=os.environ | {"SVAE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert list(tmp_path.glob(f"results/smoke*/notebooks/{notebook.name}"))
