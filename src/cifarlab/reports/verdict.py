"""Does a measured accuracy agree with a claimed one, and do two protocols differ?

A claim is one run of somebody else's. It agrees with m, the mean accuracy of n own runs on N test images, where it lies in the
interval [L, H] in which one more run is expected with 95 % probability:

    L = min(wilson low of m on N,  m - t * s * sqrt(1 + 1/n))
    H = max(wilson high of m on N, m + t * s * sqrt(1 + 1/n))

The first part is the uncertainty from the number of test images (Wilson, 1927), the second the prediction interval of a normal
sample: s is the standard deviation over the n seeds and t the 0.975 quantile of Student's distribution with n - 1 degrees of
freedom. With n = 1 there is no second part: one seed says nothing of the spread of seeds, and [L, H] is that run's Wilson interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from cifarlab.metrics import Interval, summarize, wilson_interval
from cifarlab.paired import compare_groups
from cifarlab.runs import Predictions

Verdict = Literal["agrees", "higher", "lower"]


class Difference(NamedTuple):
    """Accuracy of one set of runs minus that of another on the same images, -1..1, with a 95 % interval.

    images: how many images are compared; seeds: how many pairs of runs.
    """

    value: float
    low: float
    high: float
    images: int
    seeds: int


def expected_interval(accuracies: Sequence[float], images: int) -> Interval:
    """The mean of `accuracies` (0..1, one a seed, each on `images` test images) and [L, H] of the module's formula, cut to 0..1.

    Raises ValueError without an accuracy, for one outside 0..1, or for `images` below 1.
    """
    if images < 1 or not all(0.0 <= value <= 1.0 for value in accuracies):
        raise ValueError(f"accuracies must lie in 0..1 on at least one image, not {list(accuracies)} on {images}")
    mean, sd, n = summarize(accuracies)
    wilson = wilson_interval(round(mean * images), images)
    if sd is None:
        return Interval(mean, min(wilson.low, mean), max(wilson.high, mean))
    reach = student_quantile(0.975, n - 1) * sd * math.sqrt(1.0 + 1.0 / n)
    return Interval(mean, max(0.0, min(wilson.low, mean - reach)), min(1.0, max(wilson.high, mean + reach)))


def judge(claimed: float, expected: Interval) -> Verdict:
    """ "agrees" where `claimed` (0..1) lies in the interval, else whether the measured accuracy is "higher" or "lower" than it."""
    if expected.low <= claimed <= expected.high:
        return "agrees"
    return "higher" if expected.value > claimed else "lower"


def paired_difference(first: Sequence[Predictions], second: Sequence[Predictions]) -> Difference:
    """Mean accuracy of `first` minus that of `second`, over the images that all have, with the interval of `cifarlab.paired`.

    Both sides have the same seeds. A seed means other weights on either side, because they train on other images, so runs are not
    paired by it: images are, and the spread over seeds is pooled. Raises ValueError where the numbers of runs differ or are 0,
    or the runs share no image.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"a difference of protocols needs as many runs on both sides, not {len(first)} and {len(second)}")
    hits = [_hits(made) for made in (*first, *second)]
    shared = set(hits[0]).intersection(*hits[1:])
    if not shared:
        raise ValueError("the runs share no test image")
    order = sorted(shared)
    right = np.array([[one[name] for name in order] for one in hits], dtype=np.bool_)  # [2S, N]
    seeds = len(first)
    (found,) = compare_groups(right, [range(seeds), range(seeds, 2 * seeds)], [(0, 1)])
    return Difference(found.value, found.low, found.high, found.images, seeds)


def _hits(predictions: Predictions) -> dict[str, bool]:
    right = predictions.final_logits.argmax(axis=1) == predictions.labels
    return dict(zip(predictions.sample_ids.tolist(), right.tolist(), strict=True))


def student_quantile(share: float, degrees: int) -> float:
    """The value that a Student variable with `degrees` degrees of freedom stays below with probability `share`.

    Raises ValueError unless 0 < share < 1 and degrees is at least 1.
    """
    if degrees < 1 or not 0.0 < share < 1.0:
        raise ValueError(f"share must lie between 0 and 1, degrees must be at least 1, not {share} and {degrees}")
    return float(stdtrit(degrees, share))
