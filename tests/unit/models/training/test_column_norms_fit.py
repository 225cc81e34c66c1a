"""The norms of the column are fitted from tables with gaps."""

import numpy as np

from trabecula_models.training.column_norms import normal_with_gaps, root_factors, without_outliers


def test_mean_and_covariance_of_rows_with_gaps_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(5)
    true_mean, mixing = np.array([1.0, -2.0, 3.0, 0.5]), rng.normal(size=(4, 4))
    table = true_mean + rng.normal(size=(4000, 4)) @ mixing.T
    table[:, 2][table[:, 1] > -2.0] = np.nan  # what is missing depends on what is known: the plain mean would be off
    assert abs(np.nanmean(table, axis=0)[2] - 3.0) > 0.2
    mean, covariance = normal_with_gaps(table)
    assert np.abs(mean - true_mean).max() < 0.15
    assert np.abs(covariance - mixing @ mixing.T).max() < 0.25


def test_mislabelled_points_are_left_out() -> None:
    table = np.random.default_rng(1).normal(30, 2, (500, 2))
    table[7, 1] = 300.0
    kept = without_outliers(table)
    assert np.argwhere(np.isnan(kept)).tolist() == [[7, 1]]


def test_only_the_uppermost_levels_have_a_factor_of_their_own_between_roots_and_centres() -> None:
    vid_mm = np.full(18, 30.0)
    spine = 0.95 * vid_mm
    spine[:3] = [42.0, 36.0, 30.0]
    factors = root_factors(vid_mm, [spine, np.where(np.arange(18) < 12, np.nan, spine)])
    assert np.allclose(factors[:3], [1.4, 1.2, 1.0])
    assert np.allclose(factors[3:], 0.95)
