"""Learning-rate schedules: the factor on every group's initial rate, a pure function of the step."""

from __future__ import annotations

import math
from typing import Final

SCHEDULES: Final = ("constant", "cosine", "linear")


def rate_factor(name: str, *, step: int, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> float:
    """Factor at `step` (0-based) of `total_steps`.

    It climbs from 1 / warmup_steps to 1 over the first `warmup_steps`, then falls from 1 to `final` at the end:
    straight ("linear"), along half a cosine ("cosine", arXiv 1608.03983, eq. 5), or not at all ("constant").
    """
    if name not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {name!r}")
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if name == "constant":
        return 1.0
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    remaining = 1.0 - done if name == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return final + (1.0 - final) * remaining
