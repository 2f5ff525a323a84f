"""Lengths of training and their units."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarlab.duration import Duration


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("8ep", 8, "ep"), ("500st", 500, "st"), ("5%", 5, "%"), (" 2.5 ep ", 2.5, "ep"), (8, 8, "ep"), (0.5, 0.5, "ep")],
)
def test_duration_is_read_with_its_unit(text: object, value: float, unit: str) -> None:
    duration = Duration.parse(text)
    assert (duration.value, duration.unit) == (value, unit)


def test_duration_of_a_duration_is_itself() -> None:
    assert Duration.parse(Duration(3, "st")) == Duration(3, "st")


@pytest.mark.parametrize(
    "text", ["", "8", "ep", "-1ep", "8 epochs", "8EP", "1e3ep", "nan", "²ep", True, None, [8], float("nan"), float("inf")]
)
def test_duration_without_a_known_unit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a duration is epochs"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["1000001ep", "9" * 400 + "st", 10**30])
def test_duration_beyond_counting_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="at most 1000000"):
        Duration.parse(text)


@pytest.mark.parametrize(("duration", "steps"), [("8ep", 80), ("0.25ep", 2), ("0.26ep", 3), ("7st", 7), ("50%", 30), ("0%", 0)])
def test_duration_in_steps(duration: str, steps: int) -> None:
    assert Duration.parse(duration).steps(steps_per_epoch=10, total_steps=60) == steps


def test_a_share_needs_the_whole() -> None:
    with pytest.raises(ValueError, match="share of the run"):
        Duration(5, "%").steps(steps_per_epoch=10)


def test_equal_durations_have_one_hash() -> None:
    assert len({Duration(1, "ep"), Duration.parse("1ep"), Duration(1, "st")}) == 2


@settings(deadline=None)
@given(given=st.floats(0, 10**6) | st.integers(1, 10**6), unit=st.sampled_from(["ep", "st"]))
def test_duration_survives_its_text(given: float, unit: Any) -> None:
    duration = Duration(given, unit)
    assert Duration.parse(str(duration)) == duration
