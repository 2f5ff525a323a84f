"""Seeded, stratified selections: validation out of train, and nested training subsets.

Everything rests on the raw output of NumPy's Philox generator, which NumPy promises never to change (NEP 19), so a
seed means the same images on every machine and NumPy version; shuffling methods carry no such promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cifarlab.data.dataset import Dataset, Splits
from cifarlab.errors import UsageError

Index = NDArray[np.int64]

# Streams of one seed, so that the choice of validation images says nothing about the choice of a subset.
_VALIDATION: Final = 1
_SUBSET: Final = 2
_POOL: Final = 3


class ArrangedSplits(NamedTuple):
    """What a training run sees. `validation` is None where the fraction is 0."""

    train: Dataset
    validation: Dataset | None
    test: Dataset


def arrange_splits(
    splits: Splits,
    *,
    classes: Sequence[str] | None = None,
    validation: float = 0.1,
    train_size: int | None = None,
    pooled: bool = False,
    seed: int = 0,
) -> ArrangedSplits:
    """Keep `classes` (all without it), carve `validation` out of train, then cut train to `train_size`.

    In this order, so that one seed has one validation split whatever the training size. With `pooled`, `pool_splits` cuts train and
    test anew after the choice of classes, and `validation` is a share of its training part: another one for each size.
    Raises UsageError as `Dataset.keep_classes`, `pool_splits`, `carve_validation` and `nested_subset` do.
    """
    train, test = splits
    if classes is not None:
        train, test = train.keep_classes(tuple(classes)), test.keep_classes(tuple(classes))
    if pooled:
        train, test = pool_splits(Splits(train, test), train_size, seed)
        train_size = None
    rest, held_out = carve_validation(train, validation, seed)
    if train_size is not None:
        rest = nested_subset(rest, train_size, seed)
    return ArrangedSplits(rest, held_out, test)


def pool_splits(splits: Splits, train_size: int | None, seed: int) -> Splits:
    """Train and test in one pool, of which `train_size` images become the training part and all others the test part.

    Each class gives its share of the training part, within one image, and with the same seed a smaller training part is
    contained in every larger one. Both parts keep the original order, train before test, and every image its sample id.
    Raises UsageError where `train_size` is not given or leaves a class without an image in one of the parts.
    """
    pool = _joined(splits)
    if train_size is None:
        raise UsageError(f"pooled data needs a training size: how many of the {len(pool)} pooled images of {pool.name} are for training")
    if train_size >= len(pool):
        raise UsageError(
            f"training size {train_size}: train and test of {pool.name} together have {len(pool)} images, and some must be left for test; "
            f"choose at most {len(pool) - int(np.count_nonzero(pool.class_counts()))}"
        )
    taken = _subset_counts(pool, train_size)
    without_test = [name for name, n, have in zip(pool.class_names, taken, pool.class_counts(), strict=True) if have and n == have]
    if without_test:
        raise UsageError(f"training size {train_size} leaves no test image of {', '.join(without_test)}; choose a smaller one")
    chosen = _class_ranks(pool, seed=seed, stream=_POOL) < taken[pool.labels]
    return Splits(pool.take(np.flatnonzero(chosen)), pool.take(np.flatnonzero(~chosen)))


def _joined(splits: Splits) -> Dataset:
    train, test = splits
    return replace(
        train,
        images=np.concatenate([train.images, test.images]),
        labels=np.concatenate([train.labels, test.labels]),
        sample_ids=np.concatenate([train.sample_ids, test.sample_ids]),
    )


def carve_validation(train: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """Divide `train` into (rest, validation), both in the original order; `fraction` 0 gives (train, None).

    fraction: 0 <= fraction < 1 of the images. Each class gives its share of them, rounded by largest remainder.
    Raises UsageError where the fraction or seed is not allowed, or where a class would have no image in one part.
    """
    if not 0 <= fraction < 1:
        raise UsageError(f"validation fraction {fraction}: allowed is 0 (no validation) up to, not including, 1; for example 0.1")
    if fraction == 0:
        return train, None
    counts = train.class_counts()
    share = _largest_remainder(counts, Fraction(str(fraction)))
    _refuse_empty(train, counts, share, fraction)
    ranks = _class_ranks(train, seed=seed, stream=_VALIDATION)
    chosen = ranks < share[train.labels]
    return train.take(np.flatnonzero(~chosen)), train.take(np.flatnonzero(chosen))


def nested_subset(train: Dataset, size: int, seed: int) -> Dataset:
    """`size` images of `train` in the original order, each class within one image of its exact share.

    With the same seed a smaller subset is contained in every larger one.
    Raises UsageError where `size` is more than there are, fewer than the classes, or leaves a class empty.
    """
    taken = _subset_counts(train, size)
    ranks = _class_ranks(train, seed=seed, stream=_SUBSET)
    return train.take(np.flatnonzero(ranks < taken[train.labels]))


def _subset_counts(train: Dataset, size: int) -> Index:
    """How many images of each class a subset of `size` has, int64 [K]; raises UsageError as `nested_subset` does."""
    counts = train.class_counts()
    present = int(np.count_nonzero(counts))
    if not present <= size <= len(train):
        raise UsageError(
            f"training size {size}: {train.name} has {len(train)} training images of {present} classes; choose {present} to {len(train)}"
        )
    sequence = _class_sequence(counts, size)
    taken = np.bincount(sequence, minlength=len(counts))
    empty = [name for name, n, have in zip(train.class_names, taken, counts, strict=True) if have and not n]
    if empty:
        first = [np.argmax(_class_sequence(counts, len(train)) == k) for k in np.flatnonzero(counts)]
        raise UsageError(f"training size {size} leaves no image of {', '.join(empty)}; choose at least {int(max(first)) + 1}")
    return taken


def _class_ranks(data: Dataset, *, seed: int, stream: int) -> Index:
    """int64 [N]: each image's place in the seeded order of its own class, 0 first."""
    if isinstance(seed, bool) or seed < 0:
        raise UsageError(f"seed {seed}: allowed is a whole number from 0")
    keys = np.random.Philox(np.random.SeedSequence([stream, seed])).random_raw(len(data))
    order = np.lexsort((keys, data.labels))  # by class, within the class by random key
    first = np.cumsum(data.class_counts()) - data.class_counts()
    ranks = np.empty(len(data), dtype=np.int64)
    ranks[order] = np.arange(len(data)) - np.repeat(first, data.class_counts())
    return ranks


def _largest_remainder(counts: Index, fraction: Fraction) -> Index:
    """Whole shares int64 [K] of `counts` that add up to the rounded share of their sum. Exact: no float takes part."""
    exact = [int(count) * fraction for count in counts]
    shares = np.array([int(value) for value in exact], dtype=np.int64)
    left = int(sum(exact) + Fraction(1, 2)) - int(shares.sum())
    by_remainder = sorted(range(len(exact)), key=lambda k: (int(exact[k]) - exact[k], k))
    shares[by_remainder[: max(left, 0)]] += 1
    return shares


def _refuse_empty(train: Dataset, counts: Index, share: Index, fraction: float) -> None:
    parts = {"validation": (counts > 0) & (share == 0), "training": (counts > 0) & (share == counts)}
    for part, empty in parts.items():
        if empty.any():
            names = [f"{train.class_names[k]} ({counts[k]} images)" for k in np.flatnonzero(empty)]
            smallest = int(counts[counts > 0].min())
            # The share of the smallest class that rounds to one image at least, in whole percent upwards.
            enough = min(99, -(-100 // smallest))
            more = f"{enough / 100:g} or more" if part == "validation" else "a smaller fraction"
            raise UsageError(
                f"validation fraction {fraction} leaves no {part} image of {', '.join(names)}; "
                f"use --validation with {more}, or 0 for no validation"
            )


def _class_sequence(counts: Index, size: int) -> Index:
    """int64 [size]: a fixed order of classes, each prefix of which is within one of every class's exact share.

    Tijdeman, "The chairman assignment problem", 1980: among the classes that have earned one, the earliest deadline.
    Largest remainder would not do, for its shares may shrink as the size grows.
    """
    total, classes = int(counts.sum()), np.flatnonzero(counts)
    weight = counts[classes].astype(np.int64)
    if len(classes) == 1:
        return np.repeat(classes, size)
    period = total // int(np.gcd.reduce(weight))  # afterwards the pattern repeats: 10 steps for balanced CIFAR-10
    scale = 2 * len(classes) - 2
    taken = np.zeros(len(classes), dtype=np.int64)
    sequence = np.empty(min(size, period), dtype=np.int64)
    for step in range(len(sequence)):
        earned = scale * (weight * (step + 1) - taken * total)
        deadline = np.where(earned >= total, (scale * total - total - earned) / weight, np.inf)
        chosen = int(np.argmin(deadline))
        taken[chosen] += 1
        sequence[step] = classes[chosen]
    return np.resize(sequence, size)
