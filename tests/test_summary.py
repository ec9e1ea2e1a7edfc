"""The summary: it follows the cells, what stand-ins and other presets may say."""

from svae_repro import paths, store, summary
from svae_repro.experiments import circle
from tests.test_tables import fill

CLEAR = {"e": [-136.1, -135.9, -136.0], "s": [-132.5, -132.6, -132.4]}


def line(text: str, item: str) -> list[str]:
    (found,) = [x for x in text.splitlines() if x.startswith(f"| {item} |")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_without_any_run_all_is_open(home):
    found = summary.stored("paper")
    rows = summary.overview(found).splitlines()[2:]
    assert {"Figure 1", "Table 1", "Table 2", "Table 3", "Table 4"} <= {row.split(" | ")[0].strip("| ") for row in rows}
    assert all("| **open** |" in row and "no run yet" in row for row in rows)
    assert summary.details(found) == ""


def test_the_overview_follows_the_cells(home):
    fill(paths.results("paper"), CLEAR)
    text = summary.summary()
    _, verdict, runs, why = line(text, "Table 1")
    assert (verdict, runs) == ("**open**", "6 of 100")
    assert why.startswith("4 of 5 comparisons between methods need more runs, the other one comes out as in the paper")
    assert "<summary>Table 1: open (6 of 100 runs)</summary>" in text and "**-132.50 ± 0.10** (n=3)" in text
    assert "### Table 1: open (6 of 100 runs)\n\n| d |" in summary.details(summary.stored("paper"))
    assert line(text, "Table 3")[1:] == ["**open**", "0 of 135", "no run yet"]


def test_claims_are_counted(home, monkeypatch):
    fill(paths.results("paper"), CLEAR)
    monkeypatch.setattr(circle, "claims", lambda _: [("a", "reproduced", "1"), ("b", "partly", "2")])
    results = store.load("circle", "paper")
    results.cells.append({})  # any one will do
    (found,) = summary.findings(results)
    assert (found.item, found.verdict, found.runs) == ("Figure 1", "partly", "1 of 40")
    assert found.reason == "of 2 claims 1 reproduced, 1 partly"
    assert found.details.splitlines()[2:] == ["| a | reproduced | 1 |", "| b | partly | 2 |"]


def test_another_preset_has_no_verdict_on_the_paper(home):
    fill(paths.results("quick"), CLEAR)
    _, verdict, _, why = line(summary.summary("quick"), "Table 1")
    assert verdict == "**no verdict**" and why.startswith("quick preset, not the paper's protocol; 1 of 1 comparisons")


def test_stand_ins_say_so_and_real_data_come_first(home):
    fill(paths.results("quick", standin=True), CLEAR)
    text = summary.summary("quick")
    assert line(text, "Table 1")[1::2] == ["**no verdict**", "stand-in data"]
    assert "<summary>Table 1: no verdict (6 of 8 runs, stand-in data)</summary>" in text
    assert "S-VAE (stand-in data)" in text and "S-VAE, paper" not in text
    assert "Table 1 | **open**" in summary.summary("quick", data="real")

    fill(paths.results("quick"), CLEAR)
    assert "stand-in" not in summary.summary("quick")
    assert line(summary.summary("quick", data="standin"), "Table 1")[3] == "stand-in data"
