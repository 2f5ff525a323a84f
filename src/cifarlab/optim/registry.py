"""Optimizers by their public name, each built from a model's named parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import nn

from cifarlab.arguments import checked_arguments
from cifarlab.errors import UsageError, unknown
from cifarlab.optim.muon import Muon


def adam(
    model: nn.Module, *, lr: float, weight_decay: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1); weight decay is added to the gradient (L2)."""
    return torch.optim.Adam(_trainable(model), lr=lr, betas=(beta1, beta2), eps=epsilon, weight_decay=weight_decay)


def sgd(model: nn.Module, *, lr: float, weight_decay: float, momentum: float = 0.9, nesterov: bool = True) -> torch.optim.Optimizer:
    """Stochastic gradient descent with (Nesterov) momentum, Sutskever et al. 2013; weight decay is added to the gradient."""
    return torch.optim.SGD(_trainable(model), lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, weight_decay=weight_decay)


def muon(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    momentum: float = 0.6,
    bias_lr: float = 50.0,
    head_lr: float = 0.01,
    sgd_momentum: float = 0.85,
    steps: int = 3,
) -> torch.optim.Optimizer:
    """Muon with rate `lr` on convolution filters; Nesterov SGD with `bias_lr` on vectors and `head_lr` on matrices.

    `bias_lr` is large because the batch-norm biases of a network without batch-norm scales get small gradients
    (Page 2018; arXiv 2404.00498, section 3.4). `weight_decay` is what one step takes off a weight, as a fraction,
    at the full rate: the SGD groups get weight_decay / lr each, so that it falls with the schedule.
    """
    parameters = _trainable(model)
    filters = [parameter for parameter in parameters if parameter.ndim == 4]
    vectors = [parameter for parameter in parameters if parameter.ndim == 1]
    matrices = [parameter for parameter in parameters if parameter.ndim not in (1, 4)]
    groups = [
        {"params": filters, "lr": lr, "momentum": momentum, "orthogonal": True},
        {"params": vectors, "lr": bias_lr, "momentum": sgd_momentum, "weight_decay": weight_decay / bias_lr},
        {"params": matrices, "lr": head_lr, "momentum": sgd_momentum, "weight_decay": weight_decay / head_lr},
    ]
    return Muon([group for group in groups if group["params"]], steps=steps)


_FACTORIES: Final[dict[str, Callable[..., torch.optim.Optimizer]]] = {"adam": adam, "muon": muon, "sgd": sgd}


def optimizer_names() -> tuple[str, ...]:
    """Public names of all optimizers, sorted."""
    return tuple(sorted(_FACTORIES))


def create_optimizer(
    name: str, model: nn.Module, *, lr: float, weight_decay: float = 0.0, arguments: Mapping[str, Any] | None = None
) -> torch.optim.Optimizer:
    """Build an optimizer over the trainable parameters of `model`; each group gets "initial_lr" for the schedule.

    `lr` refers to the mean loss of a batch. Raises UsageError for an unknown name, argument or an unusable value.
    """
    if name not in _FACTORIES:
        raise UsageError(unknown("optimizer", name, optimizer_names()))
    given = checked_arguments(f"optimizer {name}", _FACTORIES[name], arguments, reserved=("model", "lr", "weight_decay"))
    try:
        optimizer = _FACTORIES[name](model, lr=lr, weight_decay=weight_decay, **given)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UsageError(f"optimizer {name} cannot be built with {given}: {error}") from error
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
