"""The recipes of the five published systems: as the reports state them, each trainable, and the two protocols apart in one point."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from cifarlab.build import arrange, build_plan
from cifarlab.config import Recipe, differences, override
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.published import PublishedSystem, published_systems
from cifarlab.recipes import get_recipe, recipe_names, recipe_summary
from cifarlab.training import State, fit
from cifarlab.training.session import SilentListener

CPU = torch.device("cpu")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SYSTEMS = {system.name: system for system in published_systems()}
CORRECTED = [name for name in recipe_names() if f"{name}-published" in recipe_names()]


def make_dataset(count: int, *, seed: int) -> Dataset:
    images = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    ids = np.array([f"{seed}/{number}" for number in range(count)])
    return Dataset(name="fake", images=images, labels=np.arange(count) % 10, class_names=CLASSES, sample_ids=ids)


@pytest.fixture(scope="module")
def splits() -> Splits:
    """Ten images of each class to train on, two to test."""
    return Splits(make_dataset(100, seed=0), make_dataset(20, seed=1))


# -- every recipe ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_takes_a_training_step(name: str, splits: Splits) -> None:
    small: dict[str, object] = {"train.duration": "1st", "train.batch_size": 10, "train.precision": "fp32"}
    if get_recipe(name).data.validation:
        small["data.validation"] = 0.2  # two of ten: enough for the smallest share
    recipe = override(get_recipe(name), small)
    arranged = arrange(recipe, splits)
    plan = build_plan(recipe, arranged, device=CPU)
    before = {key: tensor.clone() for key, tensor in plan.model.named_parameters()}
    state = State()
    assert fit(plan, state, end_epoch=lambda state, epoch: None, listener=SilentListener())
    assert state.step == 1
    moved = [key for key, tensor in plan.model.named_parameters() if not torch.equal(tensor, before[key])]
    assert len(moved) > 1
    assert all(torch.isfinite(tensor).all() for tensor in plan.model.state_dict().values())


def test_the_published_recipes_are_all_there() -> None:
    assert len(SYSTEMS) >= 10
    assert set(SYSTEMS) <= set(recipe_names())
    assert {"digits", "fast", "airbench94", *SYSTEMS} == {name.removesuffix("-published") for name in recipe_names()}


# -- two protocols ----------------------------------------------------------------------------------------------------


def test_there_are_two_protocols_where_the_report_looked_at_the_test_split() -> None:
    assert sorted(CORRECTED) == sorted(name for name, system in SYSTEMS.items() if system.looks_at_test)
    assert CORRECTED


@pytest.mark.parametrize("name", CORRECTED)
def test_the_protocols_differ_in_where_they_validate_and_in_nothing_else(name: str) -> None:
    changed = differences(get_recipe(name), get_recipe(f"{name}-published"))
    validation = get_recipe(name).data.validation
    assert validation > 0
    assert changed == [
        f"name: '{name}' -> '{name}-published'",
        f"data.validation: {validation} -> 0.0",
        "data.validate_on: 'train' -> 'test'",
    ]


@pytest.mark.parametrize("name", CORRECTED)
def test_as_published_all_images_are_trained_on_and_test_validates(name: str, splits: Splits) -> None:
    arranged = arrange(get_recipe(f"{name}-published"), splits)
    classes = 2 if name == "resnet20-pair" else 10
    assert len(arranged.train) == 10 * classes
    assert arranged.validation is arranged.test
    corrected = arrange(get_recipe(name), splits)
    assert corrected.validation is not None
    assert not set(corrected.validation.sample_ids) & set(splits.test.sample_ids)
    assert len(corrected.train) + len(corrected.validation) == 10 * classes


@pytest.mark.parametrize("name", CORRECTED)
def test_a_published_protocol_says_what_it_is(name: str) -> None:
    assert (
        recipe_summary(f"{name}-published") == f"{name} as published: all training images, and the test split looked at after every epoch."
    )


def test_no_other_recipe_looks_at_the_test_split() -> None:
    looking = [name for name in recipe_names() if get_recipe(name).data.validate_on == "test"]
    assert looking == sorted(f"{name}-published" for name in CORRECTED)


# -- as stated ------------------------------------------------------------------------------------------------------------


def epochs(recipe: Recipe) -> float:
    assert recipe.train.duration.unit == "ep"
    return recipe.train.duration.value


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_a_recipe_trains_the_network_of_its_system_for_the_epochs_that_it_states(system: PublishedSystem) -> None:
    recipe = get_recipe(system.name)
    assert recipe.model.name == system.network
    if system.headline.epochs is not None:
        assert epochs(recipe) == system.headline.epochs
    if system.selects_on_test:
        assert recipe.train.select == "best"
    if named := re.search(r"([\d ]+) parameters", recipe_summary(system.name)):
        assert system.parameters is not None
        assert int(named[1].replace(" ", "")) == system.parameters.total
    assert system.headline.accuracy is not None
    assert f"claimed {100 * system.headline.accuracy:.2f} %" in recipe_summary(system.name)


# From the reports by hand: optimizer, learning rate, batch size, epochs; None where a report does not state it.
STATED = {
    "thesis18": (None, None, None, 20),
    "report10": ("adamax", 3e-3, 32, 20),
    "resnet20": (None, None, 128, 200),
    "resnet20-pair": (None, None, 128, 200),
    "slides-final": (None, None, None, 40),
    "lab-base": ("adam", 1e-3, 64, 5),
    "lab-final": (None, None, None, 5),
}


@pytest.mark.parametrize("name", STATED)
def test_what_a_report_states_of_the_training_is_in_its_recipe(name: str) -> None:
    recipe = get_recipe(name)
    found = (recipe.optim.name, recipe.optim.lr, recipe.train.batch_size, epochs(recipe))
    assert all(stated in (None, value) for stated, value in zip(STATED[name], found, strict=True))


@pytest.mark.parametrize("name", ["thesis18", "report10", "slides-m1", "slides-m2", "slides-m3", "slides-final", "lab-base", "lab-final"])
def test_pixels_are_rescaled_and_no_more(name: str, splits: Splits) -> None:
    recipe = get_recipe(name)
    preprocess = build_plan(recipe, arrange(recipe, splits), device=CPU).preprocess
    images = torch.from_numpy(splits.test.images)
    assert torch.allclose(preprocess(images), images.permute(0, 3, 1, 2) / 255.0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_keras_epsilon_stands_in_every_recipe(name: str) -> None:
    optim = get_recipe(name).optim
    assert optim.name in ("adam", "adamax")
    assert optim.arguments == {"epsilon": 1e-7}


def test_resnet_rates_fall_after_the_stated_epochs_to_the_smallest(splits: Splits) -> None:
    recipe = get_recipe("resnet20")
    plan = build_plan(recipe, arrange(recipe, splits), device=CPU)
    per_epoch = plan.loader.steps_per_epoch
    rates = []
    for epoch in (0, 79, 80, 119, 120, 159, 160, 179, 180, 199):
        plan.prepare(epoch * per_epoch, [])
        rates.append(plan.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6, 0.5e-6, 0.5e-6])


def test_the_pair_is_deer_against_dog(splits: Splits) -> None:
    arranged = arrange(get_recipe("resnet20-pair-published"), splits)
    assert arranged.train.class_names == arranged.test.class_names == ("deer", "dog")
    chosen = np.isin(splits.train.labels, [CLASSES.index("deer"), CLASSES.index("dog")])
    assert set(arranged.train.sample_ids) == set(splits.train.sample_ids[chosen])
    pair = differences(get_recipe("resnet20"), get_recipe("resnet20-pair"))
    assert [line.partition(":")[0] for line in pair] == ["name", "data.classes"]


@pytest.mark.parametrize("name", ["slides-m1", "slides-m2", "slides-m3", "slides-final"])
def test_slides_hold_out_fifteen_percent(name: str, splits: Splits) -> None:
    arranged = arrange(get_recipe(name), splits)
    assert arranged.validation is not None
    assert (len(arranged.train), len(arranged.validation)) == (85, 15)  # 42 500 and 7 500 of 50 000


@pytest.mark.parametrize(
    ("name", "flip", "l2", "l2_on"),
    [
        ("slides-m1", "none", False, "kernels"),
        ("slides-m2", "random", False, "kernels"),
        ("slides-m3", "random", True, "kernels"),
        ("slides-final", "random", True, "convolutions"),
    ],
)
def test_slides_add_one_remedy_after_the_other(name: str, flip: str, l2: bool, l2_on: str) -> None:
    recipe = get_recipe(name)
    assert (recipe.augment.flip, recipe.optim.l2 > 0, recipe.optim.l2_on) == (flip, l2, l2_on)


def test_the_penalty_of_slides_m3_is_the_stated_one() -> None:
    assert get_recipe("slides-m3").optim.l2 == 1e-3


def test_slides_final_stops_early_and_schedules() -> None:
    recipe = get_recipe("slides-final")
    assert recipe.train.patience is not None
    assert recipe.schedule.name != "constant"
    assert recipe.schedule.patience < recipe.train.patience  # the rate must be cut before the training stops
