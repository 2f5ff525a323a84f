"""What a layer answers to images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarlab.data.preprocess import Preprocess
from cifarlab.errors import UsageError, unknown
from cifarlab.restore import full_float32

BATCH_SIZE = 500  # images at once


def layer_names(model: nn.Module) -> tuple[str, ...]:
    """Names that `layer_activations` takes: every module inside `model` but plain containers, in the order of definition.

    A module that its `forward` never calls has a name too, and no activations.
    """
    return tuple(name for name, module in model.named_modules() if name and not isinstance(module, nn.ModuleList | nn.ModuleDict))


def layer_activations(
    model: nn.Module, preprocess: Preprocess, images: NDArray[np.uint8], *, layer: str, batch_size: int = BATCH_SIZE
) -> NDArray[np.float32]:
    """Output of the module `layer` (a name of `layer_names`) for `images`, uint8 [N, H, W, C] with N at least 1.

    float32 [N, ...]: a convolution gives [N, C, H, W], a dense layer [N, K]. A layer that is used several times gives its
    last output. Weights and training mode of the model are as before afterwards. Raises ValueError for another layer or
    other images, and for a layer whose output is not one tensor with a row an image.
    """
    modules = dict(model.named_modules())
    if layer not in layer_names(model):
        raise ValueError(unknown("layer", layer, layer_names(model)))
    return _run(model, preprocess, images, [modules[layer]], batch_size=batch_size)


def dense_activations(
    model: nn.Module, preprocess: Preprocess, images: NDArray[np.uint8], *, batch_size: int = BATCH_SIZE
) -> NDArray[np.float32]:
    """Output of the dense layer (nn.Linear) that runs last, for `images`, uint8 [N, H, W, C] with N at least 1.

    float32 [N, K], before softmax. For a classifier that ends in a dense layer these are its logits. Raises ValueError
    where the model has no dense layer: `layer_activations` takes any other.
    """
    dense = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not dense:
        raise ValueError(f"the network has no dense layer; name one of its layers instead: {', '.join(layer_names(model))}")
    return _run(model, preprocess, images, dense, batch_size=batch_size)


def check_images(images: NDArray[np.uint8]) -> None:
    """Raise ValueError where `images` are not uint8 [N, H, W, C] with N at least 1."""
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise ValueError(f"images must be uint8 [N, H, W, C] with N at least 1, not {images.dtype} {list(images.shape)}")


@torch.no_grad()
def _run(
    model: nn.Module, preprocess: Preprocess, images: NDArray[np.uint8], watched: Sequence[nn.Module], *, batch_size: int
) -> NDArray[np.float32]:
    """What the last call of any `watched` module gave, batch after batch."""
    check_images(images)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    seen: list[object] = []

    def keep(module: nn.Module, inputs: object, output: object) -> None:
        # A copy at once: an in-place activation after the layer would change what the layer gave.
        seen.append(output.clone() if isinstance(output, Tensor) else output)

    hooks = [module.register_forward_hook(keep) for module in watched]
    device = next(model.parameters()).device
    # The mode is kept module by module: a frozen part may be in evaluation mode while the rest trains.
    modes = {module: module.training for module in model.modules()}
    parts: list[Tensor] = []
    model.eval()
    try:
        for batch in torch.split(torch.from_numpy(images), batch_size):
            seen.clear()
            with full_float32():
                model(preprocess(batch.to(device)))  # [B, H, W, C] -> [B, K]
            parts.append(_output(seen, len(batch)))
    finally:
        for module, training in modes.items():
            module.training = training
        for hook in hooks:
            hook.remove()
    activations: NDArray[np.float32] = torch.cat(parts).numpy()
    return activations


def _output(seen: Sequence[object], n: int) -> Tensor:
    """The last output seen, float32 on the CPU."""
    if not seen:
        raise ValueError("the network does not use this layer on its way from image to logits")
    last = seen[-1]
    if not isinstance(last, Tensor) or last.ndim < 1 or len(last) != n:
        raise ValueError("the output of this layer is not one tensor with a row for each image")
    return last.float().cpu().contiguous()


def first_filters(model: nn.Module, *, layer: str | None = None) -> tuple[str, NDArray[np.float32]]:
    """Name and kernels, float32 [D, C, H, W], of the convolution `layer`, of the first one without it.

    Raises UsageError where there is no such layer, or it is no convolution over images.
    """
    convolutions = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    if not convolutions:
        raise UsageError("the network has no convolution, and so no filters to show")
    name = next(iter(convolutions)) if layer is None else layer
    if name not in convolutions:
        raise UsageError(unknown("convolution", name, convolutions))
    return name, convolutions[name].weight.detach().float().cpu().numpy()
