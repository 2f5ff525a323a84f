"""Stages of augmentation, one after the other, behind the interface of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from cifarlab.augment.geometric import EpochPlan, GeneratorFor, Geometric


class StagePlan(Protocol):
    """What a stage does to each of the N samples in one epoch."""

    def to(self, device: torch.device) -> StagePlan: ...


class Stage(Protocol):
    """An augmentation that follows the gather of `Geometric`: it sees a batch, not the whole of the images.

    Everything random is drawn in `plan`, from `generator_for(epoch, purpose)` with a purpose of the stage's own.
    """

    def plan(self, count: int, image_size: tuple[int, int], *, epoch: int, generator_for: GeneratorFor) -> Any:
        """One epoch's plan for `count` samples of `image_size` (height, width); `epoch` counts from 0."""

    def apply(self, images: Tensor, index: Tensor, plan: Any) -> Tensor:
        """uint8 [B, H, W, C] -> the same shape and type; `index` (int64 [B]) names the samples in the plan."""


@dataclass(frozen=True)
class ComposedPlan:
    """The plans of `Compose.first` and of each stage behind it."""

    first: EpochPlan
    then: tuple[StagePlan, ...]

    def to(self, device: torch.device) -> ComposedPlan:
        """The same plans on `device`."""
        return ComposedPlan(self.first.to(device), tuple(plan.to(device) for plan in self.then))


@dataclass(frozen=True)
class Compose:
    """`first` picks the batch out of all images; the stages `then` work on that batch, in their order."""

    first: Geometric
    then: tuple[Stage, ...] = ()

    def plan(self, count: int, image_size: tuple[int, int], *, epoch: int, generator_for: GeneratorFor) -> ComposedPlan:
        """Draw one epoch's augmentation for `count` samples; see `Geometric.plan`."""
        first = self.first.plan(count, image_size, epoch=epoch, generator_for=generator_for)
        return ComposedPlan(first, tuple(stage.plan(count, image_size, epoch=epoch, generator_for=generator_for) for stage in self.then))

    def apply(self, images: Tensor, index: Tensor, plan: ComposedPlan) -> Tensor:
        """The augmented samples `index` (int64 [B]) of `images` (uint8 [N, H, W, C]) -> uint8 [B, H, W, C]."""
        out = self.first.apply(images, index, plan.first)
        for stage, stage_plan in zip(self.then, plan.then, strict=True):
            out = stage.apply(out, index, stage_plan)
        return out
