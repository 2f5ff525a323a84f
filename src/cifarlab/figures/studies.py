"""Parameter studies: accuracy and loss against the quantity that was varied, single runs or means over seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from cifarlab.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILLION, fit, picture, text_inches
from cifarlab.metrics import Interval

# Lines of a sweep, told apart by colour, marker and dash.
_STYLES: Final = (
    (BLUE, "o", "-"),
    (VERMILLION, "s", "--"),
    (GREEN, "^", "-."),
    (ORANGE, "D", ":"),
    (INK, "v", "-"),
    (GREY, "P", "--"),
)
MOST_LINES: Final = len(_STYLES)


@dataclass(frozen=True)
class StudyPoint:
    """One run of a study: the value that it had, its test accuracy (0..1) with interval, its cross-entropy in nats."""

    value: float
    accuracy: Interval
    loss: float


def plot_study(points: Sequence[StudyPoint], quantity: str, path: Path, *, split: str = "test") -> Path:
    """Accuracy with its interval and loss on `split` against `quantity` (a word for the axis), the best of each marked.

    The values are drawn in ascending order, on a logarithmic axis (base 2) where each is at least 1.5 times the one before
    it, as batch sizes are. Raises ValueError where there is no point, a value comes twice or a number is not finite.
    """
    ordered = sorted(points, key=lambda point: point.value)
    values = [point.value for point in ordered]
    if not points or len(set(values)) < len(values):
        raise ValueError(f"a study needs at least one point and different values, not {values}")
    if not all(map(math.isfinite, [*values, *(number for point in ordered for number in (*point.accuracy, point.loss))])):
        raise ValueError("a study's values, accuracies and losses must be finite")
    geometric = _is_geometric(values)
    accuracy = np.array([[100 * number for number in point.accuracy] for point in ordered])  # [P, 3]: value, low, high
    losses = [point.loss for point in ordered]
    with picture(path, width=9.4, height=4.2) as figure:
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
        left.vlines(values, accuracy[:, 1], accuracy[:, 2], color=BLUE, linewidth=1.6)
        left.plot(values, accuracy[:, 0], "-o", color=BLUE, markersize=6, linewidth=1.6)
        right.plot(values, losses, "--s", color=VERMILLION, markersize=6, linewidth=1.6)
        best, least = int(accuracy[:, 0].argmax()), int(np.argmin(losses))
        for axes, x, y in ((left, values[best], accuracy[best, 0]), (right, values[least], losses[least])):
            axes.plot([x], [y], "o", markersize=14, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.8)
            if geometric:
                axes.set_xscale("log", base=2)
            axes.set_xticks(values, labels=[f"{value:,g}".replace(",", " ") for value in values], fontsize=9)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.margins(x=0.08)
            axes.set_xlabel(fit(quantity, inches=3.6, points=10.5))
            axes.grid(True)
            axes.set_axisbelow(True)
        name = split.capitalize()
        left.set_ylabel(f"{name} accuracy (%)")
        left.set_title(f"Best {accuracy[best, 0]:.2f} % at {values[best]:,g}".replace(",", " "))
        right.set_ylabel(f"{name} loss")
        right.set_title(f"Least {losses[least]:.4f} at {values[least]:,g}".replace(",", " "))
    return path


@dataclass(frozen=True)
class SeedMean:
    """A quantity at one point of a sweep: the mean over its seeds, its interval (None for a single run), and the runs themselves."""

    mean: float
    low: float | None
    high: float | None
    runs: tuple[float, ...]


@dataclass(frozen=True)
class SweepMark:
    """One point of a line: its place on the axis, accuracy (0..1), cross-entropy in nats, and whether it is to be marked as the best."""

    place: float
    accuracy: SeedMean
    loss: SeedMean
    best: bool = False


def plot_sweep(
    lines: Mapping[str, Sequence[SweepMark]],
    quantity: str,
    path: Path,
    *,
    ticks: Mapping[float, str],
    split: str = "validation",
    title: str = "",
    note: str = "",
    numeric: bool = True,
) -> Path:
    """Accuracy and loss of a sweep, means over seeds with their intervals as bars and the single runs as open dots, one line a key.

    The point marked as the best has a ring. lines: words for the legend -> points; ticks: place on the axis -> what is written
    there; note: a line under the picture, such as that its trainings were shortened; numeric: whether places are quantities, so
    that points may be joined and a logarithmic axis used (see `plot_study`). Raises ValueError for no point, more lines than can
    be told apart, or a number that is not finite.
    """
    marks = [mark for line in lines.values() for mark in line]
    numbers = [n for mark in marks for q in (mark.accuracy, mark.loss) for n in (mark.place, q.mean, *q.runs)]
    if not marks or len(lines) > MOST_LINES or not all(map(math.isfinite, numbers)):
        raise ValueError(f"a sweep needs at least one point, at most {MOST_LINES} lines (not {len(lines)}) and finite numbers")
    places = sorted({mark.place for mark in marks})
    names = [fit(label, inches=2.6, points=10.0) for label in lines] if len(lines) > 1 else []
    beside = max((text_inches(name, 10.0) for name in names), default=-0.7) + 0.7  # room for the legend
    with picture(path, width=9.4 + beside, height=4.4 + 0.3 * bool(title) + 0.3 * bool(note)) as figure:
        panels = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
        for axes, key, scale in zip(panels, ("accuracy", "loss"), (100.0, 1.0), strict=True):
            for position, (style, (label, line)) in enumerate(zip(_STYLES, lines.items(), strict=False)):
                shift = 0.0 if numeric else 0.12 * (position - (len(lines) - 1) / 2)
                _draw_line(axes, line, key, scale, style, label, shift=shift, joined=numeric)
            if numeric and _is_geometric(places):
                axes.set_xscale("log", base=2)
            _label_axis(axes, places, ticks, quantity)
        name = split.capitalize()
        panels[0].set_ylabel(f"{name} accuracy (%)")
        panels[1].set_ylabel(f"{name} loss")
        if title:
            figure.suptitle(fit(title, inches=7.0, points=12.0), fontsize=12, fontweight="bold")
        if note:
            figure.supxlabel(fit(note, inches=8.4, points=9.5), fontsize=9.5, color=GREY)
        if len(lines) > 1:
            handles, _ = panels[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside right center")
    return path


def plot_seed_curves(runs: Sequence[Sequence[Mapping[str, Any]]], path: Path, *, title: str = "", note: str = "") -> Path:
    """Accuracy and loss over the epochs of several runs of one recipe: a thin line each, their mean thick, train and validation.

    runs: the lines of metrics.jsonl of each run. Raises ValueError where none of them has an epoch.
    """
    if not any(runs):
        raise ValueError("curves need at least one epoch")
    with picture(path, width=9.4, height=4.2 + 0.3 * bool(title) + 0.3 * bool(note)) as figure:
        panels = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
        for axes, key, scale in zip(panels, ("accuracy", "loss"), (100.0, 1.0), strict=True):
            for split, colour, dash in (("train", BLUE, "-"), ("validation", VERMILLION, "--")):
                _draw_curves(
                    axes, [[(row["epoch"], row.get(f"{split}_{key}")) for row in rows] for rows in runs], scale, colour, dash, split
                )
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
            axes.set_xlabel("Epoch")
            axes.grid(True)
            axes.set_axisbelow(True)
        panels[0].set_ylabel("Accuracy (%)")
        panels[1].set_ylabel("Loss")
        panels[0].legend(loc="best")
        if title:
            figure.suptitle(fit(title, inches=7.0, points=12.0), fontsize=12, fontweight="bold")
        if note:
            figure.supxlabel(fit(note, inches=8.4, points=9.5), fontsize=9.5, color=GREY)
    return path


def _draw_curves(
    axes: Axes, runs: Sequence[Sequence[tuple[float, float | None]]], scale: float, colour: str, dash: str, split: str
) -> None:
    by_epoch: dict[float, list[float]] = {}
    for rows in runs:
        points = [(x, scale * y) for x, y in rows if y is not None and math.isfinite(y)]
        if len(runs) > 1:
            axes.plot([x for x, _ in points], [y for _, y in points], dash, color=colour, linewidth=0.8, alpha=0.45)
        for x, y in points:
            by_epoch.setdefault(x, []).append(y)
    epochs = sorted(by_epoch)
    marker = ("o" if split == "train" else "s") if len(epochs) <= 40 else ""
    name = f"{split.capitalize()}{f', mean of {len(runs)}' if len(runs) > 1 else ''}"
    means = [float(np.mean(by_epoch[epoch])) for epoch in epochs]
    axes.plot(epochs, means, dash, color=colour, linewidth=1.9, marker=marker, markersize=4.0, label=name)


def _draw_line(
    axes: Axes, line: Sequence[SweepMark], key: str, scale: float, style: tuple[str, str, str], label: str, *, shift: float, joined: bool
) -> None:
    colour, marker, dash = style
    ordered = sorted(line, key=lambda mark: mark.place)
    x = [mark.place + shift for mark in ordered]
    values = [getattr(mark, key) for mark in ordered]
    for at, value in zip(x, values, strict=True):
        if value.low is not None:
            axes.plot([at, at], [scale * value.low, scale * value.high], "_-", color=colour, linewidth=1.3, markersize=8)
        if len(value.runs) > 1:
            dots = [scale * run for run in value.runs]
            axes.plot([at] * len(dots), dots, "o", markersize=4.5, markerfacecolor="none", markeredgecolor=colour, alpha=0.7)
    means = [scale * value.mean for value in values]
    for at, mean, mark in zip(x, means, ordered, strict=True):
        if mark.best:  # an open ring, so that the point under it stays visible
            axes.plot([at], [mean], "o", markersize=14, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.6)
    axes.plot(
        x, means, linestyle=dash if joined else "none", marker=marker, color=colour, markersize=6.5, linewidth=1.6, label=label or "mean"
    )


def _label_axis(axes: Axes, places: Sequence[float], ticks: Mapping[float, str], quantity: str) -> None:
    room = 3.6 / max(1, len(places))
    labels = [fit(ticks.get(place, f"{place:g}"), inches=max(0.5, room), points=9.0) for place in places]
    axes.set_xticks(places, labels=labels, fontsize=9)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.1)
    axes.set_xlabel(fit(quantity, inches=3.6, points=10.5))
    axes.grid(True)
    axes.set_axisbelow(True)


def _is_geometric(values: Sequence[float]) -> bool:
    """Whether each of the ascending values is at least 1.5 times the one before it, as batch sizes are."""
    return len(values) > 2 and values[0] > 0 and all(b >= 1.5 * a for a, b in itertools.pairwise(values))
