"""Networks by their public name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

from cifarlab.arguments import argument_defaults, checked_arguments
from cifarlab.errors import UsageError, unknown

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])
_RESERVED = ("num_classes", "image_size")
_FACTORIES: dict[str, Callable[..., nn.Module]] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Make a factory known under `name`. It takes `num_classes` and `image_size` and its own keyword arguments."""

    def add(factory: Factory) -> Factory:
        if name in _FACTORIES:
            raise ValueError(f"a network named {name!r} is registered already")
        _FACTORIES[name] = factory
        return factory

    return add


def model_names() -> tuple[str, ...]:
    """Public names of all networks, sorted."""
    return tuple(sorted(_FACTORIES))


def model_arguments(name: str) -> dict[str, Any]:
    """The keyword arguments that a network takes besides `num_classes` and `image_size`, with their defaults."""
    return argument_defaults(_factory(name), reserved=_RESERVED)


def model_summary(name: str) -> str:
    """First line of the factory's docstring."""
    return (inspect.getdoc(_factory(name)) or "").partition("\n")[0]


def create_model(name: str, *, num_classes: int = 10, image_size: int = 32, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a network: float [N, 3, image_size, image_size] -> logits float [N, num_classes].

    Raises UsageError for an unknown name or argument, or for arguments that the network cannot be built with.
    """
    factory = _factory(name)
    given = checked_arguments(f"model {name}", factory, arguments, reserved=_RESERVED)
    try:
        return factory(num_classes=num_classes, image_size=image_size, **given)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # RuntimeError: more memory than there is
        raise UsageError(f"model {name} cannot be built with {given} for {image_size} px and {num_classes} classes: {error}") from error


def _factory(name: str) -> Callable[..., nn.Module]:
    if name not in _FACTORIES:
        raise UsageError(unknown("model", name, model_names(), remedy="list them with: cifarlab models"))
    return _FACTORIES[name]
