"""A length of training with its unit."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final, Literal

LONGEST: Final = 1_000_000  # epochs, steps or percent: more is a slip of the key, and would overflow what counts steps
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ep|st|%)\s*")


class Duration:
    """A length of training with its unit: "8ep" epochs, "500st" optimizer steps, "5%" of the whole run."""

    __slots__ = ("unit", "value")

    def __init__(self, value: float, unit: Literal["ep", "st", "%"]) -> None:
        self.value = value
        self.unit = unit

    @classmethod
    def parse(cls, given: object) -> Duration:
        """From "8ep", "500st", "5%", a Duration, or a bare number of epochs; raises ValueError otherwise."""
        if isinstance(given, Duration):
            return given
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            given = f"{given}ep"
        match = _DURATION.fullmatch(given) if isinstance(given, str) else None
        if match is None:
            raise ValueError(f"a duration is epochs ('8ep' or 8), steps ('500st') or a share of the run ('5%'), not {given!r}")
        unit: Any = match.group(2)
        value = float(match.group(1))
        if value > LONGEST:
            raise ValueError(f"a duration is at most {LONGEST} epochs, steps or percent, not {given!r}")
        return cls(value, unit)

    def steps(self, *, steps_per_epoch: int, total_steps: int | None = None) -> int:
        """This length in optimizer steps, rounded; "%" needs `total_steps`."""
        if self.unit == "ep":
            return round(self.value * steps_per_epoch)
        if self.unit == "st":
            return round(self.value)
        if total_steps is None:
            raise ValueError("a share of the run cannot say how long the run is")
        return round(self.value / 100 * total_steps)

    def __str__(self) -> str:
        # Every digit, and no exponent: parse reads it back equal.
        return f"{Decimal(repr(self.value)).normalize():f}{self.unit}"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and (self.value, self.unit) == (other.value, other.unit)

    def __hash__(self) -> int:
        return hash((self.value, self.unit))
