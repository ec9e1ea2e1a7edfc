"""What came out of the study as a whole: one line for every figure and table, then the numbers behind each.

The README, notebook 00 and the report all show this text. It is made from the result files alone, so a verdict cannot
say other than they do; `python -m svae_repro tables --readme` puts it into the README, and a test keeps it in step.
"""

import re
from dataclasses import dataclass

from . import experiments, figures, paths, store, tables
from .store import Results
from .verdicts import counted, overall

README_BLOCK = re.compile("(?<=<!-- results: begin -->\n).*?(?=<!-- results: end -->)", re.DOTALL)

CERTAINTY = """**How sure?** A *run* is one model trained from its own seed. Nothing is concluded from a single run, but
for the figures of latent spaces and styles (2, 3 and 10), which are judged by the run they draw. Two methods differ
where a t-test gives p < 0.01, the paper's own rule; where it does not and runs of the protocol are missing, a
comparison in a table is *open*. It is tested again as runs are added, so that in an unfinished table a difference is
found where there is none more often than one time in 100 (3 to 5 in 100 for two methods tested at each number of runs
from 2 to 10, 8 for the three of Table 3 from 2 to 5, 2 with its five runs), and that for every comparison. A table is
*reproduced* if in every setting the same method wins as in the paper (or none does; of three, two win if only the third
is shown to be behind), *partly* if in at least half of them.

Figure 1 and the studies beyond the paper have claims in place of published numbers, put to the test once every model
has two runs. A claim of the paper or the post is *reproduced*, *partly* or *not reproduced*, which says that our runs
do not show it; one that denies a difference is *not contradicted* where they show none. A question of our own is
answered *yes*, *partly*, *no*, or, where the runs decide nothing, *not shown*; its comparisons share the level of 0.01.
The sampler's barrier leaves *some* or *few or none* of the trainings *stuck*, and a table *moves* if one of its means
does or a run is lost. Tables 1 and 2 without a warm-up are judged by how many means lie within three published standard
deviations, with no test: *either way*, if all do with it as well. A figure *agrees* if what the paper reads in its
picture can be measured in ours, *partly* if in part; one that is only *drawn* has nothing to test.
"""


@dataclass(frozen=True)
class Finding:
    """One line of the overview: a figure, a table or a set of claims, what became of it, and why in one line."""

    item: str
    verdict: str
    runs: str
    reason: str
    details: str  # Markdown: the claims one by one, or the headline rows of the table; empty without any run


def stored(preset: str, data: str = "auto") -> list[Results]:
    """The cells of every experiment that has something to conclude, in the order of the study.

    Those of real data; where there are none, or ``data`` is "standin", those of the stand-in.
    """
    found = []
    for name in experiments.NAMES:
        experiment = experiments.load(name)
        if not experiment.TABLES and not hasattr(experiment, "claims"):
            continue
        real, standin = (store.load(name, preset, standin=flag) for flag in (False, True))
        wanted = data == "standin" or (data == "auto" and not real.cells)
        found.append(standin if standin.cells and wanted else real)
    return found


def findings(results: Results) -> list[Finding]:
    """What the cells of one experiment say: its claims, if it has any, then its tables."""
    experiment = experiments.load(results.experiment)
    runs = f"{len(results.cells)} of {results.wanted}"
    found = []
    if hasattr(experiment, "claims"):
        claims = experiment.claims(results)
        words = [word for _, word, _ in claims]
        reason = "its one claim" if len(claims) == 1 else f"of {len(claims)} claims " + counted(words)
        rows = "".join(f"| {claim} | {word} | {why} |\n" for claim, word, why in claims)
        details = "| claim | verdict | numbers |\n| --- | --- | --- |\n" + rows if results.cells else ""
        found.append(Finding(experiment.TITLE, *_weighed(results, overall(words), reason, runs), details))
    for table in tables.build(results):
        word, _, reason = table.verdict().partition(": ")
        title = table.name.replace("table", "Table ")
        title = title if title != table.name else f"{experiment.TITLE}, the table"
        shown = table.markdown(brief=True) if results.cells else ""
        found.append(Finding(title, *_weighed(results, word, reason, runs), shown))
    return found


def _weighed(results: Results, word: str, reason: str, runs: str) -> tuple[str, str, str]:
    """Verdict, runs and reason of a line; only the paper preset on real data has a verdict on the paper."""
    if not results.cells:
        return "open", runs, "no run yet"
    if results.standin:
        return "no verdict", runs, "stand-in data"
    if results.preset != "paper":
        word = "open" if word.startswith("open") else "no verdict"
        return word, runs, f"{results.preset} preset, not the paper's protocol; {reason}"
    return word, runs, reason


def overview(found: list[Results]) -> str:
    """The table at the top: item, verdict, runs that are there of those the protocol asks for, reason."""
    lines = ["| | verdict | runs | why |", "| --- | --- | --- | --- |"]
    for results in found:
        for line in findings(results):
            lines.append(f"| {line.item} | **{line.verdict}** | {line.runs} | {line.reason} |")
    return "\n".join(lines) + "\n"


def details(found: list[Results], fold: bool = False) -> str:
    """The claims and headline rows behind the overview, each under a heading or folded away behind its title."""
    parts = []
    for results in found:
        note = ", stand-in data" if results.standin else ""
        for line in findings(results):
            if line.details:
                title = f"{line.item}: {line.verdict} ({line.runs} runs{note})"
                head, foot = (
                    (f"<details><summary>{title}</summary>", "\n</details>\n") if fold else (f"### {title}", "")
                )
                parts.append(f"{head}\n\n{line.details}{foot}")
    return "\n".join(parts)


def verdicts(found: list[Results], level: int = 3) -> str:
    """The overview, how to read it, and the paper's figures one by one under a heading of this level."""
    return "\n".join([overview(found), CERTAINTY, f"{'#' * level} Figures of the paper\n", figures.overview(found)])


def summary(preset: str = "paper", data: str = "auto") -> str:
    """What came out, as it stands in the README: there the numbers would hide how to run and use it."""
    found = stored(preset, data)
    return "\n".join([verdicts(found), "### The numbers behind the verdicts\n", details(found, fold=True)])


def write_readme() -> None:
    """Put the `summary` of the paper preset between the README's two marks."""
    readme = paths.REPOSITORY / "README.md"
    text = README_BLOCK.sub(lambda _: "\n" + summary(data="real") + "\n", readme.read_text(encoding="utf-8"))
    store.write_atomically(readme, lambda f: f.write(text.encode()))
