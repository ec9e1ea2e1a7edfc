"""Tables: mean, standard deviation and number of runs beside the published numbers, and what they say together.

An experiment turns its cells into rows of one value each (`table_rows`); everything here is the same for all tables.
Standard deviations have ddof = 1. Bold marks the best of the paper's methods where a t-test against every other one has
p < 0.01, the paper's rule: Welch's, or the paired one where the runs of a seed share what their score hangs on
(`experiments.Published`). In the ``verdict`` column a mean *agrees* if it lies within three published standard
deviations of the published mean.
"""

import io
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from . import experiments, paths, store
from .errors import UserError
from .experiments import Published
from .store import Results
from .verdicts import SIGNIFICANCE, paired_p

METHOD, VALUE, SEED = "method", "value", "seed"
OURS = ["mean", "std", "n"]
PUBLISHED = ["published_mean", "published_std"]
AGREEMENT = 3.0  # published standard deviations
SIDE_BY_SIDE = 4  # methods in columns; more of them stand below each other


@dataclass
class Table:
    """One table of the study.

    Attributes:
        name: "table1" and so on, as in ``results/published``.
        frame: key columns, mean, std, n, published_mean, published_std, verdict; one row for each published number,
            and then for what we measured beyond them.
        published: what `experiments.Published` says of it.
        standin: made from stand-in data, so without published numbers.
        preset: the preset of the runs.
        compared: the paper's methods.
        values: key columns, value, seed; one row for each run.
        runs: how many the preset asks for in every setting.
    """

    name: str
    frame: pd.DataFrame
    published: Published
    standin: bool
    preset: str
    compared: list[str]
    values: pd.DataFrame
    runs: int

    @property
    def keys(self) -> list[str]:
        return [c for c in self.frame.columns if c not in (*OURS, *PUBLISHED, "verdict")]

    @property
    def single_runs(self) -> bool:
        """Whether the published numbers are of one run each."""
        return self.published.runs == 1

    @property
    def setting(self) -> list[str]:
        """The keys apart from the method."""
        return [k for k in self.keys if k != METHOD]

    def differences(self, first: str, second: str) -> pd.DataFrame:
        """How far method ``first`` lies above ``second`` in the runs that share a seed, for every setting.

        Columns: the setting, mean, std and n of the differences, and p of the paired t-test (`verdicts.paired_p`).
        """
        runs = self.values.set_index([*self.setting, SEED])
        pairs = [runs.loc[runs[METHOD] == method, VALUE] for method in (first, second)]
        both = pd.concat(pairs, axis=1, join="inner", keys=(first, second))
        rows = []
        for key, group in both.groupby(self.setting, sort=False):
            difference = group[first] - group[second]
            rows.append((*key, difference.mean(), difference.std(ddof=1), len(group), paired_p(difference)))
        return pd.DataFrame(rows, columns=[*self.setting, *OURS, "p"])

    def winners(self, group: pd.DataFrame) -> list[str] | None:
        """The winners among the paper's methods in one setting, as the function of that name says."""
        group = group[group[METHOD].isin(self.compared)]
        return winners(group, self._paired_test if self.published.paired else _welch)

    def _paired_test(self, best: pd.Series, other: pd.Series) -> float | None:
        found = self.differences(best[METHOD], other[METHOD])
        found = found[(found[self.setting] == best[self.setting]).all(axis=1)]
        return None if found.empty or found["n"].item() < 2 else found["p"].item()

    def comparisons(self) -> pd.DataFrame:
        """For every setting the methods that win here and in the paper: names, "none" or "open" (too few runs).

        Several win where the best is shown to be ahead of some and not of all others, and none where of none. The
        column ``outcome`` sets the one against the other:

        - "same": the same methods win as in the paper, or none does in either;
        - "other": a method that wins in the paper, or is as good as all others there, is shown to be behind here;
        - "undecided": a method that is behind in the paper is not shown to be so here, and nothing contradicts it;
        - "open": the same, or no difference at all, while runs that the preset asks for are missing: more may decide.
        """
        rows = self.frame[self.frame["metric"].isin(self.published.headline) & self.frame[METHOD].isin(self.compared)]
        found = []
        for key, group in rows.groupby(self.setting, sort=False):
            ours, paper = self.winners(group), None if self.standin else self._published_winners(key, group)
            outcome = _outcome(ours, paper or [], complete=(group["n"] >= self.runs).all())
            found.append((*key, self._names(ours), self._names(paper), outcome))
        return pd.DataFrame(found, columns=[*self.setting, "ours", "paper", "outcome"])

    def _published_winners(self, key: tuple, group: pd.DataFrame) -> list[str] | None:
        """The paper's winners in one setting: by a test on its numbers, or by its bold type where rounding decides."""
        if key in self.published.bold:
            return list(self.published.bold[key]) or self.compared
        published = group[[METHOD]].assign(mean=group["published_mean"], std=group["published_std"])
        return winners(published.assign(n=self.published.runs))

    def _names(self, winners: list[str] | None) -> str:
        if winners is None:
            return "open"
        return "none" if len(winners) == len(self.compared) else " and ".join(winners)

    def verdict(self) -> str:
        """Reproduced, partly or not, with the count behind it; "open" while runs are missing.

        *Reproduced* means that every setting comes out as in the paper (`comparisons`), *partly* that at least half of
        them do. Neither those with other winners nor the undecided ones do, but they are counted apart.
        """
        if self.standin:
            return "no verdict: stand-in data"
        if not self.frame["n"].any():
            return "open: no run yet"
        if self.single_runs:
            return "no verdict: the published numbers are of single runs, and only claims are judged"
        outcomes = self.comparisons()["outcome"]
        same, other, undecided, missing = ((outcomes == o).sum() for o in ("same", "other", "undecided", "open"))
        total = len(outcomes)
        another = "another winner" if len(self.compared) == 2 else "other winners"
        rest = f", {other} with {another}" * bool(other) + f", {undecided} undecided" * bool(undecided)
        means = self.frame["verdict"][self.frame["verdict"] != ""]
        what = "single runs" if self.frame["n"].max() == 1 else "means"
        agreement = f"{(means == 'agrees').sum()} of {len(means)} {what} lie within three published standard deviations"
        if missing:
            count = f"{missing} of {total} comparisons between methods need more runs"
            if missing == total - 1:
                one = "comes out as in the paper" if same else f"has {another}" if other else "is undecided"
                count += f", the other one {one}"
            elif missing < total:
                count += f", {same} of the other {total - missing} come out as in the paper{rest}"
            return f"open: {count}" + (f"; {agreement}" if len(means) else "")
        count = f"{same} of {total} comparisons between methods come out as in the paper{rest}"
        if self.preset != "paper":
            return f"not the paper's protocol ({self.preset} preset): {count}"
        word = "reproduced" if same == total else "not reproduced" if same < total / 2 else "partly"
        return f"{word}: {count}; {agreement}"

    def markdown(self, brief: bool = False) -> str:
        """The table as GitHub shows it: a line for each setting, a column for each method, then the paper's numbers.

        With more than `SIDE_BY_SIDE` methods it is the other way round. ``brief`` leaves out all but the headline
        metrics, and settings without any run.
        """
        methods = list(dict.fromkeys(self.frame[METHOD]))
        title = " (stand-in data)" if self.standin else ""
        published = [] if self.standin else self.compared
        source = "the post" if self.single_runs else "paper"
        names = [*(f"{m}{title}" for m in methods), *(f"{m}, {source}" for m in published)]
        lines = []
        for key, group in self.frame.groupby(self.setting, sort=False):
            headline = key[self.setting.index("metric")] in self.published.headline
            if brief and not (headline and group["n"].any()):
                continue
            best = self.winners(group) if headline else None
            by_method = group.set_index(METHOD).reindex(methods)
            ours = [_number(by_method.loc[m], *OURS, bold=best == [m]) for m in methods]
            paper = [_number(by_method.loc[m], *PUBLISHED) for m in published]
            lines.append([*map(str, key), *ours, *paper])
        if len(methods) <= SIDE_BY_SIDE:
            head = [*self.setting, *names]
        else:
            width = len(self.setting)
            head = [METHOD, *(" ".join(line[:width]) for line in lines)]
            lines = [[name, *(line[width + i] for line in lines)] for i, name in enumerate(names)]
        return "".join("| " + " | ".join(line) + " |\n" for line in [head, ["---"] * len(head), *lines])


def _outcome(ours: list[str] | None, paper: list[str], complete: bool) -> str:
    if ours is None:
        return "open"
    if not set(paper) <= set(ours):
        return "other"
    if len(ours) > 1 and not complete:
        return "open"
    return "same" if ours == paper else "undecided"


def _welch(best: pd.Series, other: pd.Series) -> float:
    return stats.ttest_ind_from_stats(*best[OURS], *other[OURS], equal_var=False).pvalue


def winners(group: pd.DataFrame, test: Callable[[pd.Series, pd.Series], float | None] = _welch) -> list[str] | None:
    """The method with the best mean and those that it does not beat at p < 0.01; None for want of runs.

    ``test`` gives p for two rows of ``group``, None if they have too few runs for it.
    """
    if len(group) < 2 or (group["n"] < 2).any() or group["mean"].isna().any():
        return None
    place = group["mean"].argmax()
    p = [1.0 if row == place else test(group.iloc[place], group.iloc[row]) for row in range(len(group))]
    if None in p:
        return None
    return [name for name, against_best in zip(group[METHOD], p, strict=True) if not against_best < SIGNIFICANCE]


def _number(row: pd.Series, mean: str, std: str, n: str | None = None, bold: bool = False) -> str:
    if pd.isna(row[mean]):
        return "–"
    text = f"{row[mean]:.2f}" + ("" if pd.isna(row[std]) else f" ± {row[std]:.2f}")
    text = f"**{text}**" if bold else text
    return text if n is None else f"{text} (n={row[n]:.0f})"


def build(results: Results) -> list[Table]:
    """The tables of an experiment from the cells that are there; missing ones leave a dash."""
    experiment = experiments.load(results.experiment)
    tables = []
    for name, columns in experiment.TABLES.items():
        keys = columns.keys
        rows = [(*row, cell["seed"]) for cell in results.cells for row in _rows(experiment, cell)[name]]
        values = pd.DataFrame(rows, columns=[*keys, VALUE, SEED])
        ours = values.groupby(keys, sort=False)[VALUE].agg(mean="mean", std=lambda v: v.std(ddof=1), n="count")
        published = pd.read_csv(paths.published() / f"{name}.csv").rename(
            columns=dict(zip(("mean", "std"), PUBLISHED, strict=True))
        )
        beyond = ours[~ours.index.isin(pd.MultiIndex.from_frame(published[keys]))].reset_index()
        frame = published[[*keys, *PUBLISHED]].merge(ours.reset_index(), on=keys, how="left")
        frame = pd.concat([frame, beyond], ignore_index=True) if len(beyond) else frame
        frame["n"] = frame["n"].fillna(0).astype(int)
        if results.standin or results.preset != "paper":  # the settings that have been trained with any method
            frame = frame[frame.groupby([k for k in keys if k != METHOD])["n"].transform("sum") > 0]
        if results.standin:
            frame = frame.assign(**dict.fromkeys(PUBLISHED, np.nan))
        judged = results.preset == "paper" and columns.runs > 1
        frame["verdict"] = [_agreement(row) if judged else "" for _, row in frame.iterrows()]
        frame = frame[[*keys, *OURS, *PUBLISHED, "verdict"]]
        compared = list(dict.fromkeys(published[METHOD]))
        runs = experiments.settings(experiment, results.preset).seeds
        tables.append(Table(name, frame, columns, results.standin, results.preset, compared, values, runs))
    return tables


def _rows(experiment, cell: dict) -> dict[str, list[tuple]]:
    """The rows of a cell by table; a `UserError` where it was written by hand, or by other code, and lacks numbers."""

    def refuse(fault: str) -> UserError:
        return store.broken(cell["path"], f"the result {cell['path']} {fault}")

    try:
        tables = experiment.table_rows(cell)
    except UserError:  # a metric that is missing, of which all is said
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refuse(f"lacks numbers of its tables ({error})") from None
    for *key, value in itertools.chain.from_iterable(tables.values()):
        if not (isinstance(value, float | int) and math.isfinite(value)):
            raise refuse(f"has no number for {key[-1]} but {value!r:.20}")
    return tables


def _agreement(row: pd.Series) -> str:
    if row["n"] == 0 or pd.isna(row["published_mean"]):
        return ""
    difference = row["mean"] - row["published_mean"]
    if abs(difference) <= AGREEMENT * row["published_std"]:
        return "agrees"
    return "higher" if difference > 0 else "lower"


def write(preset: str, standin: bool = False) -> list[Table]:
    """Write every table of a preset as CSV and Markdown to ``results/<preset>/tables`` and return them."""
    written = []
    folder = paths.results(preset, standin) / "tables"
    for name in experiments.NAMES:
        if not experiments.load(name).TABLES:
            continue
        for table in build(store.load(name, preset, standin)):
            csv = io.StringIO()
            table.frame.round(6).to_csv(csv, index=False, lineterminator="\n")
            for suffix, text in ((".csv", csv.getvalue()), (".md", table.markdown() + "\n" + table.verdict() + "\n")):
                store.write_atomically(folder / (table.name + suffix), lambda f, text=text: f.write(text.encode()))
            written.append(table)
    return written
