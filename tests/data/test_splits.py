from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifarlab.data.dataset import Dataset, Splits
from cifarlab.data.splits import arrange_splits, carve_validation, nested_subset
from cifarlab.errors import UsageError

seeds = st.integers(0, 2**32)


def _dataset(counts: list[int], *, order: int = 0) -> Dataset:
    labels = np.random.default_rng(order).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    return Dataset(
        name="made",
        images=np.zeros((len(labels), 1, 1, 3), dtype=np.uint8),
        labels=labels,
        class_names=tuple(f"class{k}" for k in range(len(counts))),
        sample_ids=np.array([f"train/{n:05d}" for n in range(len(labels))], dtype=np.str_),
    )


def _ids(data: Dataset) -> set[str]:
    return set(data.sample_ids.tolist())


@given(counts=st.lists(st.integers(20, 60), min_size=2, max_size=6), fraction=st.floats(0.06, 0.9), seed=seeds)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_validation_is_disjoint_complete_stratified_and_in_order(counts: list[int], fraction: float, seed: int) -> None:
    train = _dataset(counts)
    rest, validation = carve_validation(train, fraction, seed)
    assert validation is not None
    assert _ids(rest).isdisjoint(_ids(validation))
    assert _ids(rest) | _ids(validation) == _ids(train)
    assert np.all(np.abs(validation.class_counts() - fraction * np.array(counts)) < 1)
    assert abs(len(validation) - fraction * len(train)) <= 0.5 + 1e-6
    assert sorted(rest.sample_ids.tolist()) == rest.sample_ids.tolist()
    assert sorted(validation.sample_ids.tolist()) == validation.sample_ids.tolist()


@given(seed=seeds)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_validation_is_the_same_each_time_and_differs_between_seeds(seed: int) -> None:
    train = _dataset([100, 100])
    first, again, other = (carve_validation(train, 0.3, s)[1] for s in (seed, seed, seed + 1))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.checksum == again.checksum
    assert _ids(first) == _ids(again)
    assert _ids(first) != _ids(other)


def test_a_tenth_of_balanced_classes_is_exact() -> None:
    rest, validation = carve_validation(_dataset([50] * 10), 0.1, 0)
    assert validation is not None
    assert validation.class_counts().tolist() == [5] * 10
    assert rest.class_counts().tolist() == [45] * 10


def test_shares_are_rounded_by_largest_remainder() -> None:
    # Hand arithmetic: 0.3 of 11, 12, 17 is 3.3, 3.6, 5.1; 12 in all; 3 + 3 + 5 = 11, and the one left goes to .6.
    _, validation = carve_validation(_dataset([11, 12, 17]), 0.3, 0)
    assert validation is not None
    assert validation.class_counts().tolist() == [3, 4, 5]


def test_fraction_zero_gives_no_validation() -> None:
    train = _dataset([5, 5])
    assert carve_validation(train, 0.0, 0) == (train, None)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 10.0, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match=r"validation fraction .*: allowed is 0 \(no validation\) up to, not including, 1"):
        carve_validation(_dataset([5, 5]), fraction, 0)


def test_a_class_left_empty_is_named() -> None:
    with pytest.raises(UsageError, match=r"no validation image of class1 \(3 images\); use --validation with 0.34 or more"):
        carve_validation(_dataset([50, 3]), 0.1, 0)
    with pytest.raises(UsageError, match=r"no training image of class1 \(3 images\); use --validation with a smaller fraction"):
        carve_validation(_dataset([50, 3]), 0.99, 0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="seed -1"):
        carve_validation(_dataset([5, 5]), 0.5, -1)


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=7), seed=seeds, data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_subsets_are_nested_and_stratified_within_one(counts: list[int], seed: int, data: st.DataObject) -> None:
    train = _dataset(counts)
    n = len(train)
    sizes = sorted(data.draw(st.lists(st.integers(1, n), min_size=2, max_size=4)))
    subsets = []
    for size in sizes:
        try:
            subsets.append(nested_subset(train, size, seed))
        except UsageError:
            assert size < n  # a small size may leave a rare class empty; the whole never does
    for subset in subsets:
        share = len(subset) * np.array(counts) / n
        assert np.all(np.abs(subset.class_counts() - share) < 1)
        assert np.all(subset.class_counts() > 0)
    for smaller, larger in itertools.pairwise(subsets):
        assert _ids(smaller) <= _ids(larger)


def test_a_balanced_subset_is_exact_and_whole_at_full_size() -> None:
    train = _dataset([30] * 10)
    assert nested_subset(train, 50, 3).class_counts().tolist() == [5] * 10
    assert nested_subset(train, 10, 3).class_counts().tolist() == [1] * 10
    assert _ids(nested_subset(train, 300, 3)) == _ids(train)


def test_a_subset_depends_on_the_seed_alone() -> None:
    train = _dataset([30] * 3)
    assert _ids(nested_subset(train, 30, 1)) == _ids(nested_subset(train, 30, 1))
    assert _ids(nested_subset(train, 30, 1)) != _ids(nested_subset(train, 30, 2))


@pytest.mark.parametrize("size", [-1, 0, 2, 31])
def test_a_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"training size {size}: made has 30 training images of 3 classes; choose 3 to 30"):
        nested_subset(_dataset([10, 10, 10]), size, 0)


def test_a_size_that_leaves_a_class_empty_says_what_suffices() -> None:
    train = _dataset([97, 3])
    with pytest.raises(UsageError, match=r"leaves no image of class1; choose at least (\d+)") as caught:
        nested_subset(train, 2, 0)
    enough = int(str(caught.value).rsplit(" ", 1)[1])
    assert nested_subset(train, enough, 0).class_counts()[1] == 1


def test_the_seeded_order_is_that_of_philox() -> None:
    """The generator's raw stream never changes (NEP 19), and neither may the meaning of a seed."""
    train = _dataset([6, 6])
    keys = np.random.Philox(np.random.SeedSequence([1, 5])).random_raw(12)
    expected = {str(train.sample_ids[n]) for k in (0, 1) for n in sorted(np.flatnonzero(train.labels == k), key=lambda n: keys[n])[:2]}
    _, validation = carve_validation(train, 1 / 3, 5)
    assert validation is not None
    assert _ids(validation) == expected


def test_arranging_keeps_one_validation_split_for_all_training_sizes() -> None:
    splits = Splits(train=_dataset([40] * 4), test=_dataset([10] * 4, order=1))
    small = arrange_splits(splits, classes=["class3", "class1"], validation=0.25, train_size=10, seed=2)
    large = arrange_splits(splits, classes=["class3", "class1"], validation=0.25, seed=2)
    assert small.validation is not None
    assert large.validation is not None
    assert _ids(small.validation) == _ids(large.validation)
    assert _ids(small.train) < _ids(large.train)
    assert small.train.class_counts().tolist() == [5, 5]
    assert large.train.class_counts().tolist() == [30, 30]
    assert small.test.class_names == ("class3", "class1")
