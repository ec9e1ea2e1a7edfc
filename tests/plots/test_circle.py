"""Figure 1 in numbers: a model without a prior says so in words, which nobody takes for a point."""

import matplotlib.pyplot as plt

from svae_repro import plots
from svae_repro.store import Results

NUMBERS = {
    "circular_correlation": 0.9,
    "cluster_recovery": 0.9,
    "marginal_kl": 0.5,
    "mean_radius": 2.0,
    "centre_share": 0.1,
}


def test_no_prior_and_no_run_are_written_out():
    cells = [
        {"configuration": {"model": "ae"}, "seed": 0, "metrics": NUMBERS | {"marginal_kl": None}},
        {"configuration": {"model": "n"}, "seed": 0, "metrics": NUMBERS},
    ]
    figure = plots.circle_numbers(Results("circle", "paper", False, cells, 40))
    said = {axes.get_title().split("\n")[0]: [text.get_text() for text in axes.texts] for axes in figure.axes}
    assert said["KL of aggregate posterior"] == ["no prior", "no run yet", "no run yet"]
    assert said["circular correlation"] == ["no run yet", "no run yet"]
    plt.close(figure)
