"""What a plan does before and after a step and an epoch, on a network so small that it can be followed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cifarlab.augment import Geometric, Mixing
from cifarlab.data.dataset import Dataset
from cifarlab.data.loader import Loader
from cifarlab.data.preprocess import Preprocess
from cifarlab.losses import create_loss
from cifarlab.optim import L2Penalty, WeightAverage, create_optimizer
from cifarlab.plan import Phase, Plan, Schedule

CPU = torch.device("cpu")
PER_EPOCH = 4


def make_loader(*, seed: int = 0) -> Loader:
    """16 images, 4 steps an epoch."""
    images = np.zeros((16, 8, 8, 3), dtype=np.uint8)
    ids = np.array([str(number) for number in range(16)])
    data = Dataset(name="made", images=images, labels=np.arange(16) % 2, class_names=("a", "b"), sample_ids=ids)
    return Loader(data, batch_size=4, augmentation=Geometric(), seed=seed, device=CPU)


def make_plan(*, seed: int = 0, lr: float = 1.0, momentum: float = 0.0, **changes: Any) -> Plan:
    """One dense layer under SGD, 12 steps."""
    model = changes.pop("model", None) or nn.Linear(4, 2, bias=False)
    given: dict[str, Any] = {
        "model": model,
        "preprocess": Preprocess(mean=(0.0,) * 3, std=(1.0,) * 3),
        "optimizer": create_optimizer("sgd", model, lr=lr, arguments={"momentum": momentum}),
        "loss": create_loss("cross-entropy"),
        "loader": make_loader(seed=seed),
        "device": CPU,
        "precision": "fp32",
        "total_steps": 12,
        "schedule": Schedule(total_steps=12),
        "resolution": (),
        "freeze": (),
        "phases": (),
        "select": "best",
        "monitor": "accuracy",
        "patience": None,
        "num_classes": 2,
    }
    return Plan(**{**given, **changes})


def rows(*values: float | None, monitor: str = "accuracy") -> list[dict[str, Any]]:
    return [{"validation_accuracy": None, "validation_loss": None, f"validation_{monitor}": value} for value in values]


def rate(plan: Plan, step: int, finished: list[dict[str, Any]] | None = None) -> float:
    plan.prepare(step, finished or [])
    return float(plan.optimizer.param_groups[0]["lr"])


# -- the rate -------------------------------------------------------------------------------------------------------


def test_the_rate_is_the_schedules_times_the_phases() -> None:
    schedule = Schedule(name="steps", total_steps=12, milestones=(6,), factors=(0.1,))
    phases = (Phase(0, 4, 0.0, 0.0, 1.0), Phase(4, 8, 0.0, 0.0, 0.5))
    plan = make_plan(lr=2.0, schedule=schedule, phases=phases)
    assert [rate(plan, step) for step in (0, 3, 4, 5, 6, 7, 8, 11)] == pytest.approx([2, 2, 1, 1, 0.1, 0.1, 0.2, 0.2])


def test_the_rate_depends_on_step_and_rows_alone() -> None:
    plan = make_plan(schedule=Schedule(name="plateau", total_steps=12, patience=1, factor=0.5))
    there = [rate(plan, 4 * len(values), rows(*values)) for values in ([], [0.5], [0.5, 0.5], [0.5, 0.5, 0.4])]
    assert there == [1, 1, 0.5, 0.25]
    assert rate(plan, 4, rows(0.5)) == 1  # and back


@pytest.mark.parametrize(("monitor", "values", "factor"), [("accuracy", [0.5, 0.6], 1), ("loss", [0.5, 0.6], 0.5), ("loss", [0.6, 0.5], 1)])
def test_a_plateau_looks_at_what_is_monitored(monitor: str, values: list[float], factor: float) -> None:
    plan = make_plan(monitor=monitor, schedule=Schedule(name="plateau", total_steps=12, patience=1, factor=0.5))
    assert rate(plan, 8, rows(*values, monitor=monitor)) == factor


def test_every_group_keeps_its_own_rate() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(2, 2))
    optimizer = create_optimizer("muon", model, lr=0.1, arguments={"bias_lr": 5.0, "head_lr": 0.01})
    plan = make_plan(model=model, optimizer=optimizer, schedule=Schedule(name="linear", total_steps=12))
    plan.prepare(6, [])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 2.5, 0.005])


# -- phases -----------------------------------------------------------------------------------------------------------

SPARSE = (Phase(0, 4, 0.0, 0.0, 1.0), Phase(4, 8, 0.5, 0.0, 1.0), Phase(8, 12, 0.0, 0.0, 1.0))
WEIGHTS = torch.tensor([[0.1, -0.4, 0.3, -0.2], [0.8, 0.7, -0.6, 0.5]])


def linear(weights: Tensor = WEIGHTS) -> nn.Linear:
    model = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(weights)
    return model


def test_the_smallest_weights_go_at_the_first_step_of_a_sparse_phase_only() -> None:
    model = linear()
    plan = make_plan(model=model, phases=SPARSE)
    for step in (0, 3, 5, 8):  # 5: a resume in the middle of the phase must not prune again
        plan.prepare(step, [])
        assert torch.equal(model.weight, WEIGHTS)
    plan.prepare(4, [])
    assert torch.equal(model.weight, torch.tensor([[0, 0, 0, 0], [0.8, 0.7, -0.6, 0.5]]))


@pytest.mark.parametrize(("step", "held"), [(3, False), (4, True), (7, True), (8, False)])
def test_zeros_are_held_against_gradient_and_momentum_within_the_phase(step: int, held: bool) -> None:
    model = linear(torch.tensor([[0.0, 0.4, 0.0, 0.2], [0.8, 0.7, 0.6, 0.5]]))
    plan = make_plan(model=model, phases=SPARSE, momentum=0.9)
    model.weight.grad = torch.ones(2, 4)
    plan.optimizer.step()  # momentum, also of the zeros
    with torch.no_grad():
        model.weight[0, 0] = model.weight[0, 2] = 0
    model.weight.grad = torch.ones(2, 4)
    plan.update(step)
    assert (model.weight == 0).nonzero().tolist() == ([[0, 0], [0, 2]] if held else [])
    assert model.weight.grad is None


# -- the update ---------------------------------------------------------------------------------------------------------


def test_an_update_is_gradient_plus_penalty_then_average() -> None:
    model = linear()
    average = WeightAverage(model, decay=0.9)
    plan = make_plan(model=model, lr=0.5, penalty=L2Penalty(model, strength=0.1), average=average)
    model.weight.grad = torch.full((2, 4), 2.0)
    plan.update(0)
    expected = WEIGHTS - 0.5 * (2.0 + 2 * 0.1 * WEIGHTS)
    assert torch.allclose(model.weight, expected)
    # The first update of the average: d = min(0.9, 1 / 10).
    assert torch.allclose(average.module.weight, 0.1 * WEIGHTS + 0.9 * expected)  # type: ignore[arg-type]
    assert plan.judged is average.module


def test_what_is_judged_is_the_network_where_no_average_is_kept() -> None:
    plan = make_plan()
    assert plan.judged is plan.model


# -- mixing ---------------------------------------------------------------------------------------------------------------


def test_mixing_is_a_function_of_seed_and_step() -> None:
    inputs, labels = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    plans = [make_plan(seed=seed, mixing=Mixing(mixup=1.0)) for seed in (0, 0, 1)]
    mixed = [plan.mix(inputs.clone(), labels, step) for plan, step in ((plans[0], 5), (plans[1], 5), (plans[0], 6), (plans[2], 5))]
    assert torch.equal(mixed[0][0], mixed[1][0])
    assert torch.equal(mixed[0][1], mixed[1][1])
    assert not any(torch.equal(mixed[0][1], targets) for _, targets in mixed[2:])
    assert torch.allclose(mixed[0][1].sum(1), torch.ones(8))


def test_without_mixing_labels_stay_labels() -> None:
    inputs, labels = torch.zeros(4, 3, 8, 8), torch.arange(4) % 2
    assert make_plan().mix(inputs, labels, 0) == (inputs, labels)


# -- after an epoch -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("monitor", "value", "best", "better"),
    [
        ("accuracy", 0.6, 0.5, True),
        ("accuracy", 0.5, 0.5, False),
        ("accuracy", 0.4, 0.5, False),
        ("loss", 0.4, 0.5, True),
        ("loss", 0.5, 0.5, False),
        ("loss", 0.6, 0.5, False),
        ("loss", 0.0, None, True),
        ("accuracy", 0.0, None, True),
    ],
)
def test_what_improves(monitor: str, value: float, best: float | None, better: bool) -> None:
    (row,) = rows(value, monitor=monitor)
    held = None if best is None else rows(best, monitor=monitor)[0]
    assert make_plan(monitor=monitor).improves(row, held) is better


def test_nothing_improves_without_validation() -> None:
    (row,) = rows(None)
    assert not make_plan().improves(row, None)


@pytest.mark.parametrize(
    ("patience", "values", "stops"),
    [
        (2, [], False),
        (2, [0.5], False),
        (2, [0.5, 0.5], False),
        (2, [0.5, 0.5, 0.4], True),
        (2, [0.5, 0.4, 0.6], False),
        (2, [0.5, 0.4, 0.6, 0.6, 0.3], True),
        (1, [0.5, 0.4], True),
        (2, [math.nan, math.nan], True),
        (None, [0.5, 0.4, 0.3, 0.2], False),
    ],
)
def test_when_it_stops_early(patience: int | None, values: list[float], stops: bool) -> None:
    assert make_plan(patience=patience).stops_early(rows(*values)) is stops
    assert make_plan(patience=patience, monitor="loss").stops_early(rows(*(-value for value in values), monitor="loss")) is stops
