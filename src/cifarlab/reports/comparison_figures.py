"""Which figures a comparison has, with which captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.figures.curves import Quantity
from cifarlab.figures.differences import DifferenceRow, has_curves, plot_agreement, plot_curves, plot_differences
from cifarlab.figures.grids import plot_disagreements
from cifarlab.reports.comparison_rows import ClassDifference, Comparison, Group, Pair, agreement
from cifarlab.reports.document import Picture
from cifarlab.reports.numbers import counted

GALLERY: Final = 16  # images on which two models disagree, in two rows
_AXIS: Final = "Percentage points (right of 0: the first named is better)"
MOST_RUNS: Final = 24  # of more, names and numbers of the agreement could not be read
_CURVES: Final[dict[Quantity, str]] = {
    "accuracy": "Accuracy on the validation split after each epoch",
    "loss": "Cross-entropy (nats) on the validation split after each epoch",
}


def draw_overview(folder: Path, comparison: Comparison) -> list[Picture]:
    """All differences with their intervals, and how often runs give the same answer."""
    rows = [
        DifferenceRow(
            f"{pair.first.label} − {pair.second.label}",
            pair.difference.value,
            pair.difference.low,
            pair.difference.high,
            pair.judgement != "none",
        )
        for pair in comparison.pairs
    ]
    among = f", after Holm's correction for {len(rows)} comparisons" if len(rows) > 1 else ""
    drawn = [
        _chart(
            folder / "differences",
            lambda path: plot_differences(
                rows,
                path,
                title=f"Difference in {comparison.split} accuracy",
                axis=_AXIS,
            ),
            f"Accuracy of the first minus that of the second, with 95 % intervals. Filled: a difference is shown{among}.",
        )
    ]
    if len(comparison.runs) <= MOST_RUNS:
        labels = [run.label for run in comparison.runs]
        drawn.append(
            _chart(
                folder / "agreement",
                lambda path: plot_agreement(agreement(comparison.runs), labels, path),
                f"Share of the {comparison.split} images on which two runs give the same answer, right or wrong.",
            )
        )
    return drawn


def draw_curves(folder: Path, comparison: Comparison) -> list[Picture]:
    """The curves of all runs over one another."""
    series = {run.label: run.epochs for run in comparison.runs}
    on_test = [run.label for run in comparison.runs if run.looked_at_test]
    added = f"; of {', '.join(on_test)} that is the TEST split" if on_test else ""
    drawn = []
    for quantity, caption in _CURVES.items():
        if has_curves(series, quantity):
            drawn.append(_chart(folder / quantity, partial(plot_curves, series, quantity), f"{caption}{added}."))
    return drawn


def draw_classes(folder: Path, pair: Pair, classes: Sequence[ClassDifference]) -> list[Picture]:
    """The differences in recall of one pair."""
    rows = [
        DifferenceRow(each.name, each.difference.value, each.difference.low, each.difference.high, each.shown)
        for each in classes
        if each.difference is not None
    ]
    title = f"Recall by class: {pair.first.label} − {pair.second.label}"
    caption = (
        f"Recall of {pair.first.label} minus that of {pair.second.label}, with 95 % intervals. "
        f"Filled: a difference is shown after Holm's correction for {len(rows)} classes."
    )
    return [_chart(folder / "classes", lambda path: plot_differences(rows, path, title=title, axis=_AXIS), caption)]


def draw_disagreements(folder: Path, comparison: Comparison, pair: Pair, images: NDArray[np.uint8]) -> list[Picture]:
    """Images that the first group has right and the second wrong, and the reverse; those first on which both are surest."""
    drawn = []
    for good, bad, name in ((pair.first, pair.second, "first_right"), (pair.second, pair.first, "second_right")):
        chosen, number = _disagreements(comparison, good, bad)
        if not len(chosen):
            continue
        probabilities = good.probabilities[chosen], bad.probabilities[chosen]
        title = f"✓ {good.label}   ✗ {bad.label}"
        path = plot_disagreements(images[chosen], *probabilities, comparison.class_names, folder / f"{name}.png", title=title)
        means = "" if len(good.runs) == len(bad.runs) == 1 else " Answers are those of the mean probability over the seeds."
        shown = f"{len(chosen)} of the {counted(number, 'image')}" if number > len(chosen) else counted(number, "image")
        drawn.append(
            Picture(
                path,
                f"{shown} that {good.label} has right (tick: the true class) and {bad.label} wrong (cross), with their probabilities, "
                f"those first on which both are surest.{means}",
            )
        )
    return drawn


def _disagreements(comparison: Comparison, good: Group, bad: Group) -> tuple[NDArray[np.int64], int]:
    """Numbers of at most `GALLERY` images that `good` has right and `bad` wrong, and how many there are."""
    sure, other = good.probabilities, bad.probabilities
    apart = np.flatnonzero((sure.argmax(axis=1) == comparison.labels) & (other.argmax(axis=1) != comparison.labels))
    order = np.argsort(-(sure[apart].max(axis=1) + other[apart].max(axis=1)), kind="stable")
    return apart[order[:GALLERY]], len(apart)


def _chart(stem: Path, draw: Callable[[Path], Path], caption: str) -> Picture:
    """The figure as PNG and SVG."""
    draw(stem.with_name(f"{stem.name}.svg"))
    return Picture(draw(stem.with_name(f"{stem.name}.png")), caption)
