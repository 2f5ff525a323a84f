"""A comparison in plain sentences: which model is better, by how much, and what that holds for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from cifarlab.paired import LEVEL, PairedDifference, unseen_share
from cifarlab.reports.numbers import counted, p_text

Judgement = Literal["first", "second", "none"]


class Judged(NamedTuple):
    """judgement: which of the two is better, "none" where no difference is shown; sentence: the same in words; scope: what the
    sentence does not hold for, "" where nothing need be said."""

    judgement: Judgement
    sentence: str
    scope: str


def judge_pair(first: str, second: str, difference: PairedDifference, *, corrected_p: float, tests: int, one_recipe: bool) -> Judged:
    """Whether `first` or `second` is better. A difference is shown where its interval leaves out 0 and its p-value, corrected for
    `tests` comparisons, is below 5 %. one_recipe: both are single runs of one recipe."""
    outside = difference.low > 0.0 or difference.high < 0.0
    if outside and corrected_p < LEVEL:
        first_is_better = difference.value > 0
        better, worse = (first, second) if first_is_better else (second, first)
        sentence = (
            f"{better} is better than {worse} by {magnitude(difference)} points "
            f"({interval_text(difference, turned=not first_is_better)}{_correction(corrected_p, tests)}; {size_text(difference)})."
        )
        return Judged("first" if first_is_better else "second", sentence, _scope(first, second, difference, one_recipe))
    if difference.standard_error == 0 and difference.value == 0:
        who = "both are right or both wrong" if difference.seeds == (1, 1) else "the same share of their runs is right"
        what = "only one of them is right" if difference.seeds == (1, 1) else "the shares differ"
        sentence = (
            f"No difference between {first} and {second} is seen: on all of the {counted(difference.images, 'image')} {who}. "
            f"That leaves open that {what} on up to {100 * unseen_share(difference.images):.2g} % of such images (95 % confidence)."
        )
        return Judged("none", sentence, "")
    sentence = (
        f"No difference between {first} and {second} is shown{_why_not(difference, corrected_p, tests, outside)}: "
        f"{_lead(first, second, difference)} ({interval_text(difference, turned=difference.value < 0)}; {size_text(difference)})."
    )
    return Judged("none", f"{sentence} {power_text(difference, tests)}", _scope(first, second, difference, one_recipe))


def magnitude(difference: PairedDifference) -> str:
    """The size of the difference in points, without its sign: "0.42"."""
    return _points(abs(difference.value), _decimals(difference))


def interval_text(difference: PairedDifference, *, turned: bool = False) -> str:
    """ "95 % interval 0.10 to 0.70"; turned: of second minus first."""
    low, high = (-difference.high, -difference.low) if turned else (difference.low, difference.high)
    decimals = _decimals(difference)
    return f"95 % interval {_points(low, decimals)} to {_points(high, decimals)}"


def size_text(difference: PairedDifference) -> str:
    """ "n = 3 and 3 seeds, 10 000 images"."""
    a, b = difference.seeds
    return f"n = {a} and {b} {'seed' if b == 1 else 'seeds'}, {counted(difference.images, 'image')}"


def power_text(difference: PairedDifference, tests: int) -> str:
    """What a comparison of this size could have shown."""
    a, b = difference.seeds
    seeds = f"n = {a} {'seed' if a == 1 else 'seeds'} on each side" if a == b else f"n = {a} and {b} seeds"
    least = 100 * difference.detectable(level=LEVEL / max(1, tests))
    if least == 0 or least >= 100:
        return f"{seeds} and {counted(difference.images, 'image')} can show nothing here."
    among = f" among {tests} comparisons" if tests > 1 else ""
    return f"{seeds} and {counted(difference.images, 'image')} can show about {least:.2g} points{among} (with 80 % probability)."


def _p_is(p_value: float) -> str:
    """ "p = 0.031", or "p < 0.001"."""
    text = p_text(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _lead(first: str, second: str, difference: PairedDifference) -> str:
    if difference.value == 0:
        return "both have the same accuracy"
    ahead = first if difference.value > 0 else second
    return f"{ahead} is ahead by {magnitude(difference)} points"


def _why_not(difference: PairedDifference, corrected_p: float, tests: int, outside: bool) -> str:
    """What keeps a difference from being shown, where interval and p-value do not say the same."""
    if difference.p_value < LEVEL <= corrected_p:
        alone, corrected = _p_is(difference.p_value), _p_is(corrected_p)
        return f" once {tests} comparisons are corrected for ({alone} alone, {corrected} with Holm's correction)"
    if outside:
        test = "McNemar's test" if difference.mcnemar is not None else "the test"
        return f" (the interval leaves out 0, but {test} has {_p_is(corrected_p)})"
    if corrected_p < LEVEL:
        return f" ({_p_is(corrected_p)}, but the interval holds 0)"
    return ""


def _correction(corrected_p: float, tests: int) -> str:
    if tests < 2:
        return ""
    return f"; {_p_is(corrected_p)} after Holm's correction for {tests} comparisons"


def _scope(first: str, second: str, difference: PairedDifference, one_recipe: bool) -> str:
    """What an interval from few runs says nothing about."""
    a, b = difference.seeds
    if one_recipe:
        return "This holds for these two trained models; both are of one recipe, and it says nothing about that."
    if (a, b) == (1, 1):
        return "The interval holds for these two trained models, not for their recipes: one seed of each says nothing about other seeds."
    if a == 1 or b == 1:
        alone, several = (first, second) if a == 1 else (second, first)
        return f"{alone} has one seed only: its spread over seeds is taken to be that of {several}."
    return ""


def _decimals(difference: PairedDifference) -> int:
    """Two; more where an end of the interval that is not 0 would be rounded to it."""
    ends = [abs(100 * end) for end in (difference.value, difference.low, difference.high) if end]
    decimals = 2
    while decimals < 5 and any(round(end, decimals) == 0 for end in ends):
        decimals += 1
    return decimals


def _points(share: float, decimals: int) -> str:
    text = f"{100 * share:.{decimals}f}"
    return text.replace("-", "\u2212") if float(text) else text.lstrip("-")


def optimistic_text(names: Sequence[str], *, looked_at_test: bool, chose_on: str, split: str) -> str:
    """What makes the figures of some runs on `split` optimistic, as a sentence; "" where nothing does.

    looked_at_test: their validation split was the test split. chose_on: the split that chose weights, end or rate, "" for none.
    """
    who, their = ", ".join(names), "its" if len(names) == 1 else "their"
    if looked_at_test and split == "test":
        if chose_on == "test":
            return f"{who} looked at the test split after every epoch and chose by it: {their} test figures are optimistic."
        return f"{who} looked at the test split after every epoch, though nothing in {their} training chose by it."
    if chose_on == split:
        return f"{who} chose by the {split} split: {their} figures on it are optimistic."
    return ""
