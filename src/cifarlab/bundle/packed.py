"""Convolutions whose weights lie in memory as the processor's kernels want them, for networks that only predict.

PyTorch's convolution on a CPU (oneDNN) puts the weights in order anew at every call, and takes a slow path of its own for one small
image: for speednet that is more work than the convolutions of one view. Packed once, the answers are the same within rounding.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class PackedConvolution(nn.Module):
    """As the convolution that it is made of, float32 [N, C, H, W] on the CPU, without gradients."""

    def __init__(self, given: nn.Conv2d) -> None:
        super().__init__()
        self._settings: tuple[Any, ...] = (list(given.padding), list(given.stride), list(given.dilation), given.groups)
        self._bias = None if given.bias is None else given.bias.detach()
        # Not a parameter or buffer: nothing but these kernels can read it.
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(given.weight.detach().contiguous(), *self._settings)

    def forward(self, images: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(images, self._weight, self._bias, *self._settings, "none", [], "")  # type: ignore[no-any-return]


def packed(network: Network) -> Network:
    """A copy of `network` with packed convolutions; where PyTorch has no such kernels (other processors), `network` itself."""
    if not can_pack():
        return network
    changed = copy.deepcopy(network)
    for name, module in list(changed.named_modules()):
        if type(module) is nn.Conv2d and not isinstance(module.padding, str) and module.padding_mode == "zeros":
            where, _, last = name.rpartition(".")
            setattr(changed.get_submodule(where), last, PackedConvolution(module))
    return changed


def can_pack() -> bool:
    """Whether this PyTorch has oneDNN's convolutions with packed weights."""
    needed = ("_reorder_convolution_weight", "_convolution_pointwise")
    there = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return there and all(hasattr(torch.ops.mkldnn, name) for name in needed)
