"""What the words of a command line mean, for both programs: `python -m svae_repro` and the runner of the notebooks.

Importing this file needs the standard library only, as the runner checks its options before anything is installed.
"""

import argparse
import os
import re
import sys

from .errors import UserError

MOST_SEEDS = 10_000  # more at once are a typing error


class Parser(argparse.ArgumentParser):
    """Argparse without abbreviations, whose complaint about an option is a `UserError`."""

    def __init__(self, **settings):
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str):
        raise UserError(f"{message} (--help lists the options)")


def select(configurations: list[dict], where: dict[str, str]) -> list[dict]:
    """Configurations that agree with ``where``, whose values are text; a `UserError` if there are none."""
    for key, value in where.items():
        known = {str(c[key]) for c in configurations if key in c}
        if not known:
            raise UserError(f"unknown key {key!r} in --where: choose among {', '.join(configurations[0])}")
        if value not in known:
            raise UserError(f"no configuration has {key}={value}: choose among {', '.join(sorted(known))}")
    chosen = [c for c in configurations if all(str(c.get(key)) == value for key, value in where.items())]
    if not chosen:
        wanted = ",".join(f"{key}={value}" for key, value in where.items())
        raise UserError(f"no configuration has all of {wanted}: leave out one of them")
    return chosen


def parse_where(text: str) -> dict[str, str]:
    """``d=2,space=s`` -> {"d": "2", "space": "s"}; a `UserError` for anything else."""
    pairs = [part.split("=") for part in text.split(",")] if text else []
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise UserError(f"--where {text!r} is not of the form d=2,space=s")
    if len(dict(pairs)) < len(pairs):
        raise UserError(f"--where {text!r} names a key twice: give one value for each")
    return dict(pairs)


def discard_output() -> None:
    """Send what is printed from here on nowhere, as nobody can read it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parse_seeds(text: str) -> list[int]:
    """``0-9`` or ``0,2,7`` or a mixture -> the numbers; a `UserError` for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first:
            raise UserError(f"--seeds {text[:40]!r} is not of the form 0-9 or 0,2,7")
        if last >= 2**32 or last - first >= MOST_SEEDS:
            raise UserError(f"--seeds {part}: give numbers below 2^32, and at most {MOST_SEEDS} of them")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))
