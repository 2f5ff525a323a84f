"""The loader: every sample once an epoch, and an order that hangs on (seed, epoch) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cifarlab.augment import Geometric
from cifarlab.data.dataset import Dataset
from cifarlab.data.loader import Loader, seeded_generator

CPU = torch.device("cpu")


def numbered(count: int, size: int = 8) -> Dataset:
    """Images whose every pixel is their own number, two bytes of it in red and green; label: number mod 7."""
    images = np.zeros((count, size, size, 3), dtype=np.uint8)
    images[..., 0] = (np.arange(count) % 256)[:, None, None]
    images[..., 1] = (np.arange(count) // 256)[:, None, None]
    labels = np.arange(count, dtype=np.int64) % 7
    names = tuple("abcdefg")
    return Dataset(name="numbered", images=images, labels=labels, class_names=names, sample_ids=np.array([f"n/{k}" for k in range(count)]))


def loader(count: int = 103, *, batch_size: int = 10, seed: int = 0, augmentation: Geometric | None = None) -> Loader:
    return Loader(numbered(count), batch_size=batch_size, augmentation=augmentation or Geometric(), seed=seed, device=CPU)


def numbers(source: Loader, epoch: int, *, start: int = 0) -> list[list[int]]:
    return [(images[:, 0, 0, 0].int() + 256 * images[:, 0, 0, 1].int()).tolist() for images, _ in source.epoch(epoch, start=start)]


@pytest.mark.parametrize(("count", "batch_size"), [(103, 10), (100, 10), (101, 100), (300, 512), (7, 1), (5, 5)])
def test_every_sample_comes_once_in_batches_of_nearly_equal_size(count: int, batch_size: int) -> None:
    source = loader(count, batch_size=batch_size)
    batches = numbers(source, 0)
    sizes = [len(batch) for batch in batches]
    assert len(batches) == source.steps_per_epoch == -(-count // batch_size)
    assert sorted(number for batch in batches for number in batch) == list(range(count))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(source) == count


def test_labels_go_with_their_images() -> None:
    source = loader(300)
    for images, labels in source.epoch(0):
        assert labels.dtype == torch.int64
        assert torch.equal(labels, (images[:, 0, 0, 0].long() + 256 * images[:, 0, 0, 1].long()) % 7)


@pytest.mark.parametrize("start", [0, 1, 7, 10, 11])
def test_start_gives_the_tail_of_the_same_epoch(start: int) -> None:
    augmentation = Geometric(flip="random", translate=2, cutout=3)
    whole = list(loader(augmentation=augmentation).epoch(2))
    tail = list(loader(augmentation=augmentation).epoch(2, start=start))
    assert len(tail) == len(whole) - start
    for (images, labels), (expected_images, expected_labels) in zip(tail, whole[start:], strict=True):
        assert torch.equal(images, expected_images)
        assert torch.equal(labels, expected_labels)


def test_the_order_hangs_on_seed_and_epoch_alone() -> None:
    first = numbers(loader(), 3)
    torch.rand(5)
    assert numbers(loader(), 3) == first
    assert numbers(loader(), 4) != first
    assert numbers(loader(seed=1), 3) != first


def test_augmentation_does_not_change_the_order() -> None:
    assert numbers(loader(augmentation=Geometric(flip="random")), 1) == numbers(loader(), 1)


def test_images_in_another_memory_order_give_the_same_batches() -> None:
    dataset = numbered(20)
    turned = np.ascontiguousarray(dataset.images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    assert not turned.flags.c_contiguous
    other = Dataset("turned", turned, dataset.labels, dataset.class_names, dataset.sample_ids)
    augmentation = Geometric(translate=1)
    batches = [
        torch.cat([images for images, _ in Loader(data, batch_size=6, augmentation=augmentation, seed=0, device=CPU).epoch(0)])
        for data in (dataset, other)
    ]
    assert torch.equal(*batches)


@pytest.mark.parametrize(("count", "batch_size"), [(0, 10), (5, 0), (5, -1)])
def test_no_samples_or_no_batch_size_is_refused(count: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match="needs samples and a batch size of at least 1"):
        loader(count, batch_size=batch_size)


def test_seeds_epochs_and_purposes_give_unrelated_streams() -> None:
    keys = [(seed, epoch, purpose) for seed in (0, 1, 2**63 - 1) for epoch in (0, 1, 2) for purpose in ("shuffle", "augment", "flip")]
    streams = torch.stack([torch.rand(2000, generator=seeded_generator(*key)) for key in keys])
    correlations = torch.corrcoef(streams) - torch.eye(len(keys))
    assert correlations.abs().max() < 0.1  # 4.5 standard deviations of independent streams, 1 / sqrt(2000) each
