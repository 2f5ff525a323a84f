"""Bringing an image to the network's input size."""

from __future__ import annotations

import numpy as np
import pytest

from cifarlab.data.images import fit_image
from cifarlab.errors import UsageError

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (11, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_an_image_of_the_right_size_is_unchanged(resize: str) -> None:
    image = NOISE[:7]
    assert np.array_equal(fit_image(image, size=7, resize=resize), image)


@pytest.mark.parametrize(("shape", "rows", "columns"), [((9, 5), slice(2, 7), slice(0, 5)), ((5, 8), slice(0, 5), slice(1, 6))])
def test_crop_takes_the_central_square(shape: tuple[int, int], rows: slice, columns: slice) -> None:
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.array_equal(fit_image(image, size=5), image[rows, columns])


def test_squash_keeps_the_ends_that_crop_loses() -> None:
    image = np.zeros((32, 96, 3), np.uint8)
    image[:, :32] = 255
    assert fit_image(image, size=32).max() == 0
    squashed = fit_image(image, size=32, resize="squash")
    assert squashed[:, :9].min() == 255
    assert squashed[:, 13:].max() == 0


def test_shrinking_is_antialiased() -> None:
    # A one-pixel chequerboard is mid-gray from afar; taking every k-th pixel would give black or white.
    image = np.repeat((np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    assert np.abs(fit_image(image, size=32)[2:-2, 2:-2].astype(int) - 127.5).max() <= 4


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2), (33, 32), (700, 401)])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_any_shape_keeps_a_plain_colour(shape: tuple[int, int], resize: str) -> None:
    fitted = fit_image(np.full((*shape, 3), (12, 200, 255), np.uint8), size=32, resize=resize)
    assert fitted.shape == (32, 32, 3)
    assert (fitted == [12, 200, 255]).all()


def test_fit_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UsageError, match=r"unknown resize rule 'crip'; did you mean 'crop'\?"):
        fit_image(NOISE, size=32, resize="crip")
    with pytest.raises(UsageError, match="image size 0"):
        fit_image(NOISE, size=0)
    for bad in (NOISE.astype(np.float32), NOISE[..., 0], NOISE[:0]):
        with pytest.raises(UsageError, match="at least one pixel"):
            fit_image(bad, size=32)
