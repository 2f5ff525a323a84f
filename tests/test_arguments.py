"""Arguments of a recipe against a factory's signature."""

from __future__ import annotations

import pytest

from cifarlab.arguments import argument_defaults, checked_arguments
from cifarlab.errors import UsageError


def factory(model: object, *, rate: float = 0.5, steps: int = 3, widths: tuple[int, ...] = (1, 2), bias: bool = True) -> None: ...


def check(**given: object) -> dict[str, object]:
    return checked_arguments("thing", factory, given, reserved=("model",))


def test_defaults_leave_out_what_the_caller_gives() -> None:
    assert argument_defaults(factory, reserved=("model",)) == {"rate": 0.5, "steps": 3, "widths": (1, 2), "bias": True}


def test_values_take_the_types_of_the_signature() -> None:
    checked = check(rate=1, steps=4.0, widths=[8, 16], bias=False)
    assert checked == {"rate": 1.0, "steps": 4, "widths": (8, 16), "bias": False}
    assert isinstance(checked["steps"], int)
    assert isinstance(checked["widths"], tuple)


def test_every_problem_is_told_at_once_with_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        check(rat=1, steps=2.5, rate="fast", widths=3)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert lines[0] == "thing: unknown argument 'rat'; did you mean 'rate'?; allowed: rate, steps, widths, bias"
    assert all(line.startswith("thing: argument ") and "given: " in line for line in lines[1:])


@pytest.mark.parametrize("name", ["rate", "steps"])
def test_true_is_no_number(name: str) -> None:
    with pytest.raises(UsageError, match="true and false are no numbers"):
        check(**{name: True})


def test_a_reserved_name_cannot_be_given() -> None:
    with pytest.raises(UsageError, match="unknown argument 'model'"):
        check(model=1)
