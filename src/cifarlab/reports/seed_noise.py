"""Are the points of a sweep told apart by more than the spread of their seeds?

Two points with n and m runs are compared by Welch's t test (Biometrika 34:28-35, 1947), which does not take their spreads for
equal: with means a, b and standard errors e = s / sqrt(n), f = u / sqrt(m),

    t = (a - b) / sqrt(e^2 + f^2),    degrees of freedom = (e^2 + f^2)^2 / (e^4 / (n - 1) + f^4 / (m - 1)).

All pairs of points are tested, for the best point is picked by the same figures, and the p values are corrected by Holm's
procedure (Scand. J. Stat. 6:65-70, 1979): with five points there are ten chances to call noise a difference, and the chance of
calling any is held at 5 %.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr

from cifarlab.metrics import summarize
from cifarlab.paired import LEVEL, holm
from cifarlab.reports.verdict import student_quantile


class MeanInterval(NamedTuple):
    """A mean over seeds; `low` and `high` are its 95 % interval, None for a single run; sd with ddof = 1, None likewise."""

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Sequence[float], *, most: float = math.inf) -> MeanInterval:
    """mean -+ t sd / sqrt(n), t the 0.975 quantile of Student's distribution with n - 1 degrees of freedom, cut to 0..most.

    Raises ValueError without a finite value.
    """
    mean, sd, n = summarize(values)
    if sd is None:
        return MeanInterval(mean, None, None, None, n)
    if len(set(values)) == 1:  # the sum's rounding is no spread
        mean, sd = values[0], 0.0
    reach = student_quantile(0.975, n - 1) * sd / math.sqrt(n)
    return MeanInterval(mean, sd, max(0.0, mean - reach), min(most, mean + reach), n)


def welch_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p value of the difference of two means, 0..1; raises ValueError with fewer than two values on a side.

    Values without any spread on both sides give 1 where they are equal and 0 where they differ.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"a test needs two runs on either side, not {len(first)} and {len(second)}")
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    e, f = float(a.var(ddof=1)) / len(a), float(b.var(ddof=1)) / len(b)
    difference = float(a.mean() - b.mean())
    if e + f == 0.0:
        return 1.0 if difference == 0.0 else 0.0
    degrees = (e + f) ** 2 / (e**2 / (len(a) - 1) + f**2 / (len(b) - 1))
    return float(2.0 * stdtr(degrees, -abs(difference) / math.sqrt(e + f)))


def compare_points(points: Sequence[Sequence[float]]) -> dict[tuple[int, int], float]:
    """Corrected p value of every pair (i, j), i < j, of points with two values or more; empty with fewer than two such points.

    Seeds that agree to the last image, as they do on few images, say nothing of their spread: two such points are tested by Student's
    t with the spread of all points together, and are not told apart where that is 0, too.
    """
    pairs = [pair for pair in itertools.combinations(range(len(points)), 2) if min(len(points[i]) for i in pair) >= 2]
    pooled, degrees = _pooled_variance(points)
    p_values = []
    for first, second in ((points[i], points[j]) for i, j in pairs):
        if len(set(first)) > 1 or len(set(second)) > 1:
            p_values.append(welch_p(first, second))
        else:
            error = math.sqrt(pooled * (1 / len(first) + 1 / len(second)))
            p_values.append(1.0 if error == 0.0 else float(2.0 * stdtr(degrees, -abs(first[0] - second[0]) / error)))
    return dict(zip(pairs, holm(p_values).tolist(), strict=True))


def showable_difference(points: Sequence[Sequence[float]]) -> float | None:
    """The difference of two means that would just be shown, in the unit of the values: at the spread of these points taken together,
    with the number of runs that most have, at the strictest step of Holm's procedure. None where no spread is known."""
    counts = sorted(len(values) for values in points if len(values) >= 2)
    if len(counts) < 2:
        return None
    n, pairs = counts[len(counts) // 2], len(counts) * (len(counts) - 1) // 2
    return student_quantile(1.0 - LEVEL / (2 * pairs), 2 * (n - 1)) * math.sqrt(2.0 * _pooled_variance(points)[0] / n)


def _pooled_variance(points: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Variance over seeds of all points together, and its degrees of freedom: both 0 where no point has two values."""
    several = [np.asarray(values, dtype=np.float64) for values in points if len(values) >= 2]
    degrees = sum(len(values) - 1 for values in several)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in several if np.ptp(values) > 0)
    return (squares / degrees if degrees else 0.0), degrees
