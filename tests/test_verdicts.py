"""One word for several answers, and how often each came."""

import pytest

from svae_repro import verdicts


@pytest.mark.parametrize(
    ("words", "one"),
    [
        (["reproduced"] * 3, "reproduced"),
        (["not reproduced"] * 2, "not reproduced"),
        (["reproduced", "not reproduced"], "partly"),
        (["reproduced", "partly"], "partly"),
        (["yes", "no", "not shown"], "partly"),
        (["no", "not shown"], "not shown"),
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


def test_the_commonest_word_is_counted_first():
    assert verdicts.counted(["partly", "open", "open"]) == "2 open, 1 partly"
