"""Figures of agreement against published or worked examples."""

import pytest

from trabecula_service.validate.agreement import agreement, proportion, rms_cv


def test_bias_and_limits_of_agreement() -> None:
    found = agreement([1.0, -1.0, 2.0, 0.0])
    assert found is not None
    assert (found.count, found.bias) == (4, 0.5)
    # SD 1.29099; limits 0.5 +- 1.96 SD, interval of the bias 0.5 +- 1.96 SD / 2.
    assert (found.limit_low, found.limit_high) == pytest.approx((-2.0303, 3.0303), abs=1e-3)
    assert (found.bias_low, found.bias_high) == pytest.approx((-0.7652, 1.7652), abs=1e-3)


def test_one_difference_has_no_limits() -> None:
    assert agreement([0.4]) is None


def test_wilson_interval_of_a_published_example() -> None:
    # Newcombe, Stat Med 1998;17:857, table I: 81 of 263 gives 0.2553 to 0.3662.
    found = proportion(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert found.share == pytest.approx(81 / 263)


def test_no_trial_says_nothing() -> None:
    found = proportion(0, 0)
    assert (found.low, found.high) == (0.0, 1.0)
    assert found.share != found.share


def test_rms_cv_over_objects() -> None:
    assert rms_cv([[99.0, 101.0], [50.0, 50.0], [70.0]]) == pytest.approx((0.014142**2 / 2) ** 0.5, abs=1e-5)
    assert rms_cv([[70.0]]) is None
