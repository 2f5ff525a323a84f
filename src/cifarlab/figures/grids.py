"""Grids of images: labelled samples, predictions, mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cifarlab.figures.style import GREY, INK, VERMILLION, fit, picture, say_nothing_to_show

_CELL = 1.35  # inches: the side of one image
_TEXT = 9.0  # points
_LINE = 0.17  # inches that one caption line takes
_WIDEST = _CELL * 1.06  # inches that a caption may take without meeting its neighbour's


@dataclass(frozen=True)
class _Caption:
    lines: tuple[str, ...]
    wrong: bool = False


def plot_sample_grid(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    path: Path,
    *,
    rows: int = 6,
    columns: int = 6,
    title: str | None = None,
) -> Path:
    """The first rows x columns of `images` (uint8 [M, H, W, 3]), each under the name of its class (labels int64 [M]).

    Raises ValueError where there is no image or the lengths differ.
    """
    _check(images, labels, len(class_names))
    if rows < 1 or columns < 1:
        raise ValueError(f"rows and columns must be at least 1, not {rows} and {columns}")
    shown = images[: rows * columns]
    captions = [_Caption((_name(class_names, label),)) for label in labels[: rows * columns]]
    _draw(shown, captions, path, columns=columns, title=title)
    return path


def plot_predictions(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    class_names: Sequence[str],
    path: Path,
    *,
    columns: int = 8,
    title: str | None = "Predictions",
) -> Path:
    """Every image (uint8 [M, H, W, 3]) with predicted class, its probability, and the true class.

    probabilities: float [M, K], labels: int64 [M]. A right prediction has a tick, a wrong one a cross and a thick dashed frame.
    Raises ValueError where there is no image or the lengths differ.
    """
    _check(images, labels, len(class_names), probabilities)
    if columns < 1:
        raise ValueError(f"columns must be at least 1, not {columns}")
    captions = [_verdict(row, int(label), class_names) for row, label in zip(probabilities, labels, strict=True)]
    _draw(images, captions, path, columns=columns, title=title)
    return path


def plot_mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    class_names: Sequence[str],
    path: Path,
    *,
    count: int = 24,
    columns: int = 8,
    title: str | None = "Most confident mistakes",
) -> Path:
    """The `count` wrong predictions with the highest probability, most confident first; arguments as `plot_predictions`.

    Without any mistake the picture says so.
    """
    _check(images, labels, len(class_names), probabilities)
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    if not len(wrong):
        with picture(path, width=6.0, height=2.0) as figure:
            say_nothing_to_show(figure.subplots(), f"No mistakes: all {len(labels)} predictions are right")
        return path
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")  # equals keep the order of the split
    chosen = wrong[order[:count]]
    return plot_predictions(images[chosen], labels[chosen], probabilities[chosen], class_names, path, columns=columns, title=title)


def plot_disagreements(
    images: NDArray[np.uint8],
    right: NDArray[np.float64],
    wrong: NDArray[np.float64],
    class_names: Sequence[str],
    path: Path,
    *,
    columns: int = 8,
    title: str | None = None,
) -> Path:
    """Images (uint8 [M, H, W, 3]) that one model has right and another wrong: under each what the first says (a tick), which is the
    true class, and what the second says (a cross), both with their probabilities.

    right, wrong: probabilities of the two models, float [M, K]. Raises ValueError where there is no image or the lengths differ.
    """
    labels = right.argmax(axis=1)
    _check(images, labels, len(class_names), right)
    _check(images, labels, len(class_names), wrong)
    if columns < 1:
        raise ValueError(f"columns must be at least 1, not {columns}")
    captions = [
        _Caption((_verdict(good, int(label), class_names).lines[0], _verdict(bad, int(label), class_names).lines[0]))
        for good, bad, label in zip(right, wrong, labels, strict=True)
    ]
    _draw(images, captions, path, columns=columns, title=title)
    return path


def _check(
    images: NDArray[np.uint8], labels: NDArray[np.int64], num_classes: int, probabilities: NDArray[np.float64] | None = None
) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise ValueError(f"images must be uint8 [M, H, W, 3] with M at least 1, not {images.dtype} {list(images.shape)}")
    if labels.shape != (len(images),) or labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"labels must be {len(images)} numbers in 0..{num_classes - 1}")
    if probabilities is not None and probabilities.shape != (len(images), num_classes):
        raise ValueError(f"probabilities must be [{len(images)}, {num_classes}], not {list(probabilities.shape)}")


def _name(class_names: Sequence[str], label: int) -> str:
    return fit(class_names[label], inches=_WIDEST, points=_TEXT)


def _verdict(probabilities: NDArray[np.float64], label: int, class_names: Sequence[str]) -> _Caption:
    predicted = int(probabilities.argmax())
    sign, score = ("✓" if predicted == label else "✗"), _percent(float(probabilities[predicted]))
    room = _WIDEST - 0.16 - 0.085 * (len(score) + 1)  # what sign, score and the spaces between them leave for the name
    first = f"{sign} {fit(class_names[predicted], inches=room, points=_TEXT)} {score}"
    second = fit("true: " + class_names[label], inches=_WIDEST, points=_TEXT)
    return _Caption((first, second), wrong=predicted != label)


def _percent(share: float) -> str:
    """Whole percent; 99.5 % is not yet shown as certainty."""
    return "100 %" if share >= 0.9995 else f"{int(min(99, round(100 * share)))} %"


def _draw(images: NDArray[np.uint8], captions: Sequence[_Caption], path: Path, *, columns: int, title: str | None) -> None:
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    aspect = min(2.0, max(0.5, images.shape[1] / images.shape[2]))
    cell_height = _CELL * aspect + _LINE * max(len(caption.lines) for caption in captions) + 0.1
    width = max(columns * (_CELL * 1.08) + 0.3, 2.6)
    with picture(path, width=width, height=rows * cell_height + (0.55 if title else 0.2)) as figure:
        if title:
            figure.suptitle(fit(title, inches=width - 0.4, points=12.0), fontsize=12, fontweight="bold")
        _fill(figure, images, captions, rows=rows, columns=columns)


def _fill(figure: Figure, images: NDArray[np.uint8], captions: Sequence[_Caption], *, rows: int, columns: int) -> None:
    # Small images show their pixels; large ones are scaled down smoothly.
    interpolation = "nearest" if images.shape[1] <= 96 else "antialiased"
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(images) :]:
        axes.set_axis_off()
    for axes, image, caption in zip(panels, images, captions, strict=False):
        axes.imshow(image, interpolation=interpolation)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title("\n".join(caption.lines), fontsize=_TEXT, fontweight="normal", pad=3, color=VERMILLION if caption.wrong else INK)
        for spine in axes.spines.values():
            spine.set(visible=True, color=VERMILLION if caption.wrong else GREY, linewidth=2.8 if caption.wrong else 0.8)
            spine.set_linestyle((0, (4, 2)) if caption.wrong else "-")
