"""Rotation, scaling and translation against SciPy's resampling and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from cifarlab.augment import FILLS, Affine
from cifarlab.augment.affine import AffinePlan, affine_matrix
from cifarlab.data.loader import seeded_generator

SCIPY_MODES = {"edge": "nearest", "zero": "grid-constant", "reflect": "reflect"}


def make_image(height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def transform(image: Tensor, *, angle: float = 0, zoom: float = 1, right: float = 0, down: float = 0, fill: str = "edge") -> Tensor:
    """One image [1, H, W, 3] by `Affine.apply` with a plan of these numbers."""
    height, width = image.shape[1:3]
    values = (torch.tensor([float(value)]) for value in (angle, zoom, right, down))
    plan = AffinePlan(affine_matrix(*values, image_size=(height, width)))
    return Affine(rotate=1, fill=fill).apply(image, torch.tensor([0]), plan)


def by_scipy(image: np.ndarray, *, angle: float, zoom: float, right: float, down: float, fill: str) -> np.ndarray:
    """float64 [H, W, 3], not rounded: the inverse transformation in pixels, row before column."""
    height, width = image.shape[:2]
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    matrix = np.array([[cosine, sine], [-sine, cosine]]) / zoom
    centre = np.array([height - 1, width - 1]) / 2
    offset = centre - matrix @ (centre + np.array([down * height, right * width]))
    channels = [
        ndimage.affine_transform(image[..., c].astype(float), matrix, offset, order=1, mode=SCIPY_MODES[fill])
        for c in range(image.shape[2])
    ]
    return np.stack(channels, axis=2)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 14)])
@pytest.mark.parametrize(("angle", "zoom", "right", "down"), [(25, 1, 0, 0), (-110, 1.3, 0, 0), (0, 0.6, 0.1, -0.2), (8, 0.9, 0.33, 0.07)])
def test_the_resampling_is_scipys(fill: str, height: int, width: int, angle: float, zoom: float, right: float, down: float) -> None:
    image = make_image(height, width)
    expected = by_scipy(image[0].numpy(), angle=angle, zoom=zoom, right=right, down=down, fill=fill)
    result = transform(image, angle=angle, zoom=zoom, right=right, down=down, fill=fill)
    assert np.abs(result[0].numpy() - expected).max() < 0.51  # rounded to whole grey levels


@pytest.mark.parametrize("size", [8, 9])
def test_a_quarter_turn_is_exact_and_counter_clockwise(size: int) -> None:
    image = make_image(size, size)
    assert np.array_equal(transform(image, angle=90)[0].numpy(), np.rot90(image[0].numpy()))


def test_a_half_turn_of_an_oblong_image_is_exact() -> None:
    image = make_image(6, 11)
    assert torch.equal(transform(image, angle=180), image.flip(1, 2))


@pytest.mark.parametrize("fill", FILLS)
def test_a_shift_by_whole_pixels_moves_right_and_down(fill: str) -> None:
    image = make_image(8, 10)
    numpy_mode = {"edge": "edge", "zero": "constant", "reflect": "symmetric"}[fill]
    expected = np.pad(image[0].numpy(), ((1, 0), (2, 0), (0, 0)), mode=numpy_mode)[:8, :10]
    assert np.array_equal(transform(image, right=2 / 10, down=1 / 8, fill=fill)[0].numpy(), expected)


def test_enlarging_twice_doubles_distances_from_the_centre() -> None:
    bright = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    bright[:, 6:10, 6:10] = 255
    grown = transform(bright, zoom=2)
    assert int((grown[0, :, :, 0] >= 128).sum()) == 8 * 8


def decompose(matrix: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Angle in degrees [N], zoom [N] and translation in pixels [N, 2] of square images, out of the inverse matrices."""
    linear = matrix[:, :, :2].double()
    zoom = linear.det().rsqrt()
    angle = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    moved = -torch.linalg.solve(linear, matrix[:, :, 2:].double())[:, :, 0] * size / 2
    return angle, zoom, moved


def test_the_strengths_are_the_limits_of_uniform_draws() -> None:
    plan = Affine(rotate=20, scale=0.25, shift=0.125).plan(4000, (32, 32), epoch=0, generator_for=lambda e, p: seeded_generator(0, e, p))
    assert plan.matrix is not None
    angle, zoom, moved = decompose(plan.matrix, 32)
    for values, limit in ((angle, 20), (zoom - 1, 0.25), (moved[:, 0], 4), (moved[:, 1], 4)):
        assert float(values.abs().max()) <= limit * 1.00001
        # Uniform over -limit..limit: mean 0, standard deviation limit / sqrt 3; five standard errors of each.
        assert abs(float(values.mean())) < 5 * limit / math.sqrt(3 * 4000)
        assert float(values.std()) == pytest.approx(limit / math.sqrt(3), rel=0.04)


@pytest.mark.parametrize("only", ["rotate", "scale", "shift"])
def test_one_strength_alone_leaves_the_others_out(only: str) -> None:
    plan = Affine(**{only: 0.5}).plan(50, (32, 32), epoch=0, generator_for=lambda e, p: seeded_generator(0, e, p))
    assert plan.matrix is not None
    angle, zoom, moved = decompose(plan.matrix, 32)
    changed = {"rotate": angle.abs() > 1e-4, "scale": (zoom - 1).abs() > 1e-4, "shift": (moved.abs() > 1e-4).any(1)}
    assert {name for name, values in changed.items() if values.any()} == {only}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rotate": 181}, "rotate must be 0 to 180 degrees, not 181"),
        ({"rotate": -1}, "rotate must be"),
        ({"scale": 1}, "scale must be at least 0 and below 1, not 1"),
        ({"shift": float("nan")}, "shift must be at least 0 and below 1, not nan"),
        ({"fill": "wrap"}, "fill must be one of edge, zero, reflect, not 'wrap'"),
    ],
)
def test_strengths_out_of_range_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Affine(**arguments)
