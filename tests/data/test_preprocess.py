"""Preprocessing against the plain formula, channel statistics against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
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


def test_default_arguments_add_nothing() -> None:
    images, mean, std = every_pixel_value(), torch.tensor(MEAN), torch.tensor(STD)
    expected = torch.addcmul(-mean / std, images.float(), 1.0 / (255.0 * std)).permute(0, 3, 1, 2)
    assert torch.equal(Preprocess(mean=MEAN, std=STD)(images), expected)
    smaller = F.interpolate(expected, size=(5, 5), mode="bilinear", align_corners=False)
    assert torch.equal(Preprocess(mean=MEAN, std=STD)(images, 5), smaller)


# -- crop, grayscale, size --------------------------------------------------------------------------------------


def rescaling(**options: Any) -> Preprocess:
    return Preprocess(mean=(0, 0, 0), std=(1, 1, 1), **options)


def make_images(height: int = 12, width: int = 12) -> Tensor:
    return torch.randint(0, 256, (5, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"), [(12, 12, (2, 10), (2, 10)), (13, 8, (2, 10), (0, 8)), (8, 11, (0, 8), (1, 9))]
)
def test_a_crop_keeps_the_central_square(height: int, width: int, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    images = make_images(height, width)
    out = Preprocess(mean=MEAN, std=STD, crop=8)(images)
    assert torch.equal(out, Preprocess(mean=MEAN, std=STD)(images[:, slice(*rows), slice(*columns)].clone()))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="crop=10: larger than the image, which has 9 x 14 px"):
        rescaling(crop=10)(make_images(9, 14))


def test_grayscale_is_pillows_luma_in_three_channels() -> None:
    images = make_images()
    expected = np.stack([np.asarray(Image.fromarray(image.numpy()).convert("L")) for image in images])
    out = rescaling(grayscale=True)(images)
    assert out.shape == (5, 3, 12, 12)
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])
    assert np.abs(255 * out[:, 0].numpy() - expected).max() < 0.501  # Pillow rounds to whole grey levels


def test_gray_pictures_are_their_own_grayscale() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(-1, -1, -1, 3)
    torch.testing.assert_close(rescaling(grayscale=True)(images), rescaling()(images), atol=1e-6, rtol=0)


def test_grayscale_keeps_its_precision_under_autocast() -> None:
    images = make_images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = Preprocess(mean=MEAN, std=STD, grayscale=True)(images)
    assert torch.equal(out, Preprocess(mean=MEAN, std=STD, grayscale=True)(images))


@pytest.mark.parametrize("size", [5, 7, 12, 30])
def test_the_modules_own_size_resizes_as_pillow_does(size: int) -> None:
    images = make_images()
    planes = [[Image.fromarray(image[..., c].float().numpy()) for c in range(3)] for image in images]
    expected = [[np.asarray(plane.resize((size, size), Image.Resampling.BILINEAR)) for plane in image] for image in planes]
    np.testing.assert_allclose(255 * rescaling(size=size)(images).numpy(), np.array(expected), atol=1e-3)


def test_oblong_images_become_square() -> None:
    images = make_images(12, 9)
    expected = F.interpolate(rescaling()(images), size=(9, 9), mode="bilinear", align_corners=False, antialias=True)
    torch.testing.assert_close(rescaling(size=9)(images), expected)


@pytest.mark.parametrize("size", [6, 12, 15])
def test_a_size_that_is_given_wins(size: int) -> None:
    images = make_images()
    assert torch.equal(rescaling(size=9)(images, size), rescaling()(images, size))


def test_everything_together_goes_in_order() -> None:
    images = make_images(13, 16)
    gray = rescaling(grayscale=True)(images[:, 1:12, 2:13].clone())  # [5, 3, 11, 11]
    standardized = (gray - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    expected = F.interpolate(standardized, size=(8, 8), mode="bilinear", align_corners=False, antialias=True)
    out = Preprocess(mean=MEAN, std=STD, crop=11, size=8, grayscale=True)(images)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"crop": 10}, {"size": 7}, {"size": 20, "grayscale": True}, {"crop": 9, "size": 14}])
def test_the_output_size_is_told_in_advance(options: dict[str, int]) -> None:
    preprocess = Preprocess(mean=MEAN, std=STD, **options)
    before = make_images()
    out = preprocess(before)
    assert out.shape == (5, 3, preprocess.output_size(12), preprocess.output_size(12))
    assert torch.equal(before, make_images())


def test_the_output_size_knows_of_a_crop_that_is_too_large() -> None:
    with pytest.raises(ValueError, match="crop=10: larger than the image, which has 9 px"):
        rescaling(crop=10, size=20).output_size(9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 0}, "crop must be a number of pixels of at least 1, not 0"),
        ({"size": -4}, "size must be a number of pixels of at least 1, not -4"),
        ({"size": 7.5}, r"size must be a number of pixels of at least 1, not 7\.5"),
        ({"crop": True}, "crop must be a number of pixels of at least 1, not True"),
    ],
)
def test_sizes_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rescaling(**options)


def test_grayscale_needs_three_channels() -> None:
    with pytest.raises(ValueError, match="grayscale needs mean and std of 3 channels, not 1"):
        Preprocess(mean=(0,), std=(1,), grayscale=True)


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
