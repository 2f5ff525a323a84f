"""Keyword arguments that a recipe hands to a registered factory, checked against the factory's own signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from cifarlab.errors import UsageError, unknown


def argument_defaults(factory: Callable[..., Any], *, reserved: tuple[str, ...]) -> dict[str, Any]:
    """The keyword arguments of `factory` and their defaults, without those that the caller always gives (`reserved`)."""
    return {name: parameter.default for name, parameter in inspect.signature(factory).parameters.items() if name not in reserved}


def checked_arguments(
    what: str, factory: Callable[..., Any], given: Mapping[str, Any] | None, *, reserved: tuple[str, ...]
) -> dict[str, Any]:
    """`given` converted to the types in the signature of `factory` (a list to a tuple, 8.0 to 8).

    Raises UsageError, its lines beginning with `what`, for every unknown name and every value of a wrong type.
    """
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(f"{what}: arguments are NAME: VALUE pairs, not {given!r}")
    if not given:
        return {}
    from pydantic import TypeAdapter, ValidationError  # here, because it is slow to import and a model without arguments does without

    allowed = argument_defaults(factory, reserved=reserved)
    hints = get_type_hints(factory)
    checked: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in given.items():
        if name not in allowed:
            problems.append(f"{what}: {unknown('argument', name, allowed)}")
            continue
        try:
            if isinstance(value, bool) and hints[name] is not bool:  # Python would take true for the number 1
                raise ValueError("true and false are no numbers")
            checked[name] = TypeAdapter(hints[name]).validate_python(value)
        except (ValidationError, ValueError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            problems.append(f"{what}: argument {name}: {reason} (given: {value!r}; default: {allowed[name]!r})")
    if problems:
        raise UsageError("\n".join(problems))
    return checked
