"""Every notebook trains its smoke preset and runs to the end: on the real data where a mirror has them."""

import os
import subprocess
import sys

import pytest

from svae_repro.paths import REPOSITORY


@pytest.mark.slow
def test_every_notebook_trains_and_runs_to_the_end(home):
    data = "auto" if os.environ.get("SVAE_DATA_MIRROR") else "standin"  # no test downloads anything
    command = [sys.executable, "-m", "svae_repro.notebooks", "--preset", "smoke", "--data", data]
    command += ["--device", "cpu", "--jobs", "1"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    written = {path.name for path in home.glob("results/smoke*/notebooks/*.ipynb")}
    assert written == {path.name for path in (REPOSITORY / "notebooks").glob("*.ipynb")}
