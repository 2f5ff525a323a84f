"""Bundles of untrained networks: written in milliseconds, with everything that a trained one has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from cifarlab.bundle.manifest import FORMAT, WEIGHTS, record_file
from cifarlab.files import write_json
from cifarlab.models import create_model

# Edits a bundle's bundle.json by a function of its content; returns the bundle.
Change = Callable[[Callable[[dict[str, Any]], object]], Path]
CLASSES = ["red", "green", "blue"]
SPEEDNET = {"name": "speednet", "arguments": {"widths": [8, 8, 8]}}
TEMPERATURES = {"none": 0.7, "flip": 0.8, "six": 0.9, "selective": 0.95}
CONFIDENCE = 0.6


def write_untrained(folder: Path, *, size: int = 32, views: str = "six", model: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A bundle in `folder` whose network has random weights, batch norm statistics as after training; `changes` are of its input."""
    source = {"size": size, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "resize": "crop", "center_crop": None}
    source |= {"network_size": None, "color": "rgb", **changes}
    chosen = model or SPEEDNET
    torch.manual_seed(0)
    side = source["network_size"] or source["center_crop"] or size
    network = create_model(chosen["name"], num_classes=len(CLASSES), image_size=side, arguments=chosen["arguments"])
    vary(network)
    folder.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / WEIGHTS)
    calibrated = {each: {"temperature": value, "threshold": 0.0} for each, value in TEMPERATURES.items()}
    calibrated["selective"]["confidence"] = CONFIDENCE
    description = {
        "format": FORMAT,
        "bundle_version": 2,
        "name": folder.name,
        "model": chosen,
        "classes": CLASSES,
        "input": source,
        "tta": views,
        "weights": WEIGHTS,
        "calibration": {"score": "energy", "views": calibrated},
        "files": {WEIGHTS: record_file(folder / WEIGHTS)},
    }
    write_json(folder / "bundle.json", description)
    return folder


def vary(network: torch.nn.Module) -> None:
    """Statistics and biases that a training would leave: an untrained batch norm is the identity and would hide a mistake."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):  # speednet's pass their input on at first: all the same
            torch.nn.init.kaiming_normal_(module.weight, generator=generator)
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            if module.bias is not None:
                torch.nn.init.uniform_(module.bias, -0.2, 0.2, generator=generator)
    head = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    if head:
        torch.nn.init.normal_(head[-1].weight, std=0.5, generator=generator)


def pictures(count: int, *, size: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth random pictures, uint8 [count, size, size, 3]: noise alone looks the same to a network whatever it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3))
    up = -(-size // 4)
    images: NDArray[np.uint8] = coarse.repeat(up, axis=1).repeat(up, axis=2)[:, :size, :size].astype(np.uint8)
    return np.ascontiguousarray(images)
