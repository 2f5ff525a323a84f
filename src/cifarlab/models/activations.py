"""Activations by name, so that a network can be built with another one than its report's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import nn

from cifarlab.errors import unknown

_ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "gelu": nn.GELU,  # x P(X <= x), X normal: Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2; exact, not its tanh form
    # In place: its derivative needs only its output, and no layer that stands before an activation needs its own.
    "relu": lambda: nn.ReLU(inplace=True),
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,  # x sigmoid(x): Elfwing et al. 2017, arXiv 1702.03118, eq. 5
    "tanh": nn.Tanh,
}


def activation_names() -> tuple[str, ...]:
    """Public names of all activations, sorted."""
    return tuple(sorted(_ACTIVATIONS))


def create_activation(name: str) -> nn.Module:
    """An elementwise activation: float tensor of any shape -> the same shape.

    ReLU overwrites its input, so it belongs behind a layer whose output nothing else reads. Raises ValueError for another name.
    """
    if name not in _ACTIVATIONS:
        raise ValueError(unknown("activation", name, activation_names()))
    return _ACTIVATIONS[name]()
