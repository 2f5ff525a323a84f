"""From stored pixels to network input: the same module in training, evaluation and prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Preprocess(nn.Module):
    """(pixels / 255 - mean) / std, channel by channel: uint8 [N, H, W, C] -> float32 [N, C, H, W].

    mean and std are on the 0..1 scale; mean 0 and std 1 give plain rescaling. The output lies in memory as
    channels_last, which the input's layout gives without a copy. `size` resizes (bilinear) to size x size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(f"mean and std must have one value per channel, not {len(mean)} and {len(std)}")
        if not all(math.isfinite(value) for value in (*mean, *std)):
            raise ValueError(f"mean and std must be finite, not {list(mean)} and {list(std)}")
        if min(std) <= 0:
            raise ValueError(f"std must be positive, not {list(std)}")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor, size: int | None = None) -> Tensor:
        # One multiply-add per value: pixels * (1 / (255 std)) - mean / std.
        x = torch.addcmul(-self.mean / self.std, images.float(), 1.0 / (255.0 * self.std))  # [N, H, W, C]
        x = x.permute(0, 3, 1, 2)  # [N, C, H, W], still channels_last in memory
        if size is not None and size != x.shape[2]:
            x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
        return x


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of `images` (uint8 [N, H, W, C]) on the 0..1 scale."""
    flat = images.reshape(-1, images.shape[3])
    # A histogram is exact and needs no float copy of the images.
    counts = torch.stack([torch.bincount(flat[:, c], minlength=256) for c in range(flat.shape[1])]).double()  # [C, 256]
    values = torch.arange(256, dtype=torch.float64, device=images.device) / 255.0
    mean = counts @ values / len(flat)
    variance = counts @ values.square() / len(flat) - mean.square()
    return tuple(mean.tolist()), tuple(variance.clamp_min(0).sqrt().tolist())
