"""What the files of one run say, read without trust in them: what is missing or damaged is told, never raised."""

from __future__ import annotations

import json
import math
import shlex
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from cifarlab.config import Recipe, flatten, override, parse_assignments, read_recipe
from cifarlab.errors import CifarlabError
from cifarlab.recipes import get_recipe, recipe_names
from cifarlab.runs import BASELINE_PREFIX, STATES, RunDirectory
from cifarlab.serve.run_folder import LARGEST, SMALL, Found, Stamp

T = TypeVar("T")
Json = dict[str, Any]
MOST_COLUMNS: Final = 64  # of metrics.jsonl
MOST_ROWS: Final = 20_000
STARTING: Final = 5.0  # seconds that a training may take from its folder to its lock
EXACT: Final = 2**53  # whole numbers up to here are the same in JavaScript
DAMAGED: Final = (CifarlabError, OSError, ValueError, RecursionError, MemoryError, ArithmeticError)


class Memo:
    """Results by key, each good for as long as its stamp stays the same; the longest unused ones are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, stamp: Hashable, make: Callable[[], T]) -> T:
        """The kept result, or what `make` gives; two threads that ask at once may both make it."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0] == stamp:
                self._kept.move_to_end(key)
                result: T = kept[1]
                return result
        made = make()
        with self._lock:
            self._kept[key] = (stamp, made)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made


@dataclass(frozen=True)
class Reading:
    """The small files of a run at one moment.

    rows: epochs with finite numbers only; started_at: seconds since 1970; problems: what is missing or damaged.
    """

    found: Found
    status: Json
    env: Json
    recipe: Recipe | None
    rows: list[Json]
    started_at: float | None
    is_baseline: bool
    problems: tuple[str, ...]
    is_read: bool = True

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.found.path)

    @property
    def state(self) -> str:
        """done, running, interrupted (no process trains it), preempted (stopped and saved), failed, half-written, or unread."""
        if not self.is_read:
            return "unread"
        recorded = self.status.get("state")
        if recorded not in STATES or self.recipe is None:
            return "half-written"
        if recorded == "running" and not self.directory.in_use():
            return self._without_a_process()
        return str(recorded)

    def _without_a_process(self) -> str:
        """The state of a run that called itself running when it was read, and that no process trains."""
        try:
            now = self.directory.status().get("state")  # it may have ended between the two looks
        except DAMAGED:
            now = None
        if now in ("done", "failed", "preempted"):
            return str(now)
        begun = self.started_at
        return "running" if begun is not None and time.time() - begun < STARTING else "interrupted"


def started_at(found: Found) -> float | None:
    """When the run began, in seconds since 1970: env.json is written then and not again."""
    stamp = found.stamp("env.json")
    return None if stamp is None else stamp.modified / 1e9


def unread(found: Found) -> Reading:
    """A run of which nothing is known yet but that it is there."""
    return Reading(found, {}, {}, None, [], started_at(found), is_baseline=False, problems=(), is_read=False)


def read_run(found: Found, memo: Memo) -> Reading:
    """The run's small files, read again where one of them has changed."""
    stamps = found.stamps()
    return memo.get(("reading", found), stamps, lambda: _read(found, dict(zip(SMALL, stamps, strict=True))))


def _read(found: Found, stamps: dict[str, Stamp | None]) -> Reading:
    directory = RunDirectory(found.path)
    problems: list[str] = []

    def attempt(file: str, read: Callable[[], T], otherwise: T, *, needed: bool = True) -> T:
        """What `read` gives; `otherwise`, and a problem, where the file is missing, too large or damaged."""
        stamp = stamps[file]
        if stamp is None:
            if needed:
                problems.append(f"{file} is missing")
        elif stamp.size > LARGEST[file]:
            problems.append(f"{file} is too large to be read here: {stamp.size:,} bytes, at most {LARGEST[file]:,}")
        else:
            try:
                return read()
            except DAMAGED as error:
                problems.append(_short(str(error).replace(f"{found.path}/", "")))
        return otherwise

    nothing: Json = {}
    no_rows: list[Json] = []
    status = attempt("status.json", directory.status, nothing)
    env = attempt("env.json", lambda: directory.read_json("env.json"), nothing)
    recipe = attempt("recipe.yaml", lambda: read_recipe(directory.recipe_file), None)
    rows = attempt("metrics.jsonl", directory.epochs, no_rows, needed=False)
    if status and status.get("state") not in STATES:
        problems.append(f"status.json is damaged: its state is {repr(status.get('state'))[:60]}, none of {', '.join(STATES)}")
    if status.get("state") == "failed" and isinstance(status.get("error"), str):
        problems.append(_short(status["error"]))
    is_baseline = stamps["baseline.json"] is not None or (recipe is not None and recipe.model.name.startswith(BASELINE_PREFIX))
    return Reading(found, status, env, recipe, _numbers(rows), started_at(found), is_baseline, tuple(problems))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "..."


def _numbers(rows: list[Any]) -> list[Json]:
    """Rows as far as they are objects, with the columns that are numbers or null."""
    kept = []
    for row in rows[:MOST_ROWS]:
        if isinstance(row, dict):
            kept.append(
                {key: number(value) for key, value in list(row.items())[:MOST_COLUMNS] if value is None or number(value) is not None}
            )
    return kept


def number(value: object) -> float | int | None:
    """`value` where it is a finite number that JSON and JavaScript can hold, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return value if abs(value) <= EXACT else None
    return value if math.isfinite(value) else None


def count(value: object) -> int | None:
    """`value` where it is a number of things, else None."""
    found = number(value)
    return found if isinstance(found, int) and found >= 0 else None


def epochs_planned(reading: Reading) -> float | None:
    """The length that the recipe asks for, in epochs; None where that cannot be known."""
    if reading.recipe is None or reading.is_baseline:
        return None
    duration = reading.recipe.train.duration
    if duration.unit == "ep":
        return float(duration.value)
    sizes = reading.env.get("sizes")
    images = count(sizes.get("train")) if isinstance(sizes, dict) else None
    if not images:
        return None
    return round(duration.value / math.ceil(images / reading.recipe.train.batch_size), 2)


def recipe_changes(recipe: Recipe) -> tuple[str | None, list[Json]]:
    """The named recipe that a run's recipe began from, and each key in which it differs: {"key", "base", "value"}."""
    if recipe.name not in recipe_names():  # checked first: get_recipe takes paths too
        return None, []
    base, own = flatten(get_recipe(recipe.name)), flatten(recipe)
    keys = [key for key in dict.fromkeys([*base, *own]) if base.get(key) != own.get(key)]
    return recipe.name, [{"key": key, "base": base.get(key), "value": own.get(key)} for key in keys]


def commands(reading: Reading, *, evaluated: bool) -> dict[str, str | None]:
    """Commands to copy: "repeat" trains the same again, "resume" goes on, "evaluate" reads the test split; None where one has no sense.

    evaluated: whether the test split was read already, which should not be repeated.
    """
    path, state = shlex.quote(str(reading.found.path)), reading.state
    if reading.is_baseline:
        recorded = reading.env.get("command")
        repeat = shlex.join(recorded) if isinstance(recorded, list) and all(isinstance(word, str) for word in recorded) else None
        return {"repeat": repeat, "resume": None, "evaluate": None}
    return {
        "repeat": None if reading.recipe is None else _repeat(reading.recipe, path),
        "resume": f"cifarlab train --resume {path}" if state in ("interrupted", "preempted", "failed") else None,
        "evaluate": f"cifarlab evaluate {path} --split test" if state == "done" and not evaluated else None,
    }


def _repeat(recipe: Recipe, path: str) -> str:
    """`cifarlab train NAME` with what differs from it, or from the run's own recipe file where options cannot say it."""
    base, changed = recipe_changes(recipe)
    if base is not None:
        words = ["cifarlab", "train", base]
        assignments = []
        for change in changed:
            if change["key"] in ("seed", "data.name"):
                words += ["--seed" if change["key"] == "seed" else "--data", str(change["value"])]
            else:
                assignments.append(f"{change['key']}={_as_yaml(change['value'])}")
        for assignment in assignments:
            words += ["--set", assignment]
        try:
            direct = {change["key"]: change["value"] for change in changed if change["key"] in ("seed", "data.name")}
            if override(get_recipe(base), {**parse_assignments(assignments), **direct}) == recipe:
                return shlex.join(words)
        except DAMAGED:
            pass
    return f"cifarlab train {path}/recipe.yaml"


def _as_yaml(value: object) -> str:
    """`value` as --set takes it: words without quotes, all else as JSON, which is YAML."""
    if isinstance(value, str) and value and all(letter.isalnum() or letter in "%._-" for letter in value):
        return value
    return json.dumps(value, ensure_ascii=False)
