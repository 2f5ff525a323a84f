"""Small networks to serve: real ones, untrained, quick."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from cifarlab.bundle import Predictor, load_predictor
from cifarlab.models import create_model
from cifarlab.restore import BUNDLE_VERSION

SIZE = 20
CLASSES = ("ant", "bee", "cow", "dög", "elk")


def description(*, tta: str = "flip", **more: Any) -> dict[str, Any]:
    """What bundle.json holds."""
    return {
        "bundle_version": BUNDLE_VERSION,
        "model": {"name": "speednet", "arguments": {"widths": [8, 8, 8]}},
        "classes": list(CLASSES),
        "input": {
            "size": SIZE,
            "mean": [0.4, 0.5, 0.6],
            "std": [0.2, 0.2, 0.3],
            "resize": "crop",
            "center_crop": None,
            "network_size": None,
            "color": "rgb",
        },
        "tta": tta,
        "weights": "weights/last.safetensors",
        **more,
    }


def write_model(folder: Path, *, seed: int = 0, **more: Any) -> Path:
    """A run directory as far as serving needs it, with random weights whose answers differ from image to image."""
    (folder / "weights").mkdir(parents=True)
    (folder / "bundle.json").write_text(json.dumps(description(**more)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model("speednet", num_classes=len(CLASSES), image_size=SIZE, arguments={"widths": [8, 8, 8]})
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        state["head.weight"] = 3 * torch.randn_like(state["head.weight"])
    save_file(state, folder / "weights" / "last.safetensors")
    return folder


def load(folder: Path) -> Predictor:
    return load_predictor(folder, device="cpu")


def picture(seed: int, *, height: int = 30, width: int = 40) -> NDArray[np.uint8]:
    """A picture of soft blots, uint8 [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: NDArray[np.uint8], kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()
