"""Every operation of the policies against Pillow, image by image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from cifarlab.augment import OPERATIONS

AFFINE = Image.Transform.AFFINE
FACTORS = [0.0, 0.01, 0.4, 1.0, 1.37, 2.0]
NONE = [0.0]


def moved(picture: Image.Image, *matrix: float) -> Image.Image:
    return picture.transform(picture.size, AFFINE, matrix)


# Name -> Pillow's way, the amounts to try, and how many grey levels may lie between.
REFERENCE: dict[str, tuple[Callable[[Image.Image, float], Image.Image], list[float], int]] = {
    "identity": (lambda picture, _: picture, NONE, 0),
    "shear-x": (lambda picture, amount: moved(picture, 1, amount, 0, 0, 1, 0), [-0.99, -0.25, 0, 0.3, 0.75], 0),
    "shear-y": (lambda picture, amount: moved(picture, 1, 0, 0, amount, 1, 0), [-0.99, -0.25, 0, 0.3, 0.75], 0),
    "translate-x": (lambda picture, amount: moved(picture, 1, 0, amount, 0, 1, 0), [-32, -3, 0, 1, 7, 32], 0),
    "translate-y": (lambda picture, amount: moved(picture, 1, 0, 0, 0, 1, amount), [-32, -3, 0, 1, 7, 32], 0),
    # Angles at which no position falls on the line between two pixels: there the last digit decides.
    "rotate": (lambda picture, amount: picture.rotate(amount), [-133, -33, -5, 0, 17, 121, 134, 180], 0),
    "brightness": (lambda picture, amount: ImageEnhance.Brightness(picture).enhance(amount), FACTORS, 1),
    "color": (lambda picture, amount: ImageEnhance.Color(picture).enhance(amount), FACTORS, 1),
    "contrast": (lambda picture, amount: ImageEnhance.Contrast(picture).enhance(amount), FACTORS, 1),
    "sharpness": (lambda picture, amount: ImageEnhance.Sharpness(picture).enhance(amount), FACTORS, 1),
    "posterize": (lambda picture, amount: ImageOps.posterize(picture, int(amount)), [1, 2, 4, 7, 8], 0),
    "solarize": (lambda picture, amount: ImageOps.solarize(picture, int(amount)), [0, 1, 100, 255, 256], 0),
    "autocontrast": (lambda picture, _: ImageOps.autocontrast(picture), NONE, 1),
    "equalize": (lambda picture, _: ImageOps.equalize(picture), NONE, 0),
}


def make_images(height: int, width: int) -> Tensor:
    """uint8 [5, H, W, 3]: noise, a narrow range of values, a smooth picture, a plain one, and one of two colours."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (height, width, 3))
    narrow = random.integers(90, 131, (height, width, 3))
    rows, columns = np.mgrid[:height, :width]
    smooth = np.stack([rows * 255 / height, columns * 200 / width, (rows + columns) * 120 / (height + width)], axis=2)
    plain = np.full((height, width, 3), (200, 30, 77))
    two = np.where(noise[..., :1] < 40, np.array([0, 10, 255]), np.array([255, 12, 0]))
    return torch.from_numpy(np.stack([noise, narrow, smooth, plain, two]).astype(np.uint8))


def test_every_operation_has_its_reference() -> None:
    assert len(OPERATIONS) == 14
    assert set(REFERENCE) == set(OPERATIONS)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (15, 22), (2, 5)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_do_what_pillow_does(name: str, height: int, width: int) -> None:
    reference, amounts, tolerance = REFERENCE[name]
    images = make_images(height, width)
    # All images with all amounts in one batch.
    batch = images.repeat(len(amounts), 1, 1, 1)
    result = OPERATIONS[name](batch, torch.tensor(amounts).repeat_interleave(len(images)))
    expected = np.stack([np.asarray(reference(Image.fromarray(image.numpy()), amount)) for amount in amounts for image in images])
    assert result.dtype == torch.uint8
    difference = np.abs(result.numpy().astype(int) - expected)
    assert difference.max() <= tolerance, f"images {sorted(set(np.argwhere(difference > tolerance)[:, 0]))}"


@pytest.mark.parametrize(("amount", "quarters"), [(90.0, 1), (-90.0, 3), (180.0, 2)])
def test_quarter_turns_are_exact_and_counter_clockwise(amount: float, quarters: int) -> None:
    images = make_images(32, 32)
    result = OPERATIONS["rotate"](images, torch.full((len(images),), amount))
    assert torch.equal(result, images.rot90(quarters, (1, 2)))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_leave_their_input_alone(name: str) -> None:
    images = make_images(12, 12)
    before = images.clone()
    OPERATIONS[name](images, torch.full((len(images),), REFERENCE[name][1][-1]))
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", ["brightness", "color", "contrast", "sharpness"])
def test_the_factor_one_gives_the_image_back(name: str) -> None:
    images = make_images(12, 12)
    assert torch.equal(OPERATIONS[name](images, torch.ones(len(images))), images)
