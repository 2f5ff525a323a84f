"""Live progress of a training: a moving line on a terminal, plain lines elsewhere. Everything goes to stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cifarlab.cli.terminal import note, stderr_console

if TYPE_CHECKING:
    from cifarlab.build import Plan
    from cifarlab.training import State

PLAIN_EVERY = 30.0  # seconds between lines where the output is no terminal and no epoch ends
REDRAW_EVERY = 0.1  # seconds


class TrainingProgress:
    """Hears a training (cifarlab.training.Listener). `show` is where its live line goes, or None for plain lines."""

    def __init__(self, bar: Any = None) -> None:
        self._bar = bar
        self._task: Any = None
        self._begun: float | None = None
        self._share_at_begin = 0.0
        self._images = 0.0
        self._epoch = -1
        self._epoch_begun = 0.0
        self._last = 0.0
        self._plan: Plan | None = None
        self._eta = ""

    def step(self, state: State, plan: Plan) -> None:
        now = time.perf_counter()
        epoch = (state.step - 1) // plan.loader.steps_per_epoch
        if self._begun is None:
            self._begin(plan, state, now)
        if epoch != self._epoch:
            self._epoch, self._epoch_begun, self._images = epoch, now, float(state.sums[3])
        interval = PLAIN_EVERY if self._bar is None else REDRAW_EVERY
        if now - self._last < interval:
            return
        self._last = now
        self._show(state, plan, now)

    def epoch(self, row: dict[str, Any]) -> None:
        assert self._plan is not None
        parts = [
            f"epoch {row['epoch']:>{len(str(self._plan.epochs))}}/{self._plan.epochs}",
            f"loss {row['train_loss']:.4f}",
            f"train {100 * row['train_accuracy']:.2f} %",
        ]
        if row["validation_accuracy"] is not None:
            parts.append(f"validation {100 * row['validation_accuracy']:.2f} %")
        parts.append(f"{row['images_per_second']:,.0f} images/s".replace(",", " "))
        parts.append(f"{clock(row['seconds'])} elapsed")
        if self._eta and row["epoch"] < self._plan.epochs:
            parts.append(self._eta)
        line = "  ".join(parts)
        if self._bar is None:
            note(line)
            self._last = time.perf_counter()
        else:
            self._bar.console.print(line, soft_wrap=True)

    def _begin(self, plan: Plan, state: State, now: float) -> None:
        self._plan, self._begun = plan, now
        self._share_at_begin = plan.share_done(state.step)
        if self._bar is None:
            self._last = now
        else:
            self._task = self._bar.add_task("training", total=1.0, detail="")

    def _show(self, state: State, plan: Plan, now: float) -> None:
        assert self._begun is not None
        share = plan.share_done(state.step)
        gained = share - self._share_at_begin
        if gained > 0:
            self._eta = f"ETA {clock((now - self._begun) * (1 - share) / gained)}"
        loss, right, _, samples = state.sums.tolist()
        elapsed = now - self._epoch_begun
        rate = f"{(samples - self._images) / elapsed:,.0f} images/s".replace(",", " ") if elapsed > 0 and samples > self._images else ""
        place = f"epoch {self._epoch + 1}/{plan.epochs}"
        detail = "  ".join(part for part in (f"loss {loss / samples:.4f}", f"train {100 * right / samples:.1f} %", rate, self._eta) if part)
        if self._bar is None:
            note(f"{place}  step {state.step}/{plan.total_steps}  {detail}")
        else:
            self._bar.update(self._task, completed=share, description=place, detail=detail)


@contextlib.contextmanager
def training_progress() -> Iterator[TrainingProgress]:
    """A listener for the length of a training."""
    if not sys.stderr.isatty():
        yield TrainingProgress()
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=stderr_console(), transient=True) as bar:
        yield TrainingProgress(bar)


@contextlib.contextmanager
def count_progress(what: str) -> Iterator[Any]:
    """A callback (done, total) that draws a bar on a terminal and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("ETA"), TimeRemainingColumn())
    with Progress(*columns, console=stderr_console(), transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def clock(seconds: float) -> str:
    """83.4 -> "1:23"; 5000 -> "1:23:20"."""
    whole = round(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
