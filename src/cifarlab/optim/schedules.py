"""Learning-rate schedules: the factor on every group's initial rate, a pure function of the step or of the history."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from cifarlab.errors import UsageError, unknown

SCHEDULES: Final = ("constant", "cosine", "linear", "plateau", "steps", "triangular")


def rate_factor(
    name: str,
    *,
    step: int,
    total_steps: int,
    warmup_steps: int = 0,
    final: float = 0.0,
    milestones: Sequence[int] = (),
    factors: Sequence[float] = (),
    cycle_steps: int = 0,
) -> float:
    """Factor at `step` (0-based) of `total_steps`, between 0 and 1.

    It climbs from 1 / warmup_steps to 1 over the first `warmup_steps`; then
    "constant" stays at 1;
    "linear" falls straight from 1 to `final` at the end;
    "cosine" falls so along half a cosine (arXiv 1608.03983, eq. 5);
    "steps" is 1 and, once `milestones[i]` steps are done (counted from the start of training), `factors[i]`, each a share
    of the highest rate and not of the one before (He et al. 2016, arXiv 1512.03385, section 4.2, divides by 10 twice: 0.1, 0.01);
    "triangular" goes straight from `final` up to 1 and back in each cycle of `cycle_steps` (0: one cycle over the
    whole run), Smith 2017, arXiv 1506.01186, section 3; it takes no warm-up, its climb is one;
    "plateau" stays at 1, to be multiplied by `plateau_factor`.
    Arguments that belong to another schedule have no effect. Raises UsageError as `check_schedule` does.
    """
    check_schedule(name, warmup_steps=warmup_steps, milestones=milestones, factors=factors, cycle_steps=cycle_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if name in ("constant", "plateau"):
        return 1.0
    if name == "steps":
        passed = bisect_right(milestones, step)
        return float(factors[passed - 1]) if passed else 1.0
    if name == "triangular":
        length = cycle_steps or max(1, total_steps)
        remaining = 1.0 - abs(2 * (step % length) / length - 1.0)  # at the end of the run a new cycle would begin
    else:
        done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        remaining = 1.0 - done if name == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return final + (1.0 - final) * remaining


def check_schedule(
    name: str, *, warmup_steps: int = 0, milestones: Sequence[int] = (), factors: Sequence[float] = (), cycle_steps: int = 0
) -> None:
    """Raise UsageError for an unknown schedule, and for arguments that it cannot work with."""
    if name not in SCHEDULES:
        raise UsageError(unknown("schedule", name, SCHEDULES))
    if name == "steps":
        if not milestones or len(milestones) != len(factors):
            raise UsageError(f"schedule steps needs milestones and one factor for each, not {len(factors)} for {len(milestones)}")
        if milestones[0] < 0 or any(later <= earlier for earlier, later in itertools.pairwise(milestones)):
            raise UsageError(f"milestones must rise, from 0 or more, not {list(milestones)}")
        if not all(0 <= factor <= 1 for factor in factors):
            raise UsageError(f"factors are shares of the highest rate, 0 to 1, not {list(factors)}")
    if name == "triangular":
        if cycle_steps < 0:
            raise UsageError(f"a cycle must have 1 step or more (0: the whole run), not {cycle_steps}")
        if warmup_steps:
            raise UsageError("schedule triangular climbs by itself: leave the warm-up at 0")


def plateau_factor(
    history: Sequence[float | None], *, patience: int, factor: float, smallest: float = 0.0, higher_is_better: bool = False
) -> float:
    """Factor for the epoch after `history`, the monitored quantity of each finished epoch: 1 at first.

    Each time `patience` epochs in a row bring nothing better than the best so far, it is multiplied by `factor`, not below
    `smallest` (a share of the highest rate), and the count starts anew; the best stays. None and NaN are no
    improvement. Patience counts as in Keras' ReduceLROnPlateau (min_delta 0): the rate falls after `patience` bad epochs; PyTorch's
    waits for one more. Raises ValueError for arguments out of range.
    """
    if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
        raise ValueError(f"patience must be a whole number of at least 1, not {patience!r}")
    if not 0 < factor < 1:
        raise ValueError(f"factor must lie between 0 and 1, not {factor!r}")
    if not 0 <= smallest <= 1:
        raise ValueError(f"smallest must be a share of the highest rate, 0 to 1, not {smallest!r}")
    reached, waited = 1.0, 0
    for improved in _improvements(history, higher_is_better=higher_is_better):
        waited = 0 if improved else waited + 1
        if waited == patience:
            reached, waited = max(reached * factor, smallest), 0
    return reached


def epochs_without_improvement(history: Sequence[float | None], *, higher_is_better: bool) -> int:
    """Epochs since the best value of `history` (its first, of equals); all of them where none is a number. For early stopping."""
    improved = _improvements(history, higher_is_better=higher_is_better)
    return next((since for since, better in enumerate(reversed(improved)) if better), len(improved))


def _improvements(history: Sequence[float | None], *, higher_is_better: bool) -> list[bool]:
    """For each epoch, whether it is better than all before it; the first number is."""
    best: float | None = None
    found = []
    for value in history:
        usable = value is not None and not math.isnan(value)
        better = usable and (best is None or (value > best if higher_is_better else value < best))  # type: ignore[operator]
        if better:
            best = value
        found.append(bool(better))
    return found
