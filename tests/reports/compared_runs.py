"""Runs for comparisons, made by hand: their answers are given, not learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cifarlab.metrics import score_predictions
from cifarlab.reports.comparison_rows import ComparedRun
from cifarlab.runs import Predictions, RunDirectory

NAMES = ("cat", "deer", "dog")
IMAGES = 300


def make_predictions(
    right: np.ndarray, *, names: tuple[str, ...] = NAMES, split: str = "test", first_id: int = 0, checksum: str = "5f" * 32, seed: int = 0
) -> Predictions:
    """Predictions that are right exactly where `right` (bool [N]) says so."""
    n, k = len(right), len(names)
    labels = np.arange(n, dtype=np.int64) % k
    guess = np.where(right, labels, (labels + 1) % k)
    logits = np.random.default_rng(seed).normal(scale=0.2, size=(n, k)).astype(np.float32)
    logits[np.arange(n), guess] += 3.0
    ids = np.array([f"{split}/{first_id + i:05d}" for i in range(n)])
    return Predictions(ids, labels, logits, None, "none", names, split, checksum)


def answers(share: float, *, seed: int = 0, images: int = IMAGES) -> np.ndarray:
    """bool [N], right on exactly `share` of the images; the same images are hard for every seed, up to some noise."""
    hard = np.random.default_rng(99).random(images) + 0.2 * np.random.default_rng(seed).normal(size=images)
    right = np.zeros(images, dtype=bool)
    right[np.argsort(hard)[: round(share * images)]] = True
    return right


def lay_run(
    parent: Path,
    name: str,
    right: np.ndarray | None,
    *,
    recipe: dict[str, Any] | None = None,
    env: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    split: str = "test",
    weights: bool = True,
    **predictions: Any,
) -> Path:
    """A finished run directory; right None: without predictions."""
    given = {"name": "fast", "seed": 0, "optim": {"lr": 0.1}, "data": {"name": "digits", "validation": 0.1}, **(recipe or {})}
    recorded = {"sizes": {"train": 900, "validation": 100, "test": IMAGES}, "validated_on": "train", f"checksum_{split}": "5f" * 32}
    run = RunDirectory.create(parent, name, recipe_yaml=yaml.safe_dump(given), env={**recorded, **(env or {})})
    for epoch in (1, 2, 3):
        run.append_epoch({"epoch": epoch, "validation_accuracy": 0.2 * epoch, "validation_loss": 2.0 / epoch})
    (run.path / "bundle.json").write_text('{"classes": ["cat", "deer", "dog"]}')
    if weights:
        run.weights_file("last").parent.mkdir()
        run.weights_file("last").write_bytes(b"")
    if right is not None:
        made = make_predictions(right, split=split, **predictions)
        made.save(run.predictions_file(split))
        assert score_predictions(made)["correct"] == right.sum()
    run.update_status(**{"state": "done", "seconds": 61.0, "parameters": 24_666, "selected": "last", **(status or {})})
    return run.path


def compared(parent: Path, name: str, right: np.ndarray, **options: Any) -> ComparedRun:
    """A run as `compare_runs` takes it."""
    directory = RunDirectory(lay_run(parent, name, right, **options))
    recipe = yaml.safe_load(directory.recipe_file.read_text())
    predictions = Predictions.load(directory.predictions_file(options.get("split", "test")))
    return ComparedRun(name, directory, recipe, directory.status(), directory.read_json("env.json"), directory.epochs(), predictions)
