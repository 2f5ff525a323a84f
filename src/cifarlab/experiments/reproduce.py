"""The published systems, trained as published and corrected: one run directory a cell, resumable, failures kept."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import torch

from cifarlab.build import arrange, build_plan
from cifarlab.config import Recipe, differences, override, read_recipe
from cifarlab.data.dataset import Splits
from cifarlab.data.splits import ArrangedSplits
from cifarlab.errors import BusyError, CifarlabError, RunError, TrainingError, UsageError, unknown
from cifarlab.evaluation import evaluate_run, predict_logits
from cifarlab.plan import Plan
from cifarlab.published import published_systems
from cifarlab.recipes import get_recipe, recipe_names
from cifarlab.runs import Predictions, RunDirectory
from cifarlab.training import Listener, PreemptedError, State, fit, keep_freed_memory, refuse_other_data, resume_run, train_run

ProtocolName = Literal["published", "corrected"]
PROTOCOLS: Final = ("published", "corrected", "both")
MOST_SEEDS: Final = 1000
PROBE_STEPS: Final = 6  # steps that a cost estimate times, after two that warm up
PROBE_SECONDS: Final = 1.0
ESTIMATE_MARGIN: Final = 1.1  # validation, checkpoints and evaluation come on top of the steps


@dataclass(frozen=True)
class Cell:
    """One run of the table. `planned` is the recipe's own length, where `recipe` was shortened."""

    system: str
    protocol: ProtocolName
    seed: int
    recipe: Recipe
    planned: str

    @property
    def shortened(self) -> bool:
        """Whether the run has another length than the protocol asks for."""
        return str(self.recipe.train.duration) != self.planned

    @property
    def name(self) -> str:
        """The run directory's name."""
        length = f"-{self.recipe.train.duration}" if self.shortened else ""
        return f"{self.system}-{self.protocol}{length}-{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: state "done", "failed", "skipped" (does not fit the budget) or "elsewhere" (another process
    trains it); `run` where there is a directory; `reason` where it is not done."""

    cell: Cell
    state: Literal["done", "failed", "skipped", "elsewhere"]
    run: RunDirectory | None
    reason: str = ""


class Watcher(Protocol):
    """Who hears of cells; every method returns at once."""

    def estimated(self, cell: Cell, seconds: float) -> None:
        """Of each cell that is still to be trained, before the first begins."""

    def begin(self, cell: Cell, number: int, total: int, estimate: float) -> Listener | None:
        """Before a cell; the listener that is to watch its training."""

    def end(self, outcome: Outcome) -> None:
        """After a cell."""


class SilentWatcher:
    """Hears everything, says nothing."""

    def estimated(self, cell: Cell, seconds: float) -> None:
        """Nothing."""

    def begin(self, cell: Cell, number: int, total: int, estimate: float) -> Listener | None:
        """Nothing, and no listener."""

    def end(self, outcome: Outcome) -> None:
        """Nothing."""


def protocols_of(system: str) -> tuple[ProtocolName, ...]:
    """Both, where the report looked at the test split while training; else its own protocol is the right one."""
    return ("published", "corrected") if f"{system}-published" in recipe_names() else ("published",)


def plan_cells(
    systems: Sequence[str] = (), *, protocol: str = "both", seeds: int = 1, changes: Mapping[str, object] | None = None
) -> list[Cell]:
    """The cells of `systems` (all without any), first seeds first; `changes` are overrides for every recipe.

    Raises UsageError for unknown systems, protocols and numbers, all at once.
    """
    known = tuple(system.name for system in published_systems())
    problems = [unknown("published system", name, known) for name in systems if name not in known]
    if protocol not in PROTOCOLS:
        problems.append(unknown("protocol", protocol, PROTOCOLS))
    if not 1 <= seeds <= MOST_SEEDS:
        problems.append(f"seeds={seeds}: at least 1 and at most {MOST_SEEDS}")
    if problems:
        raise UsageError("\n".join(problems))
    cells = []
    for seed in range(seeds):
        for system in dict.fromkeys(systems or known):
            both = protocols_of(system)
            for chosen in both if protocol == "both" or len(both) == 1 else (protocol,):
                recipe = get_recipe(f"{system}-published" if len(both) == 2 and chosen == "published" else system)
                changed = override(recipe, {**(changes or {}), "seed": seed})
                cells.append(Cell(system, "published" if chosen == "published" else "corrected", seed, changed, str(recipe.train.duration)))
    return cells


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


def estimate_cells(
    cells: Sequence[Cell], splits: Splits, *, device: torch.device, folder: Path | None = None, watcher: Watcher | None = None
) -> dict[str, float]:
    """Cell name -> seconds of training that are left; the seeds of one system and protocol share one measurement.

    folder: where begun cells lie, whose finished epochs cost nothing more.
    """
    watcher = watcher or SilentWatcher()
    known: dict[tuple[str, str], float] = {}
    estimates = {}
    for cell in cells:
        key = (cell.system, cell.protocol)
        if key not in known:
            known[key] = estimate_seconds(cell, splits, device=device)
        estimates[cell.name] = known[key] * (1.0 if folder is None else _share_left(cell, folder))
        watcher.estimated(cell, estimates[cell.name])
    return estimates


def _share_left(cell: Cell, folder: Path) -> float:
    """Share of a cell's epochs that are still to be trained, 0..1."""
    run, duration = _existing(folder / cell.name), cell.recipe.train.duration
    if run is None or duration.unit != "ep":
        return 1.0
    with contextlib.suppress(CifarlabError, OSError):  # a damaged log tells nothing
        return max(0.0, 1.0 - len(run.epochs()) / duration.value)
    return 1.0


def estimate_seconds(cell: Cell, splits: Splits, *, device: torch.device) -> float:
    """Training time of a cell on this machine, from a few real steps (about two seconds); early stopping is not foreseen.

    A training that fails in these steps costs nothing. Raises UsageError where the recipe cannot be built for `splits`.
    """
    arranged = arrange(cell.recipe, splits)
    plan = build_plan(cell.recipe, arranged, device=device)
    watch = _Stopwatch()
    if device.type == "cpu":
        keep_freed_memory()  # as the training will
    probe = dataclasses.replace(plan, total_steps=2 + PROBE_STEPS)
    try:
        fit(probe, State(), end_epoch=lambda state, epoch: None, listener=watch, stop_requested=watch.enough)
    except (TrainingError, RuntimeError, MemoryError):  # it will fail again when it is run, and is recorded there
        return 0.0
    return watch.seconds * plan.total_steps * ESTIMATE_MARGIN


def run_cells(
    cells: Sequence[Cell],
    splits: Splits,
    *,
    folder: Path,
    device: torch.device,
    estimates: Mapping[str, float],
    max_seconds: float | None = None,
    retry: bool = False,
    found_in: Path | None = None,
    write_report: Callable[[RunDirectory, ArrangedSplits], object] = lambda run, arranged: None,
    watcher: Watcher | None = None,
    on_stop: Callable[[int], None] = lambda number: None,
) -> list[Outcome]:
    """Train and evaluate every cell that is not done yet, into `folder`/<cell name>; what is done is used as it is.

    estimates: cell name -> seconds. A cell whose estimate exceeds what is left of `max_seconds` is skipped. A training that
    fails is kept, told of and, without `retry`, not tried again; an evaluation that failed is tried again. SIGINT and SIGTERM
    save the state and raise PreemptedError; the same call goes on from there.
    """
    watcher = watcher or SilentWatcher()
    begun = time.monotonic()
    outcomes = []
    for number, cell in enumerate(cells, start=1):
        left = float("inf") if max_seconds is None else max_seconds - (time.monotonic() - begun)
        outcome = find_outcome(cell, folder=folder, retry=retry)
        if outcome is None and estimates[cell.name] > left:
            reason = f"not run: needs about {estimates[cell.name] / 60:.1f} min, {max(left, 0) / 60:.1f} min of the budget were left"
            outcome = Outcome(cell, "skipped", _existing(folder / cell.name), reason)
        if outcome is None:
            listener = watcher.begin(cell, number, len(cells), estimates[cell.name])
            outcome = _run(cell, splits, folder, device, found_in, listener, on_stop, write_report)
        elif outcome.state == "done":
            outcome = _with_report(outcome, splits, write_report)
        watcher.end(outcome)
        outcomes.append(outcome)
    return outcomes


def _with_report(outcome: Outcome, splits: Splits, write_report: Callable[[RunDirectory, ArrangedSplits], object]) -> Outcome:
    """The same; a report that a kill prevented is written now, and a run of other data counts as failed."""
    assert outcome.run is not None
    arranged = arrange(outcome.cell.recipe, splits)
    try:
        refuse_other_data(outcome.run, arranged)
        if not outcome.run.report_file.exists():
            write_report(outcome.run, arranged)
    except CifarlabError as error:
        return Outcome(outcome.cell, "failed", None, str(error))
    return outcome


def unfinished(cells: Sequence[Cell], *, folder: Path, retry: bool = False) -> list[Cell]:
    """The cells that `run_cells` would train."""
    return [cell for cell in cells if find_outcome(cell, folder=folder, retry=retry) is None]


def find_outcome(cell: Cell, *, folder: Path, retry: bool = False) -> Outcome | None:
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
    if status["state"] == "done":
        with contextlib.suppress(RunError):  # missing or damaged predictions are made again
            Predictions.load(run.predictions_file("test"))
            return Outcome(cell, "done", run)
    return None


def _existing(path: Path) -> RunDirectory | None:
    try:
        return RunDirectory.open(path)
    except CifarlabError:
        return None


def _is_busy(run: RunDirectory) -> bool:
    try:
        with run.locked():
            return False
    except BusyError:
        return True


def _clear_half_made(path: Path) -> None:
    """Remove what a process left that was killed while it made a run directory: status.json is what comes last there."""
    if path.is_dir() and all(file.name in ("recipe.yaml", "env.json", ".status.lock") or file.suffix == ".tmp" for file in path.iterdir()):
        shutil.rmtree(path)


def _run(
    cell: Cell,
    splits: Splits,
    folder: Path,
    device: torch.device,
    found_in: Path | None,
    listener: Listener | None,
    on_stop: Callable[[int], None],
    write_report: Callable[[RunDirectory, ArrangedSplits], object],
) -> Outcome:
    run = _existing(folder / cell.name)
    try:
        if run is not None and not run.checkpoint_file.exists() and run.status()["state"] != "done":
            with run.locked():  # killed before its first checkpoint: there is nothing in it
                shutil.rmtree(run.path)
            run = None
        if run is None:
            _clear_half_made(folder / cell.name)
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
        if arranged.validation is not None and arranged.validation is not arranged.test:
            evaluate_run(run, arranged, "validation", device=device)
        evaluate_run(run, arranged, "test", device=device)
        write_report(run, arranged)
    except PreemptedError:
        raise
    except BusyError as error:
        return Outcome(cell, "elsewhere", run, str(error))
    except Exception as error:  # whatever it is, memory that ran out too: one cell must not end the rest
        found = _existing(folder / cell.name)
        if run is None and found is not None and _is_busy(found):
            return Outcome(cell, "elsewhere", found, f"{found.path} was begun by another process at the same time")
        reason = str(error) if isinstance(error, CifarlabError) else f"{type(error).__name__}: {error}"
        return Outcome(cell, "failed", found, reason)
    return Outcome(cell, "done", run)
