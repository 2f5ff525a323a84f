"""Loss functions on logits, by name.

All take logits float [B, K] and targets, either labels int64 [B] or soft targets float [B, K] (each row a
distribution, as mixup and CutMix give), and return the mean loss, a scalar in the dtype of the logits.
t is the target vector (one-hot for a label), p = softmax(logits).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from cifarlab.errors import UsageError, unknown

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Categorical cross-entropy: -sum_k t_k log p_k.

    float [B, K], float [B, K] -> [B], in nats. Bridle 1990, "Probabilistic interpretation of feedforward
    classification network outputs".
    """
    return F.cross_entropy(logits, targets, reduction="none")  # [B, K] -> [B]


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each class: -mean_k (t_k log p_k + (1 - t_k) log(1 - p_k)).

    float [B, K], float [B, K] -> [B], in nats; K >= 2. Exact and with finite gradients also where a p rounds to 1,
    where Keras clips p to 1e-7 .. 1 - 1e-7 and the gradient vanishes.
    """
    log_p = F.log_softmax(logits, dim=1)
    # Only the largest p can come near 1, where 1 - p cancels: there 1 - p is the sum of the others' exponentials.
    top = logits.argmax(dim=1, keepdim=True)  # [B, K] -> [B, 1]
    others = logits.scatter(1, top, -math.inf).logsumexp(dim=1, keepdim=True) - logits.logsumexp(dim=1, keepdim=True)
    log_rest = torch.log1p(-log_p.exp().scatter(1, top, 0.0)).scatter(1, top, others)
    return -(targets * log_p + (1.0 - targets) * log_rest).mean(dim=1)  # [B, K] -> [B]


def mean_squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the probabilities: mean_k (t_k - p_k)^2.

    float [B, K], float [B, K] -> [B], in 0 .. 2 / K. Brier 1950, eq. 2, divided by K.
    """
    return (targets - logits.softmax(dim=1)).square().mean(dim=1)  # [B, K] -> [B]


def mean_squared_logarithmic_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the logarithms: mean_k (log(1 + t_k) - log(1 + p_k))^2.

    float [B, K], float [B, K] -> [B], in 0 .. 2 (log 2)^2 / K.
    """
    return (torch.log1p(targets) - torch.log1p(logits.softmax(dim=1))).square().mean(dim=1)  # [B, K] -> [B]


def mean_absolute_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Absolute error of the probabilities: mean_k |t_k - p_k|.

    float [B, K], float [B, K] -> [B], in 0 .. 2 / K. As a loss: Ghosh et al. 2017, arXiv 1712.09482, section 3.
    """
    return (targets - logits.softmax(dim=1)).abs().mean(dim=1)  # [B, K] -> [B]


_PER_SAMPLE: Final[dict[str, Loss]] = {
    "binary-cross-entropy": binary_cross_entropy,
    "cross-entropy": cross_entropy,
    "mae": mean_absolute_error,
    "mse": mean_squared_error,
    "msle": mean_squared_logarithmic_error,
}


def loss_names() -> tuple[str, ...]:
    """Public names of all losses, sorted."""
    return tuple(sorted(_PER_SAMPLE))


def loss_summary(name: str) -> str:
    """First line of the docstring of the loss."""
    return (inspect.getdoc(_per_sample(name)) or "").partition("\n")[0]


def create_loss(name: str, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> Loss:
    """The loss `name`: logits float [B, K] and targets int64 [B] or float [B, K] -> mean loss, scalar.

    `label_smoothing` e in 0 .. below 1 takes t to (1 - e) t + e / K (Szegedy et al. 2016, arXiv 1512.00567,
    section 7). `class_weights`: positive float [K] on the device of the logits. A sample weighs as its class,
    w_i = sum_k t_ik w_k with t before smoothing, and the mean is sum_i w_i loss_i / sum_i w_i: divided by the weights, as
    PyTorch's cross-entropy of labels does, not by B as in Keras. Where weights meet smoothing or soft targets, PyTorch
    differs: it weighs the share of each class apart, and divides by B with soft targets.
    Raises UsageError for an unknown name and for values out of range.
    """
    per_sample = _per_sample(name)
    if isinstance(label_smoothing, bool) or not isinstance(label_smoothing, (int, float)) or not 0 <= label_smoothing < 1:
        raise UsageError(f"label smoothing must be at least 0 and below 1, not {label_smoothing!r}")
    if class_weights is not None:
        _check_weights(class_weights)
    elif name == "cross-entropy":

        def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)

        return mean_cross_entropy

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        hard = not targets.is_floating_point()
        classes = logits.shape[1]
        goal = F.one_hot(targets, classes).to(logits.dtype) if hard else targets  # [B] -> [B, K]
        if label_smoothing:
            goal = goal * (1.0 - label_smoothing) + label_smoothing / classes
        losses = per_sample(logits, goal)  # [B, K] -> [B]
        if class_weights is None:
            return losses.mean()
        weights = class_weights[targets] if hard else targets @ class_weights  # [B] or [B, K] -> [B]
        return (weights * losses).sum() / weights.sum()

    return loss


def balanced_class_weights(counts: Sequence[int] | Tensor) -> Tensor:
    """Weights that make all classes count alike: w_k = n / (K n_k), float32 [K], for `counts` n_k, n their sum.

    King and Zeng 2001; scikit-learn's "balanced". Raises UsageError for a class without images.
    """
    numbers = torch.as_tensor(counts, dtype=torch.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise UsageError(f"class weights need one count for each class, not {counts!r}")
    if empty := (numbers <= 0).nonzero().flatten().tolist():
        raise UsageError(
            f"balanced class weights need images of every class; none of class {', '.join(map(str, empty))}. "
            "Train without class weights, or on data that has every class"
        )
    return (numbers.sum() / (len(numbers) * numbers)).float()


def _per_sample(name: str) -> Loss:
    if name not in _PER_SAMPLE:
        raise UsageError(unknown("loss", name, loss_names()))
    return _PER_SAMPLE[name]


def _check_weights(weights: Tensor) -> None:
    usable = weights.ndim == 1 and len(weights) > 0 and weights.is_floating_point()
    if not usable or not bool((torch.isfinite(weights) & (weights > 0)).all()):
        raise UsageError(f"class weights must be one positive number for each class, not {weights.tolist()}")
