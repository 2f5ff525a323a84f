"""Pruning against NumPy's order of magnitudes, masked training against plain training of the weights that are left."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.errors import UsageError
from cifarlab.optim import apply_masks, create_optimizer, optimizer_names, prunable_weights, prune_smallest, sparsity, zero_masks


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 5))
    return model.to(memory_format=torch.channels_last)


def weights(model: nn.Module) -> list[Tensor]:
    return [weight.detach().clone() for _, weight in prunable_weights(model)]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, *, seed: int) -> None:
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    F.cross_entropy(model(images), torch.arange(8) % 5).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def test_kernels_are_prunable_and_nothing_else() -> None:
    assert [name for name, _ in prunable_weights(network())] == ["0.weight", "2.weight", "4.weight"]


def test_frozen_kernels_are_not_prunable() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    prune_smallest(model, share=0.5)
    assert [name for name, _ in prunable_weights(model)] == ["2.weight", "4.weight"]
    assert torch.equal(model[0].weight, before)


def test_a_shared_kernel_counts_once() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert [name for name, _ in prunable_weights(nn.Sequential(first, second))] == ["0.weight"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.99])
def test_the_share_is_taken_from_each_layer_smallest_first(share: float) -> None:
    model = network()
    before = weights(model)
    prune_smallest(model, share=share)
    for old, new in zip(before, weights(model), strict=True):
        flat = old.flatten().numpy()
        expected = flat.copy()
        expected[np.argsort(np.abs(flat))[: math.floor(share * flat.size)]] = 0
        np.testing.assert_array_equal(new.flatten().numpy(), expected)


def test_equal_magnitudes_do_not_change_the_number() -> None:
    model = nn.Linear(10, 10)
    nn.init.constant_(model.weight, -1.0)
    prune_smallest(model, share=0.37)
    assert model.weight.count_nonzero() == 63


def test_a_threshold_removes_what_is_below_it() -> None:
    model = nn.Linear(4, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-0.3, 0.1, 0.2, -0.1]]))
    prune_smallest(model, threshold=0.2)
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[-0.3, 0.0, 0.2, 0.0]]))
    assert sparsity(model) == 0.5


def test_a_threshold_above_a_whole_layer_is_refused_before_anything_changes() -> None:
    model = network()
    with torch.no_grad():
        model[4].weight.mul_(1e-3)
    before = weights(model)
    with pytest.raises(UsageError, match=r"would remove all of 4\.weight \(largest: .*\); take a smaller one"):
        prune_smallest(model, threshold=0.01)
    assert all(torch.equal(old, new) for old, new in zip(before, weights(model), strict=True))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"share": 0.5, "threshold": 0.1},
        {"share": 1.0},
        {"share": -0.1},
        {"share": math.nan},
        {"threshold": -1.0},
        {"threshold": math.inf},
    ],
)
def test_share_or_threshold_in_range_and_not_both(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"share|threshold"):
        prune_smallest(network(), **arguments)


def test_sparsity_is_the_share_of_zeros_over_all_layers() -> None:
    model = nn.Sequential(nn.Linear(10, 3), nn.Linear(3, 10))
    assert sparsity(model) == 0
    with torch.no_grad():
        model[0].weight[0] = 0.0
    assert sparsity(model) == pytest.approx(10 / 60)


def test_a_network_without_kernels_has_no_sparsity() -> None:
    assert sparsity(nn.BatchNorm2d(3)) == 0


@pytest.mark.parametrize("name", optimizer_names())
def test_zeros_stay_and_the_other_weights_move(name: str) -> None:
    model = network()
    optimizer = create_optimizer(name, model, lr=0.01, weight_decay=0.01)
    train(model, optimizer, seed=0)  # momentum from the dense phase would move the zeros
    prune_smallest(model, share=0.5)
    before = weights(model)
    for seed in range(1, 4):
        masks = zero_masks(model)
        train(model, optimizer, seed=seed)
        apply_masks(masks)
    for old, new in zip(before, weights(model), strict=True):
        assert torch.equal(old == 0, new == 0)
        assert not torch.equal(old, new)
    assert sparsity(model) == pytest.approx(0.5)


def test_masks_need_no_memory_of_earlier_steps() -> None:
    # A resumed run finds the mask in the weights: masks kept from the start and masks found anew agree.
    kept, anew = network(), network()
    for model in (kept, anew):
        prune_smallest(model, share=0.4)
    optimizers = [create_optimizer("adam", model, lr=0.01) for model in (kept, anew)]
    masks = zero_masks(kept)
    for seed in range(3):
        train(kept, optimizers[0], seed=seed)
        apply_masks(masks)
        found = zero_masks(anew)
        train(anew, optimizers[1], seed=seed)
        apply_masks(found)
    assert all(torch.equal(one, two) for one, two in zip(weights(kept), weights(anew), strict=True))
