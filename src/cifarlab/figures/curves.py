"""Curves over the epochs of one run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cifarlab.figures.style import BLUE, INK, VERMILLION, picture

Quantity = Literal["accuracy", "loss", "mse"]

_AXIS = {"accuracy": "Accuracy (%)", "loss": "Loss", "mse": "Mean squared error"}
_TITLE = {"accuracy": "Accuracy per epoch", "loss": "Loss per epoch", "mse": "Mean squared error per epoch"}
# Told apart by colour, dash and marker.
_LINES = {"train": (BLUE, "-", "o"), "validation": (VERMILLION, "--", "s")}


def has_curve(rows: Sequence[Mapping[str, Any]], quantity: Quantity) -> bool:
    """Whether `rows` hold at least one value of `quantity`, so that `plot_curve` has something to draw."""
    return any(_series(rows, f"{split}_{quantity}")[0] for split in _LINES)


def plot_curve(rows: Sequence[Mapping[str, Any]], quantity: Quantity, path: Path, *, validation_is_test: bool = False) -> Path:
    """`quantity` over the epochs: train and, where there is one, validation, with the best epoch marked.

    rows: the lines of metrics.jsonl, with "epoch" (from 1) and "train_<quantity>", "validation_<quantity>"; a value may be
    missing or None. Best is the highest accuracy or the lowest loss or MSE, on validation where recorded, else on train.
    validation_is_test: the run validated on its test split, and the legend says so. Raises ValueError where no row holds the quantity.
    """
    if quantity not in _AXIS:
        raise ValueError(f"quantity must be one of {', '.join(_AXIS)}, not {quantity!r}")
    if not has_curve(rows, quantity):
        raise ValueError(f"no epoch holds train_{quantity} or validation_{quantity}")
    with picture(path, width=7.0, height=4.4) as figure:
        axes = figure.subplots()
        epochs: list[float] = []
        for split, (colour, dash, marker) in _LINES.items():
            x, y = _series(rows, f"{split}_{quantity}")
            if x:
                size = 5.0 if len(x) <= 40 else 0.0  # markers on hundreds of epochs would hide the line
                name = "Test (used as validation)" if validation_is_test and split == "validation" else split.capitalize()
                axes.plot(x, y, dash, color=colour, marker=marker, markersize=size, linewidth=1.8, label=name)
                epochs += x
        _mark_best(axes, rows, quantity, validation="test" if validation_is_test else "validation")
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
        axes.set_xlabel("Epoch")
        axes.set_ylabel(_AXIS[quantity])
        axes.set_title(_TITLE[quantity])
        axes.grid(True)
        axes.set_axisbelow(True)
        axes.legend(loc="best")
    return path


def _mark_best(axes: Axes, rows: Sequence[Mapping[str, Any]], quantity: Quantity, *, validation: str) -> None:
    split = "validation" if _series(rows, f"validation_{quantity}")[0] else "train"
    x, y = _series(rows, f"{split}_{quantity}")
    best = max(y) if quantity == "accuracy" else min(y)
    epoch = x[y.index(best)]  # the first of equals
    value = f"{best:.2f} %" if quantity == "accuracy" else f"{best:.4g}"
    label = f"Best {validation if split == 'validation' else split}: {value} (epoch {epoch:g})"
    # An open ring, so that the point under it stays visible.
    axes.plot([epoch], [best], "o", markersize=13, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.8, label=label, zorder=4)


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Epochs and values of `key`; rows without a finite value are left out. Accuracy comes in percent."""
    scale = 100.0 if key.endswith("accuracy") else 1.0
    points = [
        (float(row["epoch"]), scale * float(row[key]))
        for row in rows
        if isinstance(row.get("epoch"), int | float) and isinstance(row.get(key), int | float) and math.isfinite(row[key])
    ]
    return [x for x, _ in points], [y for _, y in points]
