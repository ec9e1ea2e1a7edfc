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


def welch(first, second):
    return stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue


def paired(first, second):
    return stats.ttest_rel(first, second, axis=1).pvalue


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("test", "methods", "tested", "least", "most"),  # standard errors of 0.0010 to 0.0019
    [
        (welch, 2, range(2, 11), 0.030, 0.040),
        (paired, 2, range(2, 11), 0.045, 0.055),
        (paired, 3, range(2, 6), 0.070, 0.084),
        (paired, 3, [5], 0.019, 0.029),
    ],
)
def test_testing_equal_methods_errs_as_often_as_the_readme_says(test, methods, tested, least, most):
    """How often a winner is found, as `tables.winners` does, with so many runs of each method or at each number."""
    runs = np.random.default_rng(0).normal(size=(methods, 20_000, max(tested)))
    found = np.zeros(20_000, dtype=bool)
    for n in tested:
        ranked = np.take_along_axis(runs[..., :n], runs[..., :n].mean(-1).argsort(0)[..., None], axis=0)
        for other in ranked[:-1]:
            found |= test(ranked[-1], other) < verdicts.SIGNIFICANCE
    assert least < found.mean() < most
    sentence = "(3 to 5 in 100 for two methods tested at each number of runs from 2 to 10, 8 for the three of Table 3 "
    assert sentence + "from 2 to 5, 2 with its five runs)" in " ".join(summary.CERTAINTY.split())


def test_the_best_of_several_candidates_shares_the_level():
    gaps = {"a − b": np.array([1.0, 1.2, 0.9, 1.4, 1.6])}  # p = 0.0007
    assert verdicts.compared_in_pairs(gaps, "points")[0] == "yes"
    assert verdicts.compared_in_pairs(gaps, "points", candidates=20)[0] == "not shown"


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


def test_a_permutation_test_tells_columns_apart_whatever_the_rows_are():
    """Exact for a small table: the largest spread is that of 6 of 36 pairs of orders, all columns swapped alike."""
    table = np.array([[1.0, 2, 4], [11, 12, 14]])
    assert verdicts.columns_alike_p(table) == pytest.approx(6 / 36)
    assert verdicts.columns_alike_p(np.array([[1.0, 2], [3, 4]])) == pytest.approx(1 / 2)
    assert verdicts.columns_alike_p(np.ones((4, 3))) == 1
    rows = np.random.default_rng(0).normal(size=(5, 5))
    assert verdicts.columns_alike_p(rows + 9 * np.eye(5)[2]) < 0.01 < verdicts.columns_alike_p(rows)


def test_a_permutation_test_agrees_with_the_analysis_of_variance_of_normal_noise():
    """F of the columns of a two-way table; over 40 tables with an effect the two p lie close together."""
    generator, apart = np.random.default_rng(1), []
    for _ in range(40):
        table = generator.normal(size=(5, 5)) + 1.5 * np.eye(5)[2] + generator.normal(size=(5, 1))
        columns = table.mean(axis=0) - table.mean()
        rest = table - table.mean(axis=1, keepdims=True) - columns
        f = (5 * (columns**2).sum() / 4) / ((rest**2).sum() / 16)
        apart.append(abs(stats.f.sf(f, 4, 16) - verdicts.columns_alike_p(table)))
    assert max(apart) < 0.05
