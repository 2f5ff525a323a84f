"""Plans so small that they are built in milliseconds."""

from __future__ import annotations

import numpy as np
import torch

from cifarlab.build import arrange, build_plan
from cifarlab.config import Recipe, override
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.plan import Plan

CPU = torch.device("cpu")


def make_dataset(count: int, size: int = 16, *, height: int | None = None) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (count, height or size, size, 3)).astype(np.uint8)
    labels = np.arange(count, dtype=np.int64) % 4
    ids = np.array([str(number) for number in range(count)])
    return Dataset(name="made", images=images, labels=labels, class_names=("a", "b", "c", "d"), sample_ids=ids)


def make_recipe(**changes: object) -> Recipe:
    recipe = Recipe.model_validate(
        {
            "model": {"name": "speednet", "arguments": {"widths": [8, 8, 8]}},
            "optim": {"name": "muon", "lr": 0.1, "arguments": {}},
            "train": {"duration": "9ep", "batch_size": 10, "precision": "fp32"},
        }
    )
    return override(recipe, {key.replace("__", "."): value for key, value in changes.items()})


def make_plan(*, size: int = 16, **changes: object) -> Plan:
    """100 training images: 10 steps an epoch at batch 10."""
    splits = Splits(train=make_dataset(100, size), test=make_dataset(8, size))
    recipe = make_recipe(**{"data__validation": 0, "train__select": "last", **changes})
    return build_plan(recipe, arrange(recipe, splits), device=CPU)
