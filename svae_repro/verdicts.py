"""From tests to words: the level of every t-test of the study, the verdict on a claim, one word for several."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from scipy import stats

SIGNIFICANCE = 0.01  # the paper's: p < 0.01 for bold type
SUFFICIENT = ("moves", "some stuck")  # one cause is enough to move a table, or to stop trainings


def reproduced(holds: Collection[bool]) -> str:
    """The verdict on a claim that is to hold in every case: "partly" if it does in some."""
    return "reproduced" if all(holds) else "partly" if any(holds) else "not reproduced"


def denied(holds: Collection[bool]) -> str:
    """The verdict on a claim that there is no difference, which holds in a case where none is shown."""
    return "not contradicted" if all(holds) else "partly" if any(holds) else "contradicted"


def counted(words: Iterable[str]) -> str:
    """How often each word came, the commonest first: "3 reproduced, 1 partly"."""
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())


def overall(words: Iterable[str]) -> str:
    """One word for several claims: theirs if they agree, "open" if any is, "not shown" if none holds, else "partly".

    A claim that is "either way" does not hold. A word of `SUFFICIENT` is said of all as soon as it is said of one.
    """
    words = set(words)
    for word in SUFFICIENT:
        if word in words:
            return word
    if len(words) == 1:
        return words.pop()
    return "open" if "open" in words else "not shown" if words <= {"no", "not shown", "either way"} else "partly"


def differ(first: Iterable[float], second: Iterable[float]) -> bool:
    """Whether Welch's t-test tells two sets of runs apart, p < 0.01."""
    return bool(stats.ttest_ind(list(first), list(second), equal_var=False).pvalue < SIGNIFICANCE)


def paired_p(gaps: Iterable[float], at: float = 0.0, alternative: str = "two-sided") -> float:
    """p of the paired t-test on the differences of two methods' runs, whose mean is ``at`` by the null hypothesis.

    NaN if there are less than two, or all are equal but for rounding: they then say nothing of the spread, and taking
    it as zero makes any difference certain. Shares of 10,000 images do so by chance.
    """
    gaps = np.asarray(list(gaps), dtype=float)
    if len(gaps) < 2 or np.ptp(gaps) <= 1e-9 * np.abs(gaps).max():
        return float("nan")
    return float(stats.ttest_1samp(gaps, at, alternative=alternative).pvalue)


def columns_alike_p(table: np.ndarray) -> float:
    """p of the hypothesis that the columns of a table [rows, columns] are alike: that chance ordered every row.

    A permutation test within the rows on the variance of the columns' means; exact for small tables, of 10,000 random
    permutations, the same ones for the same table, for others.
    """

    def spread(*columns: np.ndarray, axis: int) -> np.ndarray:
        return np.var([column.mean(axis) for column in columns], axis=0)

    test = stats.permutation_test(
        table.T, spread, permutation_type="samples", alternative="greater", n_resamples=9999, vectorized=True, rng=0
    )
    return float(test.pvalue)


def compared_in_pairs(
    gaps: Mapping[str, np.ndarray], score: str, margin: float | None = None, candidates: int = 1
) -> tuple[str, str]:
    """Whether the first of two models is better than the second, in every comparison; the numbers behind the word.

    ``gaps`` has the differences of a ``score`` for each comparison, by seed. Paired t-tests; the level is shared among
    them. "yes": every test says so; "partly": some do. If none does, "no": one says the contrary; "not shown":
    otherwise. With a ``margin`` the question is whether the first *reaches* the second: a one-sided test has to say
    that it is not lower by as much as that. "open" while a comparison has less than two pairs. A first model that was
    chosen from several ``candidates`` by the runs that are tested has to share the level with the others.
    """
    level = SIGNIFICANCE / max(1, len(gaps)) / candidates
    confirmed, contradicted, numbers = 0, 0, []
    for comparison, values in gaps.items():
        if len(values) < 2:
            continue
        p = paired_p(values)
        found = p < level
        mean = values.mean()
        tests = f"p={p:.2g}"
        if margin is None:
            confirmed += found and mean > 0
        else:
            within = paired_p(values, -margin, "greater")
            confirmed += within < level
            tests += f"; less than {margin:g} lower: p={within:.2g}"
        contradicted += found and mean < 0
        numbers.append(f"{comparison} {mean:+.2f} ± {values.std(ddof=1):.2f} (n={len(values)}, {tests})")
    if len(numbers) < max(1, len(gaps)):
        return "open", "; ".join(numbers) or "fewer than two pairs of runs"
    none = "no" if contradicted else "not shown"
    word = "yes" if confirmed == len(gaps) else "partly" if confirmed else none
    return word, f"{score}: {'; '.join(numbers)}"
