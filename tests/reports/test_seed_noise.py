"""The statistics of a sweep against SciPy, hand arithmetic and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from cifarlab.paired import LEVEL
from cifarlab.reports.seed_noise import compare_points, mean_interval, showable_difference, welch_p

values = st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=2, max_size=8)


@given(first=values, second=values)
@settings(max_examples=100, deadline=None)
def test_welch_agrees_with_scipy(first: list[float], second: list[float]) -> None:
    assume(len(set(first)) > 1 and len(set(second)) > 1)  # SciPy warns of rounding where one side has no spread
    assert welch_p(first, second) == pytest.approx(stats.ttest_ind(first, second, equal_var=False).pvalue, rel=1e-6, abs=1e-12)


def test_points_without_spread_are_equal_or_not() -> None:
    assert welch_p([0.5, 0.5], [0.5, 0.5, 0.5]) == 1.0
    assert welch_p([0.5, 0.5], [0.6, 0.6]) == 0.0
    with pytest.raises(ValueError, match="two runs on either side"):
        welch_p([0.5], [0.5, 0.6])


def test_the_interval_of_a_mean_is_students() -> None:
    runs = [0.90, 0.92, 0.91]
    made = mean_interval(runs)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(runs), scale=stats.sem(runs))
    assert made == pytest.approx((0.91, 0.01, low, high, 3))
    assert mean_interval([0.4]) == (0.4, None, None, None, 1)
    assert mean_interval([0.99, 1.0, 0.98], most=1.0).high == 1.0
    assert mean_interval([0.99] * 3) == (0.99, 0.0, 0.99, 0.99, 3)  # not the rounding of a sum


def test_points_whose_seeds_agree_are_tested_by_the_spread_of_all_points() -> None:
    # Pooled over three points: squares 0.0002 on 4 degrees of freedom.
    alone = 2 * stats.t.sf(0.01 / math.sqrt(0.00005 * (1 / 2 + 1 / 2)), 4)
    found = compare_points([[0.90, 0.90], [0.91, 0.91], [0.80, 0.82, 0.81]])
    assert found[0, 1] == pytest.approx(alone)  # the largest of three, which Holm's procedure leaves as it is


def test_points_without_any_spread_are_not_told_apart() -> None:
    assert compare_points([[0.90, 0.90], [0.91, 0.91]]) == {(0, 1): 1.0}


def test_all_pairs_with_two_runs_are_compared() -> None:
    assert set(compare_points([[0.1, 0.2], [0.5], [0.8, 0.9, 0.85]])) == {(0, 2)}
    assert compare_points([[0.1], [0.2]]) == {}


def test_noise_is_called_a_difference_in_one_sweep_of_twenty_at_most() -> None:
    # 1500 sweeps of five equal points with three seeds: the share that shows any difference, and three of its standard errors.
    generator = np.random.default_rng(0)
    sweeps = 1500
    wrong = sum(any(p < LEVEL for p in compare_points(generator.normal(0.9, 0.003, (5, 3)).tolist()).values()) for _ in range(sweeps))
    assert wrong / sweeps <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / sweeps)


def test_the_showable_difference_by_hand() -> None:
    points = [[0.90, 0.92, 0.91], [0.80, 0.82, 0.81], [0.7, 0.72, 0.71]]
    reach = stats.t.ppf(1 - 0.05 / 6, 4) * 0.01 * math.sqrt(2 / 3)  # three pairs, sd 0.01, four degrees of freedom
    assert showable_difference(points) == pytest.approx(reach)
    assert showable_difference([[0.9], [0.8]]) is None


def test_the_showable_difference_is_on_the_edge_of_being_shown() -> None:
    # Two points of equal spread, that far apart: p lies at the level.
    spread = np.array([-0.01, 0.0, 0.01])
    reach = showable_difference([list(0.9 + spread), list(0.8 + spread)])
    assert reach is not None
    (p,) = compare_points([list(0.9 + spread), list(0.9 - reach + spread)]).values()
    assert p == pytest.approx(LEVEL)
