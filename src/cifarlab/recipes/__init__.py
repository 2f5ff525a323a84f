"""Recipes by name: functions that return a Recipe. Their docstrings state what was measured."""

from cifarlab.recipes.builtin import digits, fast
from cifarlab.recipes.published import (
    lab_base,
    lab_final,
    report10,
    resnet20,
    resnet20_pair,
    slides_final,
    slides_m1,
    slides_m2,
    slides_m3,
    thesis18,
)
from cifarlab.recipes.registry import get_recipe, recipe_names, recipe_summary, register

__all__ = [
    "digits",
    "fast",
    "get_recipe",
    "lab_base",
    "lab_final",
    "recipe_names",
    "recipe_summary",
    "register",
    "report10",
    "resnet20",
    "resnet20_pair",
    "slides_final",
    "slides_m1",
    "slides_m2",
    "slides_m3",
    "thesis18",
]
