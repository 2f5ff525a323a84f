"""Numbers as a report writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard


def percent(share: float) -> str:
    """0.9404 -> "94.04 %"."""
    return f"{100 * share:.2f} %"


def interval(score: Mapping[str, Any]) -> str:
    """The 95 % interval of a score's accuracy in words."""
    return f"95 % interval {between(score['accuracy']['low'], score['accuracy']['high'])}"


def between(low: float, high: float) -> str:
    """0.9356, 0.9449 -> "93.56 to 94.49 %"."""
    return f"{100 * low:.2f} to {100 * high:.2f} %"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, with its sign: 0.0042 -> "+0.42"."""
    text = f"{100 * difference:+.2f}".replace("-", "\u2212")
    return text if text.strip("+\u22120.") else "0.00"


def p_text(p_value: float) -> str:
    """ "0.031", or "< 0.001"."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}" if p_value < 0.0995 else f"{p_value:.2f}"


def grouped(number: int) -> str:
    """10000 -> "10 000", with a space that does not break."""
    return f"{number:,}".replace(",", "\u00a0")


def counted(number: int, noun: str) -> str:
    """2, "epoch" -> "2 epochs"."""
    return f"{grouped(number)} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as "8.3 s", "13 min 27 s" or "2 h 05 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value read from JSON is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
