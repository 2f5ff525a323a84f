"""Muon for convolution filters, Nesterov SGD for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from cifarlab.optim.precision import multiplies_bf16_fast

# Coefficients of the quintic iteration of Jordan et al., "Muon" (2024): steep at zero, so that three steps bring
# singular values from about 0.03 up to near 1, at the price of landing anywhere between about 0.7 and 1.2.
_QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Groups with "orthogonal": True take orthogonalized steps, the others plain Nesterov SGD steps.

    Orthogonal groups (arXiv 2404.00498's successor; Jordan et al. 2024): each filter bank W, reshaped to
    [out, in * h * w], is kept at Frobenius norm sqrt(out), and moves by lr times the orthogonal factor of its
    Nesterov momentum, found by `steps` Newton-Schulz iterations. Weight decay there would only rescale, so it
    is not applied. SGD groups: v <- momentum v + g; w <- w (1 - lr wd) - lr (g + momentum v).
    """

    def __init__(self, params: Iterable[dict[str, Any]], *, steps: int = 3) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps must be a whole number of at least 1, not {steps!r}")
        self.newton_schulz_steps = steps
        super().__init__(params, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0, "orthogonal": False})

        for group in self.param_groups:
            if not 0 <= group["momentum"] < 1:
                raise ValueError(f"momentum must be at least 0 and below 1, not {group['momentum']!r}")
            if group["lr"] < 0 or group["weight_decay"] < 0:
                raise ValueError(f"rates and weight decay must not be negative, not {group['lr']!r} and {group['weight_decay']!r}")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update from the gradients at hand; parameters without a gradient stay as they are."""
        if closure is not None:
            raise ValueError("this optimizer evaluates no closure")
        dtype = torch.bfloat16 if multiplies_bf16_fast(self.param_groups[0]["params"][0].device.type) else torch.float32
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                velocity: Tensor = state["momentum_buffer"]
                velocity.mul_(momentum).add_(parameter.grad)
                direction = parameter.grad.add(velocity, alpha=momentum)
                if group["orthogonal"]:
                    parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
                    matrix = orthogonalize(direction.reshape(len(direction), -1), steps=self.newton_schulz_steps, dtype=dtype)
                    direction = matrix.to(parameter.dtype).reshape(direction.shape)
                else:
                    parameter.mul_(1.0 - lr * group["weight_decay"])
                parameter.add_(direction, alpha=-lr)
        return None


def orthogonalize(matrix: Tensor, *, steps: int = 3, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Bring all singular values of `matrix` (float [M, N]) near 1: about U V^T of its decomposition U S V^T.

    Newton-Schulz: X <- a X + (b A + c A^2) X with A = X X^T, from X scaled to Frobenius norm 1. Computed and
    returned in `dtype`; the iteration tolerates the rounding of bfloat16.
    """
    a, b, c = _QUINTIC
    x: Tensor = matrix.float()
    tall = x.shape[0] > x.shape[1]
    if tall:  # the smaller Gram matrix
        x = x.T
    x = (x / (x.norm() + 1e-7)).to(dtype)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
