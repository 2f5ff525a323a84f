"""Optimizers by their public name, each built from a model's named parameters."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import nn

from cifarlab.arguments import checked_arguments
from cifarlab.errors import UsageError, unknown
from cifarlab.optim.muon import Muon


def adagrad(
    model: nn.Module, *, lr: float, weight_decay: float, lr_decay: float = 0.0, initial_accumulator: float = 0.0, epsilon: float = 1e-10
) -> torch.optim.Optimizer:
    """Adagrad (Duchi et al. 2011, "Adaptive subgradient methods", section 1.1): steps shrink with all squared gradients so far.

    w <- w - lr g / (sqrt(initial_accumulator + sum g^2) + epsilon); the rate also falls by 1 / (1 + lr_decay t).
    Weight decay is added to the gradient (L2).
    """
    parameters = _trainable(model)
    return torch.optim.Adagrad(
        parameters,
        lr=lr,
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator,
        eps=epsilon,
        **_fused(parameters),
    )


def adam(
    model: nn.Module, *, lr: float, weight_decay: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1); weight decay is added to the gradient (L2)."""
    parameters = _trainable(model)
    return torch.optim.Adam(parameters, lr=lr, betas=(beta1, beta2), eps=epsilon, weight_decay=weight_decay, **_fused(parameters))


def adamax(
    model: nn.Module, *, lr: float, weight_decay: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> torch.optim.Optimizer:
    """Adamax (Kingma and Ba 2015, arXiv 1412.6980, algorithm 2): Adam with the largest recent gradient in place of the variance.

    Weight decay is added to the gradient (L2). u <- max(beta2 u, |g| + epsilon), as in PyTorch; the paper has no epsilon.
    """
    return torch.optim.Adamax(_trainable(model), lr=lr, betas=(beta1, beta2), eps=epsilon, weight_decay=weight_decay)


def adamw(
    model: nn.Module, *, lr: float, weight_decay: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2): w <- w (1 - lr weight_decay)."""
    parameters = _trainable(model)
    return torch.optim.AdamW(parameters, lr=lr, betas=(beta1, beta2), eps=epsilon, weight_decay=weight_decay, **_fused(parameters))


def rmsprop(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    decay: float = 0.99,
    momentum: float = 0.0,
    epsilon: float = 1e-8,
    centered: bool = False,
) -> torch.optim.Optimizer:
    """RMSprop (Tieleman and Hinton 2012, Coursera lecture 6.5): the gradient over the root of its running mean square.

    s <- decay s + (1 - decay) g^2; w <- w - lr g / (sqrt(s) + epsilon), with momentum on the quotient. `centered` takes the
    running mean's square off s (Graves 2013, arXiv 1308.0850, eq. 38-41). Weight decay is added to the gradient (L2).
    """
    _check_below_one(decay=decay, momentum=momentum)
    return torch.optim.RMSprop(
        _trainable(model), lr=lr, alpha=decay, eps=epsilon, weight_decay=weight_decay, momentum=momentum, centered=centered
    )


def sgd(model: nn.Module, *, lr: float, weight_decay: float, momentum: float = 0.9, nesterov: bool = True) -> torch.optim.Optimizer:
    """Stochastic gradient descent: plain, with momentum, or with Nesterov momentum; weight decay is added to the gradient.

    momentum 0: plain (Robbins and Monro 1951). momentum above 0, nesterov false: classical momentum (Polyak 1964). Both:
    Nesterov's (Sutskever et al. 2013, section 2), in PyTorch's form, where the rate stands outside the velocity.
    """
    _check_below_one(momentum=momentum)
    parameters = _trainable(model)
    return torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, weight_decay=weight_decay, **_fused(parameters)
    )


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


_FACTORIES: Final[dict[str, Callable[..., torch.optim.Optimizer]]] = {
    "adagrad": adagrad,
    "adam": adam,
    "adamax": adamax,
    "adamw": adamw,
    "muon": muon,
    "rmsprop": rmsprop,
    "sgd": sgd,
}


def optimizer_names() -> tuple[str, ...]:
    """Public names of all optimizers, sorted."""
    return tuple(sorted(_FACTORIES))


def optimizer_summary(name: str) -> str:
    """First line of the factory's docstring."""
    return (inspect.getdoc(_factory(name)) or "").partition("\n")[0]


def create_optimizer(
    name: str, model: nn.Module, *, lr: float, weight_decay: float = 0.0, arguments: Mapping[str, Any] | None = None
) -> torch.optim.Optimizer:
    """Build an optimizer over the trainable parameters of `model`; each group gets "initial_lr" for the schedule.

    `lr` refers to the mean loss of a batch. Raises UsageError for an unknown name, argument or an unusable value.
    """
    factory = _factory(name)
    given = checked_arguments(f"optimizer {name}", factory, arguments, reserved=("model", "lr", "weight_decay"))
    try:
        for what, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not 0 <= value < math.inf:  # PyTorch's SGD takes NaN
                raise ValueError(f"{what} must be a number of at least 0, not {value!r}")
        optimizer = factory(model, lr=lr, weight_decay=weight_decay, **given)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UsageError(f"optimizer {name} cannot be built with {given}: {error}") from error
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _factory(name: str) -> Callable[..., torch.optim.Optimizer]:
    if name not in _FACTORIES:
        raise UsageError(unknown("optimizer", name, optimizer_names()))
    return _FACTORIES[name]


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _check_below_one(**shares: float) -> None:
    """PyTorch lets these reach 1 and beyond, where the averages diverge."""
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, not {value!r}")


def _fused(parameters: list[nn.Parameter]) -> dict[str, Any]:
    """On a CPU, PyTorch's kernel that does a whole step in one pass over the weights, where an optimizer has one.

    Several times faster than the default, which makes a pass for each operation. `foreach` is no second choice: without such a
    kernel it keeps temporaries as large as the network, and can be slower than the default with some million weights. The fused
    kernel walks over raw memory: weight, gradient and state must have one layout, as autograd and PyTorch's optimizers give them.
    """
    return {"fused": True} if all(parameter.device.type == "cpu" for parameter in parameters) else {}
