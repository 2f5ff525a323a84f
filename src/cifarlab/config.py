"""The recipe: everything that decides a run, frozen, validated, and the same in Python and YAML.

Its fields are in cifarlab.sections; here it is read, changed and compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from cifarlab.duration import Duration
from cifarlab.errors import ConfigError, UsageError, nearest, unknown
from cifarlab.sections import (
    AugmentConfig,
    DataConfig,
    EvaluateConfig,
    FreezeConfig,
    InputConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    PhaseConfig,
    Recipe,
    ScheduleConfig,
    TrainConfig,
    as_number,
)

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "Duration",
    "EvaluateConfig",
    "FreezeConfig",
    "InputConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "PhaseConfig",
    "Recipe",
    "RecipeError",
    "ScheduleConfig",
    "TrainConfig",
    "describe_options",
    "differences",
    "flatten",
    "load_yaml",
    "option_keys",
    "override",
    "parse_assignments",
    "parse_recipe",
    "read_recipe",
]


_ALTERNATIVE: Final = re.compile(r"(literal|tuple)\[")  # how pydantic tells apart the types of a field that has several
_QUOTED: Final = re.compile(r"'([^']*)'")


class RecipeError(ConfigError):
    """A recipe does not hold. `rest`: its sections with every wrong field at its default, so that the names in them can be looked up
    all the same; None where no network is named. It was not checked as a whole and is not to be trained."""

    def __init__(self, problems: Sequence[str], *, source: str, rest: Recipe | None) -> None:
        super().__init__(problems, source=source)
        self.source, self.rest = source, rest


def parse_recipe(text: str, *, source: str = "recipe") -> Recipe:
    """Read a recipe from YAML. Raises ConfigError with every problem; `source` names the file in it."""
    try:
        value = load_yaml(text)
    except ValueError as error:
        raise ConfigError([f"not YAML: {error}"], source=source) from error
    if not isinstance(value, Mapping):
        sections = ", ".join(Recipe.model_fields)
        raise ConfigError([f"a recipe is a mapping of sections ({sections}), not {type(value).__name__}"], source=source)
    return _validate(value, source)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a YAML file; raises UsageError where there is none."""
    try:
        return parse_recipe(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the recipe {path}: {getattr(error, 'strerror', None) or error}. List the recipes with: cifarlab recipes"
        ) from error


def override(recipe: Recipe, changes: Mapping[str, object]) -> Recipe:
    """`recipe` with dotted keys such as "optim.lr" set anew, validated again.

    A mapping given for a section or for its arguments changes the keys that it holds and leaves the others; an empty one
    given for arguments removes all of them. Lists, such as "train.freeze", are replaced as a whole. A new name of model or
    optimizer comes without the arguments of the old one.
    Raises ConfigError with every unknown key (and its nearest match) and every wrong value.
    """
    values = recipe.model_dump(mode="python")
    problems: list[str] = []
    for section in ("model", "optim"):
        if _new_name(changes, section) not in (None, values[section]["name"]):
            values[section]["arguments"] = {}
    for key, value in changes.items():
        problem = _assign(values, key, value)
        if problem:
            problems.append(problem)
    return _validate(values, "overrides", problems)


def _new_name(changes: Mapping[str, object], section: str) -> object:
    """What `changes` set as `section`'s name, or None."""
    whole = changes.get(section)
    return changes.get(f"{section}.name", whole.get("name") if isinstance(whole, Mapping) else None)


def parse_assignments(assignments: Iterable[str]) -> dict[str, object]:
    """["optim.lr=0.1", "data.classes=[deer, dog]"] -> {"optim.lr": 0.1, ...}; values are read as YAML."""
    changes: dict[str, object] = {}
    problems: list[str] = []
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            problems.append(f"{text!r}: write KEY=VALUE, for example optim.lr=0.1")
            continue
        try:
            changes[key.strip()] = as_number(load_yaml(value))
        except RecursionError:  # a value that contains itself
            problems.append(f"{_shorten(text)!r}: the value is nested too deeply")
        except ValueError as error:
            problems.append(f"{_shorten(text)!r}: the value is not YAML ({error}); quote it")
    if problems:
        raise ConfigError(problems, source="--set")
    return changes


def option_keys() -> tuple[str, ...]:
    """Every dotted key that `override` takes, "arguments" of model and optimizer apart."""
    keys: list[str] = []
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            keys += [f"{name}.{inner}" for inner in section.model_fields]
        else:
            keys.append(name)
    return tuple(keys)


def describe_options() -> list[tuple[str, str, str]]:
    """(dotted key, default, meaning) of every field of a recipe, in its order; "" where a field has no default."""
    rows = []
    for key in option_keys():
        section, _, name = key.rpartition(".")
        owner: Any = Recipe.model_fields[section].annotation if section else Recipe
        field = owner.model_fields[name]
        values = field.get_default(call_default_factory=True)
        default = "" if field.is_required() else "none" if values is None else str(list(values) if isinstance(values, tuple) else values)
        allowed = " | ".join(map(str, get_args(field.annotation))) if get_origin(field.annotation) is Literal else ""
        rows.append((key, default, " ".join(filter(None, [field.description, allowed and f"({allowed})"]))))
    return rows


def differences(left: Recipe, right: Recipe) -> list[str]:
    """One line for each key in which two recipes differ: "optim.lr: 0.001 -> 0.1"."""
    lines = []
    a, b = flatten(left), flatten(right)
    for key in dict.fromkeys([*a, *b]):
        if a.get(key) != b.get(key):
            lines.append(f"{key}: {a.get(key)!r} -> {b.get(key)!r}")
    return lines


def flatten(recipe: Recipe) -> dict[str, Any]:
    """A recipe's values by dotted key, in its order: {"optim.lr": 0.1, ...}, ready for JSON; lists stay whole."""
    return _flatten(recipe.model_dump(mode="json"))


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flatten(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = inner
    return flat


def _assign(values: dict[str, Any], key: str, value: object) -> str | None:
    """Set a dotted key in place; returns the problem, if there is one."""
    *path, last = key.split(".")
    here = values
    for part in path:
        inner = here.get(part)
        if not isinstance(inner, dict):
            return unknown("option", key, option_keys())
        here = inner
    if last not in here and path[-1:] != ["arguments"]:
        return unknown("option", key, option_keys())
    if isinstance(here.get(last), dict) and not isinstance(value, Mapping):
        keys = ", ".join(f"{key}.{inner}" for inner in here[last]) or f"{key}.NAME"
        return f"{key} is a section, not a value; set one of its keys: {keys}"
    _merge(here, {last: value})
    return None


def _merge(values: dict[str, Any], changes: Mapping[str, object]) -> None:
    for key, value in changes.items():
        inner = values.get(key)
        if isinstance(inner, dict) and isinstance(value, Mapping) and (value or key != "arguments"):
            _merge(inner, value)
        else:
            values[key] = dict(value) if isinstance(value, Mapping) else value


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, which also refuses a key written twice: YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise ValueError(f"the key {key.value!r} stands twice, in lines {seen[key.value]} and {line}")
            seen[key.value] = line
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """Plain YAML; raises ValueError with a reason in one line, whatever the parser raises."""
    try:
        return yaml.load(text, _UniqueKeys)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    # The parser lets errors of its conversions through: a 13th month, a number of 5000 digits, "!!bool maybe", "!!timestamp x".
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _shorten(text: str) -> str:
    """`text` as an error shows it: its beginning, where it is long."""
    return text if len(text) <= 80 else text[:77] + "..."


def _validate(values: Mapping[str, Any], source: str, problems: list[str] | None = None) -> Recipe:
    found = list(problems or [])
    try:
        recipe = Recipe.model_validate(values)
    except RecursionError:  # YAML whose anchors make a value contain itself
        found.append("a value is nested too deeply")
    except ValidationError as error:
        # A wrong argument fails once for each type that it could have had: one line for all of them.
        found += dict.fromkeys(_explain(detail, values) for detail in error.errors() if not _superfluous(detail))
    if found:
        raise RecipeError(found, source=source, rest=_what_holds(values))
    return recipe


def _superfluous(detail: Any) -> bool:
    """Class weights are a word or a list, and fail as both: a list was meant as a list."""
    is_list = isinstance(detail["input"], (list, tuple))
    return detail["loc"][:2] == ("loss", "class_weights") and (
        (is_list and detail["type"] == "literal_error") or (not is_list and detail["type"] == "tuple_type")
    )


def _what_holds(values: Mapping[str, Any]) -> Recipe | None:
    """The sections of `values` that name something, with every wrong field at its default; see RecipeError."""
    sections: dict[str, Any] = {}
    for name, kind in (("model", ModelConfig), ("loss", LossConfig), ("optim", OptimConfig)):
        given = values.get(name)
        fields = dict(given) if isinstance(given, Mapping) else {}
        try:
            sections[name] = kind.model_validate(fields)
        except RecursionError:
            return None
        except ValidationError as error:
            wrong = {str(detail["loc"][0]) for detail in error.errors()}
            if name == "model" and "name" in wrong:
                return None
            # Arguments mean nothing without the name that they belong to.
            right = {} if "name" in wrong else {key: value for key, value in fields.items() if str(key) not in wrong}
            sections[name] = kind.model_validate(right)
    return Recipe.model_construct(**sections)


def _explain(detail: Any, values: Mapping[str, Any]) -> str:
    """One pydantic error in the house's words: key, what was given, what is allowed."""
    location = [str(part) for part in detail["loc"] if not _ALTERNATIVE.match(str(part))]
    key = ".".join(location)
    if detail["type"] == "extra_forbidden":
        return unknown("option", key, _keys_beside(location))
    if detail["type"] == "missing":
        return f"{key} is missing"
    if len(location) > 3 and location[1] == "arguments":
        if location[3] == "[key]":
            return f"{'.'.join(location[:2])}: the names of arguments are text (given: {detail['input']!r})"
        given = values[location[0]]["arguments"].get(location[2], detail["input"])
        return f"{'.'.join(location[:3])}: must be true, false, a finite number, text, a list of numbers or null (given: {given!r})"
    message = detail["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    if location == ["loss", "class_weights"] and detail["type"] == "literal_error":
        message += ", or a list with one weight for each class"
    given = "" if detail["type"] == "value_error" else f" (given: {detail['input']!r})"
    allowed = _QUOTED.findall(detail["ctx"]["expected"]) if detail["type"] == "literal_error" else []
    match = nearest(str(detail["input"]), allowed)
    return f"{key or 'recipe'}: {message}{given}" + (f"; did you mean {match!r}?" if match else "")


def _keys_beside(location: list[str]) -> Sequence[str]:
    """The dotted keys that could stand where an unknown one does."""
    before = ".".join(location[:-1])
    if location[:2] in (["train", "freeze"], ["train", "phases"]):
        kind = FreezeConfig if location[1] == "freeze" else PhaseConfig
        return [f"{before}.{name}" for name in kind.model_fields]
    return [key for key in option_keys() if key.startswith(f"{before}.")] if before else option_keys()
