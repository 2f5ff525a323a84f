"""Weights to start from, for networks with rectified units."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

HEAD_STD = 0.01  # small logits: the first loss is near log(K) whatever the width of the last hidden layer


def he_normal(model: nn.Module, *, head: nn.Conv2d | nn.Linear, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Set every convolution and dense layer of `model` in place: normal with variance 2 / fan, biases at zero.

    He et al. 2015, "Delving Deep into Rectifiers" (arXiv 1502.01852): eq. 10 for fan_in, eq. 14 for fan_out. The fan of a
    grouped convolution counts the channels of one group, which is what a unit is connected to. Dense layers always take
    fan_in. `head`, the layer that gives the logits, gets a standard deviation of 0.01.
    """
    for module in model.modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        fan = module.weight[0].numel()
        if mode == "fan_out" and isinstance(module, nn.Conv2d):
            fan = module.out_channels // module.groups * module.weight[0, 0].numel()
        nn.init.normal_(module.weight, std=HEAD_STD if module is head else math.sqrt(2 / fan))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
