"""One module for each study: the whole protocol of its tables on one page.

A module defines ``PRESETS`` (a preset's name -> its settings, with ``seeds`` among them), ``load_data``,
``configurations`` and ``run_cells``; `svae_repro.study` does the rest. ``TABLES`` has its published tables by name, if
there are any (`Published`), and ``table_rows`` gives their rows. ``claims`` gives a question, a verdict and numbers for
each thing that is tested, under the study's ``TITLE``. Adding a study means adding its name here.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType

from ..errors import UserError

NAMES = (
    "circle",
    "mnist_vae",
    "mnist_warmup",
    "m1m2",
    "m1m2_style",
    "m1m2_warmup",
    "m1m2_labels",
    "vgae",
    "vmf_checks",
    "vmf_barrier",
    "vmf_training",
    "blog_mnist",
    "blog_lfw",
    "blog_qm9",
    "mixed_curvature",
    "mixed_dihedrals",
)

# The settings that say which cells there are; the others say how a cell is made.
GRID = ("seeds", "dims", "layers", "datasets", "spaces", "learned", "warmups", "estimators", "searched")


@dataclass(frozen=True)
class Published:
    """A table of the literature, and how the methods in it are compared.

    Attributes:
        keys: the columns that say what a number is of, the method among them.
        headline: the metrics on which the methods are compared.
        runs: how many each published number is of. Of a single one no spread between runs is known, whatever is given.
        paired: whether our runs of a seed share what their score hangs on, a split or the labelled examples.
        bold: the methods in bold type, for the settings where the rounding of the published numbers decides whether a
            test on them gives p < 0.01.
    """

    keys: list[str]
    headline: tuple[str, ...]
    runs: int
    paired: bool = False
    bold: Mapping[tuple, tuple[str, ...]] = field(default_factory=dict)


def load(name: str) -> ModuleType:
    """The experiment called ``name``; a `UserError` if there is none."""
    if name not in NAMES:
        raise UserError(f"unknown experiment {name!r}: choose one of {', '.join(NAMES)}")
    return importlib.import_module(f"{__name__}.{name}")


def settings(experiment: ModuleType, preset: str):
    """The settings of a preset; a `UserError` if there is none of that name."""
    if preset not in experiment.PRESETS:
        raise UserError(f"unknown preset {preset!r}: choose one of {', '.join(experiment.PRESETS)}")
    return experiment.PRESETS[preset]
