"""Learning-rate schedules against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from cifarlab.optim import SCHEDULES, rate_factor


@pytest.mark.parametrize(
    ("name", "final", "expected"),
    [
        ("constant", 0.0, [1, 1, 1, 1, 1]),
        ("linear", 0.0, [1, 0.75, 0.5, 0.25, 0]),
        ("linear", 0.2, [1, 0.8, 0.6, 0.4, 0.2]),
        ("cosine", 0.0, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ("cosine", 0.5, [1, 0.5 + (1 + math.sqrt(0.5)) / 4, 0.75, 0.5 + (1 - math.sqrt(0.5)) / 4, 0.5]),
    ],
)
def test_the_shape_at_quarters(name: str, final: float, expected: list[float]) -> None:
    assert [rate_factor(name, step=step, total_steps=8, final=final) for step in (0, 2, 4, 6, 8)] == pytest.approx(expected)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_climbs_straight_to_one(name: str) -> None:
    factors = [rate_factor(name, step=step, total_steps=20, warmup_steps=4) for step in range(5)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_the_fall_begins_after_the_warm_up() -> None:
    assert rate_factor("linear", step=12, total_steps=20, warmup_steps=4) == pytest.approx(0.5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_warm_up_as_long_as_the_run_is_all_climb(name: str) -> None:
    assert [rate_factor(name, step=step, total_steps=4, warmup_steps=4) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1])


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="schedule must be one of constant, cosine, linear, not 'step'"):
        rate_factor("step", step=0, total_steps=1)
