"""Random erasing against the paper's algorithm, one image at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cifarlab.augment import RandomErasing
from cifarlab.data.loader import seeded_generator


def boxes(erasing: RandomErasing, *, count: int = 3000, size: tuple[int, int] = (32, 32)) -> Tensor:
    plan = erasing.plan(count, size, epoch=0, generator_for=lambda epoch, purpose: seeded_generator(0, epoch, purpose))
    assert plan.box is not None
    return plan.box


def algorithm_1(random: np.random.Generator, *, height: int, width: int) -> tuple[int, int]:
    """Height and width of the rectangle, in whole pixels: Zhong et al., algorithm 1, with the paper's ranges."""
    while True:
        pixels = random.uniform(0.02, 0.33) * height * width
        ratio = random.uniform(0.3, 1 / 0.3)
        rows, columns = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        top, left = random.integers(height), random.integers(width)
        if top + rows <= height and left + columns <= width:
            return rows, columns


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 40)])
def test_rectangles_are_distributed_as_in_the_paper(height: int, width: int) -> None:
    random = np.random.default_rng(0)
    expected = np.array([algorithm_1(random, height=height, width=width) for _ in range(3000)], dtype=float)
    found = boxes(RandomErasing(probability=1), size=(height, width))[:, 2:].double().numpy()
    for of in (lambda sides: sides[:, 0] * sides[:, 1], lambda sides: sides[:, 0], lambda sides: np.log(sides[:, 0] / sides[:, 1])):
        error = math.hypot(of(found).std(), of(expected).std()) / math.sqrt(3000)
        assert abs(of(found).mean() - of(expected).mean()) < 4.5 * error


def test_rectangles_lie_inside() -> None:
    top, left, rows, columns = boxes(RandomErasing(probability=1), size=(20, 40)).unbind(1)
    assert min(int(top.min()), int(left.min())) == 0
    assert min(int(rows.min()), int(columns.min())) >= 1
    assert int((top + rows).max()) == 20
    assert int((left + columns).max()) == 40


def test_the_probability_is_the_share_of_images() -> None:
    erased = boxes(RandomErasing(probability=0.3))[:, 2] > 0
    assert int(erased.sum()) == pytest.approx(900, abs=4.5 * math.sqrt(3000 * 0.3 * 0.7))


def test_area_and_ratio_can_be_fixed() -> None:
    _, _, rows, columns = boxes(RandomErasing(probability=1, area=(0.125, 0.125), ratio=(2, 2))).unbind(1)
    assert set(rows.tolist()) == {16}  # 128 of 1024 pixels, twice as high as wide
    assert set(columns.tolist()) == {8}


def test_a_rectangle_that_cannot_fit_leaves_the_image_whole() -> None:
    assert not boxes(RandomErasing(probability=1, area=(0.9, 0.9), ratio=(3, 3)), count=20).any()


def test_the_rectangle_is_filled_and_the_rest_kept() -> None:
    erasing = RandomErasing(probability=0.7, fill=(7, 11, 13))
    images = torch.randint(0, 256, (60, 20, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    plan = erasing.plan(60, (20, 24), epoch=0, generator_for=lambda epoch, purpose: seeded_generator(0, epoch, purpose))
    assert plan.box is not None
    expected = images.clone()
    for image, (top, left, rows, columns) in zip(expected, plan.box.tolist(), strict=True):
        image[top : top + rows, left : left + columns] = torch.tensor([7, 11, 13], dtype=torch.uint8)
    assert torch.equal(erasing.apply(images, torch.arange(60), plan), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probability": 1.1}, "probability must be 0 to 1, not 1.1"),
        ({"probability": 1, "area": (0, 0.3)}, "area must be"),
        ({"probability": 1, "area": (0.3, 0.2)}, "area must be"),
        ({"probability": 1, "area": (0.3, 1)}, "area must be"),
        ({"probability": 1, "ratio": (0, 1)}, "ratio must be"),
        ({"probability": 1, "ratio": (2, 1)}, "ratio must be"),
        ({"probability": 1, "fill": (0, 0, 256)}, "fill must have values of 0 to 255"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandomErasing(**arguments)
