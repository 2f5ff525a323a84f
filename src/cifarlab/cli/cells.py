"""What the commands that train many runs share: telling of each, and of what they will cost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cifarlab.experiments import Outcome, RunCell


class CellWatcher(contextlib.ExitStack):
    """Tells of each cell and of the cost of all, and shows their training (cifarlab.experiments.Watcher)."""

    def __init__(self) -> None:
        super().__init__()
        self._costs: list[float] = []

    def estimated(self, cell: RunCell, seconds: float) -> None:
        """What a cell will cost."""
        from cifarlab.cli.progress import clock
        from cifarlab.cli.terminal import note

        self._costs.append(seconds)
        note(f"estimate: {cell.name} about {clock(seconds)}")

    def begin(self, cell: RunCell, number: int, total: int, estimate: float) -> Any:
        """A listener that shows the cell's training."""
        from cifarlab.cli.progress import clock, training_progress
        from cifarlab.cli.terminal import note

        if len(self._costs) > 1:
            note(f"together about {clock(sum(self._costs))} for {len(self._costs)} runs")
        self._costs.clear()  # told once, before the first
        note(f"[{number}/{total}] {cell.name}, about {clock(estimate)}")
        return self.enter_context(training_progress())

    def end(self, outcome: Outcome) -> None:
        """Close the live line; what was not trained says why."""
        from cifarlab.cli.terminal import note

        self.close()
        if outcome.state != "done":
            note(f"{outcome.cell.name}: {outcome.state}: {outcome.reason}")


def say_estimates(estimates: Mapping[str, float], *, as_json: bool) -> None:
    """The estimated cost of each run and of all, to stdout."""
    from cifarlab.cli.progress import clock
    from cifarlab.cli.terminal import note, write_json_out, write_table

    if as_json:
        write_json_out(estimates)
        return
    write_table(["run", "about"], [(name, clock(seconds)) for name, seconds in estimates.items()], right=("about",))
    note(f"together about {clock(sum(estimates.values()))} on this machine; what is done already costs nothing")


def outcome_rows(outcomes: Iterable[Outcome]) -> list[dict[str, str | None]]:
    """What became of each cell, for --json."""
    return [
        {"run": o.cell.name, "state": o.state, "reason": o.reason, "path": None if o.run is None else str(o.run.path)} for o in outcomes
    ]
