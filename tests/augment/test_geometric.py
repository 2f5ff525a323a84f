"""Training augmentation against PyTorch's own padding, image by image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cifarlab.augment import Geometric
from cifarlab.data.loader import seeded_generator

COUNT = 40


def generator_of(seed: int) -> Callable[[int, str], torch.Generator]:
    return lambda epoch, purpose: seeded_generator(seed, epoch, purpose)


def make_images(height: int = 12, width: int = 12, *, count: int = COUNT) -> Tensor:
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def augment(augmentation: Geometric, images: Tensor, *, epoch: int = 0, seed: int = 0, index: Tensor | None = None) -> Tensor:
    plan = augmentation.plan(len(images), tuple(images.shape[1:3]), epoch=epoch, generator_for=generator_of(seed))
    return augmentation.apply(images, torch.arange(len(images)) if index is None else index, plan)


def shift_and_flip(image: Tensor, *, flip: bool, shift: tuple[int, int], reach: int) -> Tensor:
    """uint8 [H, W, C], the plain way: pad with reflection, cut the shifted window out, flip it."""
    height, width = image.shape[:2]
    padded = F.pad(image.permute(2, 0, 1)[None].float(), (reach,) * 4, mode="reflect")[0]  # [C, H + 2 reach, W + 2 reach]
    top, left = reach + shift[0], reach + shift[1]
    window = padded[:, top : top + height, left : left + width]
    return (window.flip(-1) if flip else window).permute(1, 2, 0).to(torch.uint8)


@pytest.mark.parametrize("flip", ["none", "random", "alternating"])
@pytest.mark.parametrize(("translate", "height", "width"), [(0, 12, 12), (1, 9, 9), (3, 12, 12), (4, 7, 10), (8, 9, 9)])
def test_flip_and_translation_equal_reflect_padding_and_slicing(flip: str, translate: int, height: int, width: int) -> None:
    augmentation = Geometric(flip=flip, translate=translate)
    images = make_images(height, width)
    plan = augmentation.plan(COUNT, (height, width), epoch=2, generator_for=generator_of(0))
    flips = [False] * COUNT if plan.flip is None else plan.flip.tolist()
    shifts = [(0, 0)] * COUNT if plan.shift is None else plan.shift.tolist()
    expected = [
        shift_and_flip(image, flip=side, shift=shift, reach=translate) for image, side, shift in zip(images, flips, shifts, strict=True)
    ]
    assert torch.equal(augment(augmentation, images, epoch=2), torch.stack(expected))


def test_every_shift_up_to_the_limit_and_none_beyond_occurs() -> None:
    plan = Geometric(translate=2).plan(2000, (12, 12), epoch=0, generator_for=generator_of(0))
    assert plan.shift is not None
    found = {tuple(shift) for shift in plan.shift.tolist()}
    assert found == {(rows, columns) for rows in range(-2, 3) for columns in range(-2, 3)}


def test_a_translation_as_wide_as_the_image_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="narrower than the image"):
        augment(Geometric(translate=8), make_images(8, 8))


def test_random_flip_turns_about_half_and_leaves_the_rest() -> None:
    images = make_images(8, 8, count=1000)
    result = augment(Geometric(flip="random"), images)
    flipped = (result == images.flip(2)).flatten(1).all(1)
    kept = (result == images).flatten(1).all(1)
    assert (flipped ^ kept).all()
    assert 440 <= int(flipped.sum()) <= 560  # within 3.8 standard deviations of a fair coin


@pytest.mark.parametrize("epoch", [0, 1, 6])
def test_alternating_flip_shows_both_sides_in_consecutive_epochs(epoch: int) -> None:
    images = make_images()
    first, second = (augment(Geometric(flip="alternating"), images, epoch=number) for number in (epoch, epoch + 1))
    assert torch.equal(first.flip(2), second)
    assert torch.equal(augment(Geometric(flip="alternating"), images, epoch=epoch + 2), first)
    sides = (first == images).flatten(1).all(1)
    assert 0 < int(sides.sum()) < COUNT  # not all the same way


@pytest.mark.parametrize("cutout", [1, 4, 5, 12])
def test_cutout_fills_one_square_and_leaves_the_rest(cutout: int) -> None:
    augmentation = Geometric(cutout=cutout, fill=(7, 11, 13))
    images = make_images(count=200)
    plan = augmentation.plan(200, (12, 12), epoch=0, generator_for=generator_of(0))
    assert plan.hole is not None
    result = augment(augmentation, images)
    for image, out, (top, left) in zip(images, result, plan.hole.tolist(), strict=True):
        expected = image.clone()
        expected[max(top, 0) : max(top + cutout, 0), max(left, 0) : max(left + cutout, 0)] = torch.tensor([7, 11, 13], dtype=torch.uint8)
        assert torch.equal(out, expected)


def test_a_hole_is_whole_inside_and_clipped_at_the_borders() -> None:
    augmentation = Geometric(cutout=4, fill=(0, 0, 0))
    white = torch.full((2000, 12, 12, 3), 255, dtype=torch.uint8)
    areas = (augment(augmentation, white)[..., 0] == 0).sum((1, 2))
    # Centres 0..11: the hole begins 2 above its centre, so 2 to 4 rows and columns of it are inside.
    assert set(areas.tolist()) == {rows * columns for rows in (2, 3, 4) for columns in (2, 3, 4)}


def test_without_any_augmentation_images_are_unchanged() -> None:
    images = make_images()
    index = torch.tensor([5, 0, 39, 5])
    assert torch.equal(augment(Geometric(), images, index=index), images[index])


def test_all_together_keep_type_and_shape() -> None:
    images = make_images()
    out = augment(Geometric(flip="random", translate=2, cutout=3), images, index=torch.tensor([3, 1]))
    assert out.dtype == torch.uint8
    assert out.shape == (2, 12, 12, 3)


def test_a_batch_gets_what_the_whole_epoch_would_give_it() -> None:
    augmentation = Geometric(flip="alternating", translate=2, cutout=3)
    images = make_images()
    index = torch.tensor([17, 2, 30])
    assert torch.equal(augment(augmentation, images, index=index), augment(augmentation, images)[index])


def test_the_plan_is_a_pure_function_of_seed_and_epoch() -> None:
    augmentation = Geometric(flip="random", translate=2, cutout=3)
    images = make_images()
    first = augment(augmentation, images, epoch=3, seed=5)
    torch.rand(7)  # the global state takes no part
    assert torch.equal(augment(augmentation, images, epoch=3, seed=5), first)
    assert not torch.equal(augment(augmentation, images, epoch=4, seed=5), first)
    assert not torch.equal(augment(augmentation, images, epoch=3, seed=6), first)


def test_an_unknown_flip_is_refused() -> None:
    with pytest.raises(ValueError, match="flip must be one of none, random, alternating, not 'vertical'"):
        Geometric(flip="vertical")
