"""Which figures a run report has, in which order, with which captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab import figures
from cifarlab.figures.curves import Quantity, has_curve
from cifarlab.metrics import softmax
from cifarlab.reports.tables import confusion_of
from cifarlab.runs import Predictions, RunDirectory

GRID_IMAGES = 24  # images in the grids of predictions and of mistakes


def _no_images() -> NDArray[np.uint8]:
    return np.zeros((0, 1, 1, 3), dtype=np.uint8)


def _no_labels() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class ReportImages:
    """What a report shows of the data; each part may be left out, and so is then its figure.

    class_counts: split name -> images per class, int64 [K].
    samples: training images uint8 [M, H, W, 3] for the sample grid; sample_labels: int64 [M].
    evaluated: split name -> its images uint8 [N, H, W, 3], in the order of that split's predictions file.
    """

    class_counts: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    samples: NDArray[np.uint8] = field(default_factory=_no_images)
    sample_labels: NDArray[np.int64] = field(default_factory=_no_labels)
    evaluated: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """A figure on disk: its PNG, the section of the report it belongs to, and its caption in plain text."""

    png: Path
    section: str
    caption: str


def draw_run_figures(run: RunDirectory, predictions: Predictions, images: ReportImages, *, validation_is_test: bool = False) -> list[Drawn]:
    """Draw every figure that the files of `run` and `images` allow into run/figures; charts as PNG and SVG, image grids as PNG.

    validation_is_test: the epoch log's validation figures are of the test split.
    Raises ValueError where images and predictions do not belong together, RunError where a file cannot be written.
    """
    return [
        *_draw_data(run, predictions, images),
        *_draw_curves(run, on_test=validation_is_test),
        *_draw_results(run, predictions),
        *_draw_grids(run, predictions, images),
    ]


def _draw_data(run: RunDirectory, predictions: Predictions, images: ReportImages) -> list[Drawn]:
    names, drawn = predictions.class_names, []
    if images.class_counts:
        caption = "Images per class in each split."
        drawn.append(_chart(run, "class_counts", "data", caption, lambda path: figures.plot_class_counts(images.class_counts, names, path)))
    if len(images.samples):
        path = figures.plot_sample_grid(images.samples, images.sample_labels, names, run.figures / "samples.png")
        drawn.append(Drawn(path, "data", "A sample of the training images with their classes."))
    return drawn


def _draw_curves(run: RunDirectory, *, on_test: bool) -> list[Drawn]:
    rows = run.epochs()
    titles: dict[Quantity, str] = {
        "accuracy": "Accuracy per epoch; the ring marks the best.",
        "loss": "Cross-entropy per epoch in nats, without label smoothing; the ring marks the best.",
        "mse": "Mean squared error of the probability vector against the one-hot label, per epoch; the ring marks the best.",
    }
    drawn = []
    for quantity, title in titles.items():
        if has_curve(rows, quantity):
            drawn.append(_chart(run, quantity, "training", title, partial(figures.plot_curve, rows, quantity, validation_is_test=on_test)))
    return drawn


def _draw_results(run: RunDirectory, predictions: Predictions) -> list[Drawn]:
    matrix, names, split = confusion_of(predictions), predictions.class_names, predictions.split
    probabilities = softmax(predictions.final_logits)
    correct, total = int(np.trace(matrix)), int(matrix.sum())
    row_caption = f"Confusion matrix of the {split} split, each row in percent of its true class; the diagonal is the recall."
    return [
        _chart(
            run,
            "right_wrong",
            "results",
            f"Right and wrong predictions on the {split} split.",
            lambda path: figures.plot_right_wrong(correct, total - correct, path),
        ),
        _chart(
            run,
            "reliability",
            "results",
            "Reliability (Guo et al., 2017): how often predictions of a given confidence are right, and how the confidences are spread.",
            lambda path: figures.plot_reliability(probabilities, predictions.labels, path),
        ),
        _chart(
            run,
            "confusion_matrix",
            "results",
            f"Confusion matrix of the {split} split in images: rows are true classes, columns predicted ones.",
            lambda path: figures.plot_confusion_matrix(matrix, names, path),
        ),
        _chart(
            run,
            "confusion_matrix_normalized",
            "results",
            row_caption,
            lambda path: figures.plot_confusion_matrix(matrix, names, path, normalize=True),
        ),
    ]


def _draw_grids(run: RunDirectory, predictions: Predictions, images: ReportImages) -> list[Drawn]:
    shown = images.evaluated.get(predictions.split)
    if shown is None:
        return []
    n, split, names, labels = len(predictions.labels), predictions.split, predictions.class_names, predictions.labels
    if len(shown) != n:
        raise ValueError(f"{len(shown)} images were given for the {n} predictions of the {split} split")
    probabilities = softmax(predictions.final_logits)
    # Drawn at random, because the first ones of a split that is sorted by class would all be of one class.
    chosen = np.sort(np.random.default_rng(0).permutation(n)[:GRID_IMAGES])
    one = figures.plot_predictions(
        shown[chosen], labels[chosen], probabilities[chosen], names, run.figures / "predictions.png", title=f"Predictions, {split} split"
    )
    two = figures.plot_mistakes(shown, labels, probabilities, names, run.figures / "mistakes.png", count=GRID_IMAGES)
    marks = "A tick marks a right prediction, a cross and a dashed frame a wrong one."
    return [
        Drawn(
            one, "images", f"{len(chosen)} images of the {split} split, drawn at random: predicted class, probability, true class. {marks}"
        ),
        Drawn(two, "images", f"The most confident mistakes on the {split} split: predicted class, probability, true class."),
    ]


def _chart(run: RunDirectory, name: str, section: str, caption: str, draw: Callable[[Path], Path]) -> Drawn:
    draw(run.figures / f"{name}.svg")
    return Drawn(draw(run.figures / f"{name}.png"), section, caption)
