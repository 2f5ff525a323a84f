"""The verdict of a comparison is right in every case: what is said, and what it is said to hold for."""

from __future__ import annotations

import math

import pytest

from cifarlab.paired import McNemar, PairedDifference
from cifarlab.reports.comparison_text import judge_pair, optimistic_text
from cifarlab.reports.numbers import p_text


def difference(value: float, low: float, high: float, *, p: float, seeds: tuple[int, int] = (3, 3), se: float = 0.0015) -> PairedDifference:
    test = McNemar(10, 5, p, p) if seeds == (1, 1) else None
    return PairedDifference(value, low, high, p, se, math.inf, None if test else 0.001, 10_000, seeds, test)


MODELS = "The interval holds for these two trained models, not for their recipes: one seed of each says nothing about other seeds."
ONE_RECIPE = "This holds for these two trained models; both are of one recipe, and it says nothing about that."

# name: (difference, corrected p, comparisons, one recipe) -> judgement, sentence, scope; 0.15 points of standard error show
# (1.96 + 0.84) * 0.15 = 0.42 points at 5 %, and (2.64 + 0.84) * 0.15 = 0.52 at 5 % / 6.
CASES = {
    "first better, several seeds": (
        (difference(0.004, 0.001, 0.007, p=0.01), 0.01, 1, False),
        ("first", "A is better than B by 0.40 points (95 % interval 0.10 to 0.70; n = 3 and 3 seeds, 10\u00a0000 images).", ""),
    ),
    "second better": (
        (difference(-0.004, -0.007, -0.001, p=0.01, seeds=(5, 3)), 0.01, 1, False),
        ("second", "B is better than A by 0.40 points (95 % interval 0.10 to 0.70; n = 5 and 3 seeds, 10\u00a0000 images).", ""),
    ),
    "first better, one seed each": (
        (difference(0.004, 0.001, 0.007, p=0.01, seeds=(1, 1)), 0.01, 1, False),
        ("first", "A is better than B by 0.40 points (95 % interval 0.10 to 0.70; n = 1 and 1 seed, 10\u00a0000 images).", MODELS),
    ),
    "one side with one seed": (
        (difference(0.004, 0.001, 0.007, p=0.01, seeds=(3, 1)), 0.01, 1, False),
        (
            "first",
            "A is better than B by 0.40 points (95 % interval 0.10 to 0.70; n = 3 and 1 seed, 10\u00a0000 images).",
            "B has one seed only: its spread over seeds is taken to be that of A.",
        ),
    ),
    "two seeds of one recipe": (
        (difference(0.004, 0.001, 0.007, p=0.01, seeds=(1, 1)), 0.01, 1, True),
        ("first", "A is better than B by 0.40 points (95 % interval 0.10 to 0.70; n = 1 and 1 seed, 10\u00a0000 images).", ONE_RECIPE),
    ),
    "better among several": (
        (difference(0.004, 0.001, 0.007, p=0.0001), 0.0006, 6, False),
        (
            "first",
            "A is better than B by 0.40 points (95 % interval 0.10 to 0.70; p < 0.001 after Holm's correction for 6 comparisons; "
            "n = 3 and 3 seeds, 10\u00a0000 images).",
            "",
        ),
    ),
    "none shown, several seeds": (
        (difference(0.0005, -0.001, 0.002, p=0.5), 0.5, 1, False),
        (
            "none",
            "No difference between A and B is shown: A is ahead by 0.05 points (95 % interval −0.10 to 0.20; n = 3 and 3 seeds, "
            "10\u00a0000 images). n = 3 seeds on each side and 10\u00a0000 images can show about 0.42 points (with 80 % probability).",
            "",
        ),
    ),
    "none shown, the second ahead": (
        (difference(-0.0005, -0.002, 0.001, p=0.5, seeds=(3, 2)), 0.5, 1, False),
        (
            "none",
            "No difference between A and B is shown: B is ahead by 0.05 points (95 % interval −0.10 to 0.20; n = 3 and 2 seeds, "
            "10\u00a0000 images). n = 3 and 2 seeds and 10\u00a0000 images can show about 0.42 points (with 80 % probability).",
            "",
        ),
    ),
    "none shown, one seed each": (
        (difference(0.0, -0.001, 0.001, p=1.0, seeds=(1, 1)), 1.0, 1, False),
        (
            "none",
            "No difference between A and B is shown: both have the same accuracy (95 % interval −0.10 to 0.10; n = 1 and 1 seed, "
            "10\u00a0000 images). n = 1 seed on each side and 10\u00a0000 images can show about 0.42 points (with 80 % probability).",
            MODELS,
        ),
    ),
    "lost to the correction": (
        (difference(0.003, 0.0002, 0.006, p=0.03), 0.18, 6, False),
        (
            "none",
            "No difference between A and B is shown once 6 comparisons are corrected for (p = 0.030 alone, p = 0.18 with Holm's "
            "correction): A is ahead by 0.30 points (95 % interval 0.02 to 0.60; n = 3 and 3 seeds, 10\u00a0000 images). "
            "n = 3 seeds on each side and "
            "10\u00a0000 images can show about 0.52 points among 6 comparisons (with 80 % probability).",
            "",
        ),
    ),
    "the interval leaves out 0, McNemar does not reject": (
        (difference(0.003, 0.0001, 0.006, p=0.063, seeds=(1, 1)), 0.063, 1, False),
        (
            "none",
            "No difference between A and B is shown (the interval leaves out 0, but McNemar's test has p = 0.063): A is ahead by "
            "0.30 points (95 % interval 0.01 to 0.60; n = 1 and 1 seed, 10\u00a0000 images). n = 1 seed on each side and "
            "10\u00a0000 images can show "
            "about 0.42 points (with 80 % probability).",
            MODELS,
        ),
    ),
    "McNemar rejects, the interval holds 0": (
        (difference(0.003, -0.0001, 0.006, p=0.049, seeds=(1, 1)), 0.049, 1, False),
        (
            "none",
            "No difference between A and B is shown (p = 0.049, but the interval holds 0): A is ahead by 0.30 points "
            "(95 % interval −0.01 to 0.60; n = 1 and 1 seed, 10\u00a0000 images). n = 1 seed on each side and 10\u00a0000 images can show "
            "about 0.44 points (with 80 % probability).",
            MODELS,
        ),
    ),
    "seeds so far apart that nothing can be shown": (
        (difference(0.1, -0.9, 1.0, p=0.6, se=0.4), 0.6, 1, False),
        (
            "none",
            "No difference between A and B is shown: A is ahead by 10.00 points (95 % interval −90.00 to 100.00; n = 3 and 3 seeds, "
            "10\u00a0000 images). n = 3 seeds on each side and 10\u00a0000 images can show nothing here.",
            "",
        ),
    ),
    "the same answers": (
        (difference(0.0, 0.0, 0.0, p=1.0, seeds=(1, 1), se=0.0), 1.0, 1, False),
        (
            "none",
            "No difference between A and B is seen: on all of the 10\u00a0000 images both are right or both wrong. That leaves open that "
            "only one of them is right on up to 0.037 % of such images (95 % confidence).",
            "",
        ),
    ),
    "an end that would be rounded to 0 is not": (
        (difference(0.003, 0.00004, 0.006, p=0.04), 0.04, 1, False),
        ("first", "A is better than B by 0.300 points (95 % interval 0.004 to 0.600; n = 3 and 3 seeds, 10\u00a0000 images).", ""),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_verdicts(case):
    (found, corrected, tests, one_recipe), expected = CASES[case]
    assert tuple(judge_pair("A", "B", found, corrected_p=corrected, tests=tests, one_recipe=one_recipe)) == expected


@pytest.mark.parametrize(("p", "text"), [(0.00002, "< 0.001"), (0.001, "0.001"), (0.0312, "0.031"), (0.0994, "0.099"), (0.4, "0.40")])
def test_p_values(p, text):
    assert p_text(p) == text


@pytest.mark.parametrize(
    ("looked", "chose", "split", "text"),
    [
        (True, "test", "test", "a, b looked at the test split after every epoch and chose by it: their test figures are optimistic."),
        (True, "", "test", "a, b looked at the test split after every epoch, though nothing in their training chose by it."),
        (False, "validation", "validation", "a, b chose by the validation split: their figures on it are optimistic."),
        (False, "validation", "test", ""),
        (False, "", "validation", ""),
    ],
)
def test_what_is_optimistic_is_said(looked, chose, split, text):
    assert optimistic_text(["a", "b"], looked_at_test=looked, chose_on=chose, split=split) == text
