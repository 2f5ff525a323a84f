"""Folders of runs as training and evaluation leave them, made by hand: real digits, made-up predictions, no network."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from cifarlab.build import arrange
from cifarlab.config import Recipe, override
from cifarlab.data import ArrangedSplits, Dataset, load_splits
from cifarlab.recipes import get_recipe
from cifarlab.runs import Predictions, RunDirectory

COMMAND = ["cifarlab", "train", "digits"]


@functools.cache
def digits() -> ArrangedSplits:
    return arrange(get_recipe("digits"), load_splits("digits"))


def predictions_of(data: Dataset, split: str, *, tta: bool = True, **more: Any) -> Predictions:
    """Right for most images, in a way that only depends on the split."""
    rng = np.random.default_rng(len(split))
    logits = rng.normal(size=(len(data), data.num_classes)).astype(np.float32)
    logits[np.arange(len(data)), data.labels] += 2.0
    given: dict[str, Any] = {
        "sample_ids": data.sample_ids,
        "labels": data.labels,
        "logits": logits,
        "logits_tta": logits + rng.normal(size=logits.shape).astype(np.float32) if tta else None,
        "tta": "flip" if tta else "none",
        "class_names": data.class_names,
        "split": split,
        "checksum": data.checksum,
    }
    return Predictions(**{**given, **more})


def epoch(number: int) -> dict[str, Any]:
    shared = {"epoch": number, "step": 25 * number, "seconds": 1.5 * number, "train_loss": 2 / number, "train_accuracy": 1 - 0.5 / number}
    return {**shared, "validation_loss": 2.1 / number, "validation_accuracy": 1 - 0.6 / number}


def make_run(
    parent: Path,
    name: str,
    *,
    recipe: Recipe | None = None,
    changes: dict[str, object] | None = None,
    epochs: int = 3,
    splits: tuple[str, ...] = ("validation", "test"),
    state: str = "done",
    env: dict[str, object] | None = None,
) -> RunDirectory:
    own = recipe or override(get_recipe("digits"), changes or {})
    described = {"dataset": "digits", "validated_on": "train", "command": COMMAND, "found_in": None, "sizes": {"train": 1294}}
    run = RunDirectory.create(parent, name, recipe_yaml=own.to_yaml(), env={**described, **(env or {})})
    for number in range(1, epochs + 1):
        run.append_epoch(epoch(number))
    arranged = digits()
    for split in splits:
        data = arranged.test if split == "test" else arranged.validation
        assert data is not None
        predictions_of(data, split).save(run.predictions_file(split))
    if "test" in splits:
        run.count_test_read()
    run.update_status(state=state, **({"seconds": 12.5, "epochs": epochs, "parameters": 24_666} if state == "done" else {}))
    return run


def make_baseline(parent: Path, name: str) -> RunDirectory:
    """As `cifarlab baseline` leaves it: no epochs, no weights, baseline.json."""
    recipe = "name: baseline-knn-pixels\nmodel:\n  name: baseline-knn\n  arguments:\n    features: pixels\ndata:\n  name: digits\n"
    run = RunDirectory.create(parent, name, recipe_yaml=recipe, env={"dataset": "digits", "command": ["cifarlab", "baseline", "knn"]})
    predictions_of(digits().test, "test", tta=False).save(run.predictions_file("test"))
    run.baseline_file.write_text('{"baseline": "knn"}')
    run.update_status(state="done", seconds=3.0)
    return run


def age(run: Path, seconds: float = 60) -> None:
    """Let a run have begun some time ago: one that has only just begun may not hold its lock yet."""
    then = time.time() - seconds
    os.utime(run / "env.json", (then, then))


def fill(folder: Path) -> Path:
    """Runs of all kinds, nested and damaged ones too, and things that are no runs."""
    make_run(folder, "good")
    make_run(folder / "sweeps" / "lr", "seed-1", changes={"seed": 1, "optim.lr": 0.1}, splits=("validation",))
    make_baseline(folder / "baselines", "knn")
    make_run(folder, "bare", splits=(), epochs=0)
    make_run(folder, "killed", splits=(), state="running", changes={"train.duration": "500st"})
    age(folder / "killed")
    make_run(folder, "cut", splits=())
    (folder / "cut" / "metrics.jsonl").write_text((folder / "cut" / "metrics.jsonl").read_text()[:-20])
    (folder / "cut" / "status.json").unlink()
    make_run(folder, "torn")
    (folder / "torn" / "predictions" / "test.npz").write_bytes((folder / "torn" / "predictions" / "test.npz").read_bytes()[:-50])
    make_run(folder, "odd")
    for name, content in {
        "status.json": "[1]",
        "env.json": '{"sizes": 7, "command": [1]}',
        "recipe.yaml": "model: [",
        "metrics.jsonl": '3\n{"epoch": 1e999}\n',
    }.items():
        (folder / "odd" / name).write_text(content)
    elsewhere = make_run(folder, "other-data", env={"found_in": "/nowhere"}, changes={"data.name": "cifar10"}, splits=("validation",))
    predictions_of(digits().test, "test", checksum="1" * 64).save(elsewhere.predictions_file("test"))
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("no run")
    return folder
