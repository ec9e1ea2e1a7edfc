"""What the studies of mixed curvature share: comparisons in pairs against SciPy, the rule of the verdicts, names."""

import numpy as np
import pytest
from scipy import stats

from svae_repro.experiments.mixed import comparison, configurations, differences, judge, markdown, title
from svae_repro.spaces import space
from svae_repro.store import Results


def results(values, experiment="mixed_curvature"):
    """Cells with these LLs, one for each seed; a star after its name marks a space with a learned curvature."""
    cells = [
        {
            "configuration": {"d": space(name).dim, "space": name, "curvature": "learned" if learned else "fixed"},
            "seed": seed,
            "metrics": {"LL": value, "ELBO": value - 2, "KL": 10.0, "error": 20.0 + seed},
        }
        for name, learned, of_seeds in ((key.strip("*"), "*" in key, value) for key, value in values.items())
        for seed, value in enumerate(of_seeds)
    ]
    return Results(experiment, "paper", False, cells, 95)


def around(mean, spread=0.05):
    """Four runs with this mean."""
    return [mean + spread * step for step in (-2, 1, 2, -1)]


def fixed(*names):
    return tuple((name, "fixed") for name in names)


def test_the_grid_has_fixed_and_learned_curvatures():
    found = configurations(("e2", "s2h1"), ("s2h1",))
    assert [tuple(c.values()) for c in found] == [(2, "e2", "fixed"), (3, "s2h1", "fixed"), (3, "s2h1", "learned")]


def test_comparisons_are_in_pairs():
    ours, theirs = [-90.0, -91.0, -89.5], [-92.0, -92.5, -91.9, -100.0]
    found = comparison(results({"e6": theirs, "s6": [-95.0], "e2s2h2": ours, "e10": [-1.0]}), 6).set_index("space")
    assert list(found.index) == ["e2s2h2", "e6", "s6"]
    assert np.allclose(differences(results({"e6": theirs, "e2s2h2": ours}), *fixed("e2s2h2", "e6")), [2.0, 1.5, 2.4])
    row = found.loc["e2s2h2"]
    assert row["p"] == pytest.approx(stats.ttest_rel(ours, theirs[:3]).pvalue)
    assert row["gap"] == pytest.approx(np.mean([2.0, 1.5, 2.4])) and row["n"] == 3
    assert row["std"] == pytest.approx(np.std(ours, ddof=1))
    assert np.isnan(found.loc["s6", "p"]) and np.isnan(found.loc["e6", "p"]) and found.loc["s6", "gap"] == -3.0


def test_the_table_has_a_row_for_each_model_and_dashes_for_what_one_run_cannot_say():
    found = results({"e6": [-92.0, -92.5], "e2s2h2*": [-90.0, -90.7], "s6": [-95.0], "s40": [-99.0]})
    lines = markdown(found, "degrees", lambda metrics: metrics["error"]).splitlines()
    assert lines[0].endswith("| KL | degrees |") and len(lines) == 2 + 4
    learned = "| 6 | ℝ² × S² × ℍ², learned | -90.35 ± 0.49 | 2 | +1.90 ± 0.14 | 0.033 | -92.35 | 10.00 | 20.5 |"
    assert lines[2] == learned
    assert lines[3].startswith("| 6 | ℝ⁶ | -92.25 ± 0.35 | 2 | +0.00 | – |")
    assert lines[4:] == [
        "| 6 | S⁶ | -95.00 | 1 | -3.00 | – | -97.00 | 10.00 | 20.0 |",
        "| 40 | S⁴⁰ | -99.00 | 1 | – | – | -101.00 | 10.00 | 20.0 |",
    ]


# Differences to the second space of the pair, whose LLs are -90 in every run
CLEAR, UNCLEAR = 0.05, 5.0  # spreads with which a difference of one nat is, or is not, significant


@pytest.mark.parametrize(
    "word, gaps",
    [
        ("yes", [around(1, CLEAR), around(2, CLEAR)]),
        ("partly", [around(1, CLEAR), around(2, UNCLEAR)]),
        ("partly", [around(1, CLEAR), around(-2, CLEAR)]),
        ("no", [around(1, UNCLEAR), around(-2, CLEAR)]),  # one test says the contrary
        ("not shown", [around(-1, UNCLEAR), around(-2, UNCLEAR)]),  # means alone show nothing
        ("no", [around(-1, CLEAR)]),
        ("not shown", [around(1, UNCLEAR), around(-2, UNCLEAR)]),
        ("not shown", [[16.5, 22.2]]),  # 19.36 +- 4.07, two runs: p = 0.09
        ("open", [around(1, CLEAR), [1.0]]),
        ("open", []),
    ],
)
def test_a_verdict_says_what_the_tests_found(word, gaps):
    names = ["s6", "h6"][: len(gaps)]
    reference = {"e6": [-90.0] * 4}
    found = results(
        reference | {name: [gap - 90 for gap in of_pair] for name, of_pair in zip(names, gaps, strict=True)}
    )
    verdict, numbers = judge(found, [fixed(name, "e6") for name in names])
    assert verdict == word
    if word != "open":
        p = stats.ttest_1samp(gaps[0], 0).pvalue
        mean = f"{np.mean(gaps[0]):+.2f} ± {np.std(gaps[0], ddof=1):.2f}"
        assert numbers.startswith(f"LL in nats: S⁶ − ℝ⁶ {mean} (n={len(gaps[0])}, p={p:.2g})")


def test_the_level_is_shared_among_the_tests_of_a_claim():
    gaps = around(1, 0.17)
    p = stats.ttest_1samp(gaps, 0).pvalue
    assert 0.01 / 3 < p < 0.01
    found = results({"e6": [-90.0] * 4} | {name: [gap - 90 for gap in gaps] for name in ("s6", "h6", "e2s2h2")})
    assert judge(found, [fixed("s6", "e6")])[0] == "yes"
    assert judge(found, [fixed(name, "e6") for name in ("s6", "h6", "e2s2h2")])[0] == "not shown"


@pytest.mark.parametrize(
    "word, gaps",
    [
        ("yes", around(0.1, 0.1)),
        ("yes", around(-0.5, 0.05)),
        ("not shown", around(0.1, 3.0)),  # a higher mean of three runs says nothing
        ("not shown", around(-1, UNCLEAR)),
        ("no", around(-2, CLEAR)),
        ("open", [1.0]),
    ],
)
def test_to_reach_is_to_be_shown_not_to_lie_lower_by_the_margin(word, gaps):
    found = results({"e6": [-90.0] * 4, "s6": [gap - 90 for gap in gaps]})
    verdict, numbers = judge(found, [fixed("s6", "e6")], margin=1.0)
    assert verdict == word
    if word != "open":
        p = stats.ttest_1samp(gaps, -1, alternative="greater").pvalue
        assert numbers.endswith(f"; less than 1 lower: p={p:.2g})")


def test_names_in_print():
    assert title("e2s2h2") == "ℝ² × S² × ℍ²" and title("s4" * 10) == "(S⁴)¹⁰" and title("s40") == "S⁴⁰"
    assert title("e2s2s2") == "ℝ² × (S²)²"
