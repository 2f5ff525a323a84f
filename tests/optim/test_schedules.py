"""Learning-rate schedules against values worked out by hand and against PyTorch's schedulers."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from torch import nn

from cifarlab.errors import UsageError
from cifarlab.optim import SCHEDULES, check_schedule, epochs_without_improvement, plateau_factor, rate_factor

# What a schedule needs beyond its name.
NEEDS: dict[str, dict[str, Any]] = {"steps": {"milestones": (8, 12, 16), "factors": (0.1, 0.01, 0.001)}}
TAKE_WARM_UP = tuple(name for name in SCHEDULES if name != "triangular")


def factors(name: str, total_steps: int, **arguments: Any) -> list[float]:
    given = {**NEEDS.get(name, {}), **arguments}
    return [rate_factor(name, step=step, total_steps=total_steps, **given) for step in range(total_steps)]


def test_the_names_are_sorted_and_described() -> None:
    assert len(SCHEDULES) > 5
    assert tuple(sorted(SCHEDULES)) == SCHEDULES
    assert rate_factor.__doc__ is not None
    assert all(f'"{name}"' in rate_factor.__doc__ for name in SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("final", [0.0, 0.3, 1.0])
def test_factors_lie_between_zero_and_one(name: str, final: float) -> None:
    found = factors(name, 20, final=final)
    assert all(0 <= factor <= 1 for factor in found)
    assert max(found) == 1


@pytest.mark.parametrize(
    ("name", "final", "expected"),
    [
        ("constant", 0.0, [1, 1, 1, 1, 1]),
        ("plateau", 0.0, [1, 1, 1, 1, 1]),
        ("linear", 0.0, [1, 0.75, 0.5, 0.25, 0]),
        ("linear", 0.2, [1, 0.8, 0.6, 0.4, 0.2]),
        ("cosine", 0.0, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ("cosine", 0.5, [1, 0.5 + (1 + math.sqrt(0.5)) / 4, 0.75, 0.5 + (1 - math.sqrt(0.5)) / 4, 0.5]),
        ("triangular", 0.0, [0, 0.5, 1, 0.5, 0]),
        ("triangular", 0.2, [0.2, 0.6, 1, 0.6, 0.2]),
    ],
)
def test_the_shape_at_quarters(name: str, final: float, expected: list[float]) -> None:
    assert [rate_factor(name, step=step, total_steps=8, final=final) for step in (0, 2, 4, 6, 8)] == pytest.approx(expected)


@pytest.mark.parametrize("name", TAKE_WARM_UP)
def test_warm_up_climbs_straight_to_one(name: str) -> None:
    assert factors(name, 20, warmup_steps=4)[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_the_fall_begins_after_the_warm_up() -> None:
    assert rate_factor("linear", step=12, total_steps=20, warmup_steps=4) == pytest.approx(0.5)


@pytest.mark.parametrize("name", TAKE_WARM_UP)
def test_a_warm_up_as_long_as_the_run_is_all_climb(name: str) -> None:
    assert factors(name, 4, warmup_steps=4) == pytest.approx([0.25, 0.5, 0.75, 1])


def test_steps_hold_the_given_shares_from_each_milestone_on() -> None:
    # The Keras ResNet example, 200 epochs of 3 steps: x0.1 after epoch 80, and so on, each a share of the highest rate.
    milestones = [3 * epoch for epoch in (80, 120, 160, 180)]
    found = factors("steps", 600, milestones=milestones, factors=[0.1, 0.01, 0.001, 0.0005])
    expected = [1.0] * 240 + [0.1] * 120 + [0.01] * 120 + [0.001] * 60 + [0.0005] * 60
    assert found == expected


def test_steps_of_equal_ratio_are_those_of_torch() -> None:
    assert factors("steps", 20) == pytest.approx(torch_factors(20, torch.optim.lr_scheduler.MultiStepLR, milestones=[8, 12, 16], gamma=0.1))


@pytest.mark.parametrize("half", [3, 5])
def test_triangular_cycles_are_those_of_torch(half: int) -> None:
    reference = torch_factors(40, torch.optim.lr_scheduler.CyclicLR, base_lr=0.25, max_lr=1.0, step_size_up=half, cycle_momentum=False)
    assert factors("triangular", 40, cycle_steps=2 * half, final=0.25) == pytest.approx(reference)


def torch_factors(count: int, kind: type[torch.optim.lr_scheduler.LRScheduler], **arguments: Any) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = kind(optimizer, **arguments)
    found = []
    for _ in range(count):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("name", SCHEDULES)
def test_arguments_of_other_schedules_have_no_effect(name: str) -> None:
    others = {"milestones": (5,), "factors": (0.5,)} if name != "steps" else {}
    cycles = {"cycle_steps": 7} if name != "triangular" else {}
    assert factors(name, 20, **others, **cycles) == factors(name, 20)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("step", {}, r"unknown schedule 'step'; did you mean 'steps'\?; allowed: constant, cosine, linear, plateau, steps, triangular"),
        ("steps", {}, "needs milestones and one factor for each, not 0 for 0"),
        ("steps", {"milestones": (1, 2), "factors": (0.1,)}, "not 1 for 2"),
        ("steps", {"milestones": (2, 2), "factors": (0.1, 0.1)}, "milestones must rise"),
        ("steps", {"milestones": (-1, 2), "factors": (0.1, 0.1)}, "milestones must rise"),
        ("steps", {"milestones": (1,), "factors": (1.5,)}, "shares of the highest rate"),
        ("steps", {"milestones": (1,), "factors": (math.nan,)}, "shares of the highest rate"),
        ("triangular", {"warmup_steps": 1}, "leave the warm-up at 0"),
        ("triangular", {"cycle_steps": -1}, "1 step or more"),
    ],
)
def test_what_a_schedule_cannot_work_with_is_refused(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_schedule(name, **arguments)
    with pytest.raises(UsageError, match=message):
        rate_factor(name, step=0, total_steps=4, **arguments)


# -- quantities watched epoch by epoch --------------------------------------------------------------------------


@pytest.mark.parametrize("higher_is_better", [False, True])
@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_plateau_is_that_of_torch_with_one_epoch_less_patience(higher_is_better: bool, patience: int, seed: int) -> None:
    draw = random.Random(seed)
    history = [draw.choice([0.1, 0.2, 0.3, 0.4, 0.5, math.nan]) for _ in range(30)]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    mode = "max" if higher_is_better else "min"
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode=mode, factor=0.5, patience=patience - 1, threshold=0.0, cooldown=0, min_lr=0.01, eps=0.0
    )
    for epoch, value in enumerate(history, start=1):
        reference.step(value)
        found = plateau_factor(history[:epoch], patience=patience, factor=0.5, smallest=0.01, higher_is_better=higher_is_better)
        assert found == optimizer.param_groups[0]["lr"]


def test_plateau_by_hand() -> None:
    # Keras: best 3, then 5 and 4 are two bad epochs, the rate falls; 4 and 3 (not better) again; 2 is better.
    history = [3.0, 5.0, 4.0, 4.0, 3.0, 2.0]
    found = [plateau_factor(history[:epochs], patience=2, factor=0.1) for epochs in range(7)]
    assert found == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_plateau_falls_no_lower_than_the_smallest() -> None:
    assert plateau_factor([1.0] * 50, patience=1, factor=0.1, smallest=0.025) == 0.025


def test_epochs_without_a_value_are_no_improvement() -> None:
    assert plateau_factor([0.5, None, math.nan], patience=2, factor=0.5, higher_is_better=True) == 0.5
    assert epochs_without_improvement([0.5, None, math.nan], higher_is_better=True) == 2
    assert epochs_without_improvement([None, None], higher_is_better=True) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"patience": 0},
        {"patience": 1.5},
        {"patience": True},
        {"factor": 0.0},
        {"factor": 1.0},
        {"factor": math.nan},
        {"smallest": -0.1},
        {"smallest": 1.1},
    ],
)
def test_plateau_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must"):
        plateau_factor([1.0], **{"patience": 1, "factor": 0.5, "smallest": 0.0, **arguments})


@pytest.mark.parametrize(
    ("history", "higher_is_better", "expected"),
    [
        ([], True, 0),
        ([0.1], True, 0),
        ([0.1, 0.2], True, 0),
        ([0.2, 0.1], True, 1),
        ([0.2, 0.2, 0.2], True, 2),  # as good is no improvement
        ([0.1, 0.3, 0.2, 0.25], True, 2),
        ([0.1, 0.3, 0.2, 0.25], False, 3),
        ([0.3, 0.1, 0.2], False, 1),
        ([math.nan, 0.3, 0.4], False, 1),
    ],
)
def test_epochs_since_the_best(history: list[float], higher_is_better: bool, expected: int) -> None:
    assert epochs_without_improvement(history, higher_is_better=higher_is_better) == expected
