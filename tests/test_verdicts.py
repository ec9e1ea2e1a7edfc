"""One word for several answers, and how often each came."""

import numpy as np
import pytest
from scipy import stats

from svae_repro import summary, verdicts


@pytest.mark.parametrize(
    ("words", "one"),
    [
        (["reproduced"] * 3, "reproduced"),
        (["not reproduced"] * 2, "not reproduced"),
        (["reproduced", "not reproduced"], "partly"),
        (["reproduced", "partly"], "partly"),
        (["yes", "no", "not shown"], "partly"),
        (["no", "not shown"], "not shown"),
        (["no", "either way"], "not shown"),
        (["either way"], "either way"),
        (["reproduced", "open"], "open"),
        (["does not move"], "does not move"),
        (["does not move", "moves", "open"], "moves"),
    ],
)
def test_one_word_for_several_claims(words, one):
    assert verdicts.overall(words) == one


@pytest.mark.parametrize(
    ("holds", "word"),
    [
        ((True, True), "reproduced"),
        ((True, False), "partly"),
        ((False, True, False), "partly"),
        ((False,), "not reproduced"),
    ],
)
def test_a_claim_is_reproduced_where_every_case_holds(holds, word):
    assert verdicts.reproduced(holds) == word


@pytest.mark.parametrize(
    ("holds", "word"), [((True, True), "not contradicted"), ((True, False), "partly"), ((False,), "contradicted")]
)
def test_a_claim_of_no_difference_is_at_best_not_contradicted(holds, word):
    assert verdicts.denied(holds) == word


@pytest.mark.statistical
def test_testing_again_as_runs_are_added_errs_as_often_as_the_readme_says():
    """Two equal methods, Welch's test after each pair of runs from the second to the tenth: 3 in 100 find a winner."""
    runs = np.random.default_rng(0).normal(size=(2, 20_000, 10))
    found = np.zeros(20_000, dtype=bool)
    for n in range(2, 11):
        found |= stats.ttest_ind(*runs[..., :n], axis=1, equal_var=False).pvalue < verdicts.SIGNIFICANCE
    assert 0.025 < found.mean() < 0.04  # a standard error of 0.0013
    assert "(3 in 100 if tested at each number of runs from 2 to 10)" in " ".join(summary.CERTAINTY.split())


def test_the_commonest_word_is_counted_first():
    assert verdicts.counted(["partly", "open", "open"]) == "2 open, 1 partly"


def test_pairs_that_differ_by_the_same_amount_show_nothing():
    """As accuracies of 10,000 images do by chance, but for rounding."""
    equal = [97.56 - 87.57, 97.52 - 87.53]
    assert equal == pytest.approx([9.99, 9.99]) and equal[0] != equal[1]
    for gaps in (equal, [0.0, 0.0, 0.0], [5.0, 5.0], [3.0], []):
        assert np.isnan(verdicts.paired_p(gaps))
        assert np.isnan(verdicts.paired_p(gaps, -1, "greater"))
    assert verdicts.compared_in_pairs({"a − b": np.array(equal)}, "points")[0] == "not shown"


def test_the_paired_test_is_that_of_the_differences():
    first, second = np.random.default_rng(0).normal(size=(2, 5))
    assert verdicts.paired_p(first - second) == pytest.approx(stats.ttest_rel(first, second).pvalue)
    shifted = stats.ttest_rel(first + 1, second, alternative="greater").pvalue
    assert verdicts.paired_p(first - second, -1, "greater") == pytest.approx(shifted)
