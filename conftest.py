"""For the comparison of notebooks: nbval leaves pictures out; here they count."""

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    collectors = yield
    for collector in collectors:
        if hasattr(collector, "skip_compare"):  # of nbval
            collector.skip_compare = tuple(key for key in collector.skip_compare if key != "image/png")
    return collectors
