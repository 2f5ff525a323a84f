"""The L2 penalty against autograd, arithmetic by hand and PyTorch's weight decay."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.optim import L2Penalty


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    return model.to(memory_format=torch.channels_last)


def loss(model: nn.Module) -> Tensor:
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return F.cross_entropy(model(images), torch.arange(8) % 5)


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize(("on", "layers"), [("kernels", (0, 3)), ("convolutions", (0,))])
def test_gradients_are_those_of_loss_plus_penalty(on: str, layers: tuple[int, ...]) -> None:
    model = network()
    reference = copy.deepcopy(model)
    loss(model).backward()
    L2Penalty(model, strength=0.01, on=on).add_gradients()
    (loss(reference) + 0.01 * sum(reference[layer].weight.square().sum() for layer in layers)).backward()
    found, expected = gradients(model), gradients(reference)
    assert len(found) == len(expected) == 6
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other)


def test_the_value_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, (1, 2)), nn.Flatten(), nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[[[3.0, -4.0]]]]))
        model[2].weight.fill_(2.0)
    assert L2Penalty(model, strength=0.1, on="kernels").value().item() == pytest.approx(0.1 * (9 + 16 + 4))
    assert L2Penalty(model, strength=0.1, on="convolutions").value().item() == pytest.approx(0.1 * (9 + 16))
    assert not L2Penalty(model, strength=0.1, on="kernels").value().requires_grad


def test_under_sgd_it_is_twice_its_strength_of_weight_decay() -> None:
    model, reference = nn.Linear(6, 5, bias=False), nn.Linear(6, 5, bias=False)
    reference.load_state_dict(model.state_dict())
    ours = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    theirs = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9, weight_decay=0.02)
    penalty = L2Penalty(model, strength=0.01, on="kernels")
    inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(2))
    for _ in range(4):
        for each, optimizer in ((model, ours), (reference, theirs)):
            optimizer.zero_grad()
            each(inputs).square().mean().backward()
            if each is model:
                penalty.add_gradients()
            optimizer.step()
    torch.testing.assert_close(model.weight, reference.weight)


def test_a_frozen_kernel_is_left_out() -> None:
    model = network()
    penalty = L2Penalty(model, strength=0.01, on="kernels")
    model[0].weight.requires_grad_(False)
    loss(model).backward()
    penalty.add_gradients()
    assert model[0].weight.grad is None
    assert penalty.value().item() == pytest.approx(0.01 * model[3].weight.square().sum().item(), rel=1e-5)


def test_without_kernels_there_is_no_penalty() -> None:
    penalty = L2Penalty(nn.BatchNorm2d(3), strength=0.01, on="kernels")
    penalty.add_gradients()
    assert penalty.value().item() == 0


@pytest.mark.parametrize("strength", [-0.1, math.nan, math.inf])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be"):
        L2Penalty(network(), strength=strength, on="kernels")


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(ValueError, match="on must be one of convolutions, kernels, not 'biases'"):
        L2Penalty(network(), strength=0.1, on="biases")
