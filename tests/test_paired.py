"""Paired tests and intervals: against SciPy, hand arithmetic, and simulations with a known difference."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cifarlab.paired import PairedDifference, compare_groups, holm, mcnemar, resample_accuracies, unseen_share


def pair_of(both: int, first_only: int, second_only: int, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    first = [True] * (both + first_only) + [False] * (second_only + neither)
    second = [True] * both + [False] * first_only + [True] * second_only + [False] * neither
    return np.array(first), np.array(second)


# -- McNemar -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 0), (3, 7), (8, 8), (25, 41), (312, 260), (2000, 1500)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_images(b, c):
    found = mcnemar(*pair_of(30, b, c, 9))
    exact = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert (found.first_only, found.second_only) == (b, c)
    assert found.exact == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("b", "c"), [(1, 0), (3, 7), (8, 8), (25, 41), (312, 260)])
def test_mid_p_takes_half_the_chance_of_the_result_itself(b, c):
    null = stats.binom(b + c, 0.5)
    tail = sum(null.pmf(k) for k in range(min(b, c)))
    assert mcnemar(*pair_of(30, b, c)).mid_p == pytest.approx(1.0 if b == c else 2 * tail + null.pmf(min(b, c)), rel=1e-9)


def test_mcnemar_is_the_same_both_ways():
    first, second = pair_of(10, 4, 13)
    there, back = mcnemar(first, second), mcnemar(second, first)
    assert (there.exact, there.mid_p) == (back.exact, back.mid_p)


# -- Holm --------------------------------------------------------------------------------------------------


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04, times 4 3 2 1: .04 .06 .06 .06 once none is below the one before it.
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    assert holm([]).shape == (0,)


def test_holm_rejects_what_the_stepwise_procedure_rejects():
    values = np.random.default_rng(0).beta(0.3, 2, size=40)
    rejected = set()
    for i, place in enumerate(np.argsort(values)):
        if values[place] > 0.05 / (40 - i):
            break
        rejected.add(int(place))
    assert set(np.flatnonzero(holm(values) <= 0.05).tolist()) == rejected


# -- bootstrap of the images -----------------------------------------------------------------------------------


def test_one_pair_has_the_interval_of_scipys_paired_bootstrap():
    first, second = pair_of(250, 70, 40, 40)
    ours = compare_groups([first, second], [[0], [1]], [(0, 1)], resamples=40_000)[0]
    theirs = stats.bootstrap(
        (first.astype(float), second.astype(float)),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(0),
        batch=1000,
    )
    assert ours.value == pytest.approx(30 / 400)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.0026)  # one image in 400 is 0.0025
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.0026)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.02)


def test_drawing_kinds_of_images_is_drawing_images():
    """Every one of the 4^4 draws of four images enumerated: the shares of the outcomes are those of the multinomial counts."""
    correct = np.array([[True, True, False, True], [False, True, True, True]])
    outcomes = [tuple(correct[:, list(index)].mean(axis=1)) for index in itertools.product(range(4), repeat=4)]
    draws = [tuple(row) for row in resample_accuracies(correct, [[0], [1]], resamples=60_000, seed=0)]
    for outcome in set(outcomes):
        assert draws.count(outcome) / 60_000 == pytest.approx(outcomes.count(outcome) / 256, abs=0.01)
    assert set(draws) <= set(outcomes)


def test_the_images_of_a_draw_are_the_same_for_all_groups():
    row = np.random.default_rng(0).random(500) < 0.7
    draws = resample_accuracies(np.stack([row, row, ~row]), [[0], [1], [2]], resamples=500, seed=3)
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])
    np.testing.assert_allclose(draws[:, 0] + draws[:, 2], 1.0)


def test_the_p_value_of_two_runs_is_mcnemars():
    first, second = pair_of(100, 5, 0)
    found = compare_groups([first, second], [[0], [1]], [(0, 1)])[0]
    assert found.mcnemar == mcnemar(first, second)
    assert found.p_value == pytest.approx(2 * 0.5**5 - 0.5**5)


@pytest.mark.parametrize("images", [1, 14, 10_000])
def test_equal_runs_differ_on_no_more_images_than_clopper_and_pearson_allow(images):
    row = np.random.default_rng(1).random(images) < 0.5
    found = compare_groups([row, row], [[0], [1]], [(0, 1)])[0]
    most = stats.binomtest(0, images).proportion_ci(0.95, method="exact").high
    assert (found.value, found.p_value, found.standard_error) == (0, 1, 0)
    assert (-found.low, found.high) == pytest.approx((most, most))
    assert most < found.detectable() <= 1


def test_equal_groups_of_seeds_have_the_same_bound():
    row = np.random.default_rng(1).random(14) < 0.5
    found = compare_groups([row] * 6, [[0, 1, 2], [3, 4, 5]], [(0, 1)])[0]
    assert (found.low, found.high) == pytest.approx((-unseen_share(14), unseen_share(14)))


def test_one_right_and_one_wrong_on_few_images_is_not_certain_either():
    found = compare_groups([[True] * 4, [False] * 4], [[0], [1]], [(0, 1)])[0]
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(1 - 2 * unseen_share(4))


def test_no_images_have_no_unseen_share():
    with pytest.raises(ValueError, match="at least 1"):
        unseen_share(0)


def test_groups_in_turned_order_give_the_turned_interval():
    correct = np.random.default_rng(2).random((4, 300)) < 0.6
    there, back = compare_groups(correct, [[0, 1], [2, 3]], [(0, 1), (1, 0)], resamples=20_000)
    assert back.value == -there.value
    assert back.low == pytest.approx(-there.high, abs=0.01)
    assert back.standard_error == pytest.approx(there.standard_error)


def test_a_seed_fixes_the_result():
    correct = np.random.default_rng(2).random((4, 300)) < 0.6
    arguments = (correct, [[0, 1], [2, 3]], [(0, 1)])
    assert compare_groups(*arguments, seed=5) == compare_groups(*arguments, seed=5)
    assert compare_groups(*arguments, seed=5) != compare_groups(*arguments, seed=6)


# -- seeds -----------------------------------------------------------------------------------------------------


def test_where_images_do_not_matter_the_interval_is_students():
    """Every run is right on its own random images: no image is easy for one group, and all that varies is the run's accuracy."""
    rng = np.random.default_rng(4)
    shares = np.array([0.80, 0.82, 0.84, 0.70, 0.74, 0.72])
    correct = np.stack([np.roll(np.arange(20_000) < 20_000 * share, rng.integers(20_000)) for share in shares])
    correct = np.stack([rng.permutation(row) for row in correct])
    found = compare_groups(correct, [[0, 1, 2], [3, 4, 5]], [(0, 1)], resamples=40_000)[0]
    reference = stats.ttest_ind(shares[:3], shares[3:]).confidence_interval(0.95)
    assert found.seed_sd == pytest.approx(0.02)
    assert found.low == pytest.approx(reference.low, abs=0.002)
    assert found.high == pytest.approx(reference.high, abs=0.002)


def test_seeds_that_agree_leave_the_images_alone():
    """Runs of a method without randomness: the interval is that of one run, not narrower."""
    first, second = pair_of(500, 60, 40, 100)
    single = compare_groups([first, second], [[0], [1]], [(0, 1)])[0]
    several = compare_groups([first, first, first, second, second, second], [[0, 1, 2], [3, 4, 5]], [(0, 1)])[0]
    assert several.seed_sd == 0
    assert several.standard_error == pytest.approx(single.standard_error)
    assert (several.low, several.high) == pytest.approx((single.low, single.high), abs=0.003)


def test_the_standard_error_of_two_groups_by_hand():
    correct = np.array([[1, 1, 1, 0, 1, 0], [1, 1, 0, 0, 1, 1], [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0]], dtype=bool)
    found = compare_groups(correct, [[0, 1], [2, 3]], [(0, 1)], resamples=1000)[0]
    # d(x) = 0.5, 0.5, 0.5, 0, 0.5, 0.5: mean 5/12, variance 5/144, by 6 images: 5/864.
    # Accuracies 4/6, 4/6 and 2/6, 1/6: variance 0 and 1/72, pooled s^2 = 1/144; w = 1.
    # Interaction: the differences of the two runs are 0 0 1 0 0 -1 (sum of squares about their mean 2) and 1 -1 0 0 1 0 (17/6),
    # half of which each is the sum of squares; by 5 degrees, by 6 images, pooled: m = (1 + 17/12) / 5 / 6 / 2 = 29/720 > 5/864.
    assert found.value == pytest.approx(5 / 12)
    assert found.standard_error == pytest.approx((1 / 144) ** 0.5)
    assert found.freedom == pytest.approx(2)


def simulate(rng: np.random.Generator, seeds: tuple[int, int], images: int, spread: float) -> np.ndarray:
    """Correctness [S, N] of two groups whose expected accuracies are the same for both up to 2 points.

    The chance that a run is right on an image is its group's chance there, 0.6 to 1 (first) and 0.58 to 0.98, mixed with one image
    in five on which the groups differ at random, plus the run's own shift, normal with sd `spread`.
    """
    hard = rng.random(images)
    apart = (rng.random(images) < 0.2) * rng.choice([-0.1, 0.1], size=images)
    rows = []
    for count, low, sign in ((seeds[0], 0.60, 0.5), (seeds[1], 0.58, -0.5)):
        chance = low + 0.1 + 0.2 * (hard > 0.5) + sign * apart
        rows += [rng.random(images) < chance + spread * rng.normal() for _ in range(count)]
    return np.stack(rows)


@pytest.mark.parametrize(
    ("seeds", "spread"),
    [((1, 1), 0.0), ((3, 3), 0.0), ((3, 3), 0.01), ((3, 3), 0.05), ((2, 2), 0.02), ((5, 3), 0.02)],
)
def test_intervals_hold_the_known_difference_in_95_of_100_cases(seeds, spread):
    rng = np.random.default_rng(11)
    groups = [list(range(seeds[0])), list(range(seeds[0], sum(seeds)))]
    trials, held = 400, 0
    for trial in range(trials):
        found = compare_groups(simulate(rng, seeds, 1000, spread), groups, [(0, 1)], resamples=400, seed=trial)[0]
        held += found.low <= 0.02 <= found.high
    # Four binomial standard errors at 95 % are 4.4 points; the bootstrap at 400 resamples adds some noise of its own.
    low, high = stats.binom.ppf([0.0005, 0.9995], trials, 0.95)
    assert low <= held <= max(high, trials * 0.99), held / trials


def test_p_values_under_no_difference_are_below_5_percent_in_5_of_100_cases():
    rng = np.random.default_rng(12)
    found = [
        compare_groups(rng.random((4, 800)) < 0.7 + 0.02 * rng.normal(size=(4, 1)), [[0, 1], [2, 3]], [(0, 1)], resamples=300, seed=i)[0]
        for i in range(400)
    ]
    assert sum(one.p_value < 0.05 for one in found) <= stats.binom.ppf(0.999, 400, 0.05)


def test_a_difference_as_large_as_the_power_statement_is_shown_in_80_of_100_cases():
    rng = np.random.default_rng(13)
    images, apart = 3000, 0.1
    told, shown = [], 0
    for trial in range(300):
        shared = rng.random(images)
        first, second = shared < 0.8, np.where(rng.random(images) < apart, rng.random(images) < 0.7, shared < 0.8)
        one = compare_groups([first, second], [[0], [1]], [(0, 1)], resamples=200, seed=trial)[0]
        told.append(one.detectable())
        shown += one.p_value < 0.05
    assert np.mean(told) == pytest.approx(apart * (0.8 - 0.7), rel=0.1)
    assert 0.7 < shown / 300 < 0.9


@pytest.mark.parametrize("seeds", [(1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (3, 3), (10, 10)])
@pytest.mark.parametrize("images", [20, 144, 2000])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.2])
def test_what_can_be_shown_is_never_less_than_half_the_interval(seeds, images, spread):
    rng = np.random.default_rng([*seeds, images])
    rates = 0.7 + spread * rng.normal(size=(sum(seeds), 1))
    groups = [range(seeds[0]), range(seeds[0], sum(seeds))]
    one = compare_groups(rng.random((sum(seeds), images)) < rates, groups, [(0, 1)], resamples=2000)[0]
    assert one.detectable() > (one.high - one.low) / 2 or one.detectable() == 1.0  # no difference is above 1
    assert one.detectable(level=0.05 / 6) >= one.detectable()


def test_what_can_be_shown_takes_both_quantiles_of_student():
    one = PairedDifference(0.0, -0.01, 0.01, 0.5, 0.01, 2.0, 0.01, 100, (2, 2), None)
    assert one.detectable() == pytest.approx((stats.t.ppf(0.975, 2) + stats.t.ppf(0.8, 2)) * 0.01)
    wide = replace(one, low=-0.06, high=0.06)  # wider than t times its standard error: the interval decides
    assert wide.detectable() == pytest.approx(0.06 * (1 + stats.t.ppf(0.8, 2) / stats.t.ppf(0.975, 2)))


# -- speed, memory, refusals -------------------------------------------------------------------------------------


def test_ten_runs_of_10_000_predictions_take_seconds_and_little_memory():
    rng = np.random.default_rng(5)
    hard = rng.random(10_000)
    correct = np.stack([hard + rng.normal(scale=0.2, size=10_000) < 0.5 + 0.05 * run for run in range(10)])
    groups = [[run] for run in range(10)]
    pairs = list(itertools.combinations(range(10), 2))
    before = time.process_time()
    assert len(compare_groups(correct, groups, pairs, resamples=10_000)) == 45
    assert time.process_time() - before < 5.0
    tracemalloc.start()
    compare_groups(correct, groups, pairs[:1], resamples=2_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), [[0], [1]], [(0, 1)]), "bool"),
        ((np.ones((2, 0), dtype=bool), [[0], [1]], [(0, 1)]), "bool"),
        ((np.ones((2, 3), dtype=bool), [[0], [0]], [(0, 1)]), "different row numbers"),
        ((np.ones((2, 3), dtype=bool), [[0], []], [(0, 1)]), "different row numbers"),
        ((np.ones((2, 3), dtype=bool), [[0], [2]], [(0, 1)]), "different row numbers"),
        ((np.ones((2, 3), dtype=bool), [[0], [1]], [(0, 0)]), "two different groups"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        compare_groups(*arguments)


def test_too_few_resamples_are_refused():
    with pytest.raises(ValueError, match="at least 100"):
        compare_groups(np.ones((2, 3), dtype=bool), [[0], [1]], [(0, 1)], resamples=99)
