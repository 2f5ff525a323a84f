"""Runs as training and evaluation leave them, made by hand: no network, no torch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cifarlab.reports import ReportImages, write_run_report
from cifarlab.runs import Predictions, RunDirectory

NAMES = ("cat", "deer", "dog")


def make_predictions(split: str, n: int, *, names: tuple[str, ...] = NAMES, tta: bool = True) -> Predictions:
    rng = np.random.default_rng(len(split))
    labels = np.arange(n, dtype=np.int64) % len(names)
    logits = rng.normal(size=(n, len(names))).astype(np.float32)
    logits[np.arange(n), labels] += 1.0
    better = logits.copy()
    better[np.arange(n), labels] += 0.5
    origin = "test" if split == "test" else "train"
    return Predictions(
        sample_ids=np.array([f"{origin}/{i:05d}" for i in range(n)]),
        labels=labels,
        logits=logits,
        logits_tta=better if tta else None,
        tta="flip, 2 views" if tta else "none",
        class_names=names,
        split=split,
        checksum="5f" * 32,
    )


def build_run(
    parent: Path,
    name: str = "try-1",
    *,
    splits: tuple[str, ...] = ("validation", "test"),
    names: tuple[str, ...] = NAMES,
    recipe_yaml: str = "name: fast\noptim:\n  lr: 0.1\n",
    env: dict[str, object] | None = None,
    epochs: int = 8,
    tta: bool = True,
) -> RunDirectory:
    given = {"python": "3.11.9", "dataset": "cifar10", "threads": 2, "git_revision": None, "command": "cifarlab train fast --seed 0"}
    run = RunDirectory.create(parent, name, recipe_yaml=recipe_yaml, env=given if env is None else env)
    for i in range(epochs):
        run.append_epoch({"epoch": i + 1, "train_accuracy": i / 10, "validation_accuracy": i / 11, "train_loss": 3 - i / 4})
    for split in splits:
        make_predictions(split, 60 if split == "test" else 30, names=names, tta=tta).save(run.predictions_file(split))
        if split == "test":
            run.count_test_read()
    run.update_status(state="done", seconds=807.2, epochs=8, parameters=24_666, best_epoch=8, selected="best")
    return run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """A finished run with eight epochs and predictions for the given splits."""
    return functools.partial(build_run, tmp_path)


@pytest.fixture(scope="module")
def reported_run(tmp_path_factory: pytest.TempPathFactory, report_images: ReportImages) -> RunDirectory:
    """A run whose report is written, for tests that only read it."""
    run = build_run(tmp_path_factory.mktemp("reported"))
    write_run_report(run, images=report_images)
    return run


@pytest.fixture(scope="session")
def report_images() -> ReportImages:
    rng = np.random.default_rng(1)
    return ReportImages(
        class_counts={"train": np.array([90, 90, 90]), "validation": np.array([10, 10, 10]), "test": np.array([20, 20, 20])},
        samples=rng.integers(0, 256, size=(6, 8, 8, 3), dtype=np.uint8),
        sample_labels=np.array([0, 1, 2, 0, 1, 2]),
        evaluated={
            "test": rng.integers(0, 256, size=(60, 8, 8, 3), dtype=np.uint8),
            "validation": rng.integers(0, 256, size=(30, 8, 8, 3), dtype=np.uint8),
        },
    )
