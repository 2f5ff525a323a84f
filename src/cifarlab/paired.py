"""Is one model better than another? Tests and intervals on the images that both have answered.

Throughout, `correct` is bool [R, N]: whether run r is right on image x. Runs of one recipe that differ in their seed alone form a
group, and the accuracy of a group is the mean over its runs and the images. Two groups are compared on the same images, so that an
image which is hard for both says nothing about either.

Two things vary: which images were taken, and which seeds (Bouthillier et al., 2021, "Accounting for variance in machine learning
benchmarks", arXiv 2103.03098). With S_a and S_b runs, w = 1 / S_a + 1 / S_b, and d(x) the difference of the two groups' mean
correctness on image x, the variance of the difference is estimated by

    (var_x d(x) / N - m w)  +  s^2 w,

where s^2 is the variance of the accuracy over the seeds of a group, pooled over both groups (the spread of the seeds is taken to be
the same in both), and m the part of it that the choice of N images brings about by itself: the interaction's mean square of a two-way
analysis of variance, divided by N. It is in both terms and counts once; the first is at least 0. With one run a side there is no
second term, and m is 0.

The bootstrap draws images with replacement, the same for all runs (Efron and Tibshirani, 1993, "An introduction to the bootstrap",
chapters 8 and 13), shrinks the deviations of the draws to the first term, and adds s sqrt(w) t to each, with t from Student's
distribution with S_a + S_b - 2 degrees of freedom. Seeds are not drawn with replacement: S values drawn from S values vary too little
by (S - 1) / S, which is a third at S = 3, and m would count twice. In simulations with a known difference intervals of 95 % by that
plain bootstrap held it in 83 to 99 % of the cases, these in 94 to 97 % (benchmarks/interval_coverage.py). Percentiles are taken because
BCa covered no better (94.6 against 95.0 % over seven cases of a single pair); where only one side is ever alone right percentiles are
too sure (90 %), and McNemar's test decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, gammaln, ndtri, stdtrit

LEVEL: Final = 0.05  # of every test; intervals are at 95 %
POWER: Final = 0.8  # Cohen's convention for what a study can show
_ROUNDING: Final = 1e-24  # a variance below this is none
_BLOCK: Final = 4_000_000  # counts held at once while images are drawn

Correct = NDArray[np.bool_]
Draws = NDArray[np.float64]


class McNemar(NamedTuple):
    """first_only, second_only: images on which only one of two models is right; exact, mid_p: two-sided p-values."""

    first_only: int
    second_only: int
    exact: float
    mid_p: float


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of a first group of runs minus that of a second on the same images, -1..1, with its 95 % interval.

    Where all images are alike (both right or both wrong on each, say) the interval is that of the share of others: `unseen_share`.
    p_value: two-sided; of McNemar's test (mid-p) where both sides are one run, else of the bootstrap.
    standard_error: from the images and, where a side has several runs, from the seeds; freedom: its degrees of freedom.
    seed_sd: standard deviation of the accuracy over the seeds of a group, pooled; None with one run a side.
    """

    value: float
    low: float
    high: float
    p_value: float
    standard_error: float
    freedom: float
    seed_sd: float | None
    images: int
    seeds: tuple[int, int]
    mcnemar: McNemar | None

    def detectable(self, *, level: float = LEVEL, power: float = POWER) -> float:
        """The true difference, 0..1, that a comparison of this size shows with probability `power` at `level`.

        (t_a + t_p) times the standard error, with t_a the 1 - level / 2 and t_p the `power` quantile of Student's distribution with
        `freedom` degrees of freedom. The interval's tails can be heavier than that says, where few seeds are only a part of the
        variance: the standard error is taken to be no smaller than what makes the interval half its width at 5 %, so that a
        difference inside the interval's reach is never called detectable. Raises ValueError unless both lie between 0 and 1.
        """
        if not (0.0 < level < 1.0 and 0.0 < power < 1.0):
            raise ValueError(f"level and power must lie between 0 and 1, not {level} and {power}")
        of_interval = (self.high - self.low) / 2.0 / self._quantile(1.0 - LEVEL / 2.0)
        reach = self._quantile(1.0 - level / 2.0) + self._quantile(power)
        return float(min(1.0, reach * max(self.standard_error, of_interval)))

    def _quantile(self, share: float) -> float:
        return float(ndtri(share) if math.isinf(self.freedom) else stdtrit(self.freedom, share))


def unseen_share(images: int) -> float:
    """The largest share, 0..1, of what none of `images` images has shown: the upper end of Clopper and Pearson's 95 % interval (1934,
    Biometrika 26:404-413) for 0 of N, 1 - 0.025^(1 / N). Raises ValueError for less than one image."""
    if images < 1:
        raise ValueError(f"images must be at least 1, not {images}")
    return -math.expm1(math.log(LEVEL / 2.0) / images)


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """McNemar's test (1947, Psychometrika 12:153-157) of two models on the same images; both arguments are bool [N].

    Of the b + c images on which one model alone is right, either model gets each with probability 1/2 where both are equally good:
    exact is the two-sided binomial p-value. mid_p counts half the probability of the result itself, because the exact one rejects
    less often than its level says (Fagerland, Lydersen and Laake, 2013, BMC Med. Res. Methodol. 13:91). Dietterich (1998, Neural
    Computation 10:1895-1923) recommends the test for models trained once: it holds for these models, not for how they were trained.
    """
    one, other = _matrix(np.stack([np.asarray(first), np.asarray(second)]))
    b, c = int((one & ~other).sum()), int((other & ~one).sum())
    n, least = b + c, min(b, c)
    if n == 0:
        return McNemar(0, 0, 1.0, 1.0)
    tail = 2.0 * float(bdtr(least, n, 0.5))
    chance = math.exp(gammaln(n + 1) - gammaln(least + 1) - gammaln(n - least + 1) - n * math.log(2.0))
    return McNemar(b, c, min(1.0, tail), 1.0 if b == c else min(1.0, tail - chance))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values float64 [M] corrected for M tests at once (Holm, 1979, Scand. J. Statist. 6:65-70), in the order given.

    The i-th smallest (from 0) is multiplied by M - i; none may be below a smaller one before it, or above 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p-values must be [M] and lie in 0..1")
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return corrected


def compare_groups(
    correct: ArrayLike,
    groups: Sequence[Sequence[int]],
    pairs: Sequence[tuple[int, int]],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[PairedDifference]:
    """For each pair (a, b) the accuracy of group a minus that of group b; `groups` hold row numbers of `correct`.

    The interval is the bootstrap's 2.5 and 97.5 percentiles. The same arguments give the same result. Raises ValueError where a
    group is empty, a row stands twice, a pair names no group, or `resamples` is below 100.
    """
    right = _matrix(correct)
    _check_groups(groups, pairs, len(right), resamples)
    draws = resample_accuracies(right, groups, resamples=resamples, seed=seed)  # [B, G]
    return [_difference(right, groups, pair, draws, np.random.default_rng([seed, 1, number])) for number, pair in enumerate(pairs)]


def resample_accuracies(correct: ArrayLike, groups: Sequence[Sequence[int]], *, resamples: int, seed: int) -> Draws:
    """Accuracy float64 [B, G] of every group on B times N images drawn with replacement, the same images for all groups.

    Images on which all groups have the same numbers of right runs are alike, so that what is drawn is how often each kind of image
    comes: one multinomial count a kind instead of N indices, with the very distribution of the latter.
    """
    right = _matrix(correct)
    hits = np.stack([right[list(group)].sum(axis=0) for group in groups])  # [G, N]
    kinds, counts = np.unique(hits, axis=1, return_counts=True)  # [G, P], [P]
    shares = kinds / np.array([[len(group)] for group in groups])
    images = right.shape[1]
    generator = np.random.default_rng([seed, 0])
    draws = np.empty((resamples, len(groups)))
    block = max(1, _BLOCK // kinds.shape[1])
    for start in range(0, resamples, block):
        drawn = generator.multinomial(images, counts / images, size=min(block, resamples - start))  # [block, P]
        draws[start : start + block] = drawn @ shares.T / images
    return draws


def _difference(
    right: Correct, groups: Sequence[Sequence[int]], pair: tuple[int, int], draws: Draws, generator: np.random.Generator
) -> PairedDifference:
    first, second = (right[list(groups[number])] for number in pair)
    seeds, images = (len(first), len(second)), right.shape[1]
    by_image = first.mean(axis=0) - second.mean(axis=0)  # [N]
    value, variance = float(by_image.mean()), float(by_image.var()) / images
    drawn = draws[:, pair[0]] - draws[:, pair[1]]  # [B]
    freedom, seed_sd = math.inf, None
    if sum(seeds) > 2:
        of_seeds, of_interaction, degrees = _seed_variance(first, second)
        weight = 1.0 / seeds[0] + 1.0 / seeds[1]
        of_images = max(0.0, variance - of_interaction * weight)
        shrink = math.sqrt(of_images / variance) if variance > 0 else 0.0
        seed_sd = math.sqrt(of_seeds)
        drawn = value + shrink * (drawn - value) + seed_sd * math.sqrt(weight) * generator.standard_t(degrees, size=len(drawn))
        variance = of_images + of_seeds * weight
        # Satterthwaite (1946): the images' part is known well, that of the seeds with few degrees of freedom.
        freedom = degrees * (variance / (of_seeds * weight)) ** 2 if of_seeds > 0 else math.inf
    test = mcnemar(first[0], second[0]) if seeds == (1, 1) else None
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
    if np.ptp(by_image) == 0 and variance < _ROUNDING:
        # All images are alike, so that every draw is; other images may yet be unlike them, and differ by anything from -1 to 1.
        variance, unseen = 0.0, unseen_share(images)
        low, high = value - unseen * (1.0 + value), value + unseen * (1.0 - value)
    return PairedDifference(
        value=value,
        low=max(-1.0, float(min(low, value))),
        high=min(1.0, float(max(high, value))),
        p_value=test.mid_p if test is not None else _p_value(drawn),
        standard_error=math.sqrt(variance),
        freedom=freedom,
        seed_sd=seed_sd,
        images=images,
        seeds=seeds,
        mcnemar=test,
    )


def _seed_variance(*groups: Correct) -> tuple[float, float, int]:
    """Pooled over `groups` (bool [S, N] each): variance of the accuracy over seeds, the part of it that is the interaction of seeds
    and images, and the degrees of freedom. A group of one run adds nothing: the others' spread stands for its own."""
    of_seeds = of_interaction = 0.0
    degrees = 0
    for group in groups:
        seeds, images = group.shape
        values = group.astype(np.float64)
        of_run, of_image = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
        of_seeds += float(((of_run - values.mean()) ** 2).sum())
        of_interaction += float(((values - of_run - of_image + values.mean()) ** 2).sum()) / max(1, images - 1) / images
        degrees += seeds - 1
    return of_seeds / degrees, of_interaction / degrees, degrees


def _p_value(drawn: Draws) -> float:
    """Twice the smaller share of draws on either side of 0; the measured difference counts as one of them, so it is never 0."""
    least = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2.0 * (least + 1) / (len(drawn) + 1))


def _matrix(correct: ArrayLike) -> Correct:
    values = np.asarray(correct)
    if values.dtype != np.bool_ or values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"correct must be bool [R, N] with R and N at least 1, not {values.dtype} {list(values.shape)}")
    return values


def _check_groups(groups: Sequence[Sequence[int]], pairs: Sequence[tuple[int, int]], runs: int, resamples: int) -> None:
    rows = [row for group in groups for row in group]
    if not groups or not all(map(len, groups)) or len(set(rows)) < len(rows) or not set(rows) <= set(range(runs)):
        raise ValueError(f"groups must hold different row numbers in 0..{runs - 1}, at least one each, not {[list(g) for g in groups]}")
    if any(a == b or not {a, b} <= set(range(len(groups))) for a, b in pairs):
        raise ValueError(f"pairs must name two different groups in 0..{len(groups) - 1}, not {list(pairs)}")
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100, not {resamples}")
