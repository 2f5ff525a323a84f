"""Bar charts: images per class, right against wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cifarlab.figures.style import BLUE, GREEN, MAX_LABELS, ORANGE, VERMILLION, class_labels, fit, picture, set_class_ticks
from cifarlab.metrics import wilson_interval

_SPLIT_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION)


def plot_class_counts(counts: Mapping[str, NDArray[np.int64]], class_names: Sequence[str], path: Path) -> Path:
    """Images per class, one panel per split (each with its own scale), bars labelled with their number.

    counts: split name -> int64 [K]. Raises ValueError where `counts` is empty or a length differs from K.
    """
    k = len(class_names)
    if not counts or any(np.shape(values) != (k,) for values in counts.values()):
        raise ValueError(f"counts must map each split to {k} numbers, one per class name")
    points = 10.0 if k <= 30 else 8.0
    labels, margin = class_labels(class_names, points=points)
    height = 1.2 + (0.3 if k <= 30 else 0.2) * min(k, 2 * MAX_LABELS)
    with picture(path, width=margin + 0.8 + 2.9 * len(counts), height=max(height, 2.4)) as figure:
        panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
        for position, (axes, (split, values)) in enumerate(zip(panels, counts.items(), strict=True)):
            bars = axes.barh(np.arange(k), values, height=0.72, color=_SPLIT_COLOURS[position % len(_SPLIT_COLOURS)])
            if k <= MAX_LABELS:
                axes.bar_label(bars, labels=[f"{int(v):,}".replace(",", " ") for v in values], padding=3, fontsize=points - 1)
            axes.set_xlim(0, max(1.0, float(np.max(values)) * 1.3))  # room for the number after the longest bar
            axes.set_ylim(k - 0.4, -0.6)  # first class on top
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, prune="upper"))
            axes.tick_params(axis="y", length=0)
            total = f"{int(np.sum(values)):,}".replace(",", " ")
            axes.set_title(fit(f"{split}: {total}", inches=2.6, points=12.0))
            axes.set_xlabel("Images")
            axes.grid(axis="x")
            axes.set_axisbelow(True)
        set_class_ticks(panels[0].yaxis, labels, points=points)
        panels[0].set_ylabel("Class")
    return path


def plot_right_wrong(correct: int, wrong: int, path: Path) -> Path:
    """Two bars: how many predictions were right and how many wrong; the title gives accuracy with its 95 % interval.

    Raises ValueError for negative numbers or where both are 0.
    """
    total = correct + wrong
    if wrong < 0:
        raise ValueError(f"wrong must be at least 0, not {wrong}")
    interval = wilson_interval(correct, total)
    with picture(path, width=5.4, height=4.2) as figure:
        axes = figure.subplots()
        bars = axes.bar(["Right", "Wrong"], [correct, wrong], width=0.6, color=[BLUE, VERMILLION], edgecolor="white")
        bars.patches[1].set_hatch("//")
        texts = [f"{value:,}".replace(",", " ") + f"  ({100 * value / total:.2f} %)" for value in (correct, wrong)]
        axes.bar_label(bars, labels=texts, padding=4, fontsize=11)
        axes.set_ylim(0, max(correct, wrong) * 1.12)
        axes.set_xlim(-0.6, 1.6)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.tick_params(axis="x", length=0, labelsize=11)
        axes.set_ylabel("Predictions")
        low, high = 100 * interval.low, 100 * interval.high
        axes.set_title(f"Accuracy {100 * interval.value:.2f} % (95 %: {low:.2f} to {high:.2f})")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    return path
