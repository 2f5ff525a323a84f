"""The table of named recipes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from cifarlab.config import Recipe, read_recipe
from cifarlab.errors import UsageError, unknown

_RECIPES: dict[str, Callable[[], Recipe]] = {}


def register(name: str) -> Callable[[Callable[[], Recipe]], Callable[[], Recipe]]:
    """Make a recipe function known under `name`."""

    def add(function: Callable[[], Recipe]) -> Callable[[], Recipe]:
        if name in _RECIPES:
            raise ValueError(f"a recipe named {name!r} is registered already")
        _RECIPES[name] = function
        return function

    return add


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes, sorted."""
    return tuple(sorted(_RECIPES))


def recipe_summary(name: str) -> str:
    """First line of the recipe's docstring."""
    return (inspect.getdoc(_RECIPES[name]) or "").partition("\n")[0]


def get_recipe(name_or_file: str) -> Recipe:
    """A recipe by name, or from a YAML file (a path with a separator, or ending in .yaml or .yml)."""
    if name_or_file in _RECIPES:
        return _RECIPES[name_or_file]()
    if "/" in name_or_file or "\\" in name_or_file or name_or_file.endswith((".yaml", ".yml")):
        return read_recipe(Path(name_or_file))
    raise UsageError(unknown("recipe", name_or_file, recipe_names(), remedy="or give a YAML file such as my-recipe.yaml"))
