"""Studies by name or from a file: a recipe, what stays fixed and what varies, as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from cifarlab.config import Recipe, load_yaml
from cifarlab.errors import ConfigError, UsageError, unknown
from cifarlab.experiments.study import StudyPlan
from cifarlab.recipes import get_recipe, recipe_names
from cifarlab.sections import as_number

_TEXTS: Final = ("title", "label", "note", "layout", "fixed")
_KEYS: Final = ("recipe", "set", "vary", "seeds", *_TEXTS)


def shipped_studies() -> tuple[str, ...]:
    """Names of the studies that come with cifarlab, sorted."""
    return tuple(sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml")))


def find_plan(study: str | Path | Recipe) -> StudyPlan:
    """The plan of a shipped study, a study file, a recipe's name, a recipe file or a recipe; the last three vary nothing yet.

    Raises UsageError for an unknown name and ConfigError with all problems of a file.
    """
    if isinstance(study, Recipe):
        return StudyPlan(study.name, study)
    if not isinstance(study, str | Path):
        raise UsageError(f"a study is the name of a study or recipe, a YAML file or a Recipe, not {study!r}; for example 'digits'")
    name = str(study)
    if name in shipped_studies():
        return parse_study((_folder() / f"{name}.yaml").read_text(encoding="utf-8"), name=name, source=f"study {name}")
    if "/" in name or "\\" in name or name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"cannot read the study or recipe {path}: {reason}. List what there is with: cifarlab sweep --list-studies"
            ) from error
        if _is_study(text):
            return parse_study(text, name=path.stem, source=str(path), beside=path.parent)
    elif name not in recipe_names():
        raise UsageError(
            unknown("recipe or study", name, [*recipe_names(), *shipped_studies()], remedy="or give a YAML file such as my-study.yaml")
        )
    recipe = get_recipe(name)
    return StudyPlan(recipe.name, recipe)


def parse_study(text: str, *, name: str, source: str, beside: Path | None = None) -> StudyPlan:
    """A study file. `beside`: the folder from which a recipe's relative path counts. Raises ConfigError with every problem."""
    try:
        given = load_yaml(text)
    except ValueError as error:
        raise ConfigError([f"not YAML: {error}"], source=source) from error
    if not isinstance(given, Mapping):
        raise ConfigError([f"a study is a mapping ({', '.join(_KEYS)}), not {type(given).__name__}"], source=source)
    problems = [unknown("key", key, _KEYS) for key in given if key not in _KEYS]
    problems += [f"{key} must be text, not {given[key]!r}" for key in _TEXTS if key in given and not isinstance(given[key], str)]
    recipe = _recipe(given.get("recipe"), beside, problems)
    changes, vary = given.get("set") or {}, given.get("vary") or {}
    problems += [
        f"{key} must be a mapping of recipe fields, not {value!r}"
        for key, value in (("set", changes), ("vary", vary))
        if not isinstance(value, Mapping)
    ]
    fields = [key for part in (changes, vary) if isinstance(part, Mapping) for key in part]
    problems += [f"a recipe field is a name, not {key!r}" for key in fields if not isinstance(key, str)]
    if isinstance(vary, Mapping):
        problems += [f"vary.{key} must be a list of values, not {value!r}" for key, value in vary.items() if not isinstance(value, list)]
    seeds = given.get("seeds")
    if not (seeds is None or isinstance(seeds, int | list)) or isinstance(seeds, bool):
        problems.append(f"seeds must be a number of seeds or a list of them, not {seeds!r}")
    if problems or recipe is None:
        raise ConfigError(problems, source=source)
    texts: dict[str, Any] = {key: given[key].strip() for key in _TEXTS if key in given}
    numbers: Any = as_number({"changes": dict(changes), "vary": dict(vary)})
    return StudyPlan(name, recipe, changes=numbers["changes"], vary=numbers["vary"], seeds=seeds, is_study=True, **texts)


def _recipe(given: object, beside: Path | None, problems: list[str]) -> Recipe | None:
    if not isinstance(given, str):
        problems.append("recipe is missing" if given is None else f"recipe must be a recipe's name or file, not {given!r}")
        return None
    is_file = given.endswith((".yaml", ".yml")) or "/" in given
    try:
        return get_recipe(str(beside / given) if is_file and beside is not None else given)
    except UsageError as error:
        problems += error.problems if isinstance(error, ConfigError) else [str(error)]
        return None


def _is_study(text: str) -> bool:
    """A recipe has a section `model`, a study names its recipe."""
    try:
        given = load_yaml(text)
    except ValueError:
        return False  # the recipe's reader will say what is wrong
    return isinstance(given, Mapping) and "model" not in given and bool(set(_KEYS) & set(given))


def _folder() -> Any:
    return resources.files("cifarlab") / "studies"
