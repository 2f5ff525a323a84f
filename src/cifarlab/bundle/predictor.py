"""Files in, labels and probabilities out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cifarlab.augment import VIEWS, predict_views
from cifarlab.build import full_float32, restore, weights_path
from cifarlab.data.images import RESIZE_RULES, fit_image, read_image
from cifarlab.data.preprocess import Preprocess
from cifarlab.errors import BundleError, UsageError, nearest, unknown
from cifarlab.metrics import softmax

Source = str | Path | bytes | BinaryIO | NDArray[np.uint8]


class Predicted(NamedTuple):
    """labels: N class names, the most probable of each image; probabilities: float64 [N, K], rows sum to 1."""

    labels: list[str]
    probabilities: NDArray[np.float64]


class Predictor:
    """A trained network with its preprocessing. class_names: K names; size: input side in pixels; tta: views by default."""

    def __init__(self, model: nn.Module, preprocess: Preprocess, description: dict[str, Any], *, device: torch.device) -> None:
        self.model = model.to(device).eval()
        self.preprocess = preprocess.to(device)
        self.device = device
        self.description = description
        self.class_names: tuple[str, ...] = tuple(description["classes"])
        self.size: int = description["input"]["size"]
        self.resize: str = description["input"]["resize"]
        self.tta: str = description["tta"]

    def read(self, source: Source) -> NDArray[np.uint8]:
        """One image as the network's input size wants it, uint8 [size, size, 3]; raises ImageError.

        `source`: a path, the bytes of an image file, an open binary file, or uint8 [H, W, 3].
        """
        if not isinstance(source, (str, Path, bytes, np.ndarray)) and not hasattr(source, "read"):
            raise UsageError(f"an image is a path, bytes, an open file or a uint8 array [H, W, 3], not {type(source).__name__}")
        image = source if isinstance(source, np.ndarray) else read_image(Path(source) if isinstance(source, str) else source)
        return fit_image(image, size=self.size, resize=self.resize)

    def predict(self, sources: Sequence[Source], *, tta: str | None = None, batch_size: int = 256) -> Predicted:
        """Labels and probabilities of images; raises ImageError at the first that cannot be read.

        `tta`: "none", "flip" or "six" views of each image; without it, what the model was trained to be used with.
        float32 arithmetic, so that the answer does not depend on the images beside it beyond rounding.
        """
        if isinstance(sources, (str, Path, bytes)) or not isinstance(sources, Sequence):
            raise UsageError("predict takes a list of images, such as predict(['cat.jpg'])")
        return self.predict_arrays([self.read(source) for source in sources], tta=tta, batch_size=batch_size)

    @torch.no_grad()
    def predict_arrays(self, images: Sequence[NDArray[np.uint8]], *, tta: str | None = None, batch_size: int = 256) -> Predicted:
        """As `predict`, for images that `read` has prepared: uint8 [size, size, 3] each."""
        views = self.tta if tta is None else tta
        if views not in VIEWS:
            raise UsageError(unknown("test-time augmentation", views, VIEWS))
        logits = np.zeros((0, len(self.class_names)), dtype=np.float32)
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.stack(images[start : start + batch_size])).to(self.device)  # [B, size, size, 3]
            with full_float32():
                averaged = predict_views(self.model, self.preprocess(batch), views=views)[1]
            logits = np.concatenate([logits, averaged.float().cpu().numpy()])
        probabilities = softmax(logits) if len(logits) else logits.astype(np.float64)
        return Predicted([self.class_names[index] for index in probabilities.argmax(1)], probabilities)


def load_predictor(path: Path, *, device: torch.device) -> Predictor:
    """Load a bundle or a run directory; raises UsageError where `path` is neither, BundleError where it is damaged."""
    file = path / "bundle.json"
    if not file.exists():
        raise UsageError(_no_model(path))
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} is damaged: {error}") from error
    if not isinstance(description, dict):
        raise BundleError(f"{file} is damaged: a JSON object was expected")
    classes = description.get("classes", [""])
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise BundleError(f"{file} is damaged: its classes must be a list of names, not {classes!r}")
    model, preprocess = restore(description, weights_path(path, description))
    if description.get("tta") not in VIEWS:
        raise BundleError(f"{file} is damaged: " + unknown("test-time augmentation", description.get("tta"), VIEWS))
    if description["input"].get("resize") not in RESIZE_RULES:
        raise BundleError(f"{file} is damaged: " + unknown("resize rule", description["input"].get("resize"), RESIZE_RULES))
    try:
        return Predictor(model, preprocess, description, device=device)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{file} is damaged: {error}") from error


def _no_model(path: Path) -> str:
    siblings = [found.parent.name for found in path.parent.glob("*/bundle.json")] if path.parent.is_dir() else []
    match = nearest(path.name, siblings)
    reason = "it is a file, not a folder" if path.exists() else "there is no such folder"
    if path.is_dir():
        reason = "it has no bundle.json"
    hint = f" Did you mean {path.parent / match}?" if match else ""
    return f"{path} is not a trained model: {reason}.{hint} Give a run directory such as runs/demo (train one with: cifarlab demo)"
