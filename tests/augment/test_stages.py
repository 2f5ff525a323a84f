"""What every stage of augmentation, and Compose over them, promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cifarlab.augment import STAGES, Affine, Compose, Geometric, RandAugment, RandomErasing, Stage, TrivialAugment
from cifarlab.data.loader import seeded_generator

# Strong enough that a batch cannot come out unchanged; and at strength 0, where there is such a setting.
STRONG: dict[type, Stage] = {
    Affine: Affine(rotate=40, scale=0.3, shift=0.3),
    TrivialAugment: TrivialAugment(),
    RandAugment: RandAugment(operations=2, magnitude=20),
    RandomErasing: RandomErasing(probability=0.8, fill=(255, 0, 9)),
}
OFF: dict[type, Stage] = {
    Affine: Affine(),
    RandAugment: RandAugment(operations=0),
    RandomErasing: RandomErasing(probability=0),
}
COUNT = 30
every_stage = pytest.mark.parametrize("stage", STRONG.values(), ids=lambda stage: type(stage).__name__)


def generator_of(seed: int) -> Callable[[int, str], torch.Generator]:
    return lambda epoch, purpose: seeded_generator(seed, epoch, purpose)


def make_images(*, count: int = COUNT, height: int = 12, width: int = 10) -> Tensor:
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def augment(stage: Stage, images: Tensor, *, epoch: int = 0, seed: int = 0, index: Tensor | None = None) -> Tensor:
    """The stage on the samples `index` of all `images`: all of them without it."""
    height, width = images.shape[1:3]
    plan = stage.plan(len(images), (height, width), epoch=epoch, generator_for=generator_of(seed))
    index = torch.arange(len(images)) if index is None else index
    return stage.apply(images[index], index, plan)


def test_every_stage_is_tested_here() -> None:
    assert len(STAGES) >= 4
    assert set(STRONG) == set(STAGES)


@every_stage
def test_shape_and_type_stay_and_the_result_is_new(stage: Stage) -> None:
    images = make_images()
    result = augment(stage, images)
    assert result.shape == images.shape
    assert result.dtype == torch.uint8
    assert result.is_contiguous()
    assert not torch.equal(result, images)


@every_stage
def test_the_input_is_left_alone(stage: Stage) -> None:
    images = make_images()
    plan = stage.plan(COUNT, (12, 10), epoch=0, generator_for=generator_of(0))
    given = images.clone()
    stage.apply(given, torch.arange(COUNT), plan)
    assert torch.equal(given, images)


@every_stage
def test_the_plan_is_a_pure_function_of_seed_and_epoch(stage: Stage) -> None:
    images = make_images()
    first = augment(stage, images, epoch=3, seed=5)
    torch.rand(7)  # the global state takes no part
    assert torch.equal(augment(stage, images, epoch=3, seed=5), first)
    assert not torch.equal(augment(stage, images, epoch=4, seed=5), first)
    assert not torch.equal(augment(stage, images, epoch=3, seed=6), first)


@every_stage
def test_a_batch_gets_what_the_whole_epoch_would_give_it(stage: Stage) -> None:
    images = make_images()
    whole = augment(stage, images)
    index = torch.tensor([17, 2, 28, 2])
    assert torch.equal(augment(stage, images, index=index), whole[index])
    for number in range(COUNT):
        assert torch.equal(augment(stage, images, index=torch.tensor([number])), whole[number : number + 1])


@every_stage
def test_a_plan_can_move_to_a_device(stage: Stage) -> None:
    images, index = make_images(), torch.arange(COUNT)
    plan = stage.plan(COUNT, (12, 10), epoch=0, generator_for=generator_of(0))
    assert torch.equal(stage.apply(images, index, plan.to(torch.device("cpu"))), stage.apply(images, index, plan))


@every_stage
def test_stages_draw_from_streams_of_their_own(stage: Stage) -> None:
    asked: set[str] = set()

    def listening(epoch: int, purpose: str) -> torch.Generator:
        asked.add(purpose)
        return seeded_generator(0, epoch, purpose)

    stage.plan(COUNT, (12, 10), epoch=0, generator_for=listening)
    assert asked
    own, asked = asked, set()
    for other in [*(other for other in STRONG.values() if other is not stage), Geometric(flip="alternating", translate=2, cutout=3)]:
        other.plan(COUNT, (12, 10), epoch=0, generator_for=listening)
    assert not own & (asked | {"shuffle", "mix"})


@pytest.mark.parametrize("stage", OFF.values(), ids=lambda stage: type(stage).__name__)
def test_strength_zero_changes_nothing(stage: Stage) -> None:
    images = make_images()
    assert torch.equal(augment(stage, images), images)


def test_only_trivial_augment_has_no_strength() -> None:
    assert set(STAGES) - set(OFF) == {TrivialAugment}


# -- one after the other ----------------------------------------------------------------------------------------


def composed(first: Geometric, then: tuple[Stage, ...], images: Tensor, index: Tensor) -> Tensor:
    compose = Compose(first, then)
    plan = compose.plan(len(images), (12, 10), epoch=2, generator_for=generator_of(3)).to(torch.device("cpu"))
    return compose.apply(images, index, plan)


def test_compose_runs_the_stages_in_their_order() -> None:
    images, index = make_images(), torch.tensor([4, 29, 4, 0])
    first, then = Geometric(flip="random", translate=2), (RandomErasing(probability=1), Affine(rotate=30))
    expected = first.apply(images, index, first.plan(COUNT, (12, 10), epoch=2, generator_for=generator_of(3)))
    for stage in then:
        expected = stage.apply(expected, index, stage.plan(COUNT, (12, 10), epoch=2, generator_for=generator_of(3)))
    assert torch.equal(composed(first, then, images, index), expected)
    assert not torch.equal(composed(first, then[::-1], images, index), expected)


def test_compose_without_stages_is_its_first() -> None:
    images, index = make_images(), torch.tensor([4, 29])
    first = Geometric(flip="random", translate=2, cutout=3)
    plan = first.plan(COUNT, (12, 10), epoch=2, generator_for=generator_of(3))
    assert torch.equal(composed(first, (), images, index), first.apply(images, index, plan))


def test_compose_leaves_all_images_alone() -> None:
    images = make_images()
    before = images.clone()
    composed(Geometric(), tuple(STRONG.values()), images, torch.arange(COUNT))
    assert torch.equal(images, before)
