"""Flip, translation and cutout for a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

FLIPS: Final = ("none", "random", "alternating")
GeneratorFor = Callable[[int, str], torch.Generator]


@dataclass(frozen=True)
class EpochPlan:
    """What happens to each of the N samples in one epoch; None where that augmentation is off.

    flip: bool [N]; shift: int64 [N, 2], rows and columns, in pixels; hole: int64 [N, 2], top-left corner.
    """

    flip: Tensor | None
    shift: Tensor | None
    hole: Tensor | None

    def to(self, device: torch.device) -> EpochPlan:
        """The same plan on `device`: moved once an epoch, not once a batch."""
        return EpochPlan(*(None if part is None else part.to(device) for part in (self.flip, self.shift, self.hole)))


@dataclass(frozen=True, kw_only=True)
class Geometric:
    """Left-right flip, translation by up to `translate` pixels with reflect padding, square `cutout` (pixels).

    flip "random": half of the images, anew each epoch. "alternating": a random half in the first epoch, the
    other half in the next, and so on, so that any two epochs in a row show both sides of every image
    (arXiv 2404.00498, section 3.6). cutout: DeVries and Taylor 2017 (arXiv 1708.04552), filled with `fill`.
    """

    flip: str = "none"
    translate: int = 0
    cutout: int = 0
    fill: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.flip not in FLIPS:
            raise ValueError(f"flip must be one of {', '.join(FLIPS)}, not {self.flip!r}")

    def plan(self, count: int, image_size: tuple[int, int], *, epoch: int, generator_for: GeneratorFor) -> EpochPlan:
        """Draw one epoch's augmentation for `count` samples; `epoch` counts from 0.

        `generator_for(epoch, purpose)` gives the random generator; the plan depends on nothing else.
        """
        assert self.translate < min(image_size), "reflect padding is narrower than the image"
        flip = shift = hole = None
        generator = generator_for(epoch, "augment")
        if self.flip == "random":
            flip = torch.rand(count, generator=generator) < 0.5
        elif self.flip == "alternating":
            first = torch.rand(count, generator=generator_for(0, "flip")) < 0.5
            flip = first if epoch % 2 == 0 else ~first
        if self.translate:
            shift = torch.randint(-self.translate, self.translate + 1, (count, 2), generator=generator)
        if self.cutout:
            height, width = image_size
            # Centres anywhere in the image; a hole may hang over the edge, as in the paper.
            centre = torch.stack([torch.randint(side, (count,), generator=generator) for side in (height, width)], dim=1)
            hole = centre - self.cutout // 2
        return EpochPlan(flip=flip, shift=shift, hole=hole)

    def apply(self, images: Tensor, index: Tensor, plan: EpochPlan) -> Tensor:
        """The augmented samples `index` (int64 [B]) of `images` (uint8 [N, H, W, C]) -> uint8 [B, H, W, C].

        Flip and translation together are one gather: no padded copy is made.
        """
        batch, (height, width) = len(index), images.shape[1:3]
        rows = torch.arange(height, device=images.device).expand(batch, height)
        columns = torch.arange(width, device=images.device).expand(batch, width)
        if plan.flip is None and plan.shift is None:
            out = images[index]
        else:
            if plan.flip is not None:
                columns = torch.where(plan.flip[index, None], width - 1 - columns, columns)
            if plan.shift is not None:
                shift = plan.shift[index]
                rows = _reflect(rows + shift[:, :1], height)
                columns = _reflect(columns + shift[:, 1:], width)
            # One flat row number per output pixel: [B, H, W] -> gather of C bytes each.
            flat = (index[:, None, None] * height + rows[:, :, None]) * width + columns[:, None, :]
            out = images.view(-1, images.shape[3])[flat]
        if plan.hole is not None:
            out = self._cut(out, plan.hole[index])
        return out

    def _cut(self, images: Tensor, hole: Tensor) -> Tensor:
        height, width = images.shape[1:3]
        rows = torch.arange(height, device=images.device) - hole[:, :1]  # [B, H], 0..cutout-1 inside the hole
        columns = torch.arange(width, device=images.device) - hole[:, 1:]
        in_rows = (rows >= 0) & (rows < self.cutout)
        in_columns = (columns >= 0) & (columns < self.cutout)
        mask = (in_rows[:, :, None] & in_columns[:, None, :])[..., None]  # [B, H, W, 1]
        return torch.where(mask, torch.tensor(self.fill, dtype=images.dtype, device=images.device), images)


def _reflect(position: Tensor, size: int) -> Tensor:
    """Fold positions outside 0..size-1 back in at the borders (reflect padding, the border pixel not repeated)."""
    position = position.abs()
    return torch.where(position >= size, 2 * (size - 1) - position, position)
