"""Cells that take a second: noise in CIFAR-10's shape with something to learn, and published recipes of three epochs.

As a program it runs the two cells of lab-base and kills itself: python fake_cells.py FOLDER NAME STEP, at STEP of the cell NAME.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cifarlab.config import override
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.experiments import Cell, Outcome, SilentWatcher, plan_cells, run_cells
from cifarlab.plan import Plan
from cifarlab.training import State

CPU = torch.device("cpu")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CHANGES = {"train.duration": "3ep", "train.batch_size": 32, "data.name": "fake", "train.precision": "fp32"}
EPOCHS = 3
# 100 images as published, 90 as corrected: 4 and 3 batches of at most 32 an epoch.
STEPS = {"published": 4, "corrected": 3}


def make_dataset(count: int, *, seed: int) -> Dataset:
    """Noise with one bright row, which is the class."""
    images = np.random.default_rng(seed).integers(0, 120, (count, 32, 32, 3))
    labels = np.arange(count) % 10
    for image, label in zip(images, labels, strict=True):
        image[3 * label : 3 * label + 3] += 100
    ids = np.array([f"{seed}/{number}" for number in range(count)])
    return Dataset(name="fake", images=images.astype(np.uint8), labels=labels.astype(np.int64), class_names=CLASSES, sample_ids=ids)


def make_splits(*, seed: int = 0) -> Splits:
    return Splits(make_dataset(100, seed=seed), make_dataset(20, seed=seed + 1))


def make_cells(*systems: str, protocol: str = "both", seeds: int = 1, **changes: object) -> list[Cell]:
    """Small cells of lab-base, or of `systems`; `changes` with "__" for the dot."""
    given = {**CHANGES, **{key.replace("__", "."): value for key, value in changes.items()}}
    return plan_cells(systems or ("lab-base",), protocol=protocol, seeds=seeds, changes=given)


def changed(cell: Cell, **changes: object) -> Cell:
    """`cell` with another recipe under its name."""
    return dataclasses.replace(cell, recipe=override(cell.recipe, {key.replace("__", "."): value for key, value in changes.items()}))


class Watch(SilentWatcher):
    """Notes what is begun and ended; `at_step(cell, step)` runs after every step."""

    def __init__(self, at_step: Callable[[Cell, int], object] = lambda cell, step: None) -> None:
        self.begun: list[str] = []
        self.ended: list[Outcome] = []
        self.at_step = at_step

    def begin(self, cell: Cell, number: int, total: int, estimate: float) -> _Steps:
        self.begun.append(cell.name)
        return _Steps(cell, self.at_step)

    def end(self, outcome: Outcome) -> None:
        self.ended.append(outcome)


class _Steps:
    def __init__(self, cell: Cell, at_step: Callable[[Cell, int], object]) -> None:
        self.cell, self.at_step = cell, at_step

    def step(self, state: State, plan: Plan) -> None:
        self.at_step(self.cell, state.step)

    def epoch(self, row: dict[str, Any]) -> None:
        pass


def signal_at(name: str, step: int, number: int = signal.SIGTERM) -> Watch:
    """Sends this process a signal after `step` of the cell `name`."""
    return Watch(lambda cell, now: signal.raise_signal(number) if (cell.name, now) == (name, step) else None)


def run(cells: Sequence[Cell], folder: Path, *, watch: Watch | None = None, **options: Any) -> list[Outcome]:
    """run_cells on the small data; every cell is estimated at a second where nothing else is said."""
    estimates = options.pop("estimates", {cell.name: 1.0 for cell in cells})
    splits = options.pop("splits", None) or make_splits()
    return run_cells(cells, splits, folder=folder, device=CPU, estimates=estimates, watcher=watch, **options)


def main() -> None:
    folder, name, step = sys.argv[1:]
    torch.set_num_threads(1)
    run(make_cells(), Path(folder), watch=signal_at(name, int(step), signal.SIGKILL))


if __name__ == "__main__":
    main()
