"""TrivialAugment and RandAugment: what is drawn, in which strength, and that grouping by operation changes nothing."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from cifarlab.augment import OPERATIONS, RandAugment, TrivialAugment
from cifarlab.augment.policy import PolicyPlan, standard_space, wide_space
from cifarlab.data.loader import seeded_generator

NAMES = list(OPERATIONS)


def plan_of(policy: TrivialAugment | RandAugment, *, count: int = 20_000, side: int = 32) -> PolicyPlan:
    return policy.plan(count, (side, side), epoch=0, generator_for=lambda epoch, purpose: seeded_generator(0, epoch, purpose))


def drawn(plan: PolicyPlan, name: str) -> set[float]:
    """The amounts, to 4 digits, with which the operation occurs."""
    return {round(amount, 4) + 0.0 for amount in plan.amount[plan.operation == NAMES.index(name)].tolist()}


def levels(weakest: float, strongest: float) -> list[float]:
    return [weakest + (strongest - weakest) * m / 30 for m in range(31)]


def mirrored(values: list[float]) -> set[float]:
    return {round(sign * value, 4) + 0.0 for value in values for sign in (1, -1)}


def test_both_spaces_have_every_operation() -> None:
    assert set(wide_space((32, 32))) == set(standard_space((32, 32))) == set(OPERATIONS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shear-x", mirrored(levels(0, 0.99))),
        ("shear-y", mirrored(levels(0, 0.99))),
        ("translate-x", mirrored([32 * m // 30 for m in range(31)])),
        ("translate-y", mirrored([32 * m // 30 for m in range(31)])),
        ("rotate", mirrored([135 * m // 30 for m in range(31)])),
        ("brightness", set(levels(0.01, 2))),
        ("sharpness", set(levels(0.01, 2))),
        ("posterize", {8, 7, 6, 5, 4, 3, 2}),
        ("solarize", {256 - 256 * m // 30 for m in range(31)}),
        ("equalize", {0}),
    ],
)
def test_trivial_augment_draws_every_strength_of_the_wide_space(name: str, expected: set[float]) -> None:
    found = drawn(plan_of(TrivialAugment(), count=60_000), name)
    assert sorted(found) == pytest.approx(sorted(expected), abs=2e-4)


@pytest.mark.parametrize("policy", [TrivialAugment(), RandAugment(operations=3)], ids=["trivial", "rand"])
def test_operations_are_drawn_alike_often(policy: TrivialAugment | RandAugment) -> None:
    counts = torch.bincount(plan_of(policy).operation.flatten(), minlength=14)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


@pytest.mark.parametrize(
    ("magnitude", "expected"),
    [
        (0, {"rotate": {0}, "shear-x": {0}, "translate-y": {0}, "color": {1}, "contrast": {1}, "posterize": {8}, "solarize": {256}}),
        (
            15,
            {
                "rotate": {15, -15},
                "shear-x": {0.15, -0.15},
                "translate-y": {5, -5},
                "color": {1.45, 0.55},
                "posterize": {6},
                "solarize": {128},
            },
        ),
        (
            30,
            {"rotate": {30, -30}, "shear-x": {0.3, -0.3}, "translate-y": {10, -10}, "color": {1.9, 0.1}, "posterize": {4}, "solarize": {0}},
        ),
    ],
)
def test_rand_augment_uses_one_magnitude(magnitude: int, expected: dict[str, set[float]]) -> None:
    plan = plan_of(RandAugment(magnitude=magnitude))
    assert {name: drawn(plan, name) for name in expected} == expected


def test_translations_of_rand_augment_grow_with_the_image() -> None:
    assert drawn(plan_of(RandAugment(magnitude=30), side=64), "translate-x") == {20, -20}


def test_the_number_of_operations_is_kept() -> None:
    assert plan_of(TrivialAugment(), count=5).operation.shape == (5, 1)
    assert plan_of(RandAugment(operations=4), count=5).operation.shape == (5, 4)


def one_by_one(images: Tensor, plan: PolicyPlan) -> Tensor:
    """Each image alone through its operations, in their order."""
    results = []
    for image, operations, amounts in zip(images, plan.operation.tolist(), plan.amount, strict=True):
        x = image[None]
        for operation, amount in zip(operations, amounts, strict=True):
            x = OPERATIONS[NAMES[operation]](x, amount[None])
        results.append(x)
    return torch.cat(results)


@pytest.mark.parametrize("policy", [TrivialAugment(), RandAugment(operations=3, magnitude=17)], ids=["trivial", "rand"])
def test_a_batch_is_treated_as_its_images_one_by_one(policy: TrivialAugment | RandAugment) -> None:
    images = torch.randint(0, 256, (100, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    plan = plan_of(policy, count=100)
    assert len(plan.operation.unique()) == 14
    assert torch.equal(policy.apply(images, torch.arange(100), plan), one_by_one(images, plan))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"operations": -1}, "operations must be at least 0, not -1"),
        ({"magnitude": 31}, "magnitude must be a whole number of 0 to 30, not 31"),
        ({"magnitude": 4.5}, "magnitude must be a whole number"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandAugment(**arguments)
