"""Images -> logits, batch by batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarlab.augment import predict_views
from cifarlab.data.preprocess import Preprocess
from cifarlab.restore import full_float32

Logits = NDArray[np.float32]


def predict_logits(model: nn.Module, preprocess: Preprocess, images: Tensor, *, batch_size: int = 500, precision: str = "fp32") -> Logits:
    """Logits float32 [N, K] of the plain `images` (uint8 [N, H, W, C]); see `predict_with_views`."""
    return predict_with_views(model, preprocess, images, views="none", batch_size=batch_size, precision=precision)[0]


@torch.no_grad()
def predict_with_views(
    model: nn.Module,
    preprocess: Preprocess,
    images: Tensor,
    *,
    views: str,
    batch_size: int = 500,
    precision: str = "fp32",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Logits, Logits]:
    """Logits float32 [N, K] of `images` (uint8 [N, H, W, C]): plain, and averaged over `views` (see cifarlab.augment).

    float32 by default: the answer for an image then does not depend on the batch it came in, beyond rounding
    (about 1e-6). The model is put into evaluation mode. `progress(images done, images in all)` after each batch.
    """
    device = next(model.parameters()).device
    model.eval()
    plain: list[Tensor] = []
    averaged: list[Tensor] = []
    done = 0
    for batch in torch.split(images, batch_size):
        with full_float32(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            single, several = predict_views(model, preprocess(batch.to(device)), views=views)
        plain.append(single.float().cpu())
        averaged.append(several.float().cpu())
        done += len(batch)
        progress(done, len(images))
    return torch.cat(plain).numpy(), torch.cat(averaged).numpy()
