"""Filters of a convolution, and what a layer answers to images, channel by channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cifarlab.figures.style import GREY, fit, heading, picture

MOST_FILTERS: Final = 64  # tiles that one picture shows
MOST_CHANNELS: Final = 16  # input channels of a filter that is not RGB
MOST_MAPS: Final = 64  # channels of a layer
_COLUMNS: Final = 8  # filters a row
_TILE: Final = 0.95  # inches: the side of a filter
_SMALL: Final = 0.42  # inches: one input channel of a filter
_MAP: Final = 0.62  # inches: one channel of a layer
_MAPS_A_ROW: Final = 16
_LABEL: Final = 0.24  # inches under a tile
_SHARE: Final = 99.5  # percent of the values that the colours tell apart; what lies beyond has the colour of the end


def plot_filters(weights: NDArray[np.floating[Any]], path: Path, *, title: str | None = None, model: str = "") -> Path:
    """The kernels of a convolution, float [D, C, H, W], at most 64 of them.

    With three input channels each is an RGB tile: grey is 0, and the filter's own largest weight, written below, is the end of its
    colours: colour = 0.5 + weight / (2 largest). With other channels each is a row with a tile a channel (at most 16), red positive,
    blue negative, on the same scale. model: the network's name, behind the title. Raises ValueError for other shapes or weights
    that are not finite.
    """
    if weights.ndim != 4 or not weights.size or not np.isfinite(weights).all():
        raise ValueError(f"weights must be finite [D, C, H, W], not {list(weights.shape)}")
    shown = np.asarray(weights[:MOST_FILTERS], dtype=np.float64)
    peaks = np.maximum(np.abs(shown).max(axis=(1, 2, 3)), 1e-12)
    if weights.shape[1] == 3:
        _plot_rgb(shown, peaks, path, title=title, model=model, note=_shown(len(shown), len(weights), "filters"))
    else:
        channels = min(weights.shape[1], MOST_CHANNELS)
        few = shown[:MOST_CHANNELS]
        note = f"{_shown(len(few), len(weights), 'filters')}, {_shown(channels, weights.shape[1], 'input channels')}"
        _plot_channels(few[:, :channels], peaks, path, title=title, model=model, note=note)
    return path


def plot_layer_activations(
    images: NDArray[np.uint8],
    activations: NDArray[np.floating[Any]],
    path: Path,
    *,
    captions: Sequence[str] = (),
    title: str | None = None,
    model: str = "",
) -> Path:
    """Each image (uint8 [N, H, W, 3]) beside the channels of a layer's answer to it (float [N, C, h, w]), at most 64 of them.

    All tiles share one scale, which the colour bar shows: from 0 where no value is negative, else white at 0, red above and blue
    below; the colours cover 99.5 % of the values. captions: a line under each image; model: the network's name, behind the
    title. Raises ValueError for other shapes.
    """
    n = len(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not n:
        raise ValueError(f"images must be uint8 [N, H, W, 3] with N at least 1, not {images.dtype} {list(images.shape)}")
    if activations.ndim != 4 or len(activations) != n or not activations.size or not np.isfinite(activations).all():
        raise ValueError(f"activations must be finite [{n}, C, h, w], not {list(activations.shape)}")
    if captions and len(captions) != n:
        raise ValueError(f"{n} images need as many captions, not {len(captions)}")
    maps = np.asarray(activations[:, :MOST_MAPS], dtype=np.float64)
    colours, cmap = _scale(maps)
    columns = min(maps.shape[1], _MAPS_A_ROW // 2 if maps.shape[1] <= _MAPS_A_ROW else _MAPS_A_ROW)  # two rows are as tall as the image
    lines = math.ceil(maps.shape[1] / columns)
    block = max(lines * _MAP, 2 * _MAP + _LABEL) + 0.3
    left = 2 * _MAP + 0.5
    width = max(left + columns * _MAP + 1.1, 6.0)
    top = 0.85 if title else 0.5
    height = top + n * block + 0.1
    with picture(path, width=width, height=height) as figure:
        figure.set_layout_engine("none")
        _head(
            figure,
            title,
            model,
            _shown(maps.shape[1], activations.shape[1], "channels")
            + ", first of each row numbered; colours end where 99.5 % of the values do",
            width,
            height,
        )
        for index in range(n):
            y = top + index * block
            caption = captions[index] if captions else ""
            _tile(figure, images[index], 0.2, y, 2 * _MAP, label=caption, room=2 * _MAP + 0.1)
            for channel in range(maps.shape[1]):
                row, column = divmod(channel, columns)
                axes = _place(figure, left + column * _MAP, y + row * _MAP, _MAP * 0.94)
                axes.imshow(maps[index, channel], cmap=cmap, norm=colours, interpolation="nearest", aspect="auto")
                if column == 0:
                    place = ((left - 0.05) / width, 1 - (y + row * _MAP + _MAP / 2) / height)
                    figure.text(*place, str(channel), fontsize=7.5, ha="right", va="center", color=GREY)
        bar = figure.add_axes(((width - 0.8) / width, 0.2 / height, 0.14 / width, min(n * block - 0.3, 3.0) / height))
        figure.colorbar(ScalarMappable(norm=colours, cmap=cmap), cax=bar)
        bar.tick_params(labelsize=8)
    return path


def _plot_rgb(weights: NDArray[np.float64], peaks: NDArray[np.float64], path: Path, *, title: str | None, model: str, note: str) -> None:
    columns = min(_COLUMNS, len(weights))
    rows = math.ceil(len(weights) / columns)
    top = 0.85 if title else 0.5
    width, height = max(columns * (_TILE + 0.12) + 0.3, 6.0), top + rows * (_TILE + _LABEL + 0.06) + 0.1
    with picture(path, width=width, height=height) as figure:
        figure.set_layout_engine("none")
        _head(figure, title, model, f"{note}; grey is 0, the number is the largest weight, where colours end", width, height)
        for index, (kernel, peak) in enumerate(zip(weights, peaks, strict=True)):
            row, column = divmod(index, columns)
            colours = 0.5 + kernel.transpose(1, 2, 0) / (2 * peak)  # [3, H, W] -> [H, W, 3]
            x, y = 0.2 + column * (_TILE + 0.12), top + row * (_TILE + _LABEL + 0.06)
            _tile(figure, np.clip(colours, 0, 1), x, y, _TILE, label=f"{index}: ±{peak:.2g}", room=_TILE + 0.1)


def _plot_channels(
    weights: NDArray[np.float64], peaks: NDArray[np.float64], path: Path, *, title: str | None, model: str, note: str
) -> None:
    filters, channels = weights.shape[:2]
    top, left = (0.85 if title else 0.5), 0.95
    width, height = max(left + channels * _SMALL + 0.2, 6.0), top + filters * _SMALL + 0.15
    with picture(path, width=width, height=height) as figure:
        figure.set_layout_engine("none")
        _head(figure, title, model, f"{note}; a row a filter: red +, blue −, white 0", width, height)
        for index in range(filters):
            y = top + index * _SMALL
            figure.text(
                (left - 0.08) / width, 1 - (y + _SMALL / 2) / height, f"{index}: ±{peaks[index]:.2g}", fontsize=8, ha="right", va="center"
            )
            for channel in range(channels):
                axes = _place(figure, left + channel * _SMALL, y, _SMALL * 0.9)
                axes.imshow(
                    weights[index, channel], cmap="RdBu_r", vmin=-peaks[index], vmax=peaks[index], interpolation="nearest", aspect="auto"
                )


def _head(figure: Figure, title: str | None, model: str, note: str, width: float, height: float) -> None:
    if title:
        text = heading(title, model, inches=width - 0.4, points=14.5)  # bold is wider than the plain text that is measured
        figure.text(0.5, 1 - 0.28 / height, text, fontsize=12, fontweight="bold", ha="center", va="center")
    y = 0.6 if title else 0.25
    figure.text(0.2 / width, 1 - y / height, fit(note, inches=width - 0.4, points=9.0), fontsize=9, va="center", color=GREY)


def _tile(figure: Figure, values: NDArray[Any], x: float, y: float, side: float, *, label: str, room: float) -> None:
    axes = _place(figure, x, y, side)
    axes.imshow(values, interpolation="nearest" if len(values) <= 96 else "antialiased")
    if label:
        axes.set_xlabel(fit(label, inches=room, points=8.0), fontsize=8, labelpad=3)


def _place(figure: Figure, x: float, y: float, side: float) -> Axes:
    """A square panel whose upper left corner is `x`, `y` inches from that of the picture."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, 1 - (y + side) / height, side / width, side / height))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color=GREY, linewidth=0.5)
    return axes


def _scale(maps: NDArray[np.float64]) -> tuple[Normalize, str]:
    peak = max(float(np.percentile(np.abs(maps), _SHARE)), 1e-12)
    return (Normalize(0, peak), "viridis") if maps.min() >= 0 else (Normalize(-peak, peak), "RdBu_r")


def _shown(shown: int, total: int, noun: str) -> str:
    return f"{total} {noun}" if shown == total else f"the first {shown} of {total} {noun}"
