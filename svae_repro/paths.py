"""The only module that knows where things are.

Everything a run writes lies under `root()`: the repository, or the folder that `$SVAE_HOME` names. The variable is
read when it is needed, not when the module is imported, because papermill, nbval and the tests each set their own.
No function here creates a folder.
"""

import os
from pathlib import Path

from svae_repro.errors import UserError

REPOSITORY = Path(__file__).resolve().parent.parent


def root() -> Path:
    """The folder that holds `results/`, `figures/` and `data/`: `$SVAE_HOME`, otherwise the repository."""
    return _folder("SVAE_HOME") or REPOSITORY


def results(preset: str, standin: bool = False) -> Path:
    """Our cells and tables. Stand-in results never share a folder with real ones."""
    return root() / "results" / _name(preset, standin)


def figures(preset: str, standin: bool = False) -> Path:
    """Our figures, kept apart as the results are."""
    return root() / "figures" / _name(preset, standin)


def published() -> Path:
    """The literature's numbers. They belong to the code, so they are the repository's whatever `$SVAE_HOME` says."""
    return REPOSITORY / "results" / "published"


def data_cache() -> Path:
    """Where downloaded or copied data files are kept (git-ignored)."""
    return root() / "data"


def data_mirror() -> Path | None:
    """The folder of `$SVAE_DATA_MIRROR`, or None where it is unset; a relative path starts at the working directory.

    Raises:
        UserError: the variable names something that is not a folder.
    """
    mirror = _folder("SVAE_DATA_MIRROR")
    if mirror is not None and not mirror.is_dir():
        value = os.environ["SVAE_DATA_MIRROR"]
        raise UserError(f"SVAE_DATA_MIRROR is {value!r}, which is not a folder: correct it or unset it")
    return mirror


def _folder(variable: str) -> Path | None:
    """The path in an environment variable, None where it is unset or empty."""
    value = os.environ.get(variable)
    try:
        return Path(value).expanduser().resolve() if value else None
    except RuntimeError as error:  # of ~user without a home
        raise UserError(f"{variable} is {value!r}: {error}") from None


def _name(preset: str, standin: bool) -> str:
    return f"{preset}-standin" if standin else preset
