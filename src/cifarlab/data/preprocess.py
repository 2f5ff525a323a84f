"""From stored pixels to network input: the same module in training, evaluation and prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LUMA: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Preprocess(nn.Module):
    """(pixels / 255 - mean) / std, channel by channel: uint8 [N, H, W, C] -> float32 [N, C, H, W].

    Before it, where asked for: the central square of `crop` pixels, and `grayscale`, the luma of ITU-R BT.601 in all three
    channels, which every network takes. After it: resizing to `size` x `size`, bilinear, antialiased where that shrinks. mean
    and std are on the 0..1 scale; mean 0 and std 1 give plain rescaling. The output lies in memory as channels_last, which the
    input's layout gives without a copy. Raises ValueError for statistics that cannot be used and sizes below 1.
    """

    mean: Tensor
    std: Tensor
    luma: Tensor

    def __init__(
        self, *, mean: Sequence[float], std: Sequence[float], crop: int | None = None, size: int | None = None, grayscale: bool = False
    ) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(f"mean and std must have one value per channel, not {len(mean)} and {len(std)}")
        if not all(math.isfinite(value) for value in (*mean, *std)):
            raise ValueError(f"mean and std must be finite, not {list(mean)} and {list(std)}")
        if min(std) <= 0:
            raise ValueError(f"std must be positive, not {list(std)}")
        for name, side in (("crop", crop), ("size", size)):
            if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 1):
                raise ValueError(f"{name} must be a number of pixels of at least 1, not {side!r}")
        if grayscale and len(mean) != len(LUMA):
            raise ValueError(f"grayscale needs mean and std of {len(LUMA)} channels, not {len(mean)}")
        self.crop, self.size, self.grayscale = crop, size, grayscale
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)
        self.register_buffer("luma", torch.tensor(LUMA, dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor, size: int | None = None) -> Tensor:
        """uint8 [N, H, W, C] -> float32 [N, C, H, W]; `size` resizes instead of the module's own, without antialiasing.

        Raises ValueError for images smaller than the crop.
        """
        if self.crop is not None:
            images = self._crop(images, self.crop)
        pixels = images.float()
        if self.grayscale:
            # Not a matrix product, which autocast would round to bfloat16.
            luma = (pixels * self.luma).sum(3, keepdim=True)  # [N, H, W, 3] -> [N, H, W, 1]
            pixels = luma.expand(pixels.shape)
        # One multiply-add per value: pixels * (1 / (255 std)) - mean / std.
        x = torch.addcmul(-self.mean / self.std, pixels, 1.0 / (255.0 * self.std))  # [N, H, W, C]
        x = x.permute(0, 3, 1, 2)  # [N, C, H, W], still channels_last in memory
        if size is None and self.size is not None:
            return self._resize(x, self.size)
        if size is not None and size != x.shape[2]:
            x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
        return x

    def output_size(self, stored: int) -> int:
        """Side of the network's input for square images of side `stored`; raises ValueError where the crop is larger than that."""
        if self.crop is not None and self.crop > stored:
            raise ValueError(f"crop={self.crop}: larger than the image, which has {stored} px")
        return self.size or self.crop or stored

    @staticmethod
    def _crop(images: Tensor, side: int) -> Tensor:
        height, width = images.shape[1:3]
        if side > min(height, width):
            raise ValueError(f"crop={side}: larger than the image, which has {height} x {width} px")
        top, left = (height - side) // 2, (width - side) // 2
        return images[:, top : top + side, left : left + side]

    @staticmethod
    def _resize(x: Tensor, size: int) -> Tensor:
        if x.shape[2:] == (size, size):
            return x
        return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=size < max(x.shape[2:]))


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of `images` (uint8 [N, H, W, C]) on the 0..1 scale."""
    flat = images.reshape(-1, images.shape[3])
    # A histogram is exact and needs no float copy of the images.
    counts = torch.stack([torch.bincount(flat[:, c], minlength=256) for c in range(flat.shape[1])]).double()  # [C, 256]
    values = torch.arange(256, dtype=torch.float64, device=images.device) / 255.0
    mean = counts @ values / len(flat)
    variance = counts @ values.square() / len(flat) - mean.square()
    return tuple(mean.tolist()), tuple(variance.clamp_min(0).sqrt().tolist())
