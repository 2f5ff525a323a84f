"""Validation that follows a script, so that a test decides which epoch is the best; the training itself is a real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from small_runs import make_recipe, make_splits
from torch import Tensor, nn

from cifarlab.build import arrange
from cifarlab.config import Recipe, override
from cifarlab.data.preprocess import Preprocess
from cifarlab.plan import Plan
from cifarlab.training import State

PLAIN: dict[str, Any] = {
    "model": {"name": "lab-base", "arguments": {}},
    "optim": {"name": "adam", "lr": 1e-3, "weight_decay": 0, "arguments": {}},
    "schedule": {"name": "constant", "warmup": "0%"},
    "train": {"resolution": [], "freeze": []},
}
VALIDATION = 32  # images of the small run's validation split


def plain_recipe(**changes: object) -> Recipe:
    """The small run without its specialities: a plain network under Adam at a constant rate."""
    return override(make_recipe(**PLAIN), {key.replace("__", "."): value for key, value in changes.items()})


class Script:
    """A predict function: epoch i gets `right[i]` of the 32 validation images right, each answer with margin `margins[i]`.

    The wrong answers cost about the margin each: accuracy and loss can be made to disagree.
    """

    def __init__(self, right: Sequence[int], margins: Sequence[float] | None = None) -> None:
        validation = arrange(make_recipe(), make_splits()).validation
        assert validation is not None
        assert len(validation) == VALIDATION
        self.labels = validation.labels
        self.right, self.margins = right, margins or [1.0] * len(right)
        self.calls = 0

    def __call__(self, model: nn.Module, preprocess: Preprocess, images: Tensor, *, batch_size: int, precision: str) -> NDArray[np.float32]:
        right, margin = self.right[self.calls], self.margins[self.calls]
        self.calls += 1
        answers = np.where(np.arange(VALIDATION) < right, self.labels, (self.labels + 1) % 4)
        return (margin * np.eye(4)[answers]).astype(np.float32)


class Weights:
    """A listener that keeps the network's weights at the end of each epoch, from 1 on."""

    def __init__(self) -> None:
        self.at: dict[int, dict[str, Tensor]] = {}

    def step(self, state: State, plan: Plan) -> None:
        self._last = {name: tensor.detach().clone() for name, tensor in plan.judged.state_dict().items()}

    def epoch(self, row: dict[str, Any]) -> None:
        self.at[row["epoch"]] = self._last


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
