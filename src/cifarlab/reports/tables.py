"""The metrics files of a run: metrics.json, classification_report.txt, confusion_matrix.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import RunError
from cifarlab.files import write_json, write_text
from cifarlab.metrics import confusion_matrix, format_classification_report, score_predictions
from cifarlab.runs import Predictions, RunDirectory

SPLITS: Final = ("test", "validation")  # the first that a run has predictions for is the one that its report is about


def load_predictions(run: RunDirectory) -> dict[str, Predictions]:
    """The predictions files of `run` by split, test first; raises RunError where there is none or one cannot be read."""
    found = {split: Predictions.load(run.predictions_file(split)) for split in SPLITS if run.predictions_file(split).exists()}
    if not found:
        raise RunError(f"{run.path} has no predictions to report on. Make them with: cifarlab evaluate {run.path}")
    return found


def confusion_of(predictions: Predictions) -> NDArray[np.int64]:
    """Confusion matrix int64 [K, K] (rows true, columns predicted) of the logits that count."""
    return confusion_matrix(predictions.labels, predictions.final_logits.argmax(axis=1), num_classes=len(predictions.class_names))


def write_metrics(run: RunDirectory) -> dict[str, Any]:
    """Write the three metrics files of `run` and return the content of metrics.json.

    metrics.json maps every split that has predictions to its `score_predictions`. The text report and the CSV are about
    the test split, or about validation as long as test was not read; the text says which. Raises RunError without predictions.
    """
    return metrics_of(run, load_predictions(run))


def metrics_of(run: RunDirectory, predictions: Mapping[str, Predictions]) -> dict[str, Any]:
    """`write_metrics` for predictions that are loaded already; the first split is the one reported on."""
    scores = {split: score_predictions(made) for split, made in predictions.items()}
    split = next(iter(predictions))
    write_json(run.path / "metrics.json", scores)
    write_text(run.path / "classification_report.txt", _text_report(split, scores[split]))
    write_text(run.path / "confusion_matrix.csv", _matrix_csv(predictions[split]))
    return scores


def _text_report(split: str, score: Mapping[str, Any]) -> str:
    interval = score["accuracy"]
    head = (
        f"Split: {split}, {score['n']} images, {score['errors']} errors\n"
        f"Accuracy: {interval['value']:.4f} (95 % interval {interval['low']:.4f} to {interval['high']:.4f}), "
        f"test-time augmentation: {score['tta']}\n\n"
    )
    return head + format_classification_report(dict(score))


def _matrix_csv(predictions: Predictions) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["true \\ predicted", *predictions.class_names])
    for name, row in zip(predictions.class_names, confusion_of(predictions), strict=True):
        writer.writerow([name, *(int(count) for count in row)])
    return table.getvalue()
