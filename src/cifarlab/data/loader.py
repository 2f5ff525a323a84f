"""Batches from one tensor on the device; order and augmentation are a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cifarlab.data.dataset import Dataset


class Augmentation(Protocol):
    """What the loader asks of an augmentation: a plan for an epoch, applied batch by batch."""

    def plan(self, count: int, image_size: tuple[int, int], *, epoch: int, generator_for: Callable[[int, str], torch.Generator]) -> Any: ...

    def apply(self, images: Tensor, index: Tensor, plan: Any) -> Tensor: ...


class Loader:
    """Shuffled, augmented batches of a dataset held as one uint8 tensor [N, H, W, C] on `device`.

    An epoch is cut into batches of nearly equal size, at most `batch_size`, so that every sample is seen once
    and no tiny last batch disturbs batch norm.
    """

    def __init__(self, dataset: Dataset, *, batch_size: int, augmentation: Augmentation, seed: int, device: torch.device) -> None:
        if batch_size < 1 or len(dataset) == 0:
            raise ValueError(f"a loader needs samples and a batch size of at least 1, not {len(dataset)} and {batch_size}")
        self.images = torch.from_numpy(np.ascontiguousarray(dataset.images)).to(device)
        self.labels = torch.from_numpy(dataset.labels).to(device)
        self.augmentation = augmentation
        self.seed = seed
        self.steps_per_epoch = -(-len(dataset) // batch_size)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (images uint8 [B, H, W, C], labels int64 [B]) of `epoch` (from 0), from step `start` on."""
        count, device = len(self), self.images.device
        order = torch.randperm(count, generator=self._generator(epoch, "shuffle"))
        height, width = self.images.shape[1:3]
        plan = self.augmentation.plan(count, (height, width), epoch=epoch, generator_for=self._generator).to(device)
        for index in torch.tensor_split(order, self.steps_per_epoch)[start:]:
            index = index.to(device)
            yield self.augmentation.apply(self.images, index, plan), self.labels[index]

    def _generator(self, epoch: int, purpose: str) -> torch.Generator:
        return seeded_generator(self.seed, epoch, purpose)


def seeded_generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A generator for (seed, epoch, purpose), on the CPU whatever the device: a GPU sees the same order and crops."""
    # SplitMix64 over the three: neighbouring seeds and epochs give unrelated streams.
    state = 0
    for part in (seed, epoch, int.from_bytes(purpose.encode(), "big")):
        state = (state + part + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return torch.Generator().manual_seed(state % 2**63)
