"""A training that takes a second: data with something to learn, a narrow network, and ways to break it off.

As a program it trains and kills itself: python small_runs.py RUNS NAME STEP SIGNAL [SIGNAL...]
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cifarlab.config import Recipe, override
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.evaluation import predict_logits
from cifarlab.plan import Plan
from cifarlab.runs import RunDirectory
from cifarlab.training import State, resume_run, train_run

CPU = torch.device("cpu")
EPOCHS, STEPS_PER_EPOCH, STEPS = 3, 4, 12
CLASSES = ("north-west", "north-east", "south-west", "south-east")


def make_dataset(count: int, *, seed: int, size: int = 16, name: str = "corners") -> Dataset:
    """Noise with one bright corner, which is the class."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 140, (count, size, size, 3))
    labels = np.arange(count) % 4
    half = size // 2
    for image, label in zip(images, labels, strict=True):
        rows, columns = half * (label // 2), half * (label % 2)
        image[rows : rows + half, columns : columns + half] += 60
    ids = np.array([f"{name}/{number}" for number in range(count)])
    return Dataset(name=name, images=images.astype(np.uint8), labels=labels.astype(np.int64), class_names=CLASSES, sample_ids=ids)


def make_splits(*, seed: int = 0, train: int = 160, size: int = 16) -> Splits:
    return Splits(train=make_dataset(train, seed=seed, size=size), test=make_dataset(40, seed=seed + 1000, size=size))


def make_recipe(**changes: object) -> Recipe:
    """128 training images in 4 steps an epoch, 3 epochs, everything on; `changes` with "__" for the dot."""
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "model": {"name": "speednet", "arguments": {"widths": [8, 8, 8]}},
            "data": {"name": "corners", "validation": 0.2},
            "augment": {"flip": "alternating", "translate": 1, "cutout": 3},
            "optim": {"name": "muon", "lr": 0.1, "weight_decay": 1e-4, "arguments": {"bias_lr": 2.0, "head_lr": 1e-3}},
            "loss": {"label_smoothing": 0.1},
            "schedule": {"name": "linear", "warmup": "2st"},
            "train": {
                "duration": "3ep",
                "batch_size": 32,
                "precision": "fp32",
                "resolution": [16, 16, 20],
                "freeze": [{"parameters": "whiten.*", "after": "1ep"}],
            },
            "evaluate": {"tta": "flip", "batch_size": 16},
        }
    )
    return override(recipe, {key.replace("__", "."): value for key, value in changes.items()})


class Watcher:
    """A listener that runs `at_step(step)` after every step and `at_epoch(row)` after every epoch."""

    def __init__(
        self, at_step: Callable[[int], object] = lambda step: None, at_epoch: Callable[[dict[str, Any]], object] = lambda row: None
    ):
        self.at_step, self.at_epoch = at_step, at_epoch

    def step(self, state: State, plan: Plan) -> None:
        self.at_step(state.step)

    def epoch(self, row: dict[str, Any]) -> None:
        self.at_epoch(row)


def train(
    runs: Path, name: str, recipe: Recipe | None = None, *, splits: Splits | None = None, watcher: Watcher | None = None
) -> RunDirectory:
    return train_run(
        recipe or make_recipe(), splits or make_splits(), runs=runs, name=name, device=CPU, predict=predict_logits, listener=watcher
    )


def resume(path: Path, *, splits: Splits | None = None, recipe: Recipe | None = None, watcher: Watcher | None = None) -> RunDirectory:
    return resume_run(path, splits or make_splits(), device=CPU, predict=predict_logits, recipe=recipe, listener=watcher)


def signal_at(step: int, number: int = signal.SIGTERM) -> Watcher:
    return Watcher(lambda now: signal.raise_signal(number) if now == step else None)


class CrashError(Exception):
    """The test's own way to end a process's work at once."""


def crash_at(step: int) -> Watcher:
    def crash(now: int) -> None:
        if now == step:
            raise CrashError

    return Watcher(crash)


def outcome(run: RunDirectory) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """What must be equal between equal runs: the weights, byte for byte, and the metrics rows without clock times."""
    weights = {which: run.weights_file(which).read_bytes() for which in ("best", "last")}
    rows = [{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")} for row in run.epochs()]
    return weights, rows


def main() -> None:
    runs, name, step, *signals = sys.argv[1:]
    torch.set_num_threads(1)

    def send(now: int) -> None:
        for each in signals if now == int(step) else ():
            signal.raise_signal(signal.Signals[each])

    train(Path(runs), name, watcher=Watcher(send))


if __name__ == "__main__":
    main()
