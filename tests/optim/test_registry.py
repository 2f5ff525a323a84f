"""Optimizers by name: equal to PyTorch's where PyTorch has them; wrong arguments are refused when built."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.errors import UsageError
from cifarlab.optim import Muon, create_optimizer, optimizer_names, optimizer_summary

# How PyTorch calls it, with arguments that are nobody's defaults.
TORCH: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any], dict[str, Any]]] = {
    "adagrad": (
        torch.optim.Adagrad,
        {"lr_decay": 0.01, "initial_accumulator": 0.1, "epsilon": 1e-7},
        {"lr_decay": 0.01, "initial_accumulator_value": 0.1, "eps": 1e-7},
    ),
    "adam": (torch.optim.Adam, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-7}, {"betas": (0.8, 0.95), "eps": 1e-7}),
    "adamax": (torch.optim.Adamax, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-7}, {"betas": (0.8, 0.95), "eps": 1e-7}),
    "adamw": (torch.optim.AdamW, {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-7}, {"betas": (0.8, 0.95), "eps": 1e-7}),
    "rmsprop": (
        torch.optim.RMSprop,
        {"decay": 0.9, "momentum": 0.5, "epsilon": 1e-7, "centered": True},
        {"alpha": 0.9, "momentum": 0.5, "eps": 1e-7, "centered": True},
    ),
    "sgd": (torch.optim.SGD, {"momentum": 0.8}, {"momentum": 0.8, "nesterov": True}),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))


def give_gradients(parameters: Iterable[nn.Parameter], seed: int) -> None:
    """The same gradients for the same seed, so that optimizers are compared and not the networks that they lead to."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(gradient)  # in the memory layout of the weight


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: Iterable[int]) -> list[Tensor]:
    for seed in seeds:
        give_gradients(model.parameters(), seed)
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_every_optimizer_but_muon_has_a_reference() -> None:
    assert set(optimizer_names()) == {*TORCH, "muon"}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_steps_equal_those_of_torch(name: str, layout: torch.memory_format) -> None:
    kind, arguments, reference = TORCH[name]
    ours, theirs = network().to(memory_format=layout), network()
    found = steps(ours, create_optimizer(name, ours, lr=0.01, weight_decay=0.1, arguments=arguments), range(6))
    expected = steps(theirs, kind(theirs.parameters(), lr=0.01, weight_decay=0.1, foreach=False, **reference), range(6))
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TORCH)
def test_defaults_are_those_of_torch(name: str) -> None:
    kind = TORCH[name][0]
    ours, theirs = network(), network()
    reference = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {}
    found = steps(ours, create_optimizer(name, ours, lr=0.01), range(4))
    expected = steps(theirs, kind(theirs.parameters(), lr=0.01, weight_decay=0.0, **reference), range(4))
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("arguments", "reference"), [({"momentum": 0.0}, {}), ({"momentum": 0.9, "nesterov": False}, {"momentum": 0.9})])
def test_sgd_without_nesterov_equals_torch(arguments: dict[str, Any], reference: dict[str, Any]) -> None:
    ours, theirs = network(), network()
    found = steps(ours, create_optimizer("sgd", ours, lr=0.01, weight_decay=0.1, arguments=arguments), range(4))
    expected = steps(theirs, torch.optim.SGD(theirs.parameters(), lr=0.01, weight_decay=0.1, **reference), range(4))
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", optimizer_names())
def test_gradients_of_a_real_backward_pass_fit_weights_in_any_layout(name: str) -> None:
    # A kernel that walks over raw memory would mix up weights and gradients that lie differently.
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(64, 5))
    images = torch.randn(4, 3, 8, 8)
    other = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    for model, given in ((plain, images), (other, images.to(memory_format=torch.channels_last))):
        optimizer = create_optimizer(name, model, lr=1e-3)
        for _ in range(2):
            F.cross_entropy(model(given), torch.arange(4)).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", optimizer_names())
def test_a_convex_quadratic_is_reduced(name: str) -> None:
    model = nn.Linear(6, 6, bias=False)
    torch.manual_seed(0)
    nn.init.normal_(model.weight)
    scales = torch.linspace(1.0, 3.0, 6)

    def value() -> Tensor:
        return (scales * model.weight.square()).sum()

    optimizer = create_optimizer(name, model, lr=0.02, arguments={"head_lr": 0.02} if name == "muon" else None)
    before = value().item()
    for _ in range(60):
        optimizer.zero_grad()
        value().backward()
        optimizer.step()
    # Adagrad's steps shrink as 1 / sqrt(t) and sum to about 0.02 * 2 sqrt(60) = 0.3 of weights of size 1.
    assert value().item() < (0.75 if name == "adagrad" else 0.2) * before


@pytest.mark.parametrize("name", optimizer_names())
def test_a_restored_optimizer_goes_on_bit_for_bit(name: str) -> None:
    whole = network().to(memory_format=torch.channels_last)
    optimizer = create_optimizer(name, whole, lr=0.01, weight_decay=0.1)
    steps(whole, optimizer, range(3))
    other = network().to(memory_format=torch.channels_last)
    other.load_state_dict(copy.deepcopy(whole.state_dict()))
    restored = create_optimizer(name, other, lr=0.01, weight_decay=0.1)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    expected, found = steps(whole, optimizer, range(3, 6)), steps(other, restored, range(3, 6))
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", optimizer_names())
def test_parameters_without_a_gradient_stay_as_they_are(name: str) -> None:
    model = network()
    optimizer = create_optimizer(name, model, lr=0.1, weight_decay=0.1)
    before = model[0].weight.detach().clone()
    give_gradients(model.parameters(), 0)
    model[0].weight.grad = None
    optimizer.step()
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("name", optimizer_names())
def test_frozen_parameters_are_left_out_and_groups_know_their_initial_rate(name: str) -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    optimizer = create_optimizer(name, model, lr=0.1)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == 5
    assert all(p is not model[0].weight for p in held)
    assert all(group["initial_lr"] == group["lr"] for group in optimizer.param_groups)


@pytest.mark.parametrize("name", optimizer_names())
def test_each_optimizer_says_what_it_is(name: str) -> None:
    assert len(optimizer_summary(name)) > 20


@pytest.mark.parametrize("name", optimizer_names())
@pytest.mark.parametrize(
    ("lr", "weight_decay"), [(-0.1, 0.0), (math.nan, 0.0), (math.inf, 0.0), ("high", 0.0), (0.1, -0.1), (0.1, math.nan)]
)
def test_unusable_rates_are_refused(name: str, lr: Any, weight_decay: float) -> None:
    with pytest.raises(UsageError, match=f"optimizer {name} cannot be built with"):
        create_optimizer(name, network(), lr=lr, weight_decay=weight_decay)


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


@pytest.mark.parametrize("function", [optimizer_summary, lambda name: create_optimizer(name, network(), lr=0.1)])
def test_an_unknown_optimizer_gets_the_nearest(function: Any) -> None:
    with pytest.raises(UsageError, match=r"unknown optimizer 'adm'; did you mean 'adam'\?; allowed: adagrad, adam, adamax, adamw, muon, "):
        function("adm")


def test_all_unknown_arguments_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"(?s)unknown argument 'beta'.*unknown argument 'momentun'"):
        create_optimizer("adam", network(), lr=0.1, arguments={"beta": 1, "momentun": 2})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("adagrad", {"epsilon": -1.0}),
        ("adagrad", {"initial_accumulator": -1.0}),
        ("adagrad", {"lr_decay": -1.0}),
        ("adam", {"beta1": 1.5}),
        ("adamax", {"beta2": 1.0}),
        ("adamw", {"epsilon": -1.0}),
        ("rmsprop", {"decay": 1.0}),
        ("rmsprop", {"momentum": 1.0}),
        ("rmsprop", {"epsilon": -1.0}),
        ("sgd", {"momentum": -1.0}),
        ("sgd", {"momentum": 1.0}),
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
    [
        ("adagrad", {"lr_decay": "high"}),
        ("adam", {"beta1": "high"}),
        ("adamax", {"beta1": True}),
        ("adamw", {"epsilon": None}),
        ("muon", {"steps": 2.5}),
        ("rmsprop", {"centered": 3}),
        ("sgd", {"momentum": "high"}),
        ("sgd", {"nesterov": 3}),
    ],
)
def test_values_of_the_wrong_type_are_named(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"optimizer {name}: argument {next(iter(arguments))}: .*given: "):
        create_optimizer(name, network(), lr=0.1, arguments=arguments)
