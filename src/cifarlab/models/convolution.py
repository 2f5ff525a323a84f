"""The layer that most networks are made of: a convolution, batch norm, a rectifier."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def conv_norm_relu(
    channels_in: int,
    channels_out: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    batch_norm: bool = True,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """A convolution with an odd `kernel`, padded to keep the size at stride 1, batch norm if asked for, `activation`.

    float [N, C, H, W] -> [N, D, ceil(H/stride), ceil(W/stride)]. The convolution has a bias only where no batch norm follows,
    which would subtract it again.
    """
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=not batch_norm)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
    if batch_norm:
        layers["norm"] = nn.BatchNorm2d(channels_out)
    layers["relu"] = activation()
    return nn.Sequential(layers)
