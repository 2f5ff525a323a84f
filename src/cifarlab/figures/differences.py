"""Differences between models with their intervals, agreement between them, and their curves over one another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cifarlab.figures.curves import Quantity
from cifarlab.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILLION, class_labels, fit, picture, text_inches

_POINTS: Final = 10.0
_ROW: Final = 0.36  # inches that one difference takes
_LABEL: Final = 3.6  # inches that the two names of a difference take at most
_PURPLE: Final = "#AA4499"
# Cycles of lengths without a common divisor: neighbours differ in all three, and 420 lines in at least one.
_COLOURS: Final = (BLUE, VERMILLION, GREEN, ORANGE, _PURPLE, GREY, INK)
_DASHES: Final = ("-", "--", ":", "-.")
_MARKERS: Final = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "*", "p", "h", "d", "8", "H")
_AXIS: Final = {"accuracy": "Accuracy (%)", "loss": "Loss", "mse": "Mean squared error"}


@dataclass(frozen=True)
class DifferenceRow:
    """One line of a forest plot: a difference of two shares, -1..1, with its interval; shown: the test says there is one."""

    label: str
    value: float
    low: float
    high: float
    shown: bool


def plot_differences(rows: Sequence[DifferenceRow], path: Path, *, title: str, axis: str) -> Path:
    """Forest plot: each difference in points with its 95 % interval, and 0 as a line. What is shown is filled, the rest open.

    axis: what left and right mean. Raises ValueError without a row or where a number is not finite.
    """
    numbers = [number for row in rows for number in (row.value, row.low, row.high)]
    if not rows or not all(map(math.isfinite, numbers)):
        raise ValueError("differences need at least one row, and finite numbers")
    labels = [fit(row.label, inches=_LABEL, points=_POINTS) for row in rows]
    margin = max(text_inches(label, _POINTS) for label in labels)
    width = max(6.4, margin + 5.0)
    with picture(path, width=width, height=1.75 + _ROW * len(rows)) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1.2)
        for place, row in enumerate(rows):
            colour = BLUE if row.shown else GREY
            axes.plot([100 * row.low, 100 * row.high], [place, place], "-|", color=colour, linewidth=2.0, markersize=9)
            face = colour if row.shown else "white"
            axes.plot([100 * row.value], [place], "o", markerfacecolor=face, markeredgecolor=colour, markeredgewidth=1.6, markersize=7)
        axes.set_yticks(range(len(rows)), labels=labels, fontsize=_POINTS)
        axes.set_ylim(len(rows) - 0.4, -0.6)  # the first on top
        axes.tick_params(axis="y", length=0)
        reach = max(1e-9, *(abs(100 * number) for number in numbers))
        axes.set_xlim(min(-0.12 * reach, 100 * min(numbers) - 0.06 * reach), max(0.12 * reach, 100 * max(numbers) + 0.06 * reach))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8))
        axes.set_xlabel(fit(axis, inches=width - 0.6, points=10.5))
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        figure.suptitle(fit(title, inches=width - 0.6, points=13.0), fontsize=12, fontweight="bold")
        signs = [
            Line2D([], [], color=colour, marker="o", markerfacecolor=face, label=name)
            for present, colour, face, name in (
                (any(row.shown for row in rows), BLUE, BLUE, "difference shown"),
                (any(not row.shown for row in rows), GREY, "white", "no difference shown"),
            )
            if present
        ]
        figure.legend(handles=signs, loc="outside lower center", ncols=2)
    return path


def plot_agreement(matrix: NDArray[np.float64], labels: Sequence[str], path: Path) -> Path:
    """Heat map of the share of images on which two models give the same answer, float [R, R], each cell in percent.

    Raises ValueError where the matrix does not fit the labels or holds a number outside 0..1.
    """
    r = len(labels)
    if matrix.shape != (r, r) or r < 1 or not ((matrix >= 0) & (matrix <= 1)).all():
        raise ValueError(f"agreement must be [{r}, {r}] in 0..1 for {r} labels, not {list(matrix.shape)}")
    points = 9.0 if r <= 12 else 7.0
    names, margin = class_labels(labels, points=points)
    cell = 0.66 if r <= 12 else 0.46
    upright = margin > 0.94 * cell
    side = cell * r
    with picture(path, width=side + margin + 0.6, height=side + (margin if upright else 0.25) + 0.8) as figure:
        axes = figure.subplots()
        floor = low if (low := float(matrix.min())) < 1 else 0.0
        axes.imshow(matrix, cmap="cividis", vmin=floor, vmax=1.0)
        axes.set_xticks(range(r), labels=names, fontsize=points, rotation=90 if upright else 0)
        axes.set_yticks(range(r), labels=names, fontsize=points)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for row in range(r):
            for column in range(r):
                bright = matrix[row, column] > (1.0 + floor) / 2
                text = "100" if row == column else f"{100 * matrix[row, column]:.1f}"
                axes.text(column, row, text, ha="center", va="center", fontsize=points, color="black" if bright else "white")
        title = fit("Same answer, % of images", inches=side + margin + 0.3, points=12.0)
        figure.suptitle(title, fontsize=11, fontweight="bold")
    return path


def plot_curves(series: Mapping[str, Sequence[Mapping[str, Any]]], quantity: Quantity, path: Path) -> Path:
    """`quantity` on validation over the epochs, one line for each run of `series` (name -> its rows of metrics.jsonl).

    Runs without it are left out. Raises ValueError where none has it.
    """
    lines = {name: points for name, rows in series.items() if (points := _points_of(rows, f"validation_{quantity}"))}
    if not lines:
        raise ValueError(f"no run holds validation_{quantity}")
    longest = max(text_inches(fit(name, inches=2.2, points=9.0), 9.0) for name in lines)
    with picture(path, width=6.6 + longest, height=4.2) as figure:
        axes = figure.subplots()
        for number, (name, points) in enumerate(lines.items()):
            colour, dash, marker = (signs[number % len(signs)] for signs in (_COLOURS, _DASHES, _MARKERS))
            epochs = [epoch for epoch, _ in points]
            size = 4.5 if len(points) <= 30 else 0.0  # markers on hundreds of epochs would hide the lines
            label = fit(name, inches=2.2, points=9.0)
            axes.plot(epochs, [y for _, y in points], dash, color=colour, marker=marker, markersize=size, linewidth=1.6, label=label)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
        _finish(axes, quantity)
        figure.legend(loc="outside right upper", fontsize=9)
    return path


def has_curves(series: Mapping[str, Sequence[Mapping[str, Any]]], quantity: Quantity) -> bool:
    """Whether `plot_curves` has something to draw."""
    return any(_points_of(rows, f"validation_{quantity}") for rows in series.values())


def _finish(axes: Axes, quantity: Quantity) -> None:
    axes.set_xlabel("Epoch")
    axes.set_ylabel(_AXIS[quantity])
    axes.set_title(f"{quantity.capitalize() if quantity != 'mse' else 'Mean squared error'} after each epoch, validation")
    axes.grid(True)
    axes.set_axisbelow(True)


def _points_of(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    scale = 100.0 if key.endswith("accuracy") else 1.0
    return [
        (float(row["epoch"]), scale * float(row[key]))
        for row in rows
        if isinstance(row.get("epoch"), int | float) and isinstance(row.get(key), int | float) and math.isfinite(row[key])
    ]
