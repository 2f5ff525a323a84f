"""Dropout that costs little on a CPU."""

from __future__ import annotations

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**16  # a rate is rounded to a multiple of 1 / LEVELS


class Dropout(nn.Dropout):
    """Zero each value with probability p, multiply the others by 1 / (1 - p) (Srivastava et al. 2014, JMLR 15, section 10).

    The same as torch.nn.Dropout, which draws a random number of its own for each value: on a CPU, a tenth of a small network's
    step. Here one 64-bit draw of the global generator serves four values, so the rate is exact to 1 / 131 072.
    """

    def forward(self, x: Tensor) -> Tensor:
        """float [...] -> the same shape, dtype and layout."""
        return _drop(x, self.p) if self.training and self.p > 0 else x


def _drop(x: Tensor, p: float) -> Tensor:
    dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
    dropped = round(p * LEVELS)
    if x.device.type != "cpu" or not dense or dropped == LEVELS:
        return F.dropout(x, p, training=True)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    levels = draws.view(torch.int16)[: x.numel()]  # uniform in -32768 .. 32767
    keep = (levels >= dropped - LEVELS // 2).to(x.dtype).mul_(LEVELS / (LEVELS - dropped))
    return x * keep.as_strided(x.shape, x.stride())


torch.fx.wrap("_drop")  # one operation to those who trace a network
