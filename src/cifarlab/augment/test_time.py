"""Test-time augmentation: the logits of several views of each image, averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

VIEWS: Final = {"none": 1, "flip": 2, "six": 6}


def predict_views(model: Callable[[Tensor], Tensor], images: Tensor, *, views: str) -> tuple[Tensor, Tensor]:
    """Logits [N, K] of `model` for the plain images (float [N, C, H, W]), and averaged over their views.

    "none": the image alone. "flip": the image and its mirror image. "six": those two, and both moved by one
    pixel up-left and down-right with reflect padding; unmoved and moved views count half each
    (arXiv 2404.00498, section 3.7).
    """
    if views not in VIEWS:
        raise ValueError(f"views must be one of {', '.join(VIEWS)}, not {views!r}")
    plain = model(images)
    if views == "none":
        return plain, plain
    still = 0.5 * (plain + model(images.flip(-1)))
    if views == "flip":
        return plain, still
    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    moved = [padded[:, :, :height, :width], padded[:, :, 2:, 2:]]
    logits = [model(view) for shifted in moved for view in (shifted, shifted.flip(-1))]
    return plain, 0.5 * still + 0.125 * torch.stack(logits).sum(0)
