"""Logits by PyTorch, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cifarlab.augment import predict_views
from cifarlab.build import choose_device, full_float32, restore, weights_path
from cifarlab.bundle.manifest import WEIGHTS, is_bundle, read_verified
from cifarlab.data.preprocess import Preprocess


class TorchEngine:
    """See `cifarlab.bundle.engines.Engine`. model, preprocess: as `cifarlab.build.restore` gives them."""

    name = "torch"

    def __init__(self, model: nn.Module, preprocess: Preprocess, *, device: torch.device) -> None:
        self.model = model.to(device).eval()
        self.preprocess = preprocess.to(device)
        self.device = str(device)
        self._device = device

    @classmethod
    def open(cls, folder: Path, description: Mapping[str, Any], *, device: str | torch.device = "auto") -> TorchEngine:
        """From a bundle or run directory; raises BundleError where its weights are damaged or of another network."""
        chosen = device if isinstance(device, torch.device) else choose_device(device)
        described = dict(description)
        if is_bundle(described):
            model, preprocess = restore(described, folder / WEIGHTS, content=read_verified(folder, described, WEIGHTS))
        else:
            model, preprocess = restore(described, weights_path(folder, described))
        return cls(model, preprocess, device=chosen)

    @torch.no_grad()
    def logits(self, images: NDArray[np.uint8], *, views: str) -> NDArray[np.float32]:
        """See `Engine.logits`. float32 arithmetic: the answer does not depend on the images beside it beyond rounding."""
        batch = torch.from_numpy(images).to(self._device)  # [B, size, size, 3]
        with full_float32():
            averaged = predict_views(self.model, self.preprocess(batch), views=views)[1]
        logits: NDArray[np.float32] = averaged.float().cpu().numpy()
        return logits
