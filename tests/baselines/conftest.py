"""A small dataset that classical methods learn in a moment."""

from __future__ import annotations

import numpy as np
import pytest

from cifarlab.data import ArrangedSplits, Dataset, Splits, arrange_splits


def stripes(n: int, *, name: str, seed: int, side: int = 16) -> Dataset:
    """Images uint8 [n, side, side, 3] of three classes: stripes across, stripes down, and noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = random.integers(0, 120, size=(n, side, side, 3))
    bright = np.arange(side) // 2 % 2 == 0  # two pixels wide: gradients are taken over two
    images[np.ix_(labels == 0, bright)] += 120
    images[np.ix_(labels == 1, np.ones(side, bool), bright)] += 120
    ids = np.array([f"{name}/{number:05d}" for number in range(n)])
    return Dataset("stripes", images.astype(np.uint8), labels.astype(np.int64), ("across", "down", "noise"), ids)


@pytest.fixture(scope="session")
def splits() -> Splits:
    return Splits(stripes(150, name="train", seed=0), stripes(60, name="test", seed=1))


@pytest.fixture(scope="session")
def arranged(splits: Splits) -> ArrangedSplits:
    return arrange_splits(splits, validation=0.2)
