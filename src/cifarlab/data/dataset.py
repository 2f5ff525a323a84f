"""The dataset object that every source yields and everything after it reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import DataError, UsageError, unknown

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images in memory.

    images: uint8 [N, H, W, C], 0..255, C = 3 (red, green, blue).
    labels: int64 [N], 0..K-1, an index into `class_names`.
    sample_ids: str [N], stable names such as "train/00042": the same image keeps its id through every
        split and subset, so that two runs can be compared sample by sample.
    """

    name: str
    images: Images
    labels: Labels
    class_names: tuple[str, ...]
    sample_ids: NDArray[np.str_]

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[3] != 3:
            raise DataError(f"{self.name}: images must be uint8 [N, H, W, 3], not {self.images.dtype} {list(self.images.shape)}")
        if self.labels.dtype != np.int64 or self.labels.shape != (n,) or self.sample_ids.shape != (n,):
            raise DataError(f"{self.name}: {n} images need {n} int64 labels and {n} sample ids")
        if n and not (int(self.labels.min()) >= 0 and int(self.labels.max()) < len(self.class_names)):
            raise DataError(
                f"{self.name}: labels run from {self.labels.min()} to {self.labels.max()}, "
                f"but there are {len(self.class_names)} classes (0 to {len(self.class_names) - 1})"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def checksum(self) -> str:
        """SHA-256 (hex) of shape, decoded pixels and labels: the same however the files were packed."""
        return content_checksum(self.images, self.labels)

    def class_counts(self) -> Labels:
        """Images per class, int64 [K]."""
        return np.bincount(self.labels, minlength=self.num_classes).astype(np.int64)

    def take(self, index: NDArray[np.int64]) -> Dataset:
        """The samples at `index` (int64 [M]), in that order."""
        return replace(self, images=self.images[index], labels=self.labels[index], sample_ids=self.sample_ids[index])

    def keep_classes(self, names: tuple[str, ...]) -> Dataset:
        """Only the images of the named classes, renumbered 0..len(names)-1 in the order given."""
        problems = [unknown("class", name, self.class_names) for name in names if name not in self.class_names]
        if problems:
            raise UsageError("\n".join(problems))
        if len(set(names)) != len(names) or len(names) < 2:
            raise UsageError(f"classes {', '.join(names)!r}: name at least two different ones of {', '.join(self.class_names)}")
        old = np.array([self.class_names.index(name) for name in names])
        renumber = np.full(self.num_classes, -1, dtype=np.int64)
        renumber[old] = np.arange(len(names))
        kept = np.flatnonzero(renumber[self.labels] >= 0)
        chosen = self.take(kept)
        return replace(chosen, labels=renumber[chosen.labels], class_names=names)


class Splits(NamedTuple):
    """The two published splits of a dataset. Validation is carved from `train`, never from `test`."""

    train: Dataset
    test: Dataset


def content_checksum(images: Images, labels: Labels) -> str:
    """SHA-256 (hex) over the shape of `images` (uint8 [N, H, W, C]), its bytes, and `labels` as little-endian int64."""
    digest = hashlib.sha256(repr(tuple(images.shape)).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels.astype("<i8")).data)
    return digest.hexdigest()
