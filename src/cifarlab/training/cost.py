"""What a training costs in operations, and what the machine could do at most."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from cifarlab.models import measure_model
from cifarlab.plan import Plan

PASSES = 3  # forward once, and backward twice as much: once for the inputs, once for the weights
# The convolution whose speed is the peak: channels in and out, side in pixels, kernel. Groups 2 and 3 of speednet have its width.
CHANNELS, SIDE, KERNEL = 256, 14, 3


def training_operations(plan: Plan, rows: Sequence[Mapping[str, Any]], *, image_size: int) -> float:
    """Floating-point operations of the epochs in `rows`: 2 x 3 x multiply-adds of the network x images, at each epoch's input size.

    A multiply-add counts as two operations and the backward pass as two forward ones, as is usual where the costs of trainings
    are compared (Amodei and Hernandez, "AI and Compute", 2018). Convolutions and dense layers are counted, frozen ones too;
    nothing else. image_size: side in pixels where the recipe has no resolutions.
    """
    multiply_adds: dict[int, int] = {}
    operations, done = 0.0, 0
    for epoch, row in enumerate(rows):
        size = plan.image_size(epoch) or image_size
        if size not in multiply_adds:
            multiply_adds[size] = measure_model(plan.model, image_size=size).multiply_adds
        images = len(plan.loader) * (row["step"] - done) / plan.loader.steps_per_epoch
        operations += 2 * PASSES * multiply_adds[size] * images
        done = row["step"]
    return operations


def convolution_peak(device: torch.device, *, precision: str = "fp32", seconds: float = 0.7) -> float:
    """Operations a second of the fastest forward pass of one convolution: 3 x 3, 256 to 256 channels, 14 x 14 pixels.

    precision: "fp32" or "bf16". It is what the best training on this machine could come near to, measured with the threads that
    PyTorch has now, for about `seconds`. Other work on the machine makes it too low.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    batch = 1024 if device.type == "cuda" else 128
    images = torch.randn(batch, CHANNELS, SIDE, SIDE, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    kernel = torch.randn(CHANNELS, CHANNELS, KERNEL, KERNEL, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    operations = 2 * batch * SIDE**2 * CHANNELS**2 * KERNEL**2
    fastest, calls, begun = float("inf"), 0, time.perf_counter()
    with torch.inference_mode():
        # The first two calls prepare: they choose the algorithm and lay out the weights.
        while calls < 4 or time.perf_counter() - begun < seconds:
            start = time.perf_counter()
            F.conv2d(images, kernel, padding=1)
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            if calls >= 2:
                fastest = min(fastest, time.perf_counter() - start)
            calls += 1
    return operations / fastest


def time_to_target(rows: Sequence[Mapping[str, Any]], target: float) -> Mapping[str, Any] | None:
    """The first of an epoch's `rows` whose validation accuracy (0..1, one view) is at least `target`, or None."""
    return next((row for row in rows if row["validation_accuracy"] is not None and row["validation_accuracy"] >= target), None)
