"""Cells of a reproduction as runs leave them, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cifarlab.published import get_system
from cifarlab.reports import CellResult
from cifarlab.runs import Predictions, RunDirectory

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGES = 200


def make_predictions(accuracy: float, *, seed: int = 0, names: tuple[str, ...] = TEN, n: int = IMAGES) -> Predictions:
    """Test predictions of which exactly round(accuracy * n) are right."""
    rng = np.random.default_rng(seed)
    k = len(names)
    labels = np.arange(n, dtype=np.int64) % k
    guess = labels.copy()
    wrong = rng.permutation(n)[round(accuracy * n) :]
    guess[wrong] = (guess[wrong] + 1 + rng.integers(0, k - 1, size=len(wrong))) % k
    logits = rng.normal(scale=0.5, size=(n, k)).astype(np.float32)
    logits[np.arange(n), guess] += 6.0
    ids = np.array([f"test/{i:05d}" for i in range(n)])
    return Predictions(ids, labels, logits, None, "none", names, "test", "5f" * 32)


def make_cell(
    parent: Path,
    system: str,
    protocol: str = "published",
    seed: int = 0,
    *,
    accuracy: float | None = None,
    recipe: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    env: dict[str, Any] | None = None,
    rows: list[dict[str, Any]] | None = None,
    predictions: Predictions | None = None,
    planned: str = "",
) -> CellResult:
    """A finished run of `system`; its accuracy is by default near the claimed one."""
    claimed = get_system(system).headline.accuracy
    assert claimed is not None
    given: dict[str, Any] = {
        "name": system,
        "data": {"validate_on": "test" if protocol == "published" else "train"},
        "augment": {"flip": "random", "translate": 0},
        "optim": {"name": "adam", "lr": 0.001, "weight_decay": 0.0, "l2": 0.0},
        "schedule": {"name": "constant"},
        "train": {"duration": "3ep", "batch_size": 64, "select": "last", "patience": None},
    }
    for section, values in (recipe or {}).items():
        given[section] = {**given[section], **values}
    recorded = {
        "processor": "A processor",
        "threads": 2,
        "device": "cpu",
        "sizes": {"train": 50_000 if protocol == "published" else 45_000, "test": IMAGES},
    }
    run = RunDirectory.create(parent, f"{system}-{protocol}-{seed}", recipe_yaml=yaml.safe_dump(given), env={**recorded, **(env or {})})
    for row in rows or [{"epoch": i, "train_accuracy": 0.3 * i, "validation_accuracy": 0.25 * i, "train_loss": 2 / i} for i in (1, 2, 3)]:
        run.append_epoch(row)
    made = predictions or make_predictions(claimed if accuracy is None else accuracy, seed=seed)
    made.save(run.predictions_file("test"))
    final = {"state": "done", "seconds": 60.0 + seed, "epochs": 3, "parameters": 24_666, "best_epoch": 3, "selected": "last"}
    run.update_status(**{**final, **(status or {})})
    return CellResult(system, protocol, seed, run, planned=planned)
