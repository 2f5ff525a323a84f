"""What was claimed beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from cifarlab.figures.style import BLUE, GREEN, GREY, INK, LABEL_INCHES, ORANGE, VERMILLION, class_labels, fit, picture, set_class_ticks
from cifarlab.metrics import Interval

_ROW: Final = 0.27  # inches that one bar or one point takes
_GAP: Final = 0.24  # inches between two systems
_POINTS: Final = 10.0
_SERIES: Final = ((BLUE, "o", ""), (ORANGE, "s", ".."), (GREEN, "^", "xx"), (VERMILLION, "v", "--"))
SCORES: Final = ("precision", "recall", "f1")


@dataclass(frozen=True)
class AccuracyComparison:
    """One row of a chart: an accuracy (0..1) that was claimed, None where none was, and those measured, by name."""

    label: str
    claimed: float | None
    measured: Mapping[str, Interval] = field(default_factory=dict)


def plot_error_rates(claims: Sequence[AccuracyComparison], path: Path) -> Path:
    """Bars of the error rate, 1 - accuracy, in percent: claimed, and measured with its interval, each with its number.

    Raises ValueError where there is nothing to draw, an accuracy is not in 0..1, or there are more than four measured series.
    """
    names = _series_of(claims)
    rows = _lay_out(claims, names)
    with picture(path, width=8.2, height=_height(rows)) as figure:
        axes = figure.subplots()
        longest = 0.0
        for y, index, name in rows:
            interval = claims[index].measured[name] if name is not None else None
            value = 100 * (1 - (interval.value if interval is not None else claims[index].claimed or 0.0))
            end = 100 * (1 - interval.low) if interval is not None else value
            _bar(axes, y, value, series=names.index(name) if name is not None else None)
            if interval is not None:
                axes.plot([100 * (1 - interval.high), end], [y, y], "-|", color=INK, linewidth=1.4, markersize=6)
            axes.annotate(f"{value:.2f}", (end, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9)
            longest = max(longest, end)
        axes.set_xlim(0, max(1.0, longest) * 1.12)  # room for the number after the longest bar
        _name_rows(axes, claims, rows)
        axes.set_xlabel("Error rate (%), shorter is better")
        axes.set_title("Error rate, claimed and measured")
        signs = [Patch(facecolor="white", edgecolor=INK, hatch="////", label="claimed")] if any(row[2] is None for row in rows) else []
        signs += [
            Patch(facecolor=colour, edgecolor="white", hatch=hatch, label=f"measured, {name}") for name, (colour, _, hatch) in _signs(names)
        ]
        _legend(figure, signs)
    return path


def plot_claims(claims: Sequence[AccuracyComparison], path: Path) -> Path:
    """Accuracy in percent, a line for each measured series: a point with its interval; what was claimed is an open diamond.

    Raises ValueError as `plot_error_rates` does.
    """
    names = _series_of(claims)
    rows = _lay_out(claims, names, claimed_apart=False)
    with picture(path, width=8.2, height=_height(rows)) as figure:
        axes = figure.subplots()
        for y, index, name in rows:
            if name is not None:
                interval = claims[index].measured[name]
                colour, marker, _ = _SERIES[names.index(name)]
                axes.plot([100 * interval.low, 100 * interval.high], [y, y], "-|", color=colour, linewidth=1.8, markersize=9)
                axes.plot([100 * interval.value], [y], marker, color=colour, markersize=7)
        for index, claim in enumerate(claims):
            places = [y for y, owner, _ in rows if owner == index]
            if claim.claimed is not None:
                x, top, bottom = 100 * claim.claimed, min(places) - _ROW / 2, max(places) + _ROW / 2
                axes.plot([x, x], [top, bottom], "-", color=INK, linewidth=1.2)
                # Open, so that a point under it stays visible.
                axes.plot([x], [(top + bottom) / 2], "D", markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.4, markersize=9)
        axes.margins(x=0.06)
        _name_rows(axes, claims, rows)
        axes.set_xlabel("Test accuracy (%)")
        axes.set_title("Test accuracy, claimed and measured")
        handles = [Line2D([], [], color=colour, marker=marker, label=f"measured, {name}") for name, (colour, marker, _) in _signs(names)]
        if any(claim.claimed is not None for claim in claims):
            handles.insert(0, Line2D([], [], color=INK, marker="D", markersize=9, markerfacecolor="none", label="claimed"))
        _legend(figure, handles)
    return path


def plot_per_class_comparison(
    claimed: Mapping[str, Mapping[str, float]], measured: Mapping[str, Mapping[str, float]], class_names: Sequence[str], path: Path
) -> Path:
    """Precision, recall and F1 of each class, claimed and measured, one panel a score; a line joins the two of a class.

    claimed, measured: class name -> {"precision", "recall", "f1"}, 0..1. Raises ValueError where a class or a score is missing.
    """
    for which, scores in (("claimed", claimed), ("measured", measured)):
        missing = [name for name in class_names if not set(SCORES) <= set(scores.get(name, {}))]
        if missing or not class_names:
            raise ValueError(f"{which} scores need {', '.join(SCORES)} for every class; missing for: {', '.join(missing) or 'all'}")
    k = len(class_names)
    labels, margin = class_labels(class_names, points=_POINTS)
    with picture(path, width=margin + 0.9 + 2.5 * len(SCORES), height=1.7 + 0.3 * k) as figure:
        panels = figure.subplots(1, len(SCORES), sharey=True, sharex=True)
        rows = np.arange(k)
        for axes, score in zip(panels, SCORES, strict=True):
            told = np.array([100 * claimed[name][score] for name in class_names])
            found = np.array([100 * measured[name][score] for name in class_names])
            axes.hlines(rows, np.minimum(told, found), np.maximum(told, found), color=GREY, linewidth=1.2)
            axes.plot(told, rows, "D", markerfacecolor="white", markeredgecolor=INK, markeredgewidth=1.4, markersize=6, label="claimed")
            axes.plot(found, rows, "o", color=BLUE, markersize=6, label="measured")
            axes.set_title({"f1": "F1"}.get(score, score.capitalize()))
            axes.set_xlabel("%")
            axes.tick_params(axis="y", length=0)
            axes.grid(True)
            axes.set_axisbelow(True)
        panels[0].set_ylim(k - 0.4, -0.6)  # first class on top
        set_class_ticks(panels[0].yaxis, labels, points=_POINTS)
        handles, texts = panels[0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=2)
    return path


_Row = tuple[float, int, str | None]  # place from above in inches, number of the claim, measured series (None: what was claimed)


def _series_of(claims: Sequence[AccuracyComparison]) -> list[str]:
    """Names of the measured series in order of appearance; refuses charts with nothing to draw."""
    names = list(dict.fromkeys(name for claim in claims for name in claim.measured))
    values = [claim.claimed for claim in claims if claim.claimed is not None]
    values += [number for claim in claims for interval in claim.measured.values() for number in interval]
    if not values or not all(math.isfinite(value) and 0.0 <= value <= 1.0 for value in values):
        raise ValueError("claims need at least one accuracy, claimed or measured, and all of them in 0..1")
    if len(names) > len(_SERIES):
        raise ValueError(f"at most {len(_SERIES)} measured series can be told apart, not {len(names)}: {', '.join(names)}")
    return names


def _lay_out(claims: Sequence[AccuracyComparison], names: Sequence[str], *, claimed_apart: bool = True) -> list[_Row]:
    """A place for every bar: those of one claim close together, claims apart. A claim with nothing in it gets none."""
    rows: list[_Row] = []
    y = 0.0
    for index, claim in enumerate(claims):
        series: list[str | None] = [name for name in names if name in claim.measured]
        if claim.claimed is not None and (claimed_apart or not series):
            series.insert(0, None)
        rows += [(y + place * _ROW, index, name) for place, name in enumerate(series)]
        y += len(series) * _ROW + (_GAP if series else 0.0)
    return rows


def _height(rows: Sequence[_Row]) -> float:
    return max(2.6, rows[-1][0] + 2 * _ROW + 1.45)


def _bar(axes: Axes, y: float, value: float, *, series: int | None) -> None:
    if series is None:
        axes.barh(y, value, height=_ROW * 0.84, facecolor="white", edgecolor=INK, hatch="////", linewidth=1.0)
    else:
        colour, _, hatch = _SERIES[series]
        axes.barh(y, value, height=_ROW * 0.84, facecolor=colour, edgecolor="white", hatch=hatch, linewidth=0)


def _name_rows(axes: Axes, claims: Sequence[AccuracyComparison], rows: Sequence[_Row]) -> None:
    """Each claim's label beside the middle of its bars, the first claim on top."""
    shown = list(dict.fromkeys(index for _, index, _ in rows))
    places = [[y for y, owner, _ in rows if owner == index] for index in shown]
    labels = [fit(claims[index].label, inches=LABEL_INCHES, points=_POINTS) for index in shown]
    axes.set_yticks([sum(ys) / len(ys) for ys in places], labels=labels, fontsize=_POINTS)
    axes.set_ylim(rows[-1][0] + _ROW, -_ROW)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8))
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _signs(names: Sequence[str]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Each measured series with its colour, marker and hatch."""
    return zip(names, _SERIES, strict=False)


def _legend(figure: Figure, handles: Sequence[Artist]) -> None:
    figure.legend(handles=list(handles), loc="outside lower center", ncols=min(len(handles), 3))
