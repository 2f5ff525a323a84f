"""The figures of the published reports, drawn from the runs of a reproduction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from cifarlab import figures
from cifarlab.errors import RunError, unknown
from cifarlab.figures import AccuracyComparison, StudyPoint
from cifarlab.figures.claims import SCORES
from cifarlab.figures.curves import Quantity, has_curve
from cifarlab.metrics import Interval, score_predictions, softmax
from cifarlab.published import FIGURES, PublishedSystem, get_system
from cifarlab.reports.document import Picture
from cifarlab.reports.reproduction_rows import FinishedRun, Row
from cifarlab.reports.run_figures import ReportImages
from cifarlab.reports.tables import confusion_of
from cifarlab.runs import Predictions, RunDirectory

GRID_IMAGES: Final = 16  # two rows of eight, as the project report shows
STRIP_IMAGES: Final = 12  # rows of the picture of activations
TABLES: Final = ("machines",)  # figures of a report that are tables
QUANTITIES: Final[dict[str, Quantity]] = {"accuracy": "accuracy", "loss": "loss", "mse": "mse"}
ImagesOf = Callable[[RunDirectory], ReportImages]


@dataclass(frozen=True)
class StudyResult:
    """One run of a system's parameter study: the quantity as the report calls it, the run's value of it, its directory, None
    where there is none; reason: why it has no result, "" for a finished one."""

    system: str
    quantity: str
    value: float
    run: RunDirectory | None
    reason: str = ""


def checked_study(result: StudyResult) -> StudyResult:
    """`result`, with a reason where it has none but cannot be read. Raises UsageError or ValueError for what no report studied."""
    quantities = [study.quantity for study in get_system(result.system).studies]
    if result.quantity not in quantities:
        raise ValueError(unknown(f"study of {result.system}", result.quantity, quantities))
    if result.reason or result.run is None:
        return replace(result, reason=result.reason or "not run", run=None)
    try:
        Predictions.load(result.run.predictions_file("test"))
    except RunError as error:
        return replace(result, reason=str(error), run=None)
    return result


def comparison(system: PublishedSystem, rows: Sequence[Row]) -> AccuracyComparison:
    """A system's headline accuracy beside what its rows measured."""
    measured = {row.protocol_name: row.expected for row in rows if row.done}
    return AccuracyComparison(system.name, system.headline.accuracy, measured)


def draw_overview(folder: Path, systems: Mapping[str, Sequence[Row]]) -> list[Picture]:
    """Claimed beside measured accuracy and error rate of all systems, into `folder`."""
    shown = [comparison(rows[0].system, rows) for rows in systems.values()]
    text = "with its 95 % interval, as told under How it was measured"
    return [
        Picture(figures.plot_claims(shown, folder / "accuracies.png"), f"Test accuracy, claimed and measured, {text}."),
        Picture(figures.plot_error_rates(shown, folder / "error_rates.png"), f"Error rate, claimed and measured, {text}."),
    ]


def draw_system(
    folder: Path, rows: Sequence[Row], *, images_of: ImagesOf | None, studies: Sequence[StudyResult] = ()
) -> tuple[list[Picture], list[str]]:
    """Every figure that the report of a system has, into `folder`, and a line for each that could not be drawn, with the reason.

    Curves are drawn for both protocols, the rest from the first finished run, published before corrected.
    """
    system = rows[0].system
    first = next((run for row in rows for run in row.done), None)
    if first is None:
        return [], [f"{FIGURES[key]}: no finished run" for key in system.figures if key not in TABLES]
    images = images_of(first.run) if images_of is not None else ReportImages()
    drawn: list[Picture] = []
    missing: list[str] = []
    for key in system.figures:
        if key in TABLES:
            continue
        made = _draw(key, folder, rows, first, images, studies)
        drawn += [picture for picture in made if picture not in drawn]  # one picture may show two of the report's
        if not made:
            missing.append(f"{FIGURES[key]}: {_why_missing(key)}")
    return drawn, missing


def _draw(
    key: str, folder: Path, rows: Sequence[Row], first: FinishedRun, images: ReportImages, studies: Sequence[StudyResult]
) -> list[Picture]:
    """The pictures of one of the report's figures; none where what it shows is not there."""
    system, path = rows[0].system, folder / f"{key}.png"
    if key in QUANTITIES:
        return [picture for row in rows for picture in _draw_curve(folder, row, QUANTITIES[key])]
    if key in ("study_accuracy", "study_loss"):
        return _draw_studies(folder, system, [study for study in studies if study.system == system.name])
    if key == "error_rate":
        others = [AccuracyComparison(f"claimed: {claim.condition}", claim.accuracy) for claim in system.claims[1:]]
        made = figures.plot_error_rates([comparison(system, rows), *others], path)
        return [
            Picture(made, f"Error rate of {system.name}, claimed{' (' + system.headline.condition + ')' if others else ''} and measured.")
        ]
    if key == "per_class":
        return _draw_per_class(path, next(row for row in rows if row.done))
    if key in ("samples", "class_counts"):
        return _draw_data(key, path, first, images)
    return _draw_predictions(key, path, first, images)


def _draw_curve(folder: Path, row: Row, quantity: Quantity) -> list[Picture]:
    drawn = []
    for run in row.done[:1]:
        if has_curve(run.epochs, quantity):
            path = folder / f"{quantity}_{row.protocol}.png"
            figures.plot_curve(run.epochs, quantity, path, validation_is_test=run.validated_on_test)
            name = {"accuracy": "Accuracy", "loss": "Cross-entropy (nats)", "mse": "Mean squared error"}[quantity]
            drawn.append(Picture(path, f"{name} per epoch, {row.protocol_name}, run {run.run.name}."))
    return drawn


def _draw_data(key: str, path: Path, first: FinishedRun, images: ReportImages) -> list[Picture]:
    names = first.predictions.class_names
    if key == "class_counts" and images.class_counts:
        return [Picture(figures.plot_class_counts(images.class_counts, names, path), f"Images per class, run {first.run.name}.")]
    if key == "samples" and len(images.samples):
        made = figures.plot_sample_grid(images.samples, images.sample_labels, names, path)
        return [Picture(made, "Random training images with their classes.")]
    return []


def _draw_predictions(key: str, path: Path, first: FinishedRun, images: ReportImages) -> list[Picture]:
    """What the predictions file of the test split shows, with the images themselves where they are needed."""
    made, name = first.predictions, f"run {first.run.name}"
    matrix = confusion_of(made)
    if key == "confusion_matrix":
        return [
            Picture(figures.plot_confusion_matrix(matrix, made.class_names, path), f"Confusion matrix of the test split in images, {name}.")
        ]
    if key == "confusion_matrix_normalized":
        figures.plot_confusion_matrix(matrix, made.class_names, path, normalize=True)
        return [Picture(path, f"Confusion matrix of the test split, each row in percent of its true class, {name}.")]
    if key == "right_wrong":
        correct, total = int(np.trace(matrix)), int(matrix.sum())
        return [
            Picture(figures.plot_right_wrong(correct, total - correct, path), f"Right and wrong predictions on the test split, {name}.")
        ]
    shown = images.evaluated.get("test")
    if shown is None or len(shown) != len(made.labels):
        return []
    return _draw_images(key, path, made, shown, name)


def _draw_images(
    key: str, path: Path, made: Predictions, shown: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], name: str
) -> list[Picture]:
    order = np.random.default_rng(0).permutation(len(shown))  # at random, because a split may be sorted by class
    if key == "predictions":
        chosen = np.sort(order[:GRID_IMAGES])
        probabilities = softmax(made.final_logits[chosen])
        figures.plot_predictions(shown[chosen], made.labels[chosen], probabilities, made.class_names, path, title="Predictions, test split")
        return [Picture(path, f"{len(chosen)} test images drawn at random: predicted class, probability, true class, {name}.")]
    if key == "activations":
        chosen = np.sort(order[:STRIP_IMAGES])
        # The plain view: what the last dense layer gave, before any averaging over views.
        figures.plot_dense_activations(shown[chosen], made.logits[chosen], made.labels[chosen], made.class_names, path)
        caption = (
            f"What the last dense layer makes of {len(chosen)} test images, before softmax: thick frame predicted, dot true class, {name}."
        )
        return [Picture(path, caption)]
    return []


def _draw_per_class(path: Path, row: Row) -> list[Picture]:
    claimed = {score.name: {key: getattr(score, key) for key in SCORES} for score in row.system.per_class}
    names = row.done[0].predictions.class_names
    if not claimed or set(claimed) != set(names):
        return []
    figures.plot_per_class_comparison(claimed, {name: {key: row.class_score(name, key) for key in SCORES} for name in names}, names, path)
    return [Picture(path, f"Precision, recall and F1 per class, claimed and measured ({row.protocol_name}, {row.origin}).")]


def _draw_studies(folder: Path, system: PublishedSystem, results: Sequence[StudyResult]) -> list[Picture]:
    drawn = []
    for study in system.studies:
        points = [_point(result.value, result.run) for result in results if result.quantity == study.quantity and result.run is not None]
        if points:
            path = folder / f"study_{study.quantity.replace(' ', '_')}.png"
            figures.plot_study(points, study.quantity.capitalize(), path)
            best = f" The report's best: {study.best:,}.".replace(",", "\u00a0") if study.best is not None else ""
            drawn.append(Picture(path, f"Test accuracy with its 95 % interval and loss against {study.quantity}.{best}"))
    return drawn


def _point(value: float, run: RunDirectory) -> StudyPoint:
    score = score_predictions(Predictions.load(run.predictions_file("test")))
    return StudyPoint(value, Interval(**score["accuracy"]), float(score["cross_entropy"]))


def _why_missing(key: str) -> str:
    if key.startswith("study_"):
        return "the runs of the study were not made"
    if key in ("samples", "class_counts", "predictions", "activations"):
        return "the images are not at hand"
    return "the runs do not hold what it shows"
