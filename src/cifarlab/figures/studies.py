"""A parameter study: accuracy and loss against the quantity that was varied."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullLocator

from cifarlab.figures.style import BLUE, INK, VERMILLION, fit, picture
from cifarlab.metrics import Interval


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
    geometric = values[0] > 0 and len(values) > 2 and all(b >= 1.5 * a for a, b in itertools.pairwise(values))
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
