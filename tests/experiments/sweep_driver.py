"""A sweep of four small runs on digits; as a program it kills itself: python sweep_driver.py FOLDER RUN STEP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from cifarlab.experiments import SilentWatcher
from cifarlab.sweeps import Sweep, sweep

NAMES = tuple(f"batch_size-{size}-seed-{seed}" for seed in (0, 1) for size in (32, 64))
CHANGES = {"data.train_size": 96, "train.duration": "3ep", "train.precision": "fp32"}


class Killer(SilentWatcher):
    """Ends this process, as nothing can prevent, after a step of a run."""

    def __init__(self, run: str, step: int) -> None:
        self.run, self.at, self.now = run, step, ""

    def begin(self, cell: Any, number: int, total: int, estimate: float) -> Killer:
        self.now = cell.name
        return self

    def step(self, state: Any, plan: Any) -> None:
        if (self.now, state.step) == (self.run, self.at):
            os.kill(os.getpid(), signal.SIGKILL)

    def epoch(self, row: object) -> None:
        pass


def run_sweep(folder: Path, **options: Any) -> Sweep:
    """The sweep; `options` go to `cifarlab.sweep`."""
    given = {"vary": {"batch_size": [32, 64]}, "overrides": CHANGES, "seeds": 2, "data": "digits", "device": "cpu", **options}
    return sweep("lab-base", runs=folder, name="sizes", **given)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_sweep(Path(sys.argv[1]), watcher=Killer(sys.argv[2], int(sys.argv[3])))
