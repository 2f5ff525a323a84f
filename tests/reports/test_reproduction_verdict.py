"""reports.verdict: the formulas of its docstring, against SciPy and arithmetic by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cifarlab.metrics import Interval, wilson_interval
from cifarlab.paired import compare_groups
from cifarlab.reports.verdict import expected_interval, judge, paired_difference, student_quantile
from cifarlab.runs import Predictions


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 30, 101])
@pytest.mark.parametrize("share", [0.5, 0.6, 0.9, 0.975, 0.999])
def test_student_quantiles_are_those_of_scipy(share, degrees):
    assert student_quantile(share, degrees) == pytest.approx(stats.t.ppf(share, degrees), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("share", "degrees"), [(0.975, 0), (0.0, 3), (1.0, 3)])
def test_student_quantiles_outside_the_table_are_refused(share, degrees):
    with pytest.raises(ValueError, match="degrees"):
        student_quantile(share, degrees)


def test_one_run_has_its_wilson_interval():
    assert expected_interval([0.8633], 10_000) == wilson_interval(8633, 10_000)


def test_runs_that_differ_widely_are_judged_by_their_spread():
    values = [0.80, 0.84, 0.88]
    found = expected_interval(values, 10_000)
    # mean 0.84, sd 0.04, t of 2 degrees of freedom 4.3027
    reach = 4.302652729696142 * 0.04 * math.sqrt(1 + 1 / 3)
    assert found.value == pytest.approx(0.84)
    assert (found.low, found.high) == (pytest.approx(0.84 - reach), pytest.approx(min(1.0, 0.84 + reach)))
    assert reach > 0.1  # far beyond the 0.007 of the images alone


def test_runs_that_agree_closely_are_judged_by_the_number_of_images():
    found = expected_interval([0.8400, 0.8401, 0.8399], 10_000)
    wilson = wilson_interval(8400, 10_000)
    assert (found.low, found.high) == (wilson.low, wilson.high)


def test_the_prediction_interval_holds_the_next_run_of_a_normal_sample_95_times_of_100():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        *seen, new = rng.normal(0.8, 0.02, size=4)
        found = expected_interval(seen, 10**9)  # so many images that only the spread counts
        inside += found.low <= new <= found.high
    assert inside / 2000 == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


@pytest.mark.parametrize(("values", "images"), [([], 10), ([0.5], 0), ([86.33], 10)])
def test_accuracies_that_are_none_are_refused(values, images):
    with pytest.raises(ValueError, match=r"0\.\.1|finite"):
        expected_interval(values, images)


@pytest.mark.parametrize(
    ("claimed", "verdict"), [(0.85, "agrees"), (0.84, "agrees"), (0.86, "agrees"), (0.8399, "higher"), (0.8601, "lower")]
)
def test_the_verdict_is_about_the_measured_accuracy(claimed, verdict):
    assert judge(claimed, Interval(0.85, 0.84, 0.86)) == verdict


# -- paired differences ------------------------------------------------------------------------------------------


def predictions(right: str, *, first: int = 0) -> Predictions:
    """One image a character: "1" where it is classified rightly."""
    hits = np.array([character == "1" for character in right])
    labels = np.zeros(len(right), dtype=np.int64)
    logits = np.stack([hits, ~hits], axis=1).astype(np.float32)
    ids = np.array([f"test/{first + i:05d}" for i in range(len(right))])
    return Predictions(ids, labels, logits, None, "none", ("cat", "dog"), "test", "5f" * 32)


def test_the_difference_of_one_pair_is_that_of_the_comparison_on_the_same_images():
    first, second = "11110010" * 40, "11000001" * 40
    found = paired_difference([predictions(first)], [predictions(second)])
    right = np.array([[character == "1" for character in text] for text in (first, second)])
    (expected,) = compare_groups(right, [[0], [1]], [(0, 1)])
    assert found == (pytest.approx(2 / 8), expected.low, expected.high, 320, 1)
    # The bootstrap's interval is near the normal one, 1.96 sd / sqrt(N).
    half = stats.norm.ppf(0.975) * np.std([0, 0, 1, 1, 0, 0, 1, -1]) / math.sqrt(320)
    assert (found.low, found.high) == (pytest.approx(0.25 - half, abs=0.01), pytest.approx(0.25 + half, abs=0.01))


def test_the_order_of_the_images_does_not_matter():
    one, other = predictions("11110010"), predictions("11000001")
    turned = Predictions(other.sample_ids[::-1], other.labels, other.logits[::-1], None, "none", other.class_names, "test", other.checksum)
    assert paired_difference([one], [turned]) == paired_difference([one], [other])


def test_only_shared_images_are_compared():
    found = paired_difference([predictions("1111")], [predictions("0011", first=2)])
    assert found.images == 2  # numbers 2 and 3, which the second run gets wrong
    assert found.value == 1.0


def test_seeds_that_contradict_each_other_widen_the_interval():
    alone = paired_difference([predictions("10" * 50)], [predictions("0" * 100)])
    found = paired_difference([predictions("1" * 100), predictions("0" * 100)], [predictions("0" * 100), predictions("0" * 100)])
    assert found.value == alone.value == 0.5
    assert found.seeds == 2
    assert alone.high - alone.low < 0.25
    assert (found.low, found.high) == (-1.0, 1.0)


def test_equal_runs_do_not_differ():
    found = paired_difference([predictions("1100")] * 2, [predictions("1100")] * 2)
    assert found.value == 0.0
    assert found.low < 0.0 < found.high  # four images cannot show that they are equal on all


@pytest.mark.parametrize(("first", "second"), [([], []), ([predictions("1")], []), ([predictions("11")], [predictions("11", first=9)])])
def test_runs_that_cannot_be_paired_are_refused(first, second):
    with pytest.raises(ValueError, match=r"as many runs|share no test image"):
        paired_difference(first, second)
