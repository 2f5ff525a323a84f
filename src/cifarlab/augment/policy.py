"""Augmentation policies without a search: TrivialAugment and RandAugment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cifarlab.augment.geometric import GeneratorFor
from cifarlab.augment.operations import OPERATIONS

LARGEST_MAGNITUDE: Final = 30


@dataclass(frozen=True)
class Range:
    """Amounts of an operation: `weakest` at magnitude 0 to `strongest` at 30, in equal steps.

    signed: either direction from `weakest`, by a fair coin. whole: rounded toward `weakest`.
    """

    weakest: float
    strongest: float
    signed: bool = False
    whole: bool = False

    def amounts(self) -> Tensor:
        """float32 [2, 31]: the two directions, which are one where the range is not signed, by magnitude."""
        change = torch.arange(LARGEST_MAGNITUDE + 1) * (self.strongest - self.weakest) / LARGEST_MAGNITUDE
        change = change.trunc() if self.whole else change
        return self.weakest + torch.stack([change, -change if self.signed else change])


_NONE: Final = Range(0, 0)  # operations that have no amount


def wide_space(image_size: tuple[int, int]) -> dict[str, Range]:
    """The "wide" space of TrivialAugment (arXiv 2103.10158), limits as in its authors' code; 32 pixels for any size of image."""
    enhance = Range(0.01, 2.0)
    return {
        "identity": _NONE,
        "shear-x": Range(0, 0.99, signed=True),
        "shear-y": Range(0, 0.99, signed=True),
        "translate-x": Range(0, 32, signed=True, whole=True),
        "translate-y": Range(0, 32, signed=True, whole=True),
        "rotate": Range(0, 135, signed=True, whole=True),
        "brightness": enhance,
        "color": enhance,
        "contrast": enhance,
        "sharpness": enhance,
        "posterize": Range(8, 2, whole=True),
        "solarize": Range(256, 0, whole=True),
        "autocontrast": _NONE,
        "equalize": _NONE,
    }


def standard_space(image_size: tuple[int, int]) -> dict[str, Range]:
    """The space that RandAugment took over from AutoAugment; translations by up to 10 pixels of 32, in proportion to the side."""
    height, width = image_size
    enhance = Range(1, 1.9, signed=True)
    return {
        "identity": _NONE,
        "shear-x": Range(0, 0.3, signed=True),
        "shear-y": Range(0, 0.3, signed=True),
        "translate-x": Range(0, width * 10 / 32, signed=True, whole=True),
        "translate-y": Range(0, height * 10 / 32, signed=True, whole=True),
        "rotate": Range(0, 30, signed=True, whole=True),
        "brightness": enhance,
        "color": enhance,
        "contrast": enhance,
        "sharpness": enhance,
        "posterize": Range(8, 4, whole=True),
        "solarize": Range(256, 0, whole=True),
        "autocontrast": _NONE,
        "equalize": _NONE,
    }


@dataclass(frozen=True)
class PolicyPlan:
    """operation: int64 [N, n], places in OPERATIONS; amount: float32 [N, n], in each operation's own unit."""

    operation: Tensor
    amount: Tensor

    def to(self, device: torch.device) -> PolicyPlan:
        """The same plan on `device`."""
        return PolicyPlan(self.operation.to(device), self.amount.to(device))


@dataclass(frozen=True)
class TrivialAugment:
    """One operation an image, its magnitude uniform over 0..30, both anew each epoch; nothing to tune.

    Mueller and Hutter 2021 (arXiv 2103.10158, algorithm 1) with the "wide" space.
    """

    def plan(self, count: int, image_size: tuple[int, int], *, epoch: int, generator_for: GeneratorFor) -> PolicyPlan:
        """Draw one epoch's operations for `count` samples; `epoch` counts from 0."""
        generator = generator_for(epoch, "trivial-augment")
        magnitude = torch.randint(LARGEST_MAGNITUDE + 1, (count, 1), generator=generator)
        return _draw_plan(wide_space(image_size), magnitude, generator)

    def apply(self, images: Tensor, index: Tensor, plan: PolicyPlan) -> Tensor:
        """uint8 [B, H, W, 3] -> the same, augmented; `index` (int64 [B]) names the samples in the plan."""
        return _apply_plan(images, index, plan)


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """`operations` of the fourteen an image, with repetition, one after the other, all at one `magnitude` of 0..30.

    Cubuk et al. 2019 (arXiv 1909.13719, section 3). A magnitude of 30 is the whole of each range, as in torchvision, where the
    paper counts to 10 and beyond. Departures from the paper's code: stronger is always further from the image (there, a
    larger magnitude solarizes less, and brightness, colour, contrast and sharpness go from 0.1 to 1.9 without turning at 1).
    Raises ValueError for a negative number of operations or a magnitude out of 0..30.
    """

    operations: int = 2
    magnitude: int = 9

    def __post_init__(self) -> None:
        if self.operations < 0:
            raise ValueError(f"operations must be at least 0, not {self.operations!r}")
        if self.magnitude not in range(LARGEST_MAGNITUDE + 1):
            raise ValueError(f"magnitude must be a whole number of 0 to {LARGEST_MAGNITUDE}, not {self.magnitude!r}")

    def plan(self, count: int, image_size: tuple[int, int], *, epoch: int, generator_for: GeneratorFor) -> PolicyPlan:
        """Draw one epoch's operations for `count` samples; `epoch` counts from 0."""
        magnitude = torch.full((count, self.operations), self.magnitude)
        return _draw_plan(standard_space(image_size), magnitude, generator_for(epoch, "rand-augment"))

    def apply(self, images: Tensor, index: Tensor, plan: PolicyPlan) -> Tensor:
        """uint8 [B, H, W, 3] -> the same, augmented; `index` (int64 [B]) names the samples in the plan."""
        return _apply_plan(images, index, plan)


def _draw_plan(space: Mapping[str, Range], magnitude: Tensor, generator: torch.Generator) -> PolicyPlan:
    """Operations and directions at random for `magnitude` (int64 [N, n])."""
    amounts = torch.stack([space[name].amounts() for name in OPERATIONS])  # [14, 2, 31]
    operation = torch.randint(len(OPERATIONS), magnitude.shape, generator=generator)
    direction = torch.randint(2, magnitude.shape, generator=generator)
    return PolicyPlan(operation, amounts[operation, direction, magnitude])


def _apply_plan(images: Tensor, index: Tensor, plan: PolicyPlan) -> Tensor:
    every: list[Callable[[Tensor, Tensor], Tensor]] = list(OPERATIONS.values())
    for operation, amount in zip(plan.operation[index].unbind(1), plan.amount[index].unbind(1), strict=True):
        # Images of one operation together: one call each, and one wait for the device in all.
        groups = torch.split(operation.argsort(stable=True), torch.bincount(operation, minlength=len(every)).tolist())
        out = torch.empty_like(images)
        for apply, group in zip(every, groups, strict=True):
            if len(group):
                out[group] = apply(images[group], amount[group])
        images = out
    return images
