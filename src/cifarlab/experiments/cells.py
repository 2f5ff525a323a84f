"""Many runs as one piece of work: each cell becomes a run directory, trained or resumed, evaluated; failures are kept."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, TypeVar

import torch

from cifarlab.build import arrange, build_plan
from cifarlab.config import Recipe, differences, read_recipe
from cifarlab.data.dataset import Splits
from cifarlab.data.sources import dataset_names
from cifarlab.data.splits import ArrangedSplits
from cifarlab.errors import BusyError, CifarlabError, RunError, TrainingError, UsageError
from cifarlab.evaluation import evaluate_run, predict_logits
from cifarlab.plan import Plan
from cifarlab.runs import Predictions, RunDirectory
from cifarlab.training import Listener, PreemptedError, State, fit, keep_freed_memory, refuse_other_data, resume_run, train_run

PROBE_STEPS: Final = 6  # steps that a cost estimate times, after two that warm up
PROBE_SECONDS: Final = 1.0
ESTIMATE_MARGIN: Final = 1.1  # validation, checkpoints and evaluation come on top of the steps
WriteReport = Callable[[RunDirectory, ArrangedSplits], object]


class RunCell(Protocol):
    """One run of many."""

    @property
    def name(self) -> str:
        """The run directory's name."""

    @property
    def recipe(self) -> Recipe:
        """What is trained."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits ("validation", "test") whose predictions it needs to be done, in the order in which they are made."""


AnyCell = TypeVar("AnyCell", bound=RunCell)


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: state "done", "failed", "skipped" (does not fit the budget) or "elsewhere" (another process
    trains it); `run` where there is a directory; `reason` where it is not done."""

    cell: RunCell
    state: Literal["done", "failed", "skipped", "elsewhere"]
    run: RunDirectory | None
    reason: str = ""


class Watcher(Protocol):
    """Who hears of cells; every method returns at once."""

    def estimated(self, cell: RunCell, seconds: float) -> None:
        """Of each cell that is still to be trained, before the first begins."""

    def begin(self, cell: RunCell, number: int, total: int, estimate: float) -> Listener | None:
        """Before a cell; the listener that is to watch its training."""

    def end(self, outcome: Outcome) -> None:
        """After a cell."""


class SilentWatcher:
    """Hears everything, says nothing."""

    def estimated(self, cell: RunCell, seconds: float) -> None:
        """Nothing."""

    def begin(self, cell: RunCell, number: int, total: int, estimate: float) -> Listener | None:
        """Nothing, and no listener."""

    def end(self, outcome: Outcome) -> None:
        """Nothing."""


class OutcomeCollector:
    """Keeps the outcomes, so that they are there when a run of cells is stopped, and passes everything on."""

    def __init__(self, watcher: Watcher | None) -> None:
        self.outcomes: list[Outcome] = []
        self._watcher = watcher or SilentWatcher()

    def estimated(self, cell: RunCell, seconds: float) -> None:
        """To the watcher."""
        self._watcher.estimated(cell, seconds)

    def begin(self, cell: RunCell, number: int, total: int, estimate: float) -> Listener | None:
        """To the watcher."""
        return self._watcher.begin(cell, number, total, estimate)

    def end(self, outcome: Outcome) -> None:
        """Kept, and to the watcher."""
        self.outcomes.append(outcome)
        self._watcher.end(outcome)


# -- what it will cost ---------------------------------------------------------------------------------------------------


class _Stopwatch:
    """Times steps, the first two left out."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def step(self, state: State, plan: Plan) -> None:
        if plan.device.type == "cuda":
            torch.cuda.synchronize()  # the step is only queued until then
        self.times.append(time.perf_counter())

    def epoch(self, row: object) -> None:
        pass

    @property
    def seconds(self) -> float:
        return (self.times[-1] - self.times[1]) / (len(self.times) - 2)

    def enough(self) -> bool:
        return len(self.times) >= 3 and self.times[-1] - self.times[1] > PROBE_SECONDS


def step_seconds(plan: Plan) -> float:
    """Seconds of one training step of `plan` on this machine, from a few real ones (about a second); the plan is spent by it.

    A training that fails in these steps costs nothing: it will fail again when it is run, and is recorded there.
    """
    watch = _Stopwatch()
    if plan.device.type == "cpu":
        keep_freed_memory()  # as the training will
    probe = dataclasses.replace(plan, total_steps=2 + PROBE_STEPS)
    try:
        fit(probe, State(), end_epoch=lambda state, epoch: None, listener=watch, stop_requested=watch.enough)
    except (TrainingError, RuntimeError, MemoryError):
        return 0.0
    return watch.seconds


def estimate_seconds(cell: RunCell, splits: Splits, *, device: torch.device) -> float:
    """Training time of a cell on this machine, from a few real steps; early stopping is not foreseen.

    Raises UsageError where the recipe cannot be built for `splits`.
    """
    plan = build_plan(cell.recipe, arrange(cell.recipe, splits), device=device)
    total_steps = plan.total_steps
    return step_seconds(plan) * total_steps * ESTIMATE_MARGIN


def share_left(cell: RunCell, folder: Path) -> float:
    """Share of a cell's training that is still to be done, 0..1, by what lies in `folder`."""
    run, duration = existing_run(folder / cell.name), cell.recipe.train.duration
    if run is None:
        return 1.0
    with contextlib.suppress(CifarlabError, OSError, KeyError, TypeError):  # a damaged log tells nothing
        if run.status().get("state") == "done":
            return 0.0
        rows = run.epochs()
        done = len(rows) if duration.unit == "ep" else float(rows[-1]["step"]) if rows else 0.0
        return max(0.0, 1.0 - done / duration.value)
    return 1.0


def refuse_small_budget(estimates: Mapping[str, float], max_minutes: float | None) -> None:
    """Raise UsageError where not one of the runs that are left (name -> seconds) fits into `max_minutes`."""
    if max_minutes is None or not estimates:
        return
    cheapest = min(estimates, key=lambda cell: estimates[cell])
    if estimates[cheapest] > 60 * max_minutes:
        raise UsageError(
            f"--max-minutes {max_minutes:g} is too little for any run that is left: {cheapest} needs about "
            f"{estimates[cheapest] / 60:.1f} min, and it is the shortest. Give more, or fewer --epochs"
        )


# -- running them --------------------------------------------------------------------------------------------------------


def run_cells(
    cells: Sequence[RunCell],
    splits: Splits,
    *,
    folder: Path,
    device: torch.device,
    estimates: Mapping[str, float],
    max_seconds: float | None = None,
    retry: bool = False,
    found_in: Path | None = None,
    write_report: WriteReport | None = None,
    watcher: Watcher | None = None,
    on_stop: Callable[[int], None] = lambda number: None,
) -> list[Outcome]:
    """Train and evaluate every cell that is not done yet, into `folder`/<cell name>; what is done is used as it is.

    estimates: cell name -> seconds. A cell whose estimate exceeds what is left of `max_seconds` is skipped. A training that
    fails is kept, told of and, without `retry`, not tried again; an evaluation that failed is tried again. write_report: called
    for every finished run that has no report yet. SIGINT and SIGTERM save the state and raise PreemptedError; the same call goes
    on from there. Raises UsageError, before the first, where a recipe names other data than `splits` are.
    """
    refuse_mixed_data(cells, splits)
    watcher = watcher or SilentWatcher()
    begun = time.monotonic()
    outcomes = []
    for number, cell in enumerate(cells, start=1):
        left = float("inf") if max_seconds is None else max_seconds - (time.monotonic() - begun)
        outcome = find_outcome(cell, folder=folder, retry=retry)
        if outcome is None and estimates[cell.name] > left:
            reason = f"not run: needs about {estimates[cell.name] / 60:.1f} min, {max(left, 0) / 60:.1f} min of the budget were left"
            outcome = Outcome(cell, "skipped", existing_run(folder / cell.name), reason)
        if outcome is None:
            listener = watcher.begin(cell, number, len(cells), estimates[cell.name])
            outcome = _run(cell, splits, folder, device, found_in, listener, on_stop, write_report)
        elif outcome.state == "done":
            outcome = _checked(outcome, splits, write_report)
        watcher.end(outcome)
        outcomes.append(outcome)
    return outcomes


def refuse_mixed_data(cells: Sequence[RunCell], splits: Splits) -> None:
    """Raise UsageError where the recipes name several datasets, or another one than `splits`: a run must record what it was trained on."""
    names = tuple(dict.fromkeys(cell.recipe.data.name for cell in cells))
    if len(names) > 1:
        raise UsageError(f"these runs are of several datasets ({', '.join(names)}) and would all be trained on one: run each on its own")
    loaded = splits.train.name  # of a path, its last part, or what it holds
    if names and loaded not in (names[0], Path(names[0]).expanduser().resolve().name) and not (loaded == "cifar10" and _is_path(names[0])):
        raise UsageError(f"the data that is loaded is {loaded!r}, but the recipes ask for data.name={names[0]}: load that")


def _is_path(name: str) -> bool:
    return name not in dataset_names()


def unfinished(cells: Sequence[AnyCell], *, folder: Path, retry: bool = False) -> list[AnyCell]:
    """The cells that `run_cells` would train."""
    return [cell for cell in cells if find_outcome(cell, folder=folder, retry=retry) is None]


def find_outcome(cell: RunCell, *, folder: Path, retry: bool = False) -> Outcome | None:
    """The outcome of a cell that needs no work: done before, failed before, or in the way of another recipe; else None."""
    if not (folder / cell.name / "status.json").exists():
        return None
    try:
        run = RunDirectory.open(folder / cell.name)
        status = run.status()
        if changed := differences(read_recipe(run.recipe_file), cell.recipe):
            reason = f"{run.path} was made with another recipe ({'; '.join(changed[:3])}); remove it, or use another folder with --runs"
            return Outcome(cell, "failed", None, reason)
    except CifarlabError as error:
        remedy = f"Remove {folder / cell.name} to train it again, or use another folder with --runs"
        return Outcome(cell, "failed", None, f"{error}. {remedy}")
    if status["state"] == "failed" and not retry:
        return Outcome(cell, "failed", run, str(status.get("error") or "failed"))
    return Outcome(cell, "done", run) if status["state"] == "done" and not _to_predict(run, cell) else None


def folder_problems(folder: Path) -> list[str]:
    """Why no runs can be made in `folder`, which need not exist yet: something on the way to it is a file."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            return []
        if os.path.lexists(place):
            return [f"cannot make runs in {folder}: {place} is not a folder; name another with --runs"]
    return []


def existing_run(path: Path) -> RunDirectory | None:
    """The run directory at `path`, None where there is none that can be opened."""
    try:
        return RunDirectory.open(path)
    except CifarlabError:
        return None


def is_half_made(path: Path) -> bool:
    """Whether `path` is what a process left that was killed while it made a run directory: status.json comes last there."""
    return path.is_dir() and all(
        file.name in ("recipe.yaml", "env.json", ".status.lock") or file.suffix == ".tmp" for file in path.iterdir()
    )


def _to_predict(run: RunDirectory, cell: RunCell) -> list[str]:
    """The splits of a cell whose predictions are missing or damaged."""
    missing = []
    for split in cell.splits:
        try:
            Predictions.load(run.predictions_file(split))
        except RunError:
            missing.append(split)
    return missing


def _checked(outcome: Outcome, splits: Splits, write_report: WriteReport | None) -> Outcome:
    """The same; a report that a kill prevented is written now, and a run of other data counts as failed."""
    assert outcome.run is not None
    arranged = arrange(outcome.cell.recipe, splits)
    try:
        refuse_other_data(outcome.run, arranged)
        if write_report is not None and not outcome.run.report_file.exists():
            write_report(outcome.run, arranged)
    except CifarlabError as error:
        return Outcome(outcome.cell, "failed", None, str(error))
    return outcome


def _is_busy(run: RunDirectory) -> bool:
    try:
        with run.locked():
            return False
    except BusyError:
        return True


def _run(
    cell: RunCell,
    splits: Splits,
    folder: Path,
    device: torch.device,
    found_in: Path | None,
    listener: Listener | None,
    on_stop: Callable[[int], None],
    write_report: WriteReport | None,
) -> Outcome:
    run = existing_run(folder / cell.name)
    try:
        if run is not None and not run.checkpoint_file.exists() and run.status()["state"] != "done":
            with run.locked():  # killed before its first checkpoint: there is nothing in it
                shutil.rmtree(run.path)
            run = None
        if run is None:
            if is_half_made(folder / cell.name):
                shutil.rmtree(folder / cell.name)
            run = train_run(
                cell.recipe,
                splits,
                runs=folder,
                name=cell.name,
                device=device,
                predict=predict_logits,
                found_in=found_in,
                listener=listener,
                on_stop=on_stop,
            )
        else:
            run = resume_run(run.path, splits, device=device, predict=predict_logits, listener=listener, on_stop=on_stop)
        arranged = arrange(cell.recipe, splits)
        for split in _to_predict(run, cell):
            evaluate_run(run, arranged, split, device=device)
        if write_report is not None:
            write_report(run, arranged)
    except PreemptedError as error:  # not to be resumed alone: the other cells would be left out
        error.args = (f"{cell.name}: {error.saved}. The same command goes on from there",)
        raise
    except BusyError as error:
        return Outcome(cell, "elsewhere", run, str(error))
    except Exception as error:  # whatever it is, memory that ran out too: one cell must not end the rest
        found = existing_run(folder / cell.name)
        if run is None and found is not None and _is_busy(found):
            return Outcome(cell, "elsewhere", found, f"{found.path} was begun by another process at the same time")
        reason = str(error) if isinstance(error, CifarlabError) else f"{type(error).__name__}: {error}"
        return Outcome(cell, "failed", found, reason)
    return Outcome(cell, "done", run)
