"""What computes: one interface for PyTorch and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import BundleError, UsageError, unknown

ENGINES: Final = ("torch", "onnx", "onnx-int8")


class Engine(Protocol):
    """A network with its preprocessing, in inference mode. `logits` may be called from several threads at once."""

    name: str
    device: str

    def logits(self, images: NDArray[np.uint8], *, views: str) -> NDArray[np.float32]:
        """uint8 [B, size, size, 3] -> logits float32 [B, K], averaged over `views`: "none", "flip", "six" or "moved", the rest of "six"."""
        ...

    def split_over(self, threads: int) -> None:
        """From now on share a batch out among `threads` threads, each of which computes on one core; for servers."""
        ...


def open_engine(name: str, folder: Path, description: Mapping[str, Any], *, device: Any = "auto") -> Engine:
    """The engine `name` with the weights of `folder`; raises UsageError for an unknown name, BundleError for damaged files."""
    if name not in ENGINES:
        raise UsageError(unknown("engine", name, ENGINES))
    if name != "torch":
        from cifarlab.bundle.onnx_engine import OnnxEngine

        return OnnxEngine.open(name, folder, description, device=device)
    from cifarlab.bundle.torch_engine import TorchEngine

    return TorchEngine.open(folder, description, device=device)


def finite(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """`logits` as they are; raises BundleError for NaN and infinity, which pass for the smallest of differences when compared."""
    if not np.isfinite(logits).all():
        raise BundleError("the model gives values that are not finite: its weights are damaged")
    return logits
