"""Shared by all tests: one thread for each worker, the markers, a home of its own for tests that write, a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import chromium

# Two pytest workers share the cores; more threads would only get in each other's way.
torch.set_num_threads(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than ten seconds (leave out with -m 'not slow')")
    config.addinivalue_line("markers", "statistical: may fail by chance, at the stated rate; its seed is fixed")
    config.addinivalue_line("markers", "gpu: needs a CUDA device; skipped without one")


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that takes the repository's place for results/, figures/ and data/, here and in subprocesses."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("SVAE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    """Headless Chromium, one for all tests of a worker; see `chromium.required` for machines that have none."""
    program = chromium.required()
    with chromium.Browser(program, tmp_path_factory.mktemp("chromium") / "profile") as running:
        yield running
