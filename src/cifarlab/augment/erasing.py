"""Random erasing: a rectangle of some of the images is painted over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cifarlab.augment.geometric import GeneratorFor

ATTEMPTS: Final = 100


@dataclass(frozen=True)
class ErasingPlan:
    """box: int64 [N, 4], top, left, height and width in pixels, height and width 0 where nothing is erased; None: nowhere."""

    box: Tensor | None

    def to(self, device: torch.device) -> ErasingPlan:
        """The same plan on `device`."""
        return ErasingPlan(None if self.box is None else self.box.to(device))


@dataclass(frozen=True, kw_only=True)
class RandomErasing:
    """With `probability`, a rectangle anywhere in the image is filled with `fill` (0..255 per channel).

    Zhong et al. 2017 (arXiv 1708.04896, algorithm 1): its share of the image's area is uniform over `area`, its height divided
    by its width uniform over `ratio`; size and place are drawn anew until it lies inside. Sizes are rounded to whole pixels, at
    least one. After ATTEMPTS draws in vain an image stays whole, which the default ranges make all but impossible. Raises
    ValueError for a probability out of 0..1, an area out of 0..1, a ratio not above 0, or a range upside down.
    """

    probability: float
    area: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)
    fill: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be 0 to 1, not {self.probability!r}")
        if not 0 < self.area[0] <= self.area[1] < 1:
            raise ValueError(f"area must be (low, high) with 0 < low <= high < 1, not {self.area!r}")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ValueError(f"ratio must be (low, high) with 0 < low <= high, not {self.ratio!r}")
        if not all(0 <= value <= 255 for value in self.fill):
            raise ValueError(f"fill must have values of 0 to 255, not {self.fill!r}")

    def plan(self, count: int, image_size: tuple[int, int], *, epoch: int, generator_for: GeneratorFor) -> ErasingPlan:
        """Draw one epoch's rectangles for `count` samples; `epoch` counts from 0."""
        if not self.probability:
            return ErasingPlan(None)
        generator = generator_for(epoch, "erase")
        box = torch.zeros(count, 4, dtype=torch.int64)
        waiting = (torch.rand(count, generator=generator) < self.probability).nonzero().squeeze(1)
        for _ in range(ATTEMPTS):
            if not len(waiting):
                break
            drawn, fits = self._draw(len(waiting), image_size, generator)
            box[waiting[fits]] = drawn[fits]
            waiting = waiting[~fits]
        return ErasingPlan(box)

    def _draw(self, count: int, image_size: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rectangles, int64 [count, 4], and which of them lie inside the image, bool [count]."""
        height, width = image_size
        share, shape, down, across = torch.rand(count, 4, generator=generator).unbind(1)
        pixels = height * width * (self.area[0] + (self.area[1] - self.area[0]) * share)
        ratio = self.ratio[0] + (self.ratio[1] - self.ratio[0]) * shape
        sizes = [(pixels * ratio).sqrt(), (pixels / ratio).sqrt()]  # height and width
        rows, columns = (size.round().clamp_min(1).long() for size in sizes)
        top, left = (down * height).long(), (across * width).long()
        return torch.stack([top, left, rows, columns], dim=1), (top + rows <= height) & (left + columns <= width)

    def apply(self, images: Tensor, index: Tensor, plan: ErasingPlan) -> Tensor:
        """uint8 [B, H, W, C] -> the same with the rectangles filled; `index` (int64 [B]) names the samples in the plan."""
        if plan.box is None:
            return images
        height, width = images.shape[1:3]
        top, left, rows, columns = plan.box[index].unbind(1)
        down = torch.arange(height, device=images.device) - top[:, None]  # [B, H], 0..rows-1 inside the rectangle
        across = torch.arange(width, device=images.device) - left[:, None]
        in_rows = (down >= 0) & (down < rows[:, None])
        in_columns = (across >= 0) & (across < columns[:, None])
        mask = (in_rows[:, :, None] & in_columns[:, None, :])[..., None]  # [B, H, W, 1]
        return torch.where(mask, torch.tensor(self.fill, dtype=images.dtype, device=images.device), images)
