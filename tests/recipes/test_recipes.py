"""Contract of every registered recipe, and how recipes are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from cifarlab.build import check_recipe
from cifarlab.config import Recipe, override, parse_recipe
from cifarlab.errors import ConfigError, UsageError
from cifarlab.recipes import get_recipe, recipe_names, recipe_summary, register
from cifarlab.recipes.registry import _RECIPES


def test_the_registry_holds_what_is_promised() -> None:
    assert {"digits", "fast", "lab-base"} <= set(recipe_names())
    assert list(recipe_names()) == sorted(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_carries_its_name_and_can_be_built(name: str) -> None:
    recipe = get_recipe(name)
    assert isinstance(recipe, Recipe)
    assert recipe.name == name
    check_recipe(recipe)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_survives_its_yaml_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text(get_recipe(name).to_yaml(), encoding="utf-8")
    assert get_recipe(str(file)) == get_recipe(name)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_what_it_is_in_one_line(name: str) -> None:
    summary = recipe_summary(name)
    assert 20 <= len(summary) <= 120
    assert summary.endswith(".")


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_never_selects_without_validation(name: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.select=best.* needs? a validation split"):
        override(get_recipe(name), {"data.validate_on": "train", "data.validation": 0, "train.select": "best"})


def test_every_call_gives_an_equal_recipe() -> None:
    assert get_recipe("fast") == get_recipe("fast")


@pytest.mark.parametrize(("given", "nearest"), [("digit", "digits"), ("FAST", "fast"), ("lab_base", "lab-base")])
def test_an_unknown_recipe_comes_with_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"unknown recipe '{given}'; did you mean '{nearest}'"):
        get_recipe(given)


@pytest.mark.parametrize("given", ["", "zzz", "Ω"])
def test_an_unknown_recipe_near_nothing_lists_all(given: str) -> None:
    with pytest.raises(UsageError, match=f"allowed: {', '.join(recipe_names())}; or give a YAML file"):
        get_recipe(given)


def test_a_folder_called_like_a_recipe_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert get_recipe("digits").name == "digits"


def test_a_path_is_a_file_whatever_its_ending(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the recipe"):
        get_recipe(str(tmp_path / "digits"))


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register("digits")(lambda: get_recipe("digits"))


def test_a_registered_recipe_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifarlab.recipes.registry._RECIPES", dict(_RECIPES))

    @register("mine")
    def mine() -> Recipe:
        """Mine."""
        return parse_recipe("model: {name: lab-base}")

    assert get_recipe("mine") == mine()
    assert recipe_summary("mine") == "Mine."


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"model.name": "speednt"}, ["unknown model 'speednt'; did you mean 'speednet'?"]),
        ({"optim.name": "adm"}, ["unknown optimizer 'adm'; did you mean 'adam'?"]),
        ({"model.arguments.width": [8, 8, 8]}, ["unknown argument 'width'; did you mean 'widths'?"]),
        ({"optim.arguments.moment": 0.5}, ["unknown argument 'moment'; did you mean 'momentum'?"]),
        ({"model.name": "a", "optim.name": "b"}, ["unknown model 'a'", "unknown optimizer 'b'"]),
        ({"model.arguments.widths": [8]}, ["widths must be three numbers"]),
        ({"train.freeze": [{"parameters": "whitten.*", "after": "1ep"}]}, ["no parameter matches", "'whitten.*'"]),
    ],
)
def test_names_that_do_not_exist_are_found_before_training(changes: dict[str, object], messages: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        check_recipe(override(get_recipe("digits"), changes))
    for message in messages:
        assert message in str(caught.value)
