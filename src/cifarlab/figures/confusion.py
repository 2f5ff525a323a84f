"""The confusion matrix as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from cifarlab.figures.style import class_labels, picture, set_class_ticks, text_inches

_LARGEST_SIDE = 24.0  # inches; more classes than fit get smaller cells, without numbers where they could not be read
_SMALLEST_TEXT = 4.5  # points


def plot_confusion_matrix(matrix: NDArray[np.int64], class_names: Sequence[str], path: Path, *, normalize: bool = False) -> Path:
    """Heat map of counts int64 [K, K], rows "True", columns "Predicted", each cell with its number.

    normalize: divide each row by its sum and write percent, so that the diagonal is the recall; a row of zeros stays zero.
    Raises ValueError where the matrix does not fit the class names.
    """
    k = len(class_names)
    if np.shape(matrix) != (k, k) or k < 1:
        raise ValueError(f"the confusion matrix must be [{k}, {k}] for {k} class names, not {list(np.shape(matrix))}")
    values = np.asarray(matrix, dtype=np.float64)
    if normalize:
        sums = values.sum(axis=1, keepdims=True)
        values = 100.0 * np.divide(values, sums, out=np.zeros_like(values), where=sums > 0)
    cell = _cell_inches(k)
    points = min(10.0, max(4.0, cell * 72 * 0.8))
    labels, margin = class_labels(class_names, points=points)
    rotation = 90 if max(text_inches(label, points) for label in labels) > 0.9 * cell else 0
    side, depth = cell * k, margin if rotation else 0.2
    with picture(path, width=side + margin + 1.9, height=side + depth + 1.1) as figure:
        axes = figure.subplots()
        # A square-root scale, because on a linear one the few mistakes of a good model cannot be told from none.
        scale = PowerNorm(0.5, vmin=0.0, vmax=100.0 if normalize else max(1.0, float(values.max())))
        image = axes.imshow(values, cmap="cividis", norm=scale, aspect="auto")
        set_class_ticks(axes.xaxis, labels, points=points, rotation=rotation)
        set_class_ticks(axes.yaxis, labels, points=points)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _write_numbers(axes, image, values, cell=cell, normalize=normalize)
        axes.set_xlabel("Predicted")
        axes.set_ylabel("True")
        bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
        bar.set_label(("% of the true class" if normalize else "Images") + ", square-root colour scale")
        axes.set_title("Confusion matrix, rows in %" if normalize else "Confusion matrix, counts")
    return path


def _cell_inches(k: int) -> float:
    # With few classes the cells grow, so that the colour bar is as long as its label.
    wanted = max(0.62, 3.6 / k) if k <= 12 else 0.4 if k <= 40 else 0.24
    return min(wanted, _LARGEST_SIDE / k)


def _write_numbers(axes: Axes, image: AxesImage, values: NDArray[np.float64], *, cell: float, normalize: bool) -> None:
    """The number of each cell, light on dark and dark on light; zeros are left out where cells are many."""
    k = len(values)
    decimals = 1 if normalize and cell > 0.5 else 0
    widest = max(2, len(f"{values.max():.{decimals}f}"))
    points = min(10.0, cell * 72 * 0.86 / (0.64 * widest))  # a digit of DejaVu Sans is 0.64 em wide
    if points < _SMALLEST_TEXT:
        return
    colours = np.asarray(image.cmap(image.norm(values)))[..., :3]  # [K, K, 3]
    # WCAG 2 relative luminance; at 0.179 black and white text have the same contrast, 4.6, the least that any cell gets.
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    bright = linear @ np.array([0.2126, 0.7152, 0.0722]) > 0.179
    for row in range(k):
        for column in range(k):
            text = f"{values[row, column]:.{decimals}f}"
            if k > 20 and float(text) == 0.0:
                continue
            colour = "black" if bright[row, column] else "white"
            number = axes.text(column, row, text, ha="center", va="center", fontsize=points, color=colour)
            number.set_in_layout(False)  # inside its cell by construction; the layout need not measure it
