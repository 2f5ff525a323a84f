"""Random rotation, scaling and translation in one resampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from cifarlab.augment.geometric import GeneratorFor

FILLS: Final = {"edge": "border", "zero": "zeros", "reflect": "reflection"}


@dataclass(frozen=True)
class AffinePlan:
    """matrix: float32 [N, 2, 3], from output to input positions, x before y, both -1..1 over the image; None: nothing to do."""

    matrix: Tensor | None

    def to(self, device: torch.device) -> AffinePlan:
        """The same plan on `device`."""
        return AffinePlan(None if self.matrix is None else self.matrix.to(device))


@dataclass(frozen=True, kw_only=True)
class Affine:
    """Rotation by up to `rotate` degrees to either side, then scaling about the centre by 1 - `scale` to 1 + `scale`, then
    translation by up to `shift` of the side along each axis; each uniform, and together one bilinear resampling.

    `shift` is the share that Keras' width_shift_range and height_shift_range take below 1. `fill`, for what comes in from
    outside: "edge" the nearest pixel (Keras' "nearest"), "zero" black, "reflect" the mirror image, border pixel included.
    Raises ValueError for a rotation out of 0..180, a scale or shift out of 0 .. below 1, and an unknown fill.
    """

    rotate: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    fill: str = "edge"

    def __post_init__(self) -> None:
        if not 0 <= self.rotate <= 180:
            raise ValueError(f"rotate must be 0 to 180 degrees, not {self.rotate!r}")
        for name, value in (("scale", self.scale), ("shift", self.shift)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {value!r}")
        if self.fill not in FILLS:
            raise ValueError(f"fill must be one of {', '.join(FILLS)}, not {self.fill!r}")

    def plan(self, count: int, image_size: tuple[int, int], *, epoch: int, generator_for: GeneratorFor) -> AffinePlan:
        """Draw one epoch's transformations for `count` samples; `epoch` counts from 0."""
        if not (self.rotate or self.scale or self.shift):
            return AffinePlan(None)
        # Four numbers a sample whatever is on, so that changing one strength leaves the draws of the others alone.
        draws = 2 * torch.rand(count, 4, generator=generator_for(epoch, "affine")) - 1
        angle, zoom, columns, rows = draws.unbind(1)
        matrix = affine_matrix(self.rotate * angle, 1 + self.scale * zoom, self.shift * columns, self.shift * rows, image_size=image_size)
        return AffinePlan(matrix)

    def apply(self, images: Tensor, index: Tensor, plan: AffinePlan) -> Tensor:
        """uint8 [B, H, W, C] -> the same, transformed; `index` (int64 [B]) names the samples in the plan."""
        if plan.matrix is None:
            return images
        x = images.permute(0, 3, 1, 2).float()  # [B, H, W, C] -> [B, C, H, W]
        grid = F.affine_grid(plan.matrix[index], list(x.shape), align_corners=False)  # [B, H, W, 2]
        out = F.grid_sample(x, grid, mode="bilinear", padding_mode=FILLS[self.fill], align_corners=False)
        return out.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def affine_matrix(angle: Tensor, zoom: Tensor, right: Tensor, down: Tensor, *, image_size: tuple[int, int]) -> Tensor:
    """float32 [N, 2, 3] for `torch.nn.functional.affine_grid`, of content turned by `angle` degrees counter-clockwise, enlarged
    `zoom` times, both about the centre, and moved `right` and `down` by these shares of width and height (each [N])."""
    height, width = image_size
    radians = torch.deg2rad(angle)
    cosine, sine = radians.cos() / zoom, radians.sin() / zoom
    # From output to input: the inverse transformation. The factors turn pixels into -1..1, which differs by axis.
    linear = torch.stack([cosine, -sine * (height / width), sine * (width / height), cosine], dim=1).view(-1, 2, 2)
    moved = 2 * torch.stack([right, down], dim=1)[:, :, None]  # shares of the side -> -1..1
    return torch.cat([linear, -linear @ moved], dim=2)
