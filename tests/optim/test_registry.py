"""Optimizers by name: equal to PyTorch's where PyTorch has them; wrong arguments are refused when built."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cifarlab.errors import UsageError
from cifarlab.optim import Muon, create_optimizer, optimizer_names


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))


def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        images = torch.randn(8, 3, 8, 8, generator=generator)
        loss = F.cross_entropy(model(images), torch.arange(8) % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.state_dict()


def assert_same_training(name: str, arguments: dict[str, object], reference: torch.optim.Optimizer, model: nn.Module) -> None:
    ours = network()
    found = train(ours, create_optimizer(name, ours, lr=0.01, weight_decay=0.1, arguments=arguments))
    expected = train(model, reference)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_adam_equals_torch() -> None:
    model = network()
    reference = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.8, 0.95), eps=1e-7, weight_decay=0.1)
    assert_same_training("adam", {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-7}, reference, model)


def test_sgd_equals_torch() -> None:
    model = network()
    reference = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1)
    assert_same_training("sgd", {}, reference, model)


def test_sgd_without_momentum_equals_torch() -> None:
    model = network()
    assert_same_training("sgd", {"momentum": 0.0}, torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0.1), model)


def test_muon_sorts_parameters_by_their_dimensions() -> None:
    model = network()
    optimizer = create_optimizer("muon", model, lr=0.1, weight_decay=0.002, arguments={"bias_lr": 20.0, "head_lr": 0.04})
    assert isinstance(optimizer, Muon)
    filters, vectors, matrices = optimizer.param_groups
    assert [p.ndim for p in filters["params"]] == [4]
    assert [p.ndim for p in vectors["params"]] == [1, 1, 1, 1]
    assert [p.ndim for p in matrices["params"]] == [2]
    assert [group["orthogonal"] for group in optimizer.param_groups] == [True, False, False]
    # One step takes lr * weight_decay of the group off a weight: 0.002 in both.
    assert vectors["lr"] * vectors["weight_decay"] == pytest.approx(0.002)
    assert matrices["lr"] * matrices["weight_decay"] == pytest.approx(0.002)


@pytest.mark.parametrize("name", optimizer_names())
def test_frozen_parameters_are_left_out_and_groups_know_their_initial_rate(name: str) -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    optimizer = create_optimizer(name, model, lr=0.1)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == 5
    assert all(p is not model[0].weight for p in held)
    assert all(group["initial_lr"] == group["lr"] for group in optimizer.param_groups)


def test_an_unknown_optimizer_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown optimizer 'adm'; did you mean 'adam'\?; allowed: adam, muon, sgd"):
        create_optimizer("adm", network(), lr=0.1)


def test_all_unknown_arguments_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"(?s)unknown argument 'beta'.*unknown argument 'momentun'"):
        create_optimizer("adam", network(), lr=0.1, arguments={"beta": 1, "momentun": 2})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("adam", {"beta1": 1.5}),
        ("sgd", {"momentum": -1.0}),
        ("muon", {"momentum": 1.0}),
        ("muon", {"sgd_momentum": -0.1}),
        ("muon", {"bias_lr": -1.0}),
        ("muon", {"head_lr": 0.0}),
        ("muon", {"steps": 0}),
    ],
)
def test_unusable_values_are_refused_when_built(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"optimizer {name} cannot be built with"):
        create_optimizer(name, network(), lr=0.1, weight_decay=0.01, arguments=arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("adam", {"beta1": "high"}), ("sgd", {"momentum": "high"}), ("sgd", {"nesterov": 3}), ("muon", {"steps": 2.5})],
)
def test_values_of_the_wrong_type_are_named(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"optimizer {name}: argument {next(iter(arguments))}: .*given: "):
        create_optimizer(name, network(), lr=0.1, arguments=arguments)
