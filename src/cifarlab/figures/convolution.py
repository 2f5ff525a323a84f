"""Matrices with their numbers, side by side with signs between them: a convolution or a pooling that can be checked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cifarlab.figures.style import GREY, INK, ORANGE, fit, picture

_CELL: Final = 0.36  # inches
_GAP: Final = 0.55  # inches between two matrices, for the sign
_LEFT: Final = 0.3
_HEADING: Final = 0.36  # inches for the heading of a row
_LINE: Final = 0.22  # inches for each line under it
_UNDER: Final = 0.3  # inches under each row for the matrices' names
_COLOURS: Final = {"image": "Blues", "kernel": "PuOr", "output": "RdBu_r"}
Kind = Literal["image", "kernel", "output"]


@dataclass(frozen=True, eq=False)
class Grid:
    """A matrix float [H, W]. kind: its colours; border: cells of padding along its edge, drawn pale; frame: (row, column, height,
    width) of the cells to mark; sign: what stands before it; peak: the value at the end of the colours, its own largest without."""

    values: NDArray[np.floating[Any]]
    name: str
    kind: Kind
    sign: str = ""
    border: int = 0
    frame: tuple[int, int, int, int] | None = None
    peak: float | None = None


@dataclass(frozen=True)
class GridRow:
    """Matrices from left to right, under a heading and lines of explanation."""

    heading: str
    text: str
    grids: Sequence[Grid]


def plot_matrices(rows: Sequence[GridRow], path: Path, *, title: str | None = None) -> Path:
    """Draw `rows` one under the other. Colours are white at 0 for kernels and outputs; every number is written into its cell.

    Raises ValueError where there is no row, a row has no matrix, or a value is not finite.
    """
    if not rows or not all(row.grids for row in rows) or not all(np.isfinite(grid.values).all() for row in rows for grid in row.grids):
        raise ValueError("plot_matrices needs rows of finite matrices")
    width = max(max(_row_width(row) for row in rows) + 2 * _LEFT, 6.0)
    heights = [_caption(row) + _CELL * max(len(grid.values) for grid in row.grids) + _UNDER for row in rows]
    top = 0.5 if title else 0.15
    height = top + sum(heights) + 0.1
    with picture(path, width=width, height=height) as figure:
        figure.set_layout_engine("none")  # everything has its place in inches: cells are squares of one size in the whole picture
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_axis_off()
        if title:
            axes.text(width / 2, 0.3, fit(title, inches=width - 0.4, points=13.0), fontsize=12, fontweight="bold", ha="center", va="center")
        y = top
        for row, tall in zip(rows, heights, strict=True):
            _draw_row(axes, row, y, width)
            y += tall
    return path


def _row_width(row: GridRow) -> float:
    return float(sum(_CELL * grid.values.shape[1] for grid in row.grids) + _GAP * (len(row.grids) - 1))


def _caption(row: GridRow) -> float:
    """Inches over its matrices."""
    return float(_HEADING + _LINE * len(row.text.splitlines()) + 0.08)


def _draw_row(axes: Axes, row: GridRow, y: float, width: float) -> None:
    room = width - 2 * _LEFT
    axes.text(_LEFT, y + 0.18, fit(row.heading, inches=room, points=11.5), fontsize=10.5, fontweight="bold", va="center")
    for number, line in enumerate(row.text.splitlines()):
        place = y + _HEADING + _LINE * (number + 0.3)
        axes.text(_LEFT, place, fit(line, inches=room, points=9.0), fontsize=9, va="center", color=GREY)
    tall = _CELL * max(len(grid.values) for grid in row.grids)
    x, y = _LEFT, y + _caption(row)
    for index, grid in enumerate(row.grids):
        if index:
            axes.text(x + _GAP / 2, y + tall / 2, grid.sign, fontsize=15, ha="center", va="center")
            x += _GAP
        _draw_grid(axes, grid, x, y + (tall - _CELL * len(grid.values)) / 2)
        x += _CELL * grid.values.shape[1]


def _draw_grid(axes: Axes, grid: Grid, x: float, y: float) -> None:
    values = np.asarray(grid.values, dtype=np.float64)
    rows, columns = values.shape
    peak = max(float(np.abs(values).max()) if grid.peak is None else grid.peak, 1e-9)
    low = 0.0 if grid.kind == "image" else -peak
    extent = (x, x + columns * _CELL, y + rows * _CELL, y)
    # Half of the colour map: a number stays readable on the darkest cell.
    axes.imshow(values, cmap=_COLOURS[grid.kind], vmin=2 * low, vmax=2 * peak, extent=extent, aspect="auto", zorder=1)
    for row in range(rows):
        for column in range(columns):
            inside = grid.border <= row < rows - grid.border and grid.border <= column < columns - grid.border
            corner = (x + column * _CELL, y + row * _CELL)
            axes.add_patch(
                Rectangle(corner, _CELL, _CELL, fill=False, edgecolor=GREY, linewidth=0.6, zorder=2, linestyle="-" if inside else ":")
            )
            text = _written(values[row, column])
            size = 9.0 if len(text) < 4 else 7.5
            place = (corner[0] + _CELL / 2, corner[1] + _CELL / 2)
            axes.text(*place, text, ha="center", va="center", fontsize=size, color=INK if inside else GREY, zorder=3)
    if grid.frame is not None:
        row, column, tall, wide = grid.frame
        place = (x + column * _CELL, y + row * _CELL)
        axes.add_patch(Rectangle(place, wide * _CELL, tall * _CELL, fill=False, edgecolor=ORANGE, linewidth=2.6, zorder=4))
    axes.text(x + columns * _CELL / 2, y + rows * _CELL + 0.14, grid.name, fontsize=8.5, ha="center", va="center", color=GREY)


def _written(value: float) -> str:
    text = f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
    return text.replace("-", "−")
