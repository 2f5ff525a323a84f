"""What the runs of a sweep say, gathered: one point for each set of values, from the runs' prediction files."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cifarlab.errors import CifarlabError, RunError
from cifarlab.metrics import score_predictions, wilson_interval
from cifarlab.reports.numbers import is_number
from cifarlab.reports.seed_noise import MeanInterval, mean_interval
from cifarlab.runs import Predictions, RunDirectory

SWEEP_FILE: Final = "sweep.json"
Json = Mapping[str, Any]


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep: its directory's name, its point's place, its seed, and why it has no result, "" for a finished one."""

    name: str
    point: int
    seed: int
    reason: str = ""


@dataclass(frozen=True)
class SweepFacts:
    """A sweep as its page needs it, kept in sweep.json.

    study: the study that it is of; name: of its folder; keys: what varies, the first for the axis; points: the values of each;
    recipe: its name; changed: fields fixed to another value; shortened: in words, "" for the study in full; fixed: "epochs" or
    "steps"; nested: whether training sets of several sizes are contained in each other; test: whether the test split is read;
    command: what repeats it; base: the first point's recipe as YAML.
    """

    study: str
    name: str
    title: str
    label: str
    note: str
    recipe: str
    keys: tuple[str, ...]
    points: tuple[tuple[Any, ...], ...]
    runs: tuple[SweepRun, ...]
    changed: tuple[str, ...] = ()
    shortened: str = ""
    layout: str = "grid"
    fixed: str = "epochs"
    pooled: bool = False
    nested: bool = False
    test: bool = False
    command: str = ""
    base: str = ""

    def to_json(self) -> dict[str, Any]:
        """As sweep.json holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Json, *, source: Path) -> SweepFacts:
        """What `to_json` gave; raises RunError where `value` is something else."""
        try:
            given = {field.name: value[field.name] for field in fields(cls)}
            given["runs"] = tuple(SweepRun(**run) for run in given["runs"])
            given |= {key: tuple(given[key]) for key in ("keys", "changed")}
            given["points"] = tuple(tuple(tuple(v) if isinstance(v, list) else v for v in values) for values in given["points"])
            return cls(**given)
        except (KeyError, TypeError) as error:
            raise RunError(f"{source} is not a description of a sweep: {error}. Make it again with the same cifarlab sweep") from error


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished run; `scores` by split."""

    seed: int
    name: str
    scores: Mapping[str, Json]
    status: Json
    env: Json
    epochs: Sequence[Json]
    selected: str


@dataclass(frozen=True, eq=False)
class SweepPoint:
    """A set of values, its finished runs in the order of their seeds, and the runs without a result."""

    values: tuple[Any, ...]
    done: tuple[FinishedRun, ...]
    missing: tuple[SweepRun, ...]

    def accuracies(self, split: str) -> list[float]:
        """Accuracy of each finished run, 0..1."""
        return [float(run.scores[split]["accuracy"]["value"]) for run in self.done]

    def losses(self, split: str) -> list[float]:
        """Cross-entropy of each finished run in nats, without any penalty."""
        return [float(run.scores[split]["cross_entropy"]) for run in self.done]

    @cached_property
    def accuracy(self) -> MeanInterval:
        """On validation, over the seeds."""
        return mean_interval(self.accuracies("validation"), most=1.0)

    @cached_property
    def loss(self) -> MeanInterval:
        """On validation, over the seeds."""
        return mean_interval(self.losses("validation"))

    @property
    def seconds(self) -> float | None:
        """Mean training time of a run."""
        known = [float(run.status["seconds"]) for run in self.done if is_number(run.status.get("seconds"))]
        return sum(known) / len(known) if known else None


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A sweep with its points in the order of the study."""

    facts: SweepFacts
    points: tuple[SweepPoint, ...]

    @cached_property
    def done(self) -> tuple[SweepPoint, ...]:
        """The points with a finished run."""
        return tuple(point for point in self.points if point.done)

    @cached_property
    def best(self) -> SweepPoint | None:
        """Highest mean accuracy on validation, of equals the least loss; None without a finished run."""
        return max(self.done, key=lambda point: (_exact(point.accuracy.mean), -point.loss.mean), default=None)

    @cached_property
    def tied(self) -> tuple[SweepPoint, ...]:
        """The points whose mean accuracy equals the best point's, that one among them; empty where it is best alone."""
        best = self.best
        tied = () if best is None else tuple(p for p in self.done if _exact(p.accuracy.mean) == _exact(best.accuracy.mean))
        return tied if len(tied) > 1 else ()

    @cached_property
    def without_spread(self) -> bool:
        """Whether several seeds were run and those of every point gave the same accuracy: that measures no noise."""
        spreads = [point.accuracy.sd for point in self.done if point.accuracy.sd is not None]
        return bool(spreads) and not any(spreads)

    @property
    def test_reads(self) -> int:
        """How often the test split was read by the runs of this sweep, all together."""
        return sum(int(run.status.get("test_reads") or 0) for point in self.points for run in point.done)

    @cached_property
    def same_images(self) -> bool:
        """Whether all runs were validated on the same images."""
        return len({run.scores["validation"]["checksum"] for point in self.done for run in point.done}) == 1

    @cached_property
    def image_noise(self) -> float | None:
        """Half of the 95 % Wilson interval of the best point's accuracy on its validation images."""
        if self.best is None:
            return None
        n = int(self.best.done[0].scores["validation"]["n"])
        interval = wilson_interval(round(self.best.accuracy.mean * n), n)
        return (interval.high - interval.low) / 2

    def named(self, point: SweepPoint) -> str:
        """ "batch_size 32, lr 0.1"; the recipe's name where nothing but the seed varies."""
        pairs = zip(self.short_keys, point.values, strict=True)
        return ", ".join(f"{key} {value_text(value)}" for key, value in pairs) or self.facts.recipe

    @property
    def short_keys(self) -> tuple[str, ...]:
        """The last part of each key, the whole where two end alike."""
        shorts = [key.rpartition(".")[2] for key in self.facts.keys]
        return tuple(short if shorts.count(short) == 1 else key for short, key in zip(shorts, self.facts.keys, strict=True))


def collect_sweep(folder: Path, facts: SweepFacts) -> SweepResult:
    """Read the runs of a sweep that lie in `folder`. A run whose files cannot be read counts as one without a result."""
    gathered: dict[int, tuple[list[FinishedRun], list[SweepRun]]] = {number: ([], []) for number in range(len(facts.points))}
    for run in sorted(facts.runs, key=lambda run: (run.point, run.seed)):
        read = _read(folder, run, facts)
        if isinstance(read, FinishedRun):
            gathered[run.point][0].append(read)
        else:
            gathered[run.point][1].append(read)
    points = (
        SweepPoint(values, tuple(done), tuple(missing)) for values, (done, missing) in zip(facts.points, gathered.values(), strict=True)
    )
    return SweepResult(facts, tuple(points))


def value_text(value: object) -> str:
    """A varied value as words: 10000 -> "10 000", "8ep" stays, a list with commas."""
    if isinstance(value, bool) or value is None:
        return "none" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u00a0") if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {value_text(inner)}" for key, inner in value.items()) or "none"
    return str(value)


def numbers_of(values: Sequence[object]) -> list[float] | None:
    """The values as numbers for an axis: numbers themselves, or lengths of one unit ("100ep" -> 100.0); None for anything else."""
    found = []
    for value in values:
        if is_number(value):
            found.append(float(value))
        elif isinstance(value, str) and (unit := next((unit for unit in ("ep", "st") if value.endswith(unit)), "")):
            try:
                found.append(float(value.removesuffix(unit)))
            except ValueError:
                return None
        else:
            return None
    units = {str(value)[-2:] for value in values if isinstance(value, str)}
    alike = len(units) <= 1 and not (units and any(is_number(value) for value in values))
    return found if alike else None


def group_by_line(result: SweepResult) -> dict[str, list[SweepPoint]]:
    """The points with a result as lines of a picture: the first varied field is the axis, each set of the others' values a line."""
    shorts = result.short_keys[1:]
    lines: dict[str, list[SweepPoint]] = {}
    for point in result.done:
        words = ", ".join(f"{key} {value_text(value)}" for key, value in itertools.zip_longest(shorts, point.values[1:]))
        lines.setdefault(words, []).append(point)
    return lines


def _exact(mean: float) -> float:
    """A mean without what the order of its sum did to its last digits."""
    return round(mean, 12)


def _read(folder: Path, run: SweepRun, facts: SweepFacts) -> FinishedRun | SweepRun:
    if run.reason:
        return run
    try:
        directory = RunDirectory.open(folder / run.name)
        status = directory.status()
        if status.get("state") != "done":
            return SweepRun(run.name, run.point, run.seed, str(status.get("error") or f"not finished: its state is {status.get('state')}"))
        splits = ("validation", "test") if facts.test else ("validation",)
        scores = {split: score_predictions(Predictions.load(directory.predictions_file(split))) for split in splits}
        env = directory.read_json("env.json")
        return FinishedRun(run.seed, run.name, scores, status, env, directory.epochs(), str(status.get("selected") or ""))
    except (CifarlabError, OSError, ValueError) as error:
        return SweepRun(run.name, run.point, run.seed, " ".join(str(error).split()))
