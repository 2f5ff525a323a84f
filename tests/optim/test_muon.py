"""Muon: its SGD part against torch.optim.SGD, its orthogonal part against the SVD."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from cifarlab.optim import Muon, orthogonalize


def gradient(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_without_weight_decay_vectors_move_as_under_nesterov_sgd() -> None:
    ours, theirs = (nn.Parameter(gradient((7, 5), 0)) for _ in range(2))
    muon = Muon([{"params": [ours], "lr": 0.1, "momentum": 0.85}])
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.85, nesterov=True)
    for step in range(6):
        ours.grad, theirs.grad = gradient((7, 5), step + 1), gradient((7, 5), step + 1)
        muon.step()
        sgd.step()
        torch.testing.assert_close(ours, theirs)


def test_weight_decay_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    muon = Muon([{"params": [weight], "lr": 0.1, "momentum": 0.5, "weight_decay": 1.0}])
    weight.grad = torch.tensor([1.0])
    muon.step()  # v = 1; 2 * (1 - 0.1) - 0.1 * (1 + 0.5) = 1.65
    torch.testing.assert_close(weight, torch.tensor([1.65]))
    weight.grad = torch.tensor([2.0])
    muon.step()  # v = 0.5 + 2 = 2.5; 1.65 * 0.9 - 0.1 * (2 + 1.25) = 1.16
    torch.testing.assert_close(weight, torch.tensor([1.16]))


def conditioned(rows: int, columns: int, *, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix whose singular values fall from 1 to 0.25 of the largest, with its singular vectors."""
    rank = min(rows, columns)
    left = torch.linalg.qr(gradient((rows, rank), seed))[0]
    right = torch.linalg.qr(gradient((columns, rank), seed + 1))[0]
    return left @ torch.diag(torch.linspace(1, 0.25, rank)) @ right.T, left, right


@pytest.mark.parametrize(("rows", "columns"), [(12, 12), (8, 40), (40, 8), (64, 216), (1, 9)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_orthogonalize_brings_singular_values_near_one_and_keeps_the_vectors(rows: int, columns: int, scale: float) -> None:
    matrix, left, right = conditioned(rows, columns, seed=3)
    result = orthogonalize(scale * matrix).float()
    assert result.shape == (rows, columns)
    in_own_basis = left.T @ result @ right  # diagonal where the singular vectors are those of the matrix
    values = torch.diagonal(in_own_basis)
    assert values.min() > 0.6
    assert values.max() < 1.3
    torch.testing.assert_close(in_own_basis - torch.diag(values), torch.zeros_like(in_own_basis), atol=0.05, rtol=0)
    torch.testing.assert_close(torch.linalg.svdvals(result).sort().values, values.sort().values, atol=0.03, rtol=0)


def test_the_transpose_is_orthogonalized_alike() -> None:
    matrix = gradient((10, 30), 0)
    torch.testing.assert_close(orthogonalize(matrix.T), orthogonalize(matrix).T, atol=0, rtol=0)


def test_a_zero_matrix_stays_zero() -> None:
    assert not orthogonalize(torch.zeros(4, 6)).any()


def test_filters_are_brought_to_norm_sqrt_out_and_moved_by_the_orthogonal_factor() -> None:
    filters = nn.Parameter(gradient((16, 4, 3, 3), 0) * 5)
    start = filters.detach().clone()
    muon = Muon([{"params": [filters], "lr": 0.25, "momentum": 0.6, "orthogonal": True}])
    filters.grad = gradient((16, 4, 3, 3), 1)
    muon.step()
    scaled = start * (4 / start.norm())  # sqrt(16)
    # First step: momentum buffer g, direction g + 0.6 g, orthogonalized over [16, 36].
    expected = scaled - 0.25 * orthogonalize((1.6 * filters.grad).reshape(16, 36)).float().reshape(16, 4, 3, 3)
    torch.testing.assert_close(filters.detach(), expected)


def test_at_a_zero_rate_a_filter_bank_ends_at_norm_sqrt_out() -> None:
    filters = nn.Parameter(gradient((9, 2, 3, 3), 0))
    filters.grad = gradient((9, 2, 3, 3), 1)
    Muon([{"params": [filters], "lr": 0.0, "orthogonal": True}]).step()
    assert filters.norm().item() == pytest.approx(3.0, rel=1e-6)


def test_a_step_does_not_depend_on_the_size_of_the_first_gradient() -> None:
    ends = []
    for scale in (1.0, 1000.0):
        filters = nn.Parameter(gradient((8, 3, 3, 3), 0))
        filters.grad = scale * gradient((8, 3, 3, 3), 1)
        Muon([{"params": [filters], "lr": 0.1, "orthogonal": True}]).step()
        ends.append(filters.detach())
    torch.testing.assert_close(ends[0], ends[1], atol=2e-3, rtol=0)  # bfloat16 inside


def test_memory_layout_makes_no_difference() -> None:
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        filters = nn.Parameter(gradient((8, 4, 3, 3), 0).to(memory_format=layout))
        muon = Muon([{"params": [filters], "lr": 0.1, "orthogonal": True}])
        for step in range(3):
            filters.grad = gradient((8, 4, 3, 3), step + 1).to(memory_format=layout)
            muon.step()
        ends.append(filters.detach())
    torch.testing.assert_close(ends[0], ends[1])


def test_a_parameter_without_gradient_stays() -> None:
    still = nn.Parameter(torch.ones(3))
    Muon([{"params": [still], "lr": 0.1, "weight_decay": 1.0}]).step()
    assert torch.equal(still, torch.ones(3))


def test_a_closure_is_refused() -> None:
    with pytest.raises(ValueError, match="evaluates no closure"):
        Muon([{"params": [nn.Parameter(torch.ones(1))]}]).step(lambda: 0.0)


def test_state_restored_into_another_instance_goes_on_equally() -> None:
    weight = nn.Parameter(gradient((6, 2, 3, 3), 0))
    muon = Muon([{"params": [weight], "lr": 0.1, "orthogonal": True}])
    weight.grad = gradient((6, 2, 3, 3), 1)
    muon.step()
    copied = nn.Parameter(weight.detach().clone())
    other = Muon([{"params": [copied], "lr": 0.5, "orthogonal": True}])
    other.load_state_dict(copy.deepcopy(muon.state_dict()))  # as through a file
    weight.grad, copied.grad = gradient((6, 2, 3, 3), 2), gradient((6, 2, 3, 3), 2)
    muon.step()
    other.step()
    assert torch.equal(weight, copied)
