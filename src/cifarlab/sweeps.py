"""`cifarlab sweep` as a function: a study planned, its cost estimated, its runs trained, its page written."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cifarlab.api import Note, Progress, report_images, resolve_recipe
from cifarlab.build import unknown_names
from cifarlab.config import Recipe, differences, override, parse_recipe
from cifarlab.data import ArrangedSplits, find_named_cifar10, load_splits
from cifarlab.errors import CifarlabError, ConfigError, UsageError
from cifarlab.experiments import Outcome, OutcomeCollector, Watcher, find_outcome, refuse_small_budget, run_cells, unfinished
from cifarlab.experiments.cells import folder_problems
from cifarlab.experiments.study import Study, StudyPlan, make_study, option, resolve_key
from cifarlab.experiments.study_files import find_plan, shipped_studies
from cifarlab.experiments.sweep import estimate_sweep, fit_to_data, plan_sweep, refuse_taken
from cifarlab.reports import SWEEP_FILE, SweepFacts, SweepResult, SweepRun, read_sweep, write_run_report, write_studies, write_sweep
from cifarlab.restore import choose_device
from cifarlab.runs import RunDirectory

ORDER: Final = ("pair-train-size", "train-size", "batch-size", "epochs")  # as the course paper has them
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RUNS: Final = Path("runs/sweeps")


@dataclass(frozen=True)
class Sweep:
    """What came of it. estimates: run name -> seconds of training that were still to do; result and the pages: None after an
    estimate; studies: the page of all sweeps, where one was asked for."""

    estimates: Mapping[str, float]
    outcomes: Sequence[Outcome] = field(default_factory=tuple)
    result: SweepResult | None = None
    html: Path | None = None
    markdown: Path | None = None
    studies: Path | None = None


def sweep(
    study: str | Path | Recipe,
    *,
    vary: Mapping[str, Sequence[object]] | None = None,
    overrides: Mapping[str, object] | None = None,
    layout: str | None = None,
    seeds: int | Sequence[int] | None = None,
    fixed: str | None = None,
    epochs: str | float | None = None,
    scale: float | None = None,
    data: str | None = None,
    test: bool = False,
    max_minutes: float | None = None,
    retry: bool = False,
    dry_run: bool = False,
    train: bool = True,
    reports: bool = False,
    runs: str | Path = RUNS,
    name: str | None = None,
    output: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    command: str = "",
    watcher: Watcher | None = None,
    note: Note | None = None,
    progress: Progress | None = None,
    on_stop: Callable[[int], None] = lambda number: None,
) -> Sweep:
    """Train a recipe at every point of a study with several seeds, and write runs/name/sweep.html and sweep.md.

    study: a shipped study, a study file, or a recipe with `vary`: recipe field (its dotted name, or the last part of it where that
    is clear) -> list of values. overrides: fields fixed to another value. layout: "grid" (every combination) or "list" (side by side).
    seeds: how many (default 3) or which. fixed: "steps" gives every run the optimizer steps of the first point. epochs (6, "6ep",
    "500st") or scale shortens every run, its schedule in proportion. test: evaluate the test split of every run, too, once; the
    best point is named by validation all the same. reports: a report.html for each run. output: a page of all sweeps in `runs`.

    Done runs are used as they are, begun ones go on, failed ones stay unless `retry`. dry_run: estimate only; without `train`:
    write the pages from what is there. Raises ConfigError with all problems before anything is trained: unknown fields, values of
    a wrong type, a subset larger than the data, run directories in the way, a budget into which no run fits; DataError;
    training.PreemptedError after SIGINT or SIGTERM.
    """
    _refuse(_type_problems(vary, overrides, epochs, scale))
    length = f"{epochs:.15g}ep" if isinstance(epochs, int | float) else epochs
    plan = _changed(
        find_plan(study), vary=vary, changes=overrides, layout=layout, seeds=seeds, fixed=fixed, length=length, scale=scale, data=data
    )
    job = _Job(plan, Path(runs), name, test, output=None if output is None else Path(output), command=command, device=device)
    job.check(max_minutes, note)
    job.load(data_dir, progress, note)
    if not train:
        return job.write({}, ())
    estimates = job.estimate(retry, watcher)
    if dry_run:
        return Sweep(estimates)
    refuse_small_budget(estimates, max_minutes)
    return job.run(estimates, max_minutes, retry, reports, watcher, on_stop)


def collect_studies(output: str | Path, *, runs: str | Path = RUNS) -> Path:
    """Write one Markdown page of all sweeps in the folder `runs`, the shipped studies first, with figures in a folder beside it.

    Raises UsageError where there is no sweep or the page cannot be written, RunError where a sweep's description is damaged.
    """
    _refuse(_output_problems(Path(output)))
    found = {file.parent: read_sweep(file.parent) for file in sorted(Path(runs).glob(f"*/{SWEEP_FILE}"))}
    if not found:
        raise UsageError(f"no sweep in {runs}. Make one first, for example: cifarlab sweep {ORDER[0]}")
    shipped = [*ORDER, *(name for name in shipped_studies() if name not in ORDER)]
    ranks = {name: rank for rank, name in enumerate(shipped)}
    folders = sorted(found, key=lambda folder: (ranks.get(found[folder].study, len(ranks)), folder.name))
    done = {facts.study for facts in found.values()}
    return write_studies(Path(output), folders, missing=[name for name in shipped if name not in done])


@dataclass
class _Job:
    """One call of `sweep`."""

    plan: StudyPlan
    runs: Path
    name: str | None
    test: bool
    output: Path | None
    command: str
    device: str

    def check(self, max_minutes: float | None, note: Note | None) -> None:
        """Everything that can be refused without data, all at once."""
        problems = folder_problems(self.runs) + ([] if self.output is None else _output_problems(self.output))
        if max_minutes is not None and not max_minutes > 0:
            problems.append(f"max_minutes={max_minutes:g}: give minutes above 0")
        try:
            self.study = make_study(self.plan, unknown_names)
        except UsageError as error:
            problems += error.problems if isinstance(error, ConfigError) else [str(error)]
        if problems:
            _refuse(problems)
        chosen = self.name or default_name(self.plan, self.study)
        if not _NAME.fullmatch(chosen):
            raise UsageError(f"name {chosen!r}: use 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit")
        self.folder = self.runs / chosen
        _refuse(folder_problems(self.folder))
        self.chosen_device = choose_device(self.device)
        if note is not None:
            for given in [*self.plan.vary, *self.plan.changes]:
                if given != (key := resolve_key(given)):
                    note(f"{given} is {key}")
            if self.study.shortened:
                note(f"{self.study.shortened}; schedules follow in proportion")

    def load(self, data_dir: str | Path | None, progress: Progress | None, note: Note | None) -> None:
        """The data, and everything that can be refused with it."""
        self.where = Path(data_dir) if data_dir is not None else None
        self.data_name = self.study.points[0].recipe.data.name
        self.splits = load_splits(self.data_name, data_dir=self.where, progress=progress, note=note)
        self.study = fit_to_data(self.study, self.splits)
        before = read_sweep(self.folder) if (self.folder / SWEEP_FILE).exists() else None
        if before is not None:
            self._refuse_other_sweep(before)
            self.test = self.test or before.test  # what was read stays on the page
        self.cells = plan_sweep(self.study, test=self.test)
        left_out = {run.name for run in before.runs} - {cell.name for cell in self.cells} if before is not None else set()
        if left_out and note is not None:
            note(f"{len(left_out)} runs that were on this sweep's page will not be: this call has fewer values or seeds; they are kept")
        refuse_taken(self.cells, self.folder)

    def estimate(self, retry: bool, watcher: Watcher | None) -> dict[str, float]:
        """Run name -> seconds of training that are left."""
        left = unfinished(self.cells, folder=self.folder, retry=retry)
        return estimate_sweep(left, self.splits, device=self.chosen_device, folder=self.folder, watcher=watcher)

    def run(
        self,
        estimates: Mapping[str, float],
        max_minutes: float | None,
        retry: bool,
        reports: bool,
        watcher: Watcher | None,
        on_stop: Callable[[int], None],
    ) -> Sweep:
        """Train what is left and write the page, also where it is stopped."""
        collected = OutcomeCollector(watcher)
        try:
            run_cells(
                self.cells,
                self.splits,
                folder=self.folder,
                device=self.chosen_device,
                estimates=estimates,
                max_seconds=None if max_minutes is None else 60 * max_minutes,
                retry=retry,
                found_in=find_named_cifar10(self.where) if self.data_name == "cifar10" else None,
                write_report=_report if reports else None,
                watcher=collected,
                on_stop=on_stop,
            )
        except BaseException:
            with contextlib.suppress(CifarlabError, OSError):  # what stopped it matters more
                self.write(estimates, collected.outcomes)
            raise
        return self.write(estimates, collected.outcomes)

    def write(self, estimates: Mapping[str, float], outcomes: Sequence[Outcome]) -> Sweep:
        """The pages from what is known so far; a run that was not reached counts as it lies on disk."""
        reached = {outcome.cell.name: outcome for outcome in outcomes}
        runs = []
        for cell in self.cells:
            outcome = reached.get(cell.name) or find_outcome(cell, folder=self.folder)
            runs.append(SweepRun(cell.name, cell.point, cell.seed, _reason(outcome)))
        result, html, markdown = write_sweep(self.folder, self._facts(tuple(runs)))
        studies = None if self.output is None else collect_studies(self.output, runs=self.runs)
        return Sweep(estimates, tuple(outcomes), result, html, markdown, studies)

    def _facts(self, runs: tuple[SweepRun, ...]) -> SweepFacts:
        study, plan = self.study, self.study.plan
        recipe = study.points[0].recipe
        return SweepFacts(
            study=plan.name,
            name=self.folder.name,
            title=plan.title,
            label=plan.label,
            note=plan.note,
            recipe=recipe.name,
            keys=study.keys,
            points=tuple(tuple(point.values.values()) for point in study.points),
            runs=runs,
            changed=study.changed,
            shortened=study.shortened,
            layout=plan.layout,
            fixed=plan.fixed,
            pooled=any(point.recipe.data.pooled for point in study.points),
            nested=[key for key in study.keys if key.startswith("data.")] == ["data.train_size"],
            test=self.test,
            command=self.command,
            base=recipe.to_yaml(),
        )

    def _refuse_other_sweep(self, before: SweepFacts) -> None:
        """More values and more seeds go on with a sweep; another recipe or other fields are another sweep."""
        now = self.study.points[0].recipe
        varied = {key: option(now, key) for key in self.study.keys}
        problems = differences(override(parse_recipe(before.base), varied), now)
        if before.keys != self.study.keys:
            problems = [f"varied: {', '.join(before.keys) or 'the seed'} -> {', '.join(self.study.keys) or 'the seed'}"]
        if problems:
            told = "; ".join(problems[:5]) + ("; ..." if len(problems) > 5 else "")
            raise UsageError(
                f"{self.folder} holds another sweep ({told}); nothing was changed. Give this one another --name, or remove that"
            )


def default_name(plan: StudyPlan, study: Study) -> str:
    """The folder of a sweep: the study's name, or the recipe's with what is varied, and how it is shortened."""
    parts = [plan.name]
    if not plan.is_study:
        parts += [key.rpartition(".")[2] for key in study.keys] or ["seeds"]
    if study.shortened:
        parts.append(plan.length if plan.length is not None else f"x{plan.scale:g}")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))[:100]


def _changed(plan: StudyPlan, *, vary: Any, changes: Any, data: str | None, **others: Any) -> StudyPlan:
    """`plan` with what the call gives in its place; fields that are varied anew replace those of a study file."""
    merged = {_key(key): value for key, value in plan.vary.items()} if vary else dict(plan.vary)
    for key, value in (vary or {}).items():
        merged.pop(_key(key), None)
        merged[key] = value
    fixed = {_key(key): value for key, value in plan.changes.items()} if changes else dict(plan.changes)
    for key, value in (changes or {}).items():
        fixed.pop(_key(key), None)
        fixed[key] = value
    if data is not None:
        fixed["data.name"] = resolve_recipe(plan.recipe, data=data).data.name  # a path becomes absolute
    given = {key: value for key, value in others.items() if value is not None}
    return dataclasses.replace(plan, vary=merged, changes=fixed, **given)


def _type_problems(vary: Any, overrides: Any, epochs: Any, scale: Any) -> list[str]:
    """What a program may give by mistake and a command line cannot."""
    problems = []
    for what, given, example in (("vary", vary, '{"batch_size": [64, 128]}'), ("overrides", overrides, '{"optim.lr": 0.1}')):
        if given is not None and not isinstance(given, Mapping):
            problems.append(f"{what} must be a mapping of recipe fields such as {example}, not {given!r}")
        elif given:
            problems += [f"{what}: a recipe field is a name such as 'batch_size', not {key!r}" for key in given if not isinstance(key, str)]
    for key, values in vary.items() if isinstance(vary, Mapping) else ():
        if not isinstance(values, list | tuple | range):
            problems.append(f"vary[{key!r}] must be a list of values such as [64, 128], not {values!r}")
    if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, str | int | float)):
        problems.append(f"epochs must be a number of epochs such as 6, or a length such as '6ep' or '500st', not {epochs!r}")
    if scale is not None and (isinstance(scale, bool) or not isinstance(scale, int | float)):
        problems.append(f"scale must be a factor such as 0.1, not {scale!r}")
    return problems


def _key(given: str) -> str:
    """The dotted key, or `given` itself where there is none, which is told of with everything else that is wrong."""
    try:
        return resolve_key(given)
    except UsageError:
        return given


def _reason(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not run"
    return "" if outcome.state == "done" else (outcome.reason or outcome.state)


def _report(run: RunDirectory, arranged: ArrangedSplits) -> None:
    write_run_report(run, images=report_images(run, arranged))


def _output_problems(output: Path) -> list[str]:
    if output.is_dir():
        return [f"cannot write {output}: it is a folder; name a file in it, such as {output / 'STUDIES.md'}"]
    if not output.parent.is_dir():
        return [f"cannot write {output}: no such folder as {output.parent}; make it first"]
    return []


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), source="sweep")
