"""L2 penalty on kernels, as part of the loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cifarlab.optim.kernels import named_kernels


class L2Penalty:
    """strength * sum w^2 over trainable kernels, as Keras' `regularizers.l2` adds it to the loss: not halved.

    `on`: "kernels" (convolutions and dense layers) or "convolutions"; biases and batch norm are never penalized.
    Under SGD it is the same as weight_decay = 2 strength on these weights. The derivative is added to the
    gradients directly, which spares the backward pass a graph over all weights. Raises ValueError for a strength
    that is negative or not finite, and for an unknown `on`.
    """

    def __init__(self, model: nn.Module, *, strength: float, on: str = "kernels") -> None:
        if not 0 <= strength < math.inf:
            raise ValueError(f"strength must be a number of at least 0, not {strength!r}")
        self.strength = strength
        self._kernels: list[Tensor] = [weight for _, weight in named_kernels(model, on=on)]

    @torch.no_grad()
    def add_gradients(self) -> None:
        """After backward, before the optimizer's step: g <- g + 2 strength w, in place.

        Frozen kernels have no gradient and are passed over; so is one that the loss has not reached.
        """
        pairs = [(weight, weight.grad) for weight in self._kernels if weight.grad is not None]
        if pairs:
            torch._foreach_add_([gradient for _, gradient in pairs], [weight for weight, _ in pairs], alpha=2.0 * self.strength)

    @torch.no_grad()
    def value(self) -> Tensor:
        """The penalty now, scalar without a gradient (`add_gradients` is the derivative); zero where no kernel is trainable."""
        weights = [weight for weight in self._kernels if weight.requires_grad]
        if not weights:
            return torch.zeros(())
        return self.strength * torch.stack(list(torch._foreach_norm(weights))).square().sum()
