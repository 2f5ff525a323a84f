"""Size of a network: parameters, multiply-adds, depth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class ModelSize:
    """trainable: parameters that training changes; frozen: parameters and batch-norm statistics that it does not;
    multiply_adds: of convolutions and dense layers, for one image; depth: number of those layers."""

    trainable: int
    frozen: int
    multiply_adds: int
    depth: int

    @property
    def parameters(self) -> int:
        """Trainable and frozen together, as Keras counts: running mean and variance of batch norm included."""
        return self.trainable + self.frozen


def measure_model(model: nn.Module, *, image_size: int = 32) -> ModelSize:
    """Count `model` by running one zero image [1, 3, image_size, image_size] through it."""
    multiply_adds = 0
    layers = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal multiply_adds, layers
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        positions = output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        multiply_adds += weight.numel() * positions
        layers += 1

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    was_training = model.training
    model.eval()
    try:
        device = next(model.parameters()).device
        with torch.no_grad():
            model(torch.zeros(1, 3, image_size, image_size, device=device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    # num_batches_tracked is bookkeeping (an integer), not a weight.
    frozen += sum(b.numel() for b in model.buffers() if b.is_floating_point())
    return ModelSize(trainable=trainable, frozen=frozen, multiply_adds=multiply_adds, depth=layers)
