"""`cifarlab recipes`: the recipes that `train` knows by name."""

from __future__ import annotations

from typing import Annotated

import typer

from cifarlab.cli.options import AsJson


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this recipe as YAML; save it, change it, train it.")] = None,
    fields: Annotated[bool, typer.Option("--fields", help="List every field that a recipe can set, with default and meaning.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the recipes, print one as YAML, or list what a recipe can set (losses, optimizers, schedules, augmentation, ...)."""
    from cifarlab.cli.terminal import write_json_out, write_table
    from cifarlab.config import describe_options
    from cifarlab.recipes import get_recipe, recipe_names, recipe_summary

    if fields:
        described = describe_options()
        if as_json:
            write_json_out([dict(zip(("key", "default", "meaning"), row, strict=True)) for row in described])
        else:
            write_table(["field", "default", "meaning"], described)
        return
    if name is not None:
        recipe = get_recipe(name)
        if as_json:
            write_json_out(recipe.model_dump(mode="json"))
        else:
            typer.echo(recipe.to_yaml(), nl=False)
        return
    found = {each: get_recipe(each) for each in recipe_names()}
    if as_json:
        write_json_out([{"name": each, "summary": recipe_summary(each), "recipe": found[each].model_dump(mode="json")} for each in found])
        return
    write_table(
        ["name", "data", "network", "length", "what it is"],
        [(each, r.data.name, r.model.name, str(r.train.duration), recipe_summary(each)) for each, r in found.items()],
    )
