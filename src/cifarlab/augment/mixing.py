"""Mixup and CutMix: pairs of images of a batch blended, and their labels with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Mixup (Zhang et al. 2017, arXiv 1710.09412, eq. 1) and CutMix (Yun et al. 2019, arXiv 1905.04899, section 3.1).

    `mixup` and `cutmix` are the alphas of Beta(alpha, alpha), from which lambda, the share of an image's own, is drawn once a
    batch; 0 turns that one off. Where both are on, a fair coin chooses one for each batch. An image's partner is another of
    the batch, by a random permutation. Raises ValueError for an alpha that is negative or not finite.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name, alpha in (("mixup", self.mixup), ("cutmix", self.cutmix)):
            if not 0 <= alpha < math.inf:
                raise ValueError(f"{name} must be an alpha of at least 0, not {alpha!r}")

    def __call__(self, images: Tensor, labels: Tensor, *, num_classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images float [B, C, H, W] and labels int64 [B] -> mixed images, and targets float32 [B, K] with rows that sum to 1.

        `generator` is a CPU generator, whatever the images' device.
        """
        targets = F.one_hot(labels, num_classes).float()  # [B] -> [B, K]
        alphas = [alpha for alpha in (self.mixup, self.cutmix) if alpha]
        if not alphas:
            return images, targets
        # PyTorch's Beta distribution takes no generator; NumPy's also stands alphas near 0.
        random = np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))
        chosen = int(random.integers(len(alphas)))
        own = float(random.beta(alphas[chosen], alphas[chosen]))
        partner = torch.randperm(len(labels), generator=generator).to(images.device)
        if self.mixup and chosen == 0:
            mixed = images[partner].lerp_(images, own)
        else:
            mixed, own = _paste(images, images[partner], own, random)
        return mixed, own * targets + (1 - own) * targets[partner]


def _paste(images: Tensor, others: Tensor, own: float, random: np.random.Generator) -> tuple[Tensor, float]:
    """`images` with one rectangle, of about 1 - `own` of the area, taken from `others`; and the exact share that is left."""
    height, width = images.shape[2:]
    side = math.sqrt(1 - own)
    (top, bottom), (left, right) = (_span(length, side * length, random) for length in (height, width))
    mixed = images.clone()  # keeps channels_last
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    # The rectangle hangs over the border where its centre is near it: the labels follow the pixels.
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _span(length: int, size: float, random: np.random.Generator) -> tuple[int, int]:
    """Begin and end of `size` pixels about a centre anywhere in 0..length, cut off at the borders."""
    centre = random.uniform(0, length)
    begin, end = round(centre - size / 2), round(centre + size / 2)
    return max(begin, 0), min(end, length)
