"""Preprocessing against the plain formula, channel statistics against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cifarlab.data.preprocess import Preprocess, channel_statistics

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def every_pixel_value() -> Tensor:
    """uint8 [4, 8, 8, 3]: each value of 0..255 in each channel."""
    values = torch.arange(256, dtype=torch.uint8).reshape(4, 8, 8, 1)
    return torch.cat([values, values.flip(0), values.flip(1)], dim=3)


def by_formula(images: Tensor) -> Tensor:
    x = images.permute(0, 3, 1, 2).double() / 255
    return ((x - torch.tensor(MEAN).double()[:, None, None]) / torch.tensor(STD).double()[:, None, None]).float()


def test_pixels_are_rescaled_and_standardized() -> None:
    images = every_pixel_value()
    torch.testing.assert_close(Preprocess(mean=MEAN, std=STD)(images), by_formula(images), atol=1e-6, rtol=1e-6)


def test_mean_zero_and_std_one_only_rescale() -> None:
    images = every_pixel_value()
    expected = images.permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(Preprocess(mean=(0, 0, 0), std=(1, 1, 1))(images), expected, atol=1e-7, rtol=0)


def test_the_output_lies_channels_last_in_memory() -> None:
    out = Preprocess(mean=MEAN, std=STD)(every_pixel_value())
    assert out.shape == (4, 3, 8, 8)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [5, 8, 12])
def test_a_size_resizes_bilinearly(size: int) -> None:
    images = every_pixel_value()
    expected = F.interpolate(by_formula(images), size=(size, size), mode="bilinear", align_corners=False)
    torch.testing.assert_close(Preprocess(mean=MEAN, std=STD)(images, size), expected, atol=1e-5, rtol=1e-5)


def test_nothing_of_it_is_stored_with_weights() -> None:
    assert Preprocess(mean=MEAN, std=STD).state_dict() == {}


@pytest.mark.parametrize(
    ("mean", "std"),
    [(MEAN, (0.2, 0.0, 0.2)), (MEAN, (0.2, -1, 0.2)), (MEAN, (0.2,)), ((float("nan"), 0, 0), STD), (MEAN, (1, 1, float("inf")))],
)
def test_unusable_statistics_are_refused(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"std must|mean and std must"):
        Preprocess(mean=mean, std=std)


def test_channel_statistics_equal_numpy_in_float64() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 9, 7, 3)).astype(np.uint8)
    images[..., 1] //= 3
    mean, std = channel_statistics(torch.from_numpy(images))
    scaled = images.astype(np.float64) / 255
    assert mean == pytest.approx(scaled.mean((0, 1, 2)), rel=1e-12)
    assert std == pytest.approx(scaled.std((0, 1, 2)), rel=1e-9)


def test_a_channel_that_never_varies_has_deviation_zero() -> None:
    mean, std = channel_statistics(torch.full((3, 4, 4, 3), 77, dtype=torch.uint8))
    assert mean == pytest.approx((77 / 255,) * 3)
    assert std == pytest.approx((0, 0, 0), abs=1e-7)
