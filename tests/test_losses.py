"""Losses against PyTorch, scikit-learn and their formulas in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from cifarlab.errors import UsageError
from cifarlab.losses import balanced_class_weights, create_loss, loss_names, loss_summary

CLASSES = 4
WEIGHTS = (0.5, 2.0, 1.0, 3.0)


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Logits [6, 4] and labels int64 [6] in which the classes are not equally frequent."""
    logits = 2 * torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return logits, torch.tensor([0, 1, 1, 3, 3, 3])


def soft_targets(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(6, CLASSES, generator=torch.Generator().manual_seed(1), dtype=dtype).softmax(1)


def by_formula(name: str, logits: Tensor, targets: Tensor) -> np.ndarray:
    """The loss of each sample in float64, from the definition."""
    z, t = logits.double().numpy(), targets.double().numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    terms = {
        "cross-entropy": lambda: -t * np.log(p) * t.shape[1],
        "binary-cross-entropy": lambda: -(t * np.log(p) + (1 - t) * np.log(1 - p)),
        "mse": lambda: (t - p) ** 2,
        "msle": lambda: (np.log(1 + t) - np.log(1 + p)) ** 2,
        "mae": lambda: np.abs(t - p),
    }
    return np.asarray(terms[name]().mean(1))


def test_the_registry_holds_the_five_losses() -> None:
    assert loss_names() == ("binary-cross-entropy", "cross-entropy", "mae", "mse", "msle")


@pytest.mark.parametrize("name", loss_names())
def test_each_loss_says_what_it_is(name: str) -> None:
    assert len(loss_summary(name)) > 20


@pytest.mark.parametrize("name", loss_names())
def test_the_mean_over_soft_targets_is_the_formula(name: str) -> None:
    logits, _ = batch()
    expected = by_formula(name, logits, soft_targets()).mean()
    assert create_loss(name)(logits, soft_targets()).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("name", loss_names())
def test_a_label_is_its_one_hot_vector(name: str, weights: tuple[float, ...] | None, smoothing: float) -> None:
    logits, labels = batch()
    loss = create_loss(name, label_smoothing=smoothing, class_weights=None if weights is None else torch.tensor(weights))
    torch.testing.assert_close(loss(logits, labels), loss(logits, F.one_hot(labels, CLASSES).float()))


@pytest.mark.parametrize("name", loss_names())
def test_a_certain_right_answer_costs_nothing(name: str) -> None:
    _, labels = batch()
    logits = 60.0 * F.one_hot(labels, CLASSES).float()
    assert 0 <= create_loss(name)(logits, labels).item() < 1e-6


@pytest.mark.parametrize("name", loss_names())
def test_a_wrong_answer_costs_more_than_a_right_one(name: str) -> None:
    _, labels = batch()
    loss, logits = create_loss(name), 3.0 * F.one_hot(labels, CLASSES).float()
    assert loss(-logits, labels) > loss(logits, labels) + 0.01


@pytest.mark.parametrize("name", loss_names())
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("hard", [True, False])
def test_gradients_are_those_of_finite_differences(name: str, weights: tuple[float, ...] | None, hard: bool) -> None:
    logits, labels = batch(torch.float64)
    targets = labels if hard else soft_targets(torch.float64)
    given = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    loss = create_loss(name, label_smoothing=0.1, class_weights=given)
    assert torch.autograd.gradcheck(lambda z: loss(z, targets), logits.requires_grad_())


@pytest.mark.parametrize("name", loss_names())
def test_loss_and_gradients_stay_finite_for_extreme_logits(name: str) -> None:
    logits = (1e4 * torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, -1], [1, 1, 0, 0], [-1, 0, 0, 1]])).requires_grad_()
    value = create_loss(name, label_smoothing=0.1)(logits, torch.tensor([0, 0, 1, 2]))
    value.backward()
    assert logits.grad is not None
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", loss_names())
@pytest.mark.parametrize("hard", [True, False])
def test_label_smoothing_mixes_the_targets_with_the_uniform_distribution(name: str, hard: bool) -> None:
    logits, labels = batch()
    targets = F.one_hot(labels, CLASSES).float() if hard else soft_targets()
    expected = create_loss(name)(logits, 0.7 * targets + 0.3 / CLASSES)
    torch.testing.assert_close(create_loss(name, label_smoothing=0.3)(logits, labels if hard else targets), expected)


@pytest.mark.parametrize("name", loss_names())
def test_weighted_mean_is_divided_by_the_weights_of_the_samples(name: str) -> None:
    logits, _ = batch()
    weights = soft_targets().double().numpy() @ np.array(WEIGHTS)
    expected = np.average(by_formula(name, logits, soft_targets()), weights=weights)
    found = create_loss(name, class_weights=torch.tensor(WEIGHTS))(logits, soft_targets())
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", loss_names())
def test_equal_weights_change_nothing(name: str) -> None:
    logits, labels = batch()
    torch.testing.assert_close(
        create_loss(name, label_smoothing=0.1, class_weights=torch.full((CLASSES,), 7.0))(logits, labels),
        create_loss(name, label_smoothing=0.1)(logits, labels),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_labels_is_torch_bit_for_bit(smoothing: float) -> None:
    logits, labels = batch()
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = create_loss("cross-entropy", label_smoothing=smoothing)(ours, labels)
    reference = F.cross_entropy(theirs, labels, label_smoothing=smoothing)
    value.backward()
    reference.backward()
    assert torch.equal(value, reference)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


def test_weighted_cross_entropy_of_labels_is_torch() -> None:
    logits, labels = batch()
    weights = torch.tensor(WEIGHTS)
    torch.testing.assert_close(
        create_loss("cross-entropy", class_weights=weights)(logits, labels), F.cross_entropy(logits, labels, weight=weights)
    )


def test_binary_cross_entropy_is_torch_on_the_probabilities() -> None:
    logits, labels = batch(torch.float64)
    expected = F.binary_cross_entropy(logits.softmax(1), F.one_hot(labels, CLASSES).double())
    torch.testing.assert_close(create_loss("binary-cross-entropy")(logits, labels), expected)


def test_binary_cross_entropy_is_exact_where_a_probability_rounds_to_one() -> None:
    # p = (1 - e^-200, e^-200), target (0, 1): both terms are 200.
    found = create_loss("binary-cross-entropy")(torch.tensor([[200.0, 0.0]]), torch.tensor([1]))
    assert found.item() == pytest.approx(200.0)


def test_mse_and_mae_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]])  # p = (3/4, 1/4)
    assert create_loss("mse")(logits, torch.tensor([0])).item() == pytest.approx(1 / 16)
    assert create_loss("mae")(logits, torch.tensor([0])).item() == pytest.approx(1 / 4)
    assert create_loss("msle")(logits, torch.tensor([0])).item() == pytest.approx((math.log(8 / 7) ** 2 + math.log(5 / 4) ** 2) / 2)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [5, 20, 7])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(balanced_class_weights([5, 20, 7]), expected, rtol=1e-6)
    np.testing.assert_allclose(balanced_class_weights(torch.tensor([5, 20, 7])), expected, rtol=1e-6)


def test_balanced_weights_refuse_a_class_without_images() -> None:
    with pytest.raises(UsageError, match="none of class 1, 3"):
        balanced_class_weights([4, 0, 2, 0])


def test_an_unknown_loss_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown loss 'crossentropy'; did you mean 'cross-entropy'\?; allowed: binary-cross-entropy, "):
        create_loss("crossentropy")


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan, "0.1", True])
def test_label_smoothing_out_of_range_is_refused(smoothing: float) -> None:
    with pytest.raises(UsageError, match="label smoothing must be"):
        create_loss("mse", label_smoothing=smoothing)


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, -1.0], [1.0, math.nan], [1.0, math.inf], [], [[1.0, 2.0]], [1, 2]])
def test_unusable_class_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="one positive number for each class"):
        create_loss("cross-entropy", class_weights=torch.tensor(weights))
