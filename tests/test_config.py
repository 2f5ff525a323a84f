"""The recipe: YAML and overrides. What is refused is in test_config_problems.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cifarlab.config import (
    Duration,
    ModelConfig,
    Recipe,
    TrainConfig,
    differences,
    flatten,
    option_keys,
    override,
    parse_recipe,
    read_recipe,
)
from cifarlab.errors import ConfigError, UsageError
from cifarlab.recipes import get_recipe, recipe_names


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(model=ModelConfig(name="speednet"))


@pytest.mark.parametrize("duration", ["0ep", "0st", "50%"])
def test_training_needs_an_absolute_length(recipe: Recipe, duration: str) -> None:
    with pytest.raises(ConfigError, match="positive number of epochs"):
        override(recipe, {"train.duration": duration})


# -- YAML -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipe_names())
def test_yaml_gives_the_recipe_back(name: str) -> None:
    assert parse_recipe(get_recipe(name).to_yaml()) == get_recipe(name)


positive = st.floats(min_value=1e-300, max_value=1e6)
argument = st.one_of(
    st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9), st.none(), st.lists(st.integers(1, 999), min_size=1)
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        "data.classes": st.none() | st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=3),
        "data.train_size": st.none() | st.integers(2, 10**6),
        "optim.lr": positive,
        "optim.arguments.momentum": argument,
        "model.arguments.widths": argument,
        "schedule.warmup": st.builds(lambda value, unit: f"{value}{unit}", st.integers(0, 9999), st.sampled_from(["ep", "st", "%"])),
        "schedule.final": st.floats(0, 1),
        "train.duration": st.integers(1, 999) | st.builds("{}st".format, st.integers(1, 999)),
        "train.resolution": st.lists(st.integers(8, 512), max_size=4),
        "input": st.fixed_dictionaries({}, optional={"crop": st.integers(8, 32), "color": st.sampled_from(["rgb", "gray"])}),
        "augment.erase": st.floats(0, 1),
        "loss.class_weights": st.sampled_from(["none", "balanced"]) | st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=4),
        "optim.l2": st.floats(0, 1),
        "schedule.cycle": st.builds("{}ep".format, st.integers(1, 99)),
        "train.phases": st.lists(st.fixed_dictionaries({"until": st.just("3ep"), "sparsity": st.floats(0, 0.9)}), max_size=2),
        "train.patience": st.none() | st.integers(1, 99),
        "train.freeze": st.lists(st.fixed_dictionaries({"parameters": st.just("whiten.*"), "after": st.just("3ep")}), max_size=2),
        "seed": st.integers(0, 2**63 - 1),
    },
)


@settings(deadline=None)
@given(name=st.sampled_from(recipe_names()), changes=changes)
def test_yaml_gives_any_changed_recipe_back(name: str, changes: Mapping[str, object]) -> None:
    changed = override(get_recipe(name), changes)
    assert parse_recipe(changed.to_yaml()) == changed


@pytest.mark.parametrize("text", ["3", "[1, 2]", "", "just words"])
def test_yaml_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a recipe is a mapping of sections"):
        parse_recipe(text, source="r.yaml")


def test_broken_yaml_is_named_with_its_source() -> None:
    with pytest.raises(ConfigError, match=r"r\.yaml: 1 problem\n  - not YAML"):
        parse_recipe("model: [unclosed", source="r.yaml")


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not YAML"):
        parse_recipe(f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{tmp_path / 'canary'}']]")
    assert list(tmp_path.iterdir()) == []


def test_unknown_keys_of_a_file_come_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_recipe("model: {name: speednet}\noptim: {lrr: 3}\nsead: 1\n", source="r.yaml")
    assert len(caught.value.problems) == 2
    assert "unknown option 'optim.lrr'; did you mean 'optim.lr'?" in caught.value.problems[0]
    assert "unknown option 'sead'; did you mean 'seed'?" in caught.value.problems[1]


def test_a_recipe_needs_a_model() -> None:
    with pytest.raises(ConfigError, match="model is missing"):
        parse_recipe("seed: 1")


@pytest.mark.parametrize("name", ["a\x85b", "1½~&G\x85", "a\u2028b", "a\u2029", "über"])
def test_line_breaks_of_unicode_in_a_name_survive_yaml(recipe: Recipe, name: str) -> None:
    named = override(recipe, {"name": name})
    assert parse_recipe(named.to_yaml()) == named


def test_scientific_notation_in_a_file_is_a_number() -> None:
    read = parse_recipe("model: {name: m}\noptim: {lr: 1e-3, arguments: {epsilon: 1e-7, betas: [1e-1, 2E-1]}}")
    assert read.optim.lr == 0.001
    assert read.optim.arguments == {"epsilon": 1e-7, "betas": [0.1, 0.2]}


# -- files ----------------------------------------------------------------------------------------------------------


def test_recipe_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(get_recipe("digits").to_yaml())
    assert read_recipe(file) == get_recipe("digits")


def test_missing_recipe_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the recipe .*nope\.yaml: No such file"):
        read_recipe(tmp_path / "nope.yaml")


def test_folder_in_place_of_a_recipe_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        read_recipe(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01", b"\x80\x04\x95", b"\x00\x00"])
def test_binary_recipe_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"r\.yaml"):
        read_recipe(file)


# -- overrides ------------------------------------------------------------------------------------------------------


def test_override_changes_what_it_names_and_nothing_else(recipe: Recipe) -> None:
    changed = override(recipe, {"optim.lr": 0.5, "model.arguments.widths": [8, 8, 8]})
    assert changed.optim.lr == 0.5
    assert changed.model.arguments == {"widths": [8, 8, 8]}
    assert recipe.optim.lr == 0.001
    assert differences(recipe, changed) == ["optim.lr: 0.001 -> 0.5", "model.arguments.widths: None -> [8, 8, 8]"]
    assert flatten(changed)["model.arguments.widths"] == [8, 8, 8]
    assert flatten(recipe).keys() < flatten(changed).keys()


def test_override_reports_everything_at_once(recipe: Recipe) -> None:
    with pytest.raises(ConfigError) as caught:
        override(recipe, {"opt.lr": 3, "trian.batch_size": 2, "optim.lr": -1, "train.batch_size": "many", "augment.flip": "up"})
    problems = caught.value.problems
    assert len(problems) == 5
    assert problems[0].startswith("unknown option 'opt.lr'; did you mean 'optim.lr'?")
    assert problems[1].startswith("unknown option 'trian.batch_size'; did you mean 'train.batch_size'?")
    assert {problem.partition(":")[0] for problem in problems[2:]} == {"optim.lr", "train.batch_size", "augment.flip"}
    assert any("'none', 'random' or 'alternating' (given: 'up')" in problem for problem in problems)


@pytest.mark.parametrize("key", ["", ".", "optim.", ".lr", "optim.lr.x", "ünï", "model_config", "optim.arguments.a.b", "train.freeze.0"])
def test_odd_keys_are_unknown_options(recipe: Recipe, key: str) -> None:
    with pytest.raises(ConfigError, match="unknown option"):
        override(recipe, {key: 1})


@pytest.mark.parametrize("key", ["train", "optim.arguments"])
def test_a_section_is_no_value(recipe: Recipe, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} is a section, not a value"):
        override(recipe, {key: 3})


@pytest.mark.parametrize("value", [{"a": 1}, [1, "x"], float("nan"), [[1]]])
def test_a_wrong_argument_is_one_problem(recipe: Recipe, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        override(recipe, {"model.arguments.widths": value})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("model.arguments.widths: must be true, false, a finite number")
    assert caught.value.problems[0].endswith(f"(given: {value!r})")


@pytest.mark.parametrize("key", ["optim", "optim.arguments"])
def test_names_of_arguments_are_text(recipe: Recipe, key: str) -> None:
    value = {"arguments": {1: 2}} if key == "optim" else {1: 2}
    with pytest.raises(ConfigError) as caught:
        override(recipe, {key: value})
    assert caught.value.problems == ["optim.arguments: the names of arguments are text (given: 1)"]


def test_a_section_given_as_a_mapping_keeps_its_other_fields(recipe: Recipe) -> None:
    begun = override(recipe, {"optim.weight_decay": 0.3, "optim.arguments": {"a": 1, "b": 2}})
    changed = override(begun, {"optim": {"lr": 0.1, "arguments": {"b": 3, "c": 4}}})
    assert differences(begun, changed) == ["optim.lr: 0.001 -> 0.1", "optim.arguments.b: 2 -> 3", "optim.arguments.c: None -> 4"]


def test_a_section_and_then_a_key_in_it_are_both_set(recipe: Recipe) -> None:
    given: dict[str, object] = {
        "train": {"batch_size": 32},
        "train.monitor": "loss",
        "optim.arguments": {"a": 1},
        "optim.arguments.b": 2,
    }
    changed = override(recipe, given)
    assert (changed.train.batch_size, changed.train.monitor) == (32, "loss")
    assert changed.optim.arguments == {"a": 1, "b": 2}
    assert given["optim.arguments"] == {"a": 1}


def test_an_empty_mapping_removes_all_arguments_and_no_field_of_a_section(recipe: Recipe) -> None:
    begun = override(recipe, {"optim.lr": 0.5, "optim.arguments": {"a": 1}})
    assert override(begun, {"optim": {}}) == begun
    for changes in ({"optim.arguments": {}}, {"optim": {"arguments": {}}}):
        assert override(begun, changes) == override(recipe, {"optim.lr": 0.5})


def test_lists_are_replaced_as_a_whole(recipe: Recipe) -> None:
    begun = override(recipe, {"train.freeze": [{"parameters": "a.*", "after": "1ep"}, {"parameters": "b.*", "after": "2ep"}]})
    changed = override(begun, {"train": {"freeze": [{"parameters": "c.*", "after": "3ep"}]}})
    assert [entry.parameters for entry in changed.train.freeze] == ["c.*"]


@pytest.mark.parametrize("changes", [{"optim": {"lrr": 1}}, {"optim": {1: 2}}])
def test_an_unknown_key_in_a_mapping_is_one_problem(recipe: Recipe, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"1 problem\n.*optim\.(lrr|1)"):
        override(recipe, changes)


def test_option_keys_can_all_be_set(recipe: Recipe) -> None:
    keys = option_keys()
    assert {"optim.lr", "train.duration", "seed", "model.arguments"} <= set(keys)
    values = recipe.model_dump()
    for key in keys:
        value: Any = values
        for part in key.split("."):
            value = value[part]
        assert override(recipe, {key: value}) == recipe


def test_a_recipe_is_frozen(recipe: Recipe) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        recipe.optim.lr = 3  # type: ignore[misc]


def test_sections_check_themselves_in_python() -> None:
    with pytest.raises(ValidationError, match="positive number of epochs"):
        TrainConfig(duration=Duration(5, "%"))


def test_a_key_written_twice_is_refused_with_its_lines() -> None:
    with pytest.raises(ConfigError, match=r"the key 'lr' stands twice, in lines 4 and 5"):
        parse_recipe("model:\n  name: lab-base\noptim:\n  lr: 0.05\n  lr: 0.01\n")
