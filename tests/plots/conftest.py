"""Shared by the tests of figures: no window, and no figure left open."""

import matplotlib

matplotlib.use("Agg")  # before anything imports pyplot

import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def no_figure_is_left():
    """What `plots.save` has written is closed; a test that only looks at a figure closes it itself."""
    yield
    left = plt.get_fignums()
    plt.close("all")
    assert left == []
