"""From words to points: fields looked up, values typed, lengths shortened, and everything that is wrong told at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cifarlab.build import build_plan, unknown_names
from cifarlab.config import override
from cifarlab.duration import Duration
from cifarlab.errors import ConfigError, UsageError
from cifarlab.experiments.study import Study, StudyPlan, fix_steps, in_words, make_study, option, parse_variations, resolve_key
from cifarlab.recipes import get_recipe


def study(recipe: str = "resnet20", **given: Any) -> Study:
    return make_study(StudyPlan("made", get_recipe(recipe), **given), unknown_names)


def problems(recipe: str = "resnet20", **given: Any) -> str:
    with pytest.raises(UsageError) as caught:
        study(recipe, **given)
    return str(caught.value)


# -- words -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("train.batch_size", "train.batch_size"),
        ("batch_size", "train.batch_size"),
        ("lr", "optim.lr"),
        ("epochs", "train.duration"),
        ("train_size", "data.train_size"),
        ("seed", "seed"),
        ("optim.arguments.momentum", "optim.arguments.momentum"),
    ],
)
def test_the_last_part_of_a_key_is_enough_where_it_is_clear(given: str, key: str) -> None:
    assert resolve_key(given) == key


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("batchsize", "did you mean 'train.batch_size'"),
        ("optim.learning_rate", "unknown field"),
        ("arguments", "model.arguments or optim.arguments"),
        ("model", "vary model.name"),
        ("name", "decides nothing"),
    ],
)
def test_a_key_that_means_nothing_is_refused(given: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        resolve_key(given)


def test_values_are_read_as_yaml() -> None:
    read = parse_variations(["lr=1e-3,0.1", "data.classes=[deer, dog],[cat, ship]", "train.duration=1ep,2ep", "train_size=null,100"])
    assert read == {
        "lr": [1e-3, 0.1],
        "data.classes": [["deer", "dog"], ["cat", "ship"]],
        "train.duration": ["1ep", "2ep"],
        "train_size": [None, 100],
    }


def test_variations_that_cannot_be_read_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_variations(["batch_size", "lr=[1", "seed=0", "seed=1", "data.classes=&x [*x]"])
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    ("value", "text"), [(None, "none"), (True, "true"), (0.0001, "0.0001"), (["a", 2], "[a, 2]"), ({"x": 1.5}, "{x: 1.5}"), ("8ep", "8ep")]
)
def test_values_in_words(value: object, text: str) -> None:
    assert in_words(value) == text


# -- points ----------------------------------------------------------------------------------------------------------------


def test_a_grid_has_every_combination_and_values_get_their_fields_type() -> None:
    made = study(vary={"batch_size": ["32", 64.0], "optim.lr": [1, 0.1]}, seeds=2)
    assert [dict(point.values) for point in made.points] == [
        {"train.batch_size": size, "optim.lr": rate} for size in (32, 64) for rate in (1.0, 0.1)
    ]
    assert made.points[2].recipe.train.batch_size == 64
    assert made.seeds == (0, 1)


def test_a_list_takes_values_side_by_side() -> None:
    made = study(vary={"batch_size": [32, 64], "lr": [0.1, 0.2]}, layout="list")
    assert [tuple(point.values.values()) for point in made.points] == [(32, 0.1), (64, 0.2)]
    assert "train.batch_size 3, optim.lr 2" in problems(vary={"batch_size": [1, 2, 3], "lr": [1, 0.1]}, layout="list")


def test_seeds_can_be_varied_counted_or_left_to_the_default() -> None:
    assert study(vary={"batch_size": [32], "seed": [5, 7]}).seeds == (5, 7)
    assert study(vary={"batch_size": [32]}).seeds == (0, 1, 2)
    assert study(vary={"seed": [4, 9]}).points[0].values == {}
    assert "given twice" in problems(vary={"batch_size": [32], "seed": [5, 7]}, seeds=2)
    assert "nothing varies" in problems(vary={"seed": [3]})


@pytest.mark.parametrize("seeds", [None, 1, 5, [4, 9]])
def test_a_study_in_which_nothing_varies_is_refused(seeds: Any) -> None:
    assert "nothing varies: give --vary KEY=V1,V2" in problems(seeds=seeds)


@pytest.mark.parametrize("seeds", [None, 1])
def test_a_misspelt_field_is_not_called_nothing(seeds: Any) -> None:
    said = problems(vary={"batch_siz": [32, 64]}, seeds=seeds)
    assert "did you mean 'train.batch_size'" in said
    assert "nothing varies" not in said


def test_everything_that_is_wrong_is_told_at_once() -> None:
    said = problems(
        vary={"batch_siz": [1], "optim.lr": ["fast", -1], "train.duration": [], "augment.flip": ["sometimes"]},
        changes={"optim.naem": "sgd"},
        seeds=0,
        layout="gird",
        fixed="epochen",
        scale=-1.0,
    )
    for part in (
        "did you mean 'train.batch_size'",
        "'optim.naem'; did you mean 'optim.name'",
        "optim.lr: Input should be a valid number",
        "optim.lr: Input should be greater than 0",
        "train.duration: no value",
        "augment.flip",
        "seeds=0",
        "did you mean 'grid'",
        "did you mean 'epochs'",
        "scale=-1",
    ):
        assert part in said, part


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"vary": {"batch_size": [32, "32"]}}, "train.batch_size=32 stands twice"),
        ({"vary": {"train.duration": ["2ep", 2]}}, "train.duration=2ep stands twice"),
        ({"vary": {"seed": [1, 1]}}, "seed 1 stands twice"),
        ({"vary": {"seed": [-1, "x"]}}, "a whole number from 0"),
        ({"vary": {"lr": [0.1]}, "changes": {"optim.lr": 0.2}}, "both fixed and varied"),
        ({"vary": {"lr": [0.1], "optim.lr": [0.2]}}, "write it once"),
        ({"vary": {"model.name": ["resnet20", "resnet21"]}}, "unknown model 'resnet21'"),
        ({"vary": {"lr": [0.1]}, "changes": {"data.validation": 0, "train.select": "last"}}, "chooses by validation"),
        ({"vary": {"seed": list(range(2000))}}, "at most 1000"),
        ({"vary": {"lr": [n / 1e6 for n in range(1, 2000)]}}, "at most 1000"),
        ({"vary": {"train.duration": ["1ep"]}, "length": "2ep"}, "--scale"),
        ({"vary": {"train.duration": ["1ep"]}, "fixed": "steps"}, "cannot be fixed"),
        ({"vary": {"lr": [0.1]}, "length": "soon"}, "a duration is epochs"),
        ({"vary": {"lr": [0.1]}, "length": "500st"}, "same unit"),
        ({"vary": {"lr": [0.1]}, "length": "5ep", "scale": 0.1}, "choose one"),
        ({"vary": {"pooled": [True]}}, "needs data.train_size"),
        ({"vary": {"data.name": ["digits", "cifar10"]}}, "sweep each dataset on its own, with --data"),
    ],
)
def test_what_makes_no_study_is_refused(given: dict[str, Any], reason: str) -> None:
    assert reason in problems(**given)


def test_a_split_seed_can_be_varied_and_the_dataset_fixed() -> None:
    made = study(vary={"data.split_seed": [0, 1]}, changes={"data.name": "digits"})
    assert [(point.recipe.data.name, point.recipe.data.split_seed) for point in made.points] == [("digits", 0), ("digits", 1)]


def test_a_value_without_a_validation_split_is_named() -> None:
    said = problems("digits", vary={"data.validation": [0, 0.2, 1]})
    assert "no validation split of its own (data.validation=0), and a sweep chooses by validation" in said
    assert "data.validation: Input should be less than 1 (given: 1)" in said


def test_of_several_points_the_impossible_ones_are_named() -> None:
    said = problems("digits", vary={"data.validation": [0, 0.2], "lr": [0.1, 0.2]}, changes={"train.select": "best"})
    assert "choose train.select=last (at data.validation=0, optim.lr=0.1; data.validation=0, optim.lr=0.2)" in said
    everywhere = problems("digits", vary={"data.validation": [0.1, 0.2]}, changes={"pooled": True})
    assert everywhere.count("needs data.train_size") == 1
    assert "(at " not in everywhere


# -- lengths ---------------------------------------------------------------------------------------------------------------


def test_a_shortened_study_keeps_the_shape_of_its_schedule() -> None:
    made = study(vary={"batch_size": [32, 64]}, length="6ep")
    assert made.shortened == "shortened: 6 epochs in place of 200 epochs"
    for point in made.points:
        assert str(point.recipe.train.duration) == "6ep"
        assert [str(milestone) for milestone in point.recipe.schedule.milestones] == ["2.4ep", "3.6ep", "4.8ep", "5.4ep"]
        assert point.recipe.schedule.factors == get_recipe("resnet20").schedule.factors


def test_a_scaled_study_of_lengths_keeps_their_proportions() -> None:
    made = study(vary={"train.duration": ["100ep", "500ep"]}, scale=0.02)
    assert [point.values["train.duration"] for point in made.points] == ["2ep", "10ep"]
    assert [str(point.recipe.schedule.milestones[0]) for point in made.points] == ["1.6ep", "1.6ep"]
    assert "100ep becomes 2ep" in made.shortened


def test_shares_of_the_run_are_not_scaled_and_other_lengths_are() -> None:
    changes = {"schedule": {"name": "cosine", "warmup": "5%", "milestones": [], "factors": []}}
    plain = override(get_recipe("digits"), {**changes, "train.freeze": [{"parameters": "*.bias", "after": "4ep"}]})
    made = make_study(StudyPlan("made", plain, vary={"batch_size": [32]}, scale=0.5))
    recipe = made.points[0].recipe
    assert (str(recipe.schedule.warmup), str(recipe.train.freeze[0].after), str(recipe.train.duration)) == ("5%", "2ep", "4ep")


def test_the_same_length_is_not_called_shortened() -> None:
    assert study(vary={"batch_size": [32]}, length="200ep").shortened == ""


def test_fixed_steps_are_those_of_the_first_point_for_every_point() -> None:
    made = fix_steps(study(vary={"batch_size": [32, 64]}, fixed="steps", length="10ep"), 7)
    for point in made.points:
        assert point.recipe.train.duration == Duration(70, "st")
        assert point.recipe.schedule.milestones[0] == Duration(28, "st")  # 4 of 10 epochs
    assert [point.values["train.batch_size"] for point in made.points] == [32, 64]


def test_what_is_fixed_is_told_in_words() -> None:
    assert study(vary={"batch_size": [32]}, changes={"precision": "bf16"}).changed == ("train.precision=bf16",)


def test_an_option_that_is_not_set_is_none() -> None:
    assert option(get_recipe("resnet20"), "optim.arguments.amsgrad") is None


def test_a_point_can_be_built(tiny_splits: Any) -> None:
    import torch

    from cifarlab.build import arrange

    made = study("lab-base", vary={"batch_size": [16]}, length="1ep")
    recipe = made.points[0].recipe
    plan = build_plan(recipe, arrange(recipe, tiny_splits), device=torch.device("cpu"))
    assert plan.total_steps == 6  # 90 images
    assert dataclasses.is_dataclass(plan)
