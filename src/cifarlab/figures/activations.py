"""What a dense layer answers to images: the images beside a strip of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cifarlab.figures.style import INK, VERMILLION, class_labels, fit, heading, picture, set_class_ticks, text_inches

_ROW: Final = 0.62  # inches
_CELL: Final = 0.62
_POINTS: Final = 9.0
_SIDE: Final = 2.3  # inches that predicted and true class beside the strips take at most
_MOST_CLASSES: Final = 40  # of more, the numbers could not be read


def plot_dense_activations(
    images: NDArray[np.uint8],
    activations: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    path: Path,
    *,
    title: str | None = "Output of the last dense layer, before softmax",
    model: str = "",
) -> Path:
    """Each image (uint8 [N, H, W, 3]) beside the outputs of the last dense layer (float [N, K]), one cell a class.

    The colour diverges from white at 0; the highest output, which is the predicted class, has a thick frame, the true class
    (labels: int64 [N]) a dot in its corner. Beside each strip stand predicted and true class, with a tick or a cross.
    model: the network's name, behind the title.
    Raises ValueError where lengths differ, an activation is not finite, or there are more than 40 classes.
    """
    _check(images, activations, labels, len(class_names))
    n, k = activations.shape
    names, margin = class_labels(class_names, points=_POINTS)
    rotation = 90 if max(text_inches(name, _POINTS) for name in names) > 0.94 * _CELL else 0
    header = (0.55 if title else 0.2) + (margin if rotation else 0.2) + 0.1
    side = min(_SIDE, max(text_inches(f"true: {name}", _POINTS) for name in class_names) + 0.35)
    width, height = max(0.3 + _ROW + k * _CELL + side, 4.6), header + n * _ROW + 0.15
    head = (
        "" if title is None else heading(title, model, inches=width - 0.4, points=13.0)
    )  # bold is wider than the plain text that is measured
    with picture(path, width=width, height=height) as figure:
        # Everything has its place in inches, so that images stay square and in line with their strips.
        figure.set_layout_engine("none")
        if title:
            figure.text(0.5, 1 - 0.15 / height, head, fontsize=12, fontweight="bold", ha="center", va="top")
        bottom, tall = 0.15 / height, n * _ROW / height
        _draw_images(figure.add_axes((0.15 / width, bottom, _ROW / width, tall)), images)
        strips = figure.add_axes(((0.2 + _ROW) / width, bottom, k * _CELL / width, tall))
        peak = max(float(np.abs(activations).max()), 1e-6)
        strips.imshow(activations, cmap="RdBu_r", vmin=-peak, vmax=peak, aspect="auto")
        strips.xaxis.set_ticks_position("top")
        set_class_ticks(strips.xaxis, names, points=_POINTS, rotation=rotation)
        strips.set_yticks([])
        strips.tick_params(length=0)
        strips.spines[:].set_visible(False)
        _write_cells(strips, activations, peak=peak)
        _mark(strips, activations, labels, class_names)
    return path


def _check(images: NDArray[np.uint8], activations: NDArray[np.float32], labels: NDArray[np.int64], num_classes: int) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise ValueError(f"images must be uint8 [N, H, W, 3] with N at least 1, not {images.dtype} {list(images.shape)}")
    if activations.shape != (len(images), num_classes) or not np.isfinite(activations).all():
        raise ValueError(f"activations must be finite [{len(images)}, {num_classes}], not {list(activations.shape)}")
    if not 2 <= num_classes <= _MOST_CLASSES:
        raise ValueError(f"activations of 2 to {_MOST_CLASSES} classes can be shown, not of {num_classes}")
    if labels.shape != (len(images),) or labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels must be {len(images)} numbers in 0..{num_classes - 1}")


def _draw_images(axes: Axes, images: NDArray[np.uint8]) -> None:
    """All images in one column; row i spans i - 0.5 to i + 0.5, as in the heat map beside it."""
    side = images.shape[1] / images.shape[2]
    half_height, half_width = min(0.46, 0.46 * side), min(0.46, 0.46 / side)
    interpolation = "nearest" if images.shape[1] <= 96 else "antialiased"
    for row, image in enumerate(images):
        extent = (-half_width, half_width, row + half_height, row - half_height)
        axes.imshow(image, extent=extent, interpolation=interpolation)
    axes.set_xlim(-0.5, 0.5)
    axes.set_ylim(len(images) - 0.5, -0.5)
    axes.set_aspect("auto")
    axes.set_axis_off()


def _write_cells(axes: Axes, activations: NDArray[np.float32], *, peak: float) -> None:
    decimals = 1 if peak < 99.95 else 0
    for row, values in enumerate(activations):
        for column, value in enumerate(values):
            # Both ends of the scale are dark.
            colour = "white" if abs(float(value)) > 0.62 * peak else "black"
            text = f"{round(float(value), decimals) + 0.0:.{decimals}f}"  # never "-0.0"
            axes.text(column, row, text.replace("-", "−"), ha="center", va="center", fontsize=_POINTS, color=colour)


def _mark(axes: Axes, activations: NDArray[np.float32], labels: NDArray[np.int64], class_names: Sequence[str]) -> None:
    for row, (values, label) in enumerate(zip(activations, labels, strict=True)):
        predicted = int(values.argmax())
        right = predicted == int(label)
        frame = Rectangle((predicted - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor=INK, linewidth=2.0)
        axes.add_patch(frame)
        axes.plot([int(label) + 0.34], [row - 0.32], "o", color=INK, markersize=4, markeredgecolor="white", markeredgewidth=0.8)
        sign, name = ("✓" if right else "✗"), fit(class_names[predicted], inches=_SIDE - 0.5, points=_POINTS)
        second = fit("true: " + class_names[int(label)], inches=_SIDE - 0.3, points=_POINTS)
        axes.annotate(
            f"{sign} {name}" if right else f"{sign} {name}\n{second}",
            (1.0, row),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=_POINTS,
            color=INK if right else VERMILLION,
        )
