"""Many runs as one piece of work, all resumable: the published systems."""

from cifarlab.experiments.reproduce import (
    PROTOCOLS,
    Cell,
    Outcome,
    SilentWatcher,
    Watcher,
    estimate_cells,
    estimate_seconds,
    find_outcome,
    plan_cells,
    run_cells,
    unfinished,
)

__all__ = [
    "PROTOCOLS",
    "Cell",
    "Outcome",
    "SilentWatcher",
    "Watcher",
    "estimate_cells",
    "estimate_seconds",
    "find_outcome",
    "plan_cells",
    "run_cells",
    "unfinished",
]
