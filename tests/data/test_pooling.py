"""Train and test in one pool, cut anew: data.pooled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cifarlab.build import arrange
from cifarlab.config import override
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.data.splits import arrange_splits, pool_splits
from cifarlab.errors import ConfigError, UsageError
from cifarlab.recipes import get_recipe


def part(name: str, counts: list[int]) -> Dataset:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    images = np.zeros((len(labels), 1, 1, 3), dtype=np.uint8)
    classes = tuple(f"class{k}" for k in range(len(counts)))
    return Dataset("made", images, labels, classes, np.array([f"{name}/{n:03d}" for n in range(len(labels))]))


def pool(train: tuple[int, ...] = (50, 50), test: tuple[int, ...] = (10, 10)) -> Splits:
    return Splits(part("train", list(train)), part("test", list(test)))


def ids(data: Dataset) -> set[str]:
    return set(data.sample_ids.tolist())


def test_every_image_is_in_one_part_and_both_splits_are_in_both() -> None:
    train, test = pool_splits(pool(), 80, seed=0)
    assert (len(train), len(test)) == (80, 40)
    assert ids(train).isdisjoint(ids(test))
    assert ids(train) | ids(test) == ids(pool().train) | ids(pool().test)
    for data in (train, test):
        assert {name.split("/")[0] for name in ids(data)} == {"train", "test"}


def test_each_class_gives_its_share() -> None:
    train, test = pool_splits(pool((60, 30), (20, 10)), 60, seed=3)
    assert train.class_counts().tolist() == [40, 20]
    assert test.class_counts().tolist() == [40, 20]


def test_a_smaller_training_part_is_contained_in_a_larger_one() -> None:
    parts = [ids(pool_splits(pool(), size, seed=1).train) for size in (20, 55, 90, 118)]
    assert all(small < large for small, large in itertools.pairwise(parts))


def test_seeds_choose_differently() -> None:
    assert ids(pool_splits(pool(), 60, seed=0).train) != ids(pool_splits(pool(), 60, seed=1).train)


def test_validation_comes_out_of_the_training_part() -> None:
    arranged = arrange_splits(pool(), pooled=True, train_size=100, validation=0.1, seed=0)
    assert arranged.validation is not None
    assert [len(arranged.train), len(arranged.validation), len(arranged.test)] == [90, 10, 20]
    assert ids(arranged.train) | ids(arranged.validation) == ids(pool_splits(pool(), 100, seed=0).train)


def test_classes_are_chosen_before_pooling() -> None:
    arranged = arrange_splits(pool((50, 50, 50), (10, 10, 10)), classes=["class2", "class0"], pooled=True, train_size=100, validation=0)
    assert arranged.train.class_names == ("class2", "class0")
    assert len(arranged.test) == 20


@pytest.mark.parametrize(
    ("size", "reason"),
    [(120, "together have 120 images, and some must be left for test"), (None, "needs a training size"), (119, "no test image of class")],
)
def test_a_training_part_that_leaves_no_test_is_refused(size: int | None, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        pool_splits(pool(), size, seed=0)


def test_the_recipe_field_reaches_the_data() -> None:
    recipe = override(get_recipe("digits"), {"data.pooled": True, "data.train_size": 100})
    splits = Splits(part("train", [60, 60]), part("test", [10, 10]))
    assert [len(data or ()) for data in arrange(recipe, splits)] == [90, 10, 40]


def test_problems_of_a_pooled_recipe_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        override(get_recipe("digits"), {"data.pooled": True, "data.validate_on": "test"})
    assert "pooled=true needs data.train_size" in str(caught.value)
    assert "validate_on=test" in str(caught.value)


def test_only_true_or_false_pools() -> None:
    with pytest.raises(ConfigError, match=r"data\.pooled"):
        override(get_recipe("digits"), {"data.pooled": "perhaps", "data.train_size": 100})
    with pytest.raises(ConfigError, match="must not be true"):
        override(get_recipe("digits"), {"data.train_size": True})
