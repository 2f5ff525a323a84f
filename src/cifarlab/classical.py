"""`cifarlab baseline` as a function: classical methods fitted as runs of their own, and the table of all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Protocol

from cifarlab.api import Note, Progress, Run, report_images
from cifarlab.baselines import (
    FEATURES,
    FeatureStore,
    baseline_arguments,
    baseline_names,
    baseline_recipe,
    check_fit,
    estimate_seconds,
    finished_baseline,
    fit_baseline,
    is_seeded,
    left_out_candidates,
)
from cifarlab.build import arrange
from cifarlab.config import Recipe
from cifarlab.data import ArrangedSplits, Splits, dataset_names, find_named_cifar10, load_splits
from cifarlab.errors import ConfigError, MissingDependencyError, UsageError, unknown
from cifarlab.files import write_text
from cifarlab.reports import BaselineRow, write_baselines, write_metrics, write_run_report
from cifarlab.restore import choose_device
from cifarlab.sections import DataConfig
from cifarlab.training import describe_environment

MOST_SEEDS: Final = 1000
PACKAGES: Final = ("scikit-learn", "scikit-image", "scipy")


class BaselineWatcher(Protocol):
    """Hears of each baseline: when it begins (1-based number, seconds that it may take), how far its present stage is, and when its
    run is there."""

    def begin(self, name: str, number: int, total: int, estimate: float | None) -> None: ...

    def stage(self, name: str, done: int, total: int) -> None: ...

    def end(self, run: Run, *, again: bool) -> None: ...


class SilentBaselineWatcher:
    """Hears everything, says nothing."""

    def begin(self, name: str, number: int, total: int, estimate: float | None) -> None:
        pass

    def stage(self, name: str, done: int, total: int) -> None:
        pass

    def end(self, run: Run, *, again: bool) -> None:
        pass


@dataclass(frozen=True)
class Baselines:
    """What came of it: the runs in the order of the table, its rows, and where it was written."""

    runs: Sequence[Run]
    rows: Sequence[BaselineRow]
    html: Path
    markdown: Path


def baseline(
    names: str | Sequence[str] = (),
    *,
    data: str = "cifar10",
    features: str = "both",
    seeds: int = 1,
    overrides: Mapping[str, object] | None = None,
    train_size: int | None = None,
    beside: Sequence[str | Path] = (),
    runs: str | Path = "runs/baselines",
    output: str | Path | None = None,
    data_dir: str | Path | None = None,
    threads: int | None = None,
    report: bool = True,
    fit: bool = True,
    command: str = "",
    watcher: BaselineWatcher | None = None,
    note: Note | None = None,
    progress: Progress | None = None,
) -> Baselines:
    """Fit classical baselines, one, several or all (without names), and write runs/baselines.md and .html with every accuracy and cost.

    features: "pixels", "hog" or "both". overrides: fields of the recipe's data section ("data.validation") and arguments of the
    methods ("knn.k"), where a list is chosen from on validation. beside: evaluated runs of networks to show in the same table.
    output: a second place for the Markdown; report: figures and a report.html for each; without `fit` the table is
    made of the runs that are there. Each baseline is a run directory; one that is
    there already is used as it is. The test split is predicted once in each run. Raises UsageError with every problem before
    anything is computed; DataError.
    """
    names, beside = _several("names", names, "baselines, such as ['knn', 'svm']"), _several("beside", beside, "run directories")
    folder, where = Path(runs), Path(data_dir) if data_dir is not None else None
    recipes = _plan(names, data, features, seeds, _with_size(overrides, train_size))
    _check_places(folder, output)
    first = next(iter(recipes.values()))
    networks = [Run(path) for path in beside]
    splits = load_splits(first.data.name, data_dir=where, progress=progress, note=note)
    arranged = arrange(first, splits)
    _refuse_misfits(recipes, arranged, folder, networks)
    found = find_named_cifar10(where) if first.data.name == "cifar10" else None
    missing: list[str] = []
    if not fit:
        missing = [name for name, recipe in recipes.items() if finished_baseline(folder / name, recipe, arranged) is None]
        recipes = {name: recipe for name, recipe in recipes.items() if name not in missing}
        if not recipes:
            raise UsageError(f"none of these baselines is there yet in {folder}: {', '.join(missing)}; leave out --no-fit")
    if note is not None and fit:
        _tell_of_candidates(recipes, arranged, note)
    work = _Work(folder, splits, arranged, threads or _cores(), found, report, watcher or SilentBaselineWatcher())
    try:
        done = [work.run(name, recipe, number, len(recipes)) for number, (name, recipe) in enumerate(recipes.items(), start=1)]
    except KeyboardInterrupt:
        if note is not None:
            note("stopped; what is fitted is kept, and the same command goes on from there")
        raise
    rows = [_row(run) for run in done]
    html, markdown = write_baselines(folder, rows, beside=[run.directory for run in networks], missing=missing, command=command)
    if output is not None:
        write_text(Path(output), markdown.read_text(encoding="utf-8"))
    return Baselines(done, rows, html, markdown)


def _check_places(folder: Path, output: str | Path | None) -> None:
    """Raise UsageError where the runs or the second table cannot be written, before anything starts."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if there.exists() and not there.is_dir():
        raise UsageError(f"cannot write into {folder}: {there} is a file; name a folder for the runs and the table with --runs DIR")
    if output is not None and (Path(output).is_dir() or not Path(output).parent.is_dir()):
        raise UsageError(f"cannot write {output}: name a file in a folder that exists, such as baselines.md")


def _tell_of_candidates(recipes: Mapping[str, Recipe], arranged: ArrangedSplits, note: Note) -> None:
    """Say once for each method which of its default candidates are too large for this data."""
    for line in dict.fromkeys(line for recipe in recipes.values() for line in left_out_candidates(recipe, arranged)):
        note(line)


def _several(argument: str, given: Any, of: str) -> Sequence[Any]:
    """A single name is a list of one, and is not taken letter by letter."""
    if isinstance(given, str | Path):
        return (given,)
    if not isinstance(given, Sequence) or not all(isinstance(one, str | Path) for one in given):
        raise UsageError(f"{argument} must be a list of {of} (given: {given!r})")
    return given


def _plan(names: Sequence[str], data: str, features: str, seeds: int, overrides: Mapping[str, object]) -> dict[str, Recipe]:
    """Run name -> recipe of every baseline asked for; all problems at once."""
    problems = [unknown("baseline", name, baseline_names()) for name in names if name not in baseline_names()]
    if features not in (*FEATURES, "both"):
        problems.append(unknown("features", features, [*FEATURES, "both"]))
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MOST_SEEDS:
        problems.append(f"seeds={seeds!r}: allowed is a whole number from 1 to {MOST_SEEDS}")
    chosen = list(dict.fromkeys(names)) or list(baseline_names())
    section, arguments = _sort_overrides(overrides, [name for name in chosen if name in baseline_names()], problems)
    is_path = data not in dataset_names() and data and ("/" in data or Path(data).exists())
    section["name"] = str(Path(data).expanduser().resolve()) if is_path else data
    if problems:
        raise ConfigError(problems, source="baseline")
    recipes = {}
    for kind in FEATURES if features == "both" else (features,):
        for name in chosen:
            for seed in range(seeds if is_seeded(name) else 1):
                recipes[f"{name}-{kind}-{seed}"] = baseline_recipe(name, kind, data=section, arguments=arguments.get(name, {}), seed=seed)
    return recipes


def _with_size(overrides: Mapping[str, object] | None, train_size: int | None) -> dict[str, object]:
    return {**(overrides or {}), **({} if train_size is None else {"data.train_size": train_size})}


def _sort_overrides(
    overrides: Mapping[str, object], chosen: Sequence[str], problems: list[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What --set changes of the data section, and of each method's arguments; adds to `problems` what nothing takes."""
    fields = [f"data.{name}" for name in DataConfig.model_fields if name not in ("name", "validate_on")]
    own = {f"{name}.{argument}": default for name in chosen for argument, default in baseline_arguments(name).items()}
    section: dict[str, Any] = {}
    arguments: dict[str, dict[str, Any]] = {}
    for key, value in overrides.items():
        first, _, rest = key.partition(".")
        if key in fields:
            section[rest] = value
        elif key in own:
            arguments.setdefault(first, {})[rest] = value
            problems += [f"{key}: {wrong}" for wrong in _wrong_values(rest, value, own[key])]
        else:
            problems.append(unknown("option", key, [*fields, *own]))
    return section, arguments


def _wrong_values(argument: str, value: object, default: Any) -> list[str]:
    """What is wrong with an argument's value, or with those of a list of candidates."""
    like = default[0] if isinstance(default, tuple) else default
    least = 1 if isinstance(like, int) or argument == "fuzzifier" else 0
    given = value if isinstance(value, list) else [value]
    kind = "a whole number of at least 1" if isinstance(like, int) else f"a number above {least}"

    def right(one: object) -> bool:
        if isinstance(one, bool) or not isinstance(one, int if isinstance(like, int) else int | float):
            return False
        return one >= 1 if isinstance(like, int) else least < one < float("inf")

    return (
        [f"must be {kind}, or a list of them to choose from on validation (given: {value!r})"]
        if not all(map(right, given)) or not given
        else []
    )


def _refuse_misfits(recipes: Mapping[str, Recipe], arranged: ArrangedSplits, folder: Path, networks: Sequence[Run]) -> None:
    """Everything that would fail later, at once, before anything is computed."""
    problems: list[str] = []
    for name, recipe in recipes.items():
        try:
            problems += check_fit(recipe, arranged)
            finished_baseline(folder / name, recipe, arranged)
        except MissingDependencyError:
            raise
        except UsageError as error:
            problems.append(str(error))
    for run in networks:
        if not run.directory.predictions_file("test").exists():
            problems.append(f"{run.path} has no predictions of the test split; make them with: cifarlab evaluate {run.path}")
        elif run.metrics["test"]["checksum"] != arranged.test.checksum:
            problems.append(f"{run.path} was evaluated on other test images than these baselines will be")
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), source="baseline")


@dataclass
class _Work:
    """What all baselines of one call have in common."""

    folder: Path
    splits: Splits
    arranged: ArrangedSplits
    threads: int
    found: Path | None
    report: bool
    watcher: BaselineWatcher

    def __post_init__(self) -> None:
        self.store = FeatureStore(self.arranged, threads=self.threads)

    def run(self, name: str, recipe: Recipe, number: int, total: int) -> Run:
        """Fit one, or take the run that is there; its report is written either way."""
        directory = finished_baseline(self.folder / name, recipe, self.arranged)
        again = directory is not None
        self.watcher.begin(name, number, total, None if again else estimate_seconds(recipe, self.store))
        if directory is None:
            directory = fit_baseline(recipe, self.store, runs=self.folder, name=name, env=self._environment(), watch=self.watcher.stage)
        if self.report and not directory.report_file.exists():
            write_run_report(directory, images=report_images(directory, self.arranged))  # writes the metrics files as well
        elif not (directory.path / "metrics.json").exists():
            write_metrics(directory)
        run = Run(directory.path)
        self.watcher.end(run, again=again)
        return run

    def _environment(self) -> dict[str, Any]:
        packages: dict[str, str | None] = {}
        for package in PACKAGES:
            try:
                packages[package] = version(package)
            except PackageNotFoundError:
                packages[package] = None
        here = describe_environment(choose_device("cpu"))
        return {**here, **packages, "threads": self.threads, "found_in": None if self.found is None else str(self.found.absolute())}


def _row(run: Run) -> BaselineRow:
    return BaselineRow.read(run.directory)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
