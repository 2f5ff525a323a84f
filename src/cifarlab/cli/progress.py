"""Live progress of trainings and downloads: a moving line on a terminal, plain lines elsewhere. Everything goes to stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from cifarlab.cli.terminal import note, stderr_console

if TYPE_CHECKING:
    from cifarlab.plan import Plan
    from cifarlab.training import State

PLAIN_EVERY = 30.0  # seconds between lines where the output is no terminal and no epoch ends
REDRAW_EVERY = 0.1  # seconds
FEW_STEPS = 50  # a network hardly moves from its random start in fewer


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
        """Print the finished epoch's row of metrics.jsonl as one line."""
        assert self._plan is not None
        parts = [
            f"epoch {row['epoch']:>{len(str(self._plan.epochs))}}/{self._plan.epochs}",
            f"loss {row['train_loss']:.4f}",
            f"train {100 * row['train_accuracy']:.2f} %",
        ]
        if row["validation_accuracy"] is not None:
            parts.append(f"validation {100 * row['validation_accuracy']:.2f} %")
        parts.append(f"{row['images_per_second']:,.0f} img/s".replace(",", " "))
        parts.append(clock(row["seconds"]))
        if row["epoch"] < self._plan.epochs:
            # Anew: where epochs are shorter than the interval between lines, no step came to it.
            self._estimate(self._plan.share_done(row["step"]), time.perf_counter())
            parts += [self._eta] if self._eta else []
        line = "  ".join(parts)
        if self._bar is None:
            note(line)
            self._last = time.perf_counter()
        else:
            self._bar.console.print(line, soft_wrap=True)

    def _begin(self, plan: Plan, state: State, now: float) -> None:
        self._plan, self._begun = plan, now
        self._share_at_begin = plan.share_done(state.step)
        samples = f"{len(plan.loader):,}".replace(",", " ")
        note(
            f"{samples} training images, {plan.loader.steps_per_epoch} steps an epoch, {plan.total_steps} in all, "
            f"{plan.precision} on {plan.device}"
        )
        if plan.total_steps < FEW_STEPS:
            steps = "1 step is very little" if plan.total_steps == 1 else f"{plan.total_steps} steps are few"
            note(f"warning: {steps} to learn from; a smaller --batch-size or more --epochs gives more")
        if self._bar is None:
            self._last = now
        else:
            self._task = self._bar.add_task("training", total=1.0, detail="")

    def _show(self, state: State, plan: Plan, now: float) -> None:
        share = plan.share_done(state.step)
        self._estimate(share, now)
        loss, right, _, samples = state.sums.tolist()
        elapsed = now - self._epoch_begun
        rate = f"{(samples - self._images) / elapsed:,.0f} img/s".replace(",", " ") if elapsed > 0 and samples > self._images else ""
        place = f"epoch {self._epoch + 1}/{plan.epochs}"
        detail = "  ".join(part for part in (f"loss {loss / samples:.4f}", f"train {100 * right / samples:.1f} %", rate, self._eta) if part)
        if self._bar is None:
            note(f"{place}  step {state.step}/{plan.total_steps}  {detail}")
        else:
            self._bar.update(self._task, completed=share, description=place, detail=detail)

    def _estimate(self, share: float, now: float) -> None:
        assert self._begun is not None
        gained = share - self._share_at_begin
        if gained > 0:
            self._eta = f"ETA {clock((now - self._begun) * (1 - share) / gained)}"


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


@contextlib.contextmanager
def download_progress() -> Iterator[Callable[[int, int], None]]:
    """A callback (bytes so far, bytes in all): a bar with ETA on a terminal, a line every tenth otherwise.

    Nothing is shown before its first call, so it costs nothing where no download happens.
    """
    if not sys.stderr.isatty():
        yield _plain_progress()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with contextlib.ExitStack() as stack:
        shown: list[tuple[Progress, Any]] = []

        def advance(done: int, total: int) -> None:
            if not shown:
                bar = stack.enter_context(Progress(*columns, console=stderr_console()))
                # Bytes of an earlier session come with the first call and must not count into the speed.
                shown.append((bar, bar.add_task("download", total=total, completed=done)))
            bar, task = shown[0]
            bar.update(task, completed=done, total=total)

        yield advance


def _plain_progress() -> Callable[[int, int], None]:
    started: list[tuple[float, int]] = []
    told = -1

    def advance(done: int, total: int) -> None:
        nonlocal told
        if not started:
            started.append((time.monotonic(), done))
        tenth = done * 10 // max(total, 1)
        if tenth == told:
            return
        told = tenth
        (since, before), now = started[0], time.monotonic()
        speed = (done - before) / max(now - since, 1e-6)
        left = f", about {(total - done) / speed:.0f} s left" if done > before and done < total else ""
        note(f"download: {done / 2**20:.0f} of {total / 2**20:.0f} MiB ({10 * tenth} %){left}")

    return advance


def clock(seconds: float) -> str:
    """83.4 -> "1:23"; 5000 -> "1:23:20"."""
    whole = round(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
