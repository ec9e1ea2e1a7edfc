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
