"""Each erratum is one: the printed value is wrong, the corrected one is the truth."""

import pytest

from svae_repro.errata import errata

ERRATA = errata()
SAMPLED = "blog, code: KL of wrapped normals"  # its correction is a mean of 400,000 samples, error 0.002


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda e: e.where)
def test_printed_is_wrong_and_corrected_is_right(erratum):
    tolerance = 0.01 if erratum.where == SAMPLED else 1e-6 * abs(erratum.truth) + 1e-9
    assert erratum.value_correct == pytest.approx(erratum.truth, abs=tolerance)
    assert abs(erratum.value_printed - erratum.truth) > 0.02 * abs(erratum.truth) + 5 * tolerance
    assert erratum.printed != erratum.correct and erratum.what and erratum.case


def test_both_sources_are_covered():
    assert {e.where.split(",")[0] for e in ERRATA} == {"paper", "blog"}
