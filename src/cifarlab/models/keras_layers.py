"""Layers as Keras builds them, for the published networks that come from there.

Flatten orders values by channel first here (PyTorch keeps [N, C, H, W]) and last there: a permutation of the next dense
layer's inputs, which makes no difference to what can be learned or to the parameter count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from torch import nn

from cifarlab.models.limits import require_dropout

# Keras' defaults. PyTorch's momentum is the share of the new statistic, Keras' that of the old one: 1 - 0.99.
# What remains different: running variances are of the unbiased kind here, n / (n - 1) times those of Keras 3.
NORM_MOMENTUM: Final = 0.01
NORM_EPSILON: Final = 1e-3


def conv3x3(channels_in: int, channels_out: int, *, padding: Literal["same", "valid"] = "same") -> nn.Conv2d:
    """A 3x3 convolution with bias: [N, C, H, W] -> [N, D, H, W], or [N, D, H-2, W-2] for "valid"."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1 if padding == "same" else 0)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm of [N, C, H, W] over N, H and W: momentum 0.99 in Keras' terms, epsilon 1e-3."""
    return nn.BatchNorm2d(channels, momentum=NORM_MOMENTUM, eps=NORM_EPSILON)


def dense_norm(units: int) -> nn.BatchNorm1d:
    """Batch norm of [N, C] over N: momentum 0.99 in Keras' terms, epsilon 1e-3."""
    return nn.BatchNorm1d(units, momentum=NORM_MOMENTUM, eps=NORM_EPSILON)


def glorot_uniform(model: nn.Module) -> nn.Module:
    """Set every convolution and dense layer of `model` as Keras does, in place, and return it.

    Kernels uniform within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16), biases zero.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def require_dropouts(dropout: Sequence[float], *, layers: int) -> None:
    """Raise ValueError unless `dropout` holds one rate in [0, 1) for each of `layers` dropout layers."""
    if len(dropout) != layers:
        raise ValueError(f"dropout must be {layers} rates, one for each dropout layer, not {list(dropout)}")
    for rate in dropout:
        require_dropout(rate)
