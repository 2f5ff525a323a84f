"""Reliability: does 80 % sure mean 80 % right?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.figures.style import BLUE, GREY, INK, ORANGE, picture
from cifarlab.metrics import CALIBRATION_BINS, expected_calibration_error, reliability_bins


def plot_reliability(probabilities: NDArray[np.float64], labels: NDArray[np.int64], path: Path, *, bins: int = CALIBRATION_BINS) -> Path:
    """Accuracy per bin of confidence against the diagonal of perfect calibration, and how many samples each bin holds.

    probabilities: float [N, K]; labels: int64 [N]. After Guo et al. (2017), figure 1. Raises ValueError as `reliability_bins` does.
    """
    grouped = reliability_bins(probabilities, labels, bins=bins)
    error = expected_calibration_error(probabilities, labels, bins=bins)
    centres, width = (grouped.edges[:-1] + grouped.edges[1:]) / 2, 1.0 / bins
    filled = grouped.counts > 0
    with picture(path, width=6.0, height=6.0) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.bar(centres[filled], grouped.accuracy[filled], width=width * 0.92, color=BLUE, label="Accuracy in the bin")
        gap = grouped.confidence[filled] - grouped.accuracy[filled]
        upper.bar(
            centres[filled],
            gap,
            bottom=grouped.accuracy[filled],
            width=width * 0.92,
            facecolor="none",
            edgecolor=ORANGE,
            hatch="///",
            linewidth=1.0,
            label="Gap to the confidence",
        )
        upper.plot([0, 1], [0, 1], "--", color=INK, linewidth=1.2, label="Perfect calibration")
        upper.set_ylim(0, 1.02)
        upper.set_xlim(0, 1)
        upper.set_ylabel("Accuracy")
        upper.set_title(f"Calibration error {100 * error:.2f} % ({bins} bins)")
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)  # inside it could hide bars
        lower.bar(centres, grouped.counts / grouped.counts.sum(), width=width * 0.92, color=GREY)
        lower.set_ylabel("Share of\nsamples")
        lower.set_xlabel("Confidence: probability of the predicted class")
        for axes in (upper, lower):
            axes.grid(True)
            axes.set_axisbelow(True)
    return path
