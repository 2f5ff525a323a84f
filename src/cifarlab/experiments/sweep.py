"""The cells of a study: one run for each point and seed, checked against the data before the first begins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cifarlab.build import arrange, build_plan
from cifarlab.config import Recipe
from cifarlab.data.dataset import Splits
from cifarlab.data.splits import ArrangedSplits
from cifarlab.errors import ConfigError, UsageError
from cifarlab.experiments.cells import (
    ESTIMATE_MARGIN,
    SilentWatcher,
    Watcher,
    find_outcome,
    is_half_made,
    share_left,
    step_seconds,
)
from cifarlab.experiments.study import Study, fix_steps, in_words

_LONGEST = 80  # characters of a run's name


@dataclass(frozen=True)
class SweepCell:
    """One run of a sweep: `point` counts its place among the study's points."""

    name: str
    recipe: Recipe
    point: int
    values: Mapping[str, Any]
    seed: int
    splits: tuple[str, ...]


def plan_sweep(study: Study, *, test: bool = False) -> list[SweepCell]:
    """A cell for each point and seed, first seeds first, so that a sweep that is cut short has all points."""
    splits = ("validation", "test") if test else ("validation",)
    names = _point_names(study)
    return [
        SweepCell(f"{name}seed-{seed}", point.recipe.model_copy(update={"seed": seed}), number, point.values, seed, splits)
        for seed in study.seeds
        for number, (name, point) in enumerate(zip(names, study.points, strict=True))
    ]


def fit_to_data(study: Study, splits: Splits) -> Study:
    """`study` checked against the data, with its steps fixed where it asks for that.

    Raises ConfigError with the problems of every point: classes that do not exist, a subset larger than the data.
    """
    problems: list[str] = []
    arranged: ArrangedSplits | None = None
    known: set[str] = set()
    for point in study.points:
        if repr(point.recipe.data) in known:
            continue
        known.add(repr(point.recipe.data))
        try:
            one = arrange(point.recipe, splits)
        except UsageError as error:
            problems += str(error).splitlines()
        else:
            arranged = arranged or one
    if problems or arranged is None:
        raise ConfigError(list(dict.fromkeys(problems)), source="sweep")
    return study if study.plan.fixed == "epochs" else fix_steps(study, -(-len(arranged.train) // study.points[0].recipe.train.batch_size))


def refuse_taken(cells: Sequence[SweepCell], folder: Path) -> None:
    """Raise ConfigError for every folder that stands in the way of a cell: another recipe's run, a damaged one, no run at all."""
    problems = []
    for cell in cells:
        path, found = folder / cell.name, find_outcome(cell, folder=folder)
        if found is not None and found.state == "failed" and found.run is None:
            problems.append(found.reason)
        elif path.exists() and not (path / "status.json").exists() and not is_half_made(path):
            problems.append(f"{path} is not a run directory; remove it, or use another folder with --runs or --name")
    if problems:
        raise ConfigError(problems, source="sweep")


def estimate_sweep(
    cells: Sequence[SweepCell], splits: Splits, *, device: torch.device, folder: Path | None = None, watcher: Watcher | None = None
) -> dict[str, float]:
    """Cell name -> seconds of training that are left. Every point is built once; steps of the same cost are timed once.

    folder: where begun cells lie, whose finished part costs nothing more. Raises ConfigError with the problems of every point
    that cannot be built.
    """
    watcher = watcher or SilentWatcher()
    problems: list[str] = []
    totals: dict[int, float] = {}
    speeds: dict[str, float] = {}
    last: tuple[object, ArrangedSplits] | None = None
    for point, recipe in {cell.point: cell.recipe for cell in cells}.items():
        if last is None or last[0] != recipe.data:
            last = (recipe.data, arrange(recipe, splits))
        try:
            plan = build_plan(recipe, last[1], device=device)
        except UsageError as error:
            problems += str(error).splitlines()
            continue
        total, key = plan.total_steps, _cost(recipe)
        if key not in speeds:
            speeds[key] = step_seconds(plan)
        totals[point] = speeds[key] * total * ESTIMATE_MARGIN
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), source="sweep")
    estimates = {}
    for cell in cells:
        estimates[cell.name] = totals[cell.point] * (1.0 if folder is None else share_left(cell, folder))
        watcher.estimated(cell, estimates[cell.name])
    return estimates


def _cost(recipe: Recipe) -> str:
    """What decides the cost of a step."""
    train = recipe.train
    trained = (recipe.model, recipe.optim.name, recipe.optim.ema, train.batch_size, train.resolution, train.precision)
    return repr((trained, recipe.input, recipe.augment, recipe.data.classes))


def _point_names(study: Study) -> list[str]:
    """The beginning of the run names of each point: "batch_size-32-"; "" where only the seed varies."""
    shorts = [key.rpartition(".")[2] for key in study.keys]
    words = [short if shorts.count(short) == 1 else key for short, key in zip(shorts, study.keys, strict=True)]
    names = []
    for point in study.points:
        parts = [f"{word}-{in_words(value)}" for word, value in zip(words, point.values.values(), strict=True)]
        plain = "-".join(parts)
        name = re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-")
        if len(name) > _LONGEST or name != plain:  # cut or cleaned, two points could look alike
            name = f"{name[:_LONGEST]}-{hashlib.sha256(plain.encode()).hexdigest()[:6]}"
        names.append(f"{name}-" if parts else "")
    return names
