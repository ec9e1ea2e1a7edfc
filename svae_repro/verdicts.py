"""From tests to words: the level of every t-test of the study, the verdict on a claim, one word for several."""

from collections import Counter
from collections.abc import Collection, Iterable

SIGNIFICANCE = 0.01  # the paper's: p < 0.01 for bold type


def reproduced(holds: Collection[bool]) -> str:
    """The verdict on a claim that is to hold in every case: "partly" if it does in some."""
    return "reproduced" if all(holds) else "partly" if any(holds) else "not reproduced"


def counted(words: Iterable[str]) -> str:
    """How often each word came, the commonest first: "3 reproduced, 1 partly"."""
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())


def overall(words: Iterable[str]) -> str:
    """One word for several claims: theirs if they agree, "open" if any is, "not shown" if none holds, else "partly".

    A table "moves" as soon as one thing moves it.
    """
    words = set(words)
    if "moves" in words:
        return "moves"
    if len(words) == 1:
        return words.pop()
    return "open" if "open" in words else "not shown" if words <= {"no", "not shown"} else "partly"
