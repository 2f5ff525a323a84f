"""Test-time views against explicit computation; a linear model shows the weight of every view."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.augment import VIEWS, predict_views


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).requires_grad_(False)


def moved(images: Tensor, rows: int, columns: int) -> Tensor:
    """The content moved down and right by so many pixels, reflected at the border."""
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    return padded[:, :, 1 - rows : 9 - rows, 1 - columns : 9 - columns]


def test_no_views_is_the_plain_answer(images: Tensor, linear: nn.Module) -> None:
    plain, averaged = predict_views(linear, images, views="none")
    assert torch.equal(plain, linear(images))
    assert torch.equal(averaged, plain)


def test_flip_is_the_mean_of_both_sides(images: Tensor, linear: nn.Module) -> None:
    plain, averaged = predict_views(linear, images, views="flip")
    assert torch.equal(plain, linear(images))
    # A linear model of the mean image gives the mean of its answers.
    torch.testing.assert_close(averaged, linear((images + images.flip(-1)) / 2))


def test_six_views_weigh_the_unmoved_and_the_moved_half_each(images: Tensor, linear: nn.Module) -> None:
    plain, averaged = predict_views(linear, images, views="six")
    assert torch.equal(plain, linear(images))
    corners = [moved(images, 1, 1), moved(images, -1, -1)]
    blend = 0.25 * (images + images.flip(-1)) + 0.125 * sum(view + view.flip(-1) for view in corners)
    torch.testing.assert_close(averaged, linear(blend))


def test_six_views_are_half_flip_and_half_moved(images: Tensor) -> None:
    def bent(batch: Tensor) -> Tensor:
        return batch.flatten(1)[:, :4].exp()

    (_, six), (_, flip), (_, rest) = (predict_views(bent, images, views=views) for views in ("six", "flip", "moved"))
    torch.testing.assert_close(six, (flip + rest) / 2)
    assert not torch.allclose(flip, rest)


@pytest.mark.parametrize("views", VIEWS)
def test_the_weights_add_up_to_one_and_the_views_to_their_number(images: Tensor, views: str) -> None:
    seen = []

    def constant(batch: Tensor) -> Tensor:
        seen.append(batch)
        return torch.full((len(batch), 2), 3.0)

    _, averaged = predict_views(constant, images, views=views)
    assert torch.equal(averaged, torch.full((5, 2), 3.0))
    assert len(seen) == VIEWS[views]
    assert all(batch.shape == images.shape for batch in seen)


def test_an_unknown_name_is_refused(images: Tensor, linear: nn.Module) -> None:
    with pytest.raises(ValueError, match="views must be one of none, flip, six, not 'ten'"):
        predict_views(linear, images, views="ten")
