"""Test-time augmentation: the logits of several views of each image, averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

VIEWS: Final = {"none": 1, "flip": 2, "six": 6}
MOVED: Final = "moved"  # the four of "six" that "flip" does not hold: six = flip / 2 + moved / 2


def predict_views(model: Callable[[Tensor], Tensor], images: Tensor, *, views: str) -> tuple[Tensor, Tensor]:
    """Logits [N, K] of `model` for the plain images (float [N, C, H, W]), and averaged over their views.

    "none": the image alone. "flip": the image and its mirror image. "six": those two, and both moved by one
    pixel up-left and down-right with reflect padding; unmoved and moved views count half each
    (arXiv 2404.00498, section 3.7).
    """
    logits = [model(view) for view in image_views(images, views=views)]
    return logits[0], average_views(logits)


def image_views(images: Tensor, *, views: str) -> list[Tensor]:
    """What `predict_views` looks at: float [N, C, H, W] each, in "six" those of "flip" first, then those of "moved"."""
    if views not in VIEWS and views != MOVED:
        raise ValueError(f"views must be one of {', '.join(VIEWS)}, not {views!r}")
    if views == "none":
        return [images]
    still = [images, images.flip(-1)]
    if views == "flip":
        return still
    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    moved = [padded[:, :, :height, :width], padded[:, :, 2:, 2:]]
    rest = [view for shifted in moved for view in (shifted, shifted.flip(-1))]
    return rest if views == MOVED else [*still, *rest]


def average_views(logits: Sequence[Tensor]) -> Tensor:
    """The logits of `image_views`, float [N, K] each, averaged with the weight of each view: [N, K]."""
    if len(logits) == 1:
        return logits[0]
    if len(logits) == VIEWS["six"] - VIEWS["flip"]:
        return torch.stack(list(logits)).mean(0)
    still = 0.5 * (logits[0] + logits[1])
    if len(logits) == 2:
        return still
    return 0.5 * still + 0.125 * torch.stack(list(logits[2:])).sum(0)
