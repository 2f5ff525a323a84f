"""`cifarlab reproduce` as a function: cells planned, costs estimated, runs trained, tables written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cifarlab.api import Note, Progress, Run, report_images
from cifarlab.build import arrange
from cifarlab.data import Splits, find_named_cifar10, load_splits
from cifarlab.errors import CifarlabError, UsageError
from cifarlab.experiments import (
    Cell,
    Outcome,
    OutcomeCollector,
    Watcher,
    estimate_cells,
    find_outcome,
    plan_cells,
    refuse_small_budget,
    run_cells,
    unfinished,
)
from cifarlab.experiments.cells import folder_problems
from cifarlab.files import write_text
from cifarlab.reports import CellResult, ReportImages, write_reproduction, write_run_report
from cifarlab.restore import choose_device
from cifarlab.runs import RunDirectory


@dataclass(frozen=True)
class Reproduction:
    """What came of it. estimates: cell name -> seconds of training that were still to do; the tables: None after a dry run."""

    estimates: Mapping[str, float]
    outcomes: Sequence[Outcome] = field(default_factory=tuple)
    html: Path | None = None
    markdown: Path | None = None


def reproduce(
    systems: Sequence[str] = (),
    *,
    protocol: str = "both",
    seeds: int = 1,
    max_minutes: float | None = None,
    overrides: Mapping[str, object] | None = None,
    retry: bool = False,
    dry_run: bool = False,
    train: bool = True,
    folder: str | Path = "runs/reproduce",
    output: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    command: str = "",
    watcher: Watcher | None = None,
    note: Note | None = None,
    progress: Progress | None = None,
    on_stop: Callable[[int], None] = lambda number: None,
) -> Reproduction:
    """Train and evaluate published systems (all without names) and write folder/reproduction.html and reproduction.md.

    protocol: "published", "corrected" (validation from train) or "both"; overrides: dotted keys for every recipe, such as
    {"train.duration": "5ep"}; output: a second place for the Markdown. Runs that are done are used as they are, begun ones go
    on, failed ones stay unless `retry`. dry_run: estimate only; without `train`: write the tables from what is there.
    Raises UsageError, before anything is trained, for names, protocols and fields that do not exist and for a budget into which
    no run fits; DataError; training.PreemptedError after SIGINT or SIGTERM.
    """
    _check_options(max_minutes, output, Path(folder))
    place, chosen = Path(folder), choose_device(device)
    cells = plan_cells(systems, protocol=protocol, seeds=seeds, changes=overrides)
    where, name = Path(data_dir) if data_dir is not None else None, cells[0].recipe.data.name
    splits = load_splits(name, data_dir=where, progress=progress, note=note)
    table = _Table(place, cells, splits, _with_changes(command, overrides), None if output is None else Path(output))
    if not train:
        return Reproduction({}, (), *table.write(()))
    estimates = estimate_cells(unfinished(cells, folder=place, retry=retry), splits, device=chosen, folder=place, watcher=watcher)
    if dry_run:
        return Reproduction(estimates)
    refuse_small_budget(estimates, max_minutes)
    collected = OutcomeCollector(watcher)
    try:
        run_cells(
            cells,
            splits,
            folder=place,
            device=chosen,
            estimates=estimates,
            max_seconds=None if max_minutes is None else 60 * max_minutes,
            retry=retry,
            found_in=find_named_cifar10(where) if name == "cifar10" else None,
            write_report=lambda run, arranged: write_run_report(run, images=report_images(run, arranged)),
            watcher=collected,
            on_stop=on_stop,
        )
    except BaseException:  # a stopped reproduction has its table, too
        with contextlib.suppress(CifarlabError, OSError):  # what stopped it matters more
            table.write(collected.outcomes)
        raise
    return Reproduction(estimates, collected.outcomes, *table.write(collected.outcomes))


def _with_changes(command: str, overrides: Mapping[str, object] | None) -> str:
    """`command` with the changed fields that a reader of the table must know of."""
    changed = ", ".join(f"{key}={value}" for key, value in (overrides or {}).items() if key != "train.duration")
    return " ".join(filter(None, [command, changed and f"(every recipe changed: {changed})"]))


def _check_options(max_minutes: float | None, output: str | Path | None, folder: Path) -> None:
    if problems := folder_problems(folder):
        raise UsageError("\n".join(problems))
    if max_minutes is not None and not max_minutes > 0:
        raise UsageError(f"max_minutes={max_minutes:g}: give minutes above 0")
    if output is not None and Path(output).is_dir():
        raise UsageError(f"cannot write {output}: it is a folder; name a file in it, such as {Path(output) / 'reproduction.md'}")
    if output is not None and not Path(output).parent.is_dir():
        raise UsageError(f"cannot write {output}: no such folder as {Path(output).parent}; make it first")


@dataclass(frozen=True)
class _Table:
    """The pages of a reproduction."""

    folder: Path
    cells: Sequence[Cell]
    splits: Splits
    command: str
    output: Path | None

    def write(self, outcomes: Sequence[Outcome]) -> tuple[Path, Path]:
        """Write both pages from what is known so far; a cell that was not reached counts as it lies on disk."""
        reached = {outcome.cell.name: outcome for outcome in outcomes}
        results = [_result(cell, reached.get(cell.name) or find_outcome(cell, folder=self.folder)) for cell in self._all_cells()]
        html, markdown = write_reproduction(self.folder, results, images_of=self._images_of, command=self.command)
        if self.output is not None:
            write_text(self.output, markdown.read_text(encoding="utf-8"))
        return html, markdown

    def _all_cells(self) -> list[Cell]:
        """The cells of this call and, so that no page loses what an earlier one showed, the whole-length runs of others."""
        asked = {(cell.system, cell.protocol, cell.seed) for cell in self.cells}
        seeds = [int(end) for path in self.folder.glob("*") if (end := path.name.rpartition("-")[2]).isdecimal() and len(end) < 4]
        others = plan_cells(seeds=max(seeds) + 1) if seeds else []
        others = [cell for cell in others if (cell.system, cell.protocol, cell.seed) not in asked]
        return [*self.cells, *(cell for cell in others if self._is_done(cell))]

    def _is_done(self, cell: Cell) -> bool:
        outcome = find_outcome(cell, folder=self.folder)
        return outcome is not None and outcome.state == "done"

    def _images_of(self, run: RunDirectory) -> ReportImages:
        try:
            return report_images(run, arrange(Run(run.path).recipe, self.splits))
        except CifarlabError:  # other data than the run's: its pictures are left out, and named as missing
            return ReportImages()


def _result(cell: Cell, outcome: Outcome | None) -> CellResult:
    reason = "not run" if outcome is None else "" if outcome.state == "done" else (outcome.reason or outcome.state)
    run = None if outcome is None else outcome.run
    return CellResult(cell.system, cell.protocol, cell.seed, run, reason, cell.planned if cell.shortened else "")
