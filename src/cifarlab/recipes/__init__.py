"""Recipes by name: functions that return a Recipe. Their docstrings state what was measured."""

from cifarlab.recipes.builtin import digits, fast, lab_base
from cifarlab.recipes.registry import get_recipe, recipe_names, recipe_summary, register

__all__ = ["digits", "fast", "get_recipe", "lab_base", "recipe_names", "recipe_summary", "register"]
