"""Metrics against values that are known: limits, hand computation, the literature."""

import math

import numpy as np
import pytest

from deploy.evaluate.features import Probe
from deploy.evaluate.metrics import fid, kid, median_interval, nearest_distances, total_variance, vendi_score, wilson


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_vendi_score_counts_what_differs():
    assert vendi_score(np.ones((6, 4))) == pytest.approx(1)
    assert vendi_score(3 * np.eye(6)) == pytest.approx(6)
    assert vendi_score(np.repeat(np.eye(3), 2, axis=0)) == pytest.approx(3)


def test_total_variance_of_two_orthogonal_pictures_is_one():
    assert total_variance(np.array([[2.0, 0.0], [0.0, 5.0]])) == pytest.approx(1)


def test_nearest_distance_is_zero_to_oneself_and_root_two_to_what_is_orthogonal():
    distances = nearest_distances(np.array([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    assert distances == pytest.approx([0, math.sqrt(2)])


def test_wilson_interval_is_that_of_newcombe_1998():
    assert wilson(81, 263) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.0, 0.1611), abs=5e-5)


def test_median_lies_in_its_interval_which_a_constant_shrinks_to_a_point(rng):
    value, low, high = median_interval(rng.normal(size=48))
    assert low < value < high
    assert median_interval(np.full(8, 2.5)) == (2.5, 2.5, 2.5)
    assert median_interval(np.arange(9.0)) == median_interval(np.arange(9.0))


def test_fid_of_a_shift_is_its_squared_length(rng):
    features = rng.normal(size=(64, 3))
    assert fid(features, features + np.array([1.0, 2.0, 0.0])) == pytest.approx(5, abs=1e-6)


def test_fid_of_more_pictures_than_features_and_fewer_is_that_of_the_matrix_root(rng):
    for width in (5, 40):
        x, y = rng.normal(size=(12, width)), 2 * rng.normal(size=(9, width)) + 1
        covariances = [np.cov(rows.T) for rows in (x, y)]
        eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(min=0)
        gap = ((x.mean(0) - y.mean(0)) ** 2).sum()
        expected = gap + sum(np.trace(c) for c in covariances) - 2 * np.sqrt(eigenvalues).sum()
        assert fid(x, y) == pytest.approx(expected, rel=1e-4)


def test_kid_is_the_unbiased_estimate_with_the_cubic_kernel(rng):
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)) + 1

    def mean_kernel(a, b, *, own):
        values = [(a[i] @ b[j] / 3 + 1) ** 3 for i in range(4) for j in range(4) if not (own and i == j)]
        return sum(values) / len(values)

    expected = mean_kernel(x, x, own=True) + mean_kernel(y, y, own=True) - 2 * mean_kernel(x, y, own=False)
    assert kid(x, y) == pytest.approx(expected)


def test_judge_knows_other_samples_of_what_it_learnt_from(rng):
    centres = {"cup": np.array([4.0, 0, 0]), "car": np.array([0, 4.0, 0])}
    judge = Probe.fit({name: centre + rng.normal(size=(40, 3)) for name, centre in centres.items()})
    others = centres["car"] + rng.normal(size=(40, 3))
    assert (judge.p_valid(others, "car") > 0.5).mean() > 0.9
    assert judge.p_valid(others, "car") + judge.p_valid(others, "cup") == pytest.approx(np.ones(40))
