"""Pruning and masked training: the sparse phase of dense-sparse-dense training.

Han et al. 2017, "DSD: Dense-Sparse-Dense Training for Deep Neural Networks", arXiv 1607.04381, algorithm 1: train;
set the smallest weights of each layer to zero and train with these held at zero; free them and train again at a
small rate (the paper: a tenth). The mask of the sparse phase is the zeros themselves, so that a resumed run
finds it in its weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cifarlab.errors import UsageError
from cifarlab.optim.kernels import named_kernels


def prunable_weights(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and weights of all trainable convolutions and dense layers; biases and batch norm are never pruned."""
    return [(name, weight) for name, weight in named_kernels(model) if weight.requires_grad]


@torch.no_grad()
def prune_smallest(model: nn.Module, *, share: float | None = None, threshold: float | None = None) -> None:
    """Set to zero, in each prunable layer, the `share` (0 .. below 1) smallest in magnitude, or all with |w| < `threshold`.

    The number of a share is rounded down. Raises ValueError unless exactly one of the two is given, in its range, and
    UsageError for a threshold that would leave a layer without weights; the weights are then as before.
    """
    if (share is None) == (threshold is None):
        raise ValueError("pruning needs either share or threshold, and not both")
    if share is not None and not 0 <= share < 1:
        raise ValueError(f"share must be at least 0 and below 1, not {share!r}")
    if threshold is not None and not 0 <= threshold < math.inf:
        raise ValueError(f"threshold must be a number of at least 0, not {threshold!r}")
    masks = []
    for name, weight in prunable_weights(model):
        mask = weight.abs() < threshold if threshold is not None else _smallest(weight, share or 0.0)
        if threshold is not None and bool(mask.all()):
            largest = f"{weight.abs().max():.3g}"
            raise UsageError(f"threshold {threshold} would remove all of {name} (largest: {largest}); take a smaller one, or a sparsity")
        masks.append((weight, mask))
    apply_masks(masks)


@torch.no_grad()
def zero_masks(model: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    """Prunable weights, each with its mask: bool in its shape, True where the weight is zero now."""
    return [(weight, weight == 0) for _, weight in prunable_weights(model)]


@torch.no_grad()
def apply_masks(masks: list[tuple[nn.Parameter, Tensor]]) -> None:
    """Set the masked weights to zero in place: after each optimizer step of the sparse phase."""
    for weight, mask in masks:
        weight.masked_fill_(mask, 0.0)


@torch.no_grad()
def sparsity(model: nn.Module) -> float:
    """Share of zeros among the prunable weights of the whole network, 0 .. 1; 0 where it has none."""
    weights = [weight for _, weight in prunable_weights(model)]
    total = sum(weight.numel() for weight in weights)
    zeros = sum(weight.numel() - int(weight.count_nonzero()) for weight in weights)
    return zeros / total if total else 0.0


def _smallest(weight: Tensor, share: float) -> Tensor:
    """bool in the shape of `weight`: exactly floor(share * size) of the smallest magnitudes, whichever of equal ones."""
    flat = weight.abs().flatten()
    chosen = flat.topk(int(share * flat.numel()), largest=False, sorted=False).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(0, chosen, True).reshape(weight.shape)
