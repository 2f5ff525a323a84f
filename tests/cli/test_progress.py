"""What is said while a training runs, where the output is no terminal."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cifarlab.cli.progress import TrainingProgress


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


def _train(clock: Clock, *, epochs: int, steps: int, seconds: float) -> TrainingProgress:
    """A training of `seconds` a step, as the loop tells of it."""
    total = epochs * steps
    plan: Any = SimpleNamespace(
        epochs=epochs, total_steps=total, loader=SimpleNamespace(steps_per_epoch=steps), share_done=lambda step: step / total
    )
    progress = TrainingProgress()
    for step in range(1, total + 1):
        clock.now += seconds
        state: Any = SimpleNamespace(step=step, sums=np.array([1.0, 1.0, 1.0, 2.0]))
        progress.step(state, plan)
        if step % steps == 0:
            row = {"train_loss": 1.0, "train_accuracy": 0.5, "validation_accuracy": None, "images_per_second": 10.0}
            progress.epoch({**row, "epoch": step // steps, "step": step, "seconds": step * seconds})
    return progress


def test_short_epochs_have_an_eta_each_but_the_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _train(Clock(monkeypatch), epochs=4, steps=5, seconds=1.0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("ETA ")[2] for line in lines] == ["0:15", "0:10", "0:05", ""]
