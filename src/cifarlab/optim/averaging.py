"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """A copy of `model`, `module`, whose weights follow it: a <- d_t a + (1 - d_t) w at update t = 0, 1, ...

    d_t = min(decay, (1 + t) / (10 + t)), so that the first steps, still near the random start, are soon forgotten.
    Averaging: Polyak and Juditsky 1992; exponential, over the steps: Szegedy et al. 2016, arXiv 1512.00567, section 8.
    Batch norm's means and variances are averaged in the same way, its counts (all buffers of whole numbers) copied.
    `module` is in evaluation mode and takes no gradients. Raises ValueError for a decay out of 0 .. below 1.
    """

    def __init__(self, model: nn.Module, *, decay: float = 0.999) -> None:
        if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, not {decay!r}")
        self.decay = float(decay)
        self.updates = 0
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self._averages, self._counts = _tensors(self.module)
        self._sources, self._source_counts = _tensors(model)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the model's present weights: after each optimizer step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._averages, self._sources, 1.0 - decay)
        for count, source in zip(self._counts, self._source_counts, strict=True):
            count.copy_(source)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs: the number of updates and the averaged network's state."""
        return {"updates": self.updates, "module": self.module.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`. Raises KeyError or RuntimeError where it does not fit."""
        self.module.load_state_dict(state["module"])
        self.updates = int(state["updates"])


def _tensors(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers as they lie in the model: those of floating point, then the others."""
    every: list[Tensor] = [*model.parameters(), *model.buffers()]
    return [t for t in every if t.is_floating_point()], [t for t in every if not t.is_floating_point()]
