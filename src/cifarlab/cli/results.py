"""How a run's metrics are printed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cifarlab.cli.terminal import note, write_table

TTA_NAMES = {"none": "one view", "flip": "2 views (flip)", "six": "6 views (flip, shift)"}


def print_metrics(metrics: Mapping[str, Any], *, test_reads: int) -> None:
    """The metrics of one split as a table on stdout: with test-time augmentation, where the recipe has it, and without."""
    sides = [("one view", metrics["single_view"])]
    if metrics["tta"] != "none":
        sides.insert(0, (TTA_NAMES.get(metrics["tta"], metrics["tta"]), metrics))
    rows = [
        ("accuracy", [_interval(side["accuracy"]) for _, side in sides]),
        ("errors", [f"{side['errors']} of {side['n']}" for _, side in sides]),
        ("cross-entropy", [f"{side['cross_entropy']:.4f}" for _, side in sides]),
        ("MSE", [f"{side['mse']:.5f}" for _, side in sides]),
        ("calibration error", [f"{side['calibration_error']:.4f}" for _, side in sides]),
    ]
    write_table(["metric", *(name for name, _ in sides)], [(name, *cells) for name, cells in rows], title=f"{metrics['split']} split")
    per_class = metrics["per_class"]
    write_table(
        ["class", "precision", "recall", "F1", "images"],
        [(row["name"], f"{row['precision']:.4f}", f"{row['recall']:.4f}", f"{row['f1']:.4f}", str(row["support"])) for row in per_class],
        right=("precision", "recall", "F1", "images"),
    )
    note(f"test split read {test_reads} time{'s' if test_reads != 1 else ''} in this run")


def headline(metrics: Mapping[str, Any]) -> str:
    """ "test accuracy 94.02 % (95 % interval 93.54 to 94.47; 9402 of 10000 right; 6 views)"."""
    value = metrics["accuracy"]
    views = "" if metrics["tta"] == "none" else f"; {TTA_NAMES.get(metrics['tta'], metrics['tta'])}"
    right = metrics["n"] - metrics["errors"]
    return (
        f"{metrics['split']} accuracy {100 * value['value']:.2f} % (95 % interval {100 * value['low']:.2f} to {100 * value['high']:.2f}; "
        f"{right} of {metrics['n']} right{views})"
    )


def say_report(path: Path) -> None:
    note(f"report: {path}")


def _interval(accuracy: Mapping[str, float]) -> str:
    return f"{100 * accuracy['value']:.2f} % [{100 * accuracy['low']:.2f}, {100 * accuracy['high']:.2f}]"
