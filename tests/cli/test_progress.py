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


class Loader:
    def __init__(self, steps: int) -> None:
        self.steps_per_epoch = steps

    def __len__(self) -> int:
        return 2 * self.steps_per_epoch


def _train(clock: Clock, *, epochs: int, steps: int, seconds: float) -> TrainingProgress:
    """A training of `seconds` a step, as the loop tells of it."""
    total = epochs * steps
    plan: Any = SimpleNamespace(
        epochs=epochs,
        total_steps=total,
        loader=Loader(steps),
        share_done=lambda step: step / total,
        precision="fp32",
        device="cpu",
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
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert [line.partition("ETA ")[2] for line in lines] == ["0:15", "0:10", "0:05", ""]


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, "warning: 1 step is very little to"), (5, "warning: 5 steps are few to"), (60, "epoch 1/1")]
)
def test_a_training_begins_with_its_size_and_warns_of_few_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], steps: int, expected: str
) -> None:
    _train(Clock(monkeypatch), epochs=1, steps=steps, seconds=0.1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{2 * steps} training images, {steps} steps an epoch, {steps} in all, fp32 on cpu"
    assert lines[1].startswith(expected)
