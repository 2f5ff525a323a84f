"""Where in a picture a class is seen, by the gradients of one layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cifarlab.errors import UsageError
from cifarlab.explain.traced import TracedNetwork
from cifarlab.restore import full_float32


@dataclass(frozen=True, eq=False)
class GradCam:
    """A map of one class over one picture.

    layer: whose activations it is made of; target: number of the class; values: float32 [h, w], one a position of the layer, in
    units of the logit, 0 where the layer says nothing for the class; resized: float32 [size, size], the same over the picture; 0
    where preprocessing crops it away. logits: float32 [K], of the one view that was explained.
    """

    layer: str
    target: int
    values: NDArray[np.float32]
    resized: NDArray[np.float32]
    logits: NDArray[np.float32]


def grad_cam(network: TracedNetwork, image: NDArray[np.uint8], *, target: int, layer: str | None = None) -> GradCam:
    """Gradient-weighted class activation map of class `target` for `image`, uint8 [size, size, 3].

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization" (ICCV 2017). With A^k the
    activations of channel k of the layer, Z its positions and y^c the logit of class c, equations 1 and 2 are

        alpha_k^c = 1/Z sum_ij dy^c / dA^k_ij        L^c = ReLU(sum_k alpha_k^c A^k)

    layer: as `cifarlab models show` names it, with its activation; without it `default_layer`. The map is resized bilinearly,
    positions taken as squares. Raises UsageError for a layer of one position or of another name, for a class that there is not,
    for logits that do not depend on the layer; ValueError for another image.
    """
    name = default_layer(network) if layer is None else layer
    network.row(name)
    if name not in network.spatial:
        raise UsageError(
            f"layer {name!r} has one position only, so no map can be made of it. Choose another, such as {default_layer(network)!r}"
        )
    activations, logits = network.run(image[None], layer=name, gradient=True)  # [1, C, h, w], [1, K]
    if not 0 <= target < logits.shape[1]:
        raise UsageError(f"class {target}: the network has the classes 0 to {logits.shape[1] - 1}")
    values = class_map(activations, logits[0, target])
    return GradCam(
        layer=name,
        target=target,
        values=values.cpu().numpy(),
        resized=over_picture(network, values).cpu().numpy(),
        logits=logits[0].detach().float().cpu().numpy(),
    )


def class_map(activations: Tensor, score: Tensor) -> Tensor:
    """Equations 1 and 2: activations [1, C, h, w], the score of a class computed from them, a scalar -> float32 [h, w]."""
    with full_float32():
        (gradient,) = torch.autograd.grad(score, activations, allow_unused=True) if score.requires_grad else (None,)
    if gradient is None:
        raise UsageError("the logits do not depend on this layer; choose another")
    with torch.no_grad():
        weights = gradient.mean(dim=(2, 3), keepdim=True)  # alpha_k^c: [1, C, 1, 1]
        return F.relu((weights * activations).sum(dim=1))[0].float()


def over_picture(network: TracedNetwork, values: Tensor) -> Tensor:
    """A map of a layer, float [h, w], over the picture that preprocessing begins with: [size, size]."""
    seen = network.preprocess.crop or network.size
    resized = F.interpolate(values[None, None], size=(seen, seen), mode="bilinear", align_corners=False)[0, 0]
    before = (network.size - seen) // 2
    after = network.size - seen - before
    return F.pad(resized, (before, after, before, after))


def default_layer(network: TracedNetwork) -> str:
    """The last convolution with more than one position; raises UsageError where there is none."""
    convolutions = [name for name in network.spatial if network.rows[name].kind.endswith("conv")]
    if not convolutions:
        raise UsageError("the network has no convolution with more than one position, so there is no map to draw")
    return convolutions[-1]
