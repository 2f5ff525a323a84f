"""Many runs as one piece of work, all resumable: the published systems."""

from cifarlab.experiments.cells import (
    Outcome,
    OutcomeCollector,
    RunCell,
    SilentWatcher,
    Watcher,
    estimate_seconds,
    find_outcome,
    refuse_small_budget,
    run_cells,
    unfinished,
)
from cifarlab.experiments.reproduce import PROTOCOLS, Cell, estimate_cells, plan_cells

__all__ = [
    "PROTOCOLS",
    "Cell",
    "Outcome",
    "OutcomeCollector",
    "RunCell",
    "SilentWatcher",
    "Watcher",
    "estimate_cells",
    "estimate_seconds",
    "find_outcome",
    "plan_cells",
    "refuse_small_budget",
    "run_cells",
    "unfinished",
]
