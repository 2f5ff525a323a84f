"""What a sweep varies: from words to a study whose every point is a whole recipe; all problems at once."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from cifarlab.config import Recipe, load_yaml, option_keys, override
from cifarlab.duration import Duration
from cifarlab.errors import ConfigError, UsageError, nearest, unknown
from cifarlab.sections import as_number

Layout = Literal["grid", "list"]
Fixed = Literal["epochs", "steps"]
MOST_RUNS: Final = 1000
SEEDS: Final = 3  # a point, where nothing is said: fewer than two say nothing of the spread of seeds
NICKNAMES: Final = {"epochs": "train.duration", "batch_size": "train.batch_size"}  # evaluate.batch_size changes no result
_ONE_DATASET: Final = (
    "data.name cannot be varied in one sweep, whose runs are all trained and judged on the same data: "
    "sweep each dataset on its own, with --data"
)
_NOT_VARIED: Final = {"name": "it names the recipe and decides nothing", "model": "it is a section; vary model.name"}


@dataclass(frozen=True)
class StudyPlan:
    """A sweep as it was asked for, before its words are looked up.

    recipe: what everything starts from; vary: key or its last part -> values; changes: the same for what stays fixed; layout:
    "grid" takes every combination, "list" the values side by side; seeds: a number of seeds from 0 on, a list, or None; fixed:
    "steps" gives every run the optimizer steps of the first point; length: another length of training for every run;
    scale: a factor on it instead. title, label (of the axis) and note (on its budget): words for the page. is_study: whether it
    comes from a study file and has a name of its own.
    """

    name: str
    recipe: Recipe
    vary: Mapping[str, Sequence[object]] = field(default_factory=dict)
    changes: Mapping[str, object] = field(default_factory=dict)
    layout: str = "grid"
    seeds: int | Sequence[int] | None = None
    fixed: str = "epochs"
    length: str | None = None
    scale: float | None = None
    title: str = ""
    label: str = ""
    note: str = ""
    is_study: bool = False


@dataclass(frozen=True)
class Point:
    """One set of values: dotted key -> value as JSON has it; `recipe` is whole but for the seed."""

    values: Mapping[str, Any]
    recipe: Recipe


@dataclass(frozen=True)
class Study:
    """A study that can be run. keys: what is varied, the first for the axis; shortened: in words, "" for the study as it is
    meant; changed: what is fixed to another value than the recipe's, "train.precision=bf16"."""

    plan: StudyPlan
    keys: tuple[str, ...]
    points: tuple[Point, ...]
    seeds: tuple[int, ...]
    shortened: str
    changed: tuple[str, ...]


def parse_variations(texts: Iterable[str]) -> dict[str, list[object]]:
    """["batch_size=32,64", "data.classes=[deer, dog],[cat, ship]"] -> {"batch_size": [32, 64], ...}; raises ConfigError."""
    found: dict[str, list[object]] = {}
    problems = []
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or not key.strip():
            problems.append(f"{text!r}: write KEY=VALUE,VALUE,..., for example train.batch_size=32,64,128")
            continue
        if key.strip() in found:
            problems.append(f"{key.strip()} is varied twice; give all its values at once")
        try:
            parsed = as_number(load_yaml(f"[{values}]"))
            found[key.strip()] = list(parsed) if isinstance(parsed, list) else [parsed]
        except (ValueError, RecursionError):  # the latter: a value that contains itself
            problems.append(f"{text!r}: the values are not a list with commas; a value that holds a comma or a colon needs quotes")
    if problems:
        raise ConfigError(problems, source="--vary")
    return found


def resolve_key(given: str) -> str:
    """The dotted key that `given`, it or its last part, means; raises UsageError with the nearest match."""
    keys = option_keys()
    section, _, rest = given.partition(".")
    if given in _NOT_VARIED:
        raise UsageError(f"{given} cannot be varied: {_NOT_VARIED[given]}")
    if given in keys or (rest.startswith("arguments.") and f"{section}.arguments" in keys):
        return given
    if given in NICKNAMES:
        return NICKNAMES[given]
    fitting = [key for key in keys if key.rpartition(".")[2] == given]
    if len(fitting) > 1:
        raise UsageError(f"{given!r} can be {' or '.join(fitting)}; write which")
    if not fitting:
        short = {key.rpartition(".")[2]: key for key in keys} | NICKNAMES
        match = nearest(given, [*keys, *short])
        hint = f"; did you mean {short.get(match, match)!r}?" if match else ""
        raise UsageError(f"unknown field {given!r}{hint}; list them with: cifarlab recipes --fields")
    return fitting[0]


def make_study(plan: StudyPlan, check: Callable[[Recipe], Sequence[str]] = lambda recipe: ()) -> Study:
    """Look up every word of `plan` and make its points. check: names the problems of a recipe that only a network can show.

    Raises ConfigError with all problems: unknown fields, values of a wrong type, empty or doubled values, impossible
    combinations.
    """
    problems: list[str] = []
    vary, changes = _resolved(plan.vary, problems), _resolved(plan.changes, problems)
    seeds = _seeds(plan.seeds, vary.pop("seed", None), problems)
    problems += [f"{key} is both fixed and varied: choose one" for key in vary if key in changes]
    problems += [f"{key}: no value to vary it over; write for example {key}=1,2,3" for key, values in vary.items() if not values]
    problems += _plan_problems(plan, vary, seeds)
    combined = _combinations(vary, plan.layout, problems)
    if len(combined) * len(seeds) > MOST_RUNS:
        problems.append(f"{len(combined)} points with {len(seeds)} seeds each are {len(combined) * len(seeds)} runs; at most {MOST_RUNS}")
        combined = []
    recipes: list[Recipe] = []
    if problems:  # what can be said of the values all the same
        problems += _value_problems(plan.recipe, changes, vary)
    at: dict[str, list[str]] = {}
    for values in [] if problems else combined:
        try:
            recipes.append(override(plan.recipe, {**changes, **values}))
        except ConfigError as error:
            for problem in error.problems:
                at.setdefault(problem, []).append(", ".join(f"{key}={in_words(value)}" for key, value in values.items()))
    problems += [_placed(problem, places, len(combined)) for problem, places in at.items()]
    shown = [{key: option(recipe, key) for key in vary} for recipe in recipes]
    problems += _point_problems(recipes, shown, check)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), source="sweep")
    shortened, recipes = _shorten(plan, recipes, varied=tuple(vary))
    points = tuple(Point({key: option(recipe, key) for key in vary}, recipe) for recipe in recipes)
    changed = tuple(f"{key}={in_words(option(recipes[0], key))}" for key in changes)
    return Study(plan, tuple(vary), points, seeds, shortened, changed)


def fix_steps(study: Study, steps_per_epoch: int) -> Study:
    """`study` with every length in epochs turned into steps, `steps_per_epoch` (the first point's) to the epoch, for each point."""

    def in_steps(duration: Duration) -> Duration:
        return Duration(duration.steps(steps_per_epoch=steps_per_epoch), "st") if duration.unit == "ep" else duration

    points = (dataclasses.replace(point, recipe=_with_lengths(point.recipe, in_steps)) for point in study.points)
    return dataclasses.replace(study, points=tuple(points))


def option(recipe: Recipe, key: str) -> Any:
    """The value of a dotted key as JSON has it; None for an argument that is not set."""
    value: Any = recipe.model_dump(mode="json")
    for part in key.split("."):
        value = value.get(part)
    return value


def in_words(value: object) -> str:
    """A value of a recipe as a table shows it."""
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(in_words, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {in_words(inner)}" for key, inner in value.items()) + "}"
    return str(value)


# -- looking up ----------------------------------------------------------------------------------------------------------


def _resolved(given: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """`given` with dotted keys; what cannot be looked up goes into `problems`."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        try:
            key = resolve_key(name)
        except UsageError as error:
            problems.append(str(error))
            continue
        if key in found:
            problems.append(f"{name} and another name of {key} are given: write it once")
        found[key] = value
    return found


def _seeds(given: int | Sequence[int] | None, varied: Sequence[object] | None, problems: list[str]) -> tuple[int, ...]:
    if given is not None and varied is not None:
        problems.append("seeds are given twice, as a number or list of seeds and as a varied field: choose one")
    chosen = given if varied is None else varied
    if chosen is None:
        chosen = SEEDS
    if isinstance(chosen, int) and not isinstance(chosen, bool):
        if not 1 <= chosen <= MOST_RUNS:
            problems.append(f"seeds={chosen}: at least 1 and at most {MOST_RUNS}")
            return ()
        return tuple(range(chosen))
    seeds = list(chosen) if isinstance(chosen, list | tuple | range) else [chosen]
    wrong = [seed for seed in seeds if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63]
    problems += [f"seed {seed!r}: a whole number from 0 is needed" for seed in wrong]
    problems += [f"seed {seed!r} stands twice" for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1]
    if not seeds:
        problems.append("seeds: give at least one")
    return tuple(dict.fromkeys(seed for seed in seeds if isinstance(seed, int)))


def _plan_problems(plan: StudyPlan, vary: Mapping[str, object], seeds: Sequence[int]) -> list[str]:
    """What is wrong with the plan's own words."""
    problems = [_ONE_DATASET] if "data.name" in vary else []
    for what, given, allowed in (("layout", plan.layout, get_args(Layout)), ("fixed", plan.fixed, get_args(Fixed))):
        if given not in allowed:
            problems.append(unknown(what, given, allowed))
    if not plan.vary or (set(plan.vary) == {"seed"} and len(seeds) == 1):  # a misspelt field is told of as such, not as none
        problems.append(
            "nothing varies: give --vary KEY=V1,V2,..., for example --vary train.batch_size=32,64,128, or --vary seed=0,1,2 for the "
            "spread of seeds alone"
        )
    if plan.length is not None and plan.scale is not None:
        problems.append("--epochs and --scale both change the length: choose one")
    if plan.length is not None and "train.duration" in vary:
        problems.append("train.duration is what varies: shorten this study with --scale, for example --scale 0.1, not with --epochs")
    if plan.fixed == "steps" and "train.duration" in vary:
        problems.append("train.duration is what varies: its steps cannot be fixed, too; leave out --fixed steps")
    if plan.scale is not None and not (math.isfinite(plan.scale) and plan.scale > 0):
        problems.append(f"scale={plan.scale:g}: a factor above 0 is needed, such as 0.1")
    if plan.length is not None:
        try:
            length = Duration.parse(plan.length)
            if length.unit == "%" or length.value <= 0:
                raise ValueError(f"the length must be a positive number of epochs ('8ep') or steps ('500st'), not {plan.length!r}")
        except ValueError as error:
            problems.append(f"--epochs: {error}")
    return problems


def _combinations(vary: Mapping[str, Sequence[object]], layout: str, problems: list[str]) -> list[dict[str, object]]:
    """The values of each point."""
    if layout == "list":
        lengths = {key: len(values) for key, values in vary.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} {length}" for key, length in lengths.items())
            problems.append(f"values side by side need as many of each: {told}; leave out --list for every combination")
            return []
        return [dict(zip(vary, values, strict=True)) for values in zip(*vary.values(), strict=True)] if vary else [{}]
    total = math.prod(len(values) for values in vary.values())
    if total > MOST_RUNS:
        problems.append(f"every combination of these values makes {total} points; at most {MOST_RUNS} runs")
        return []
    return [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]


def _value_problems(recipe: Recipe, changes: Mapping[str, object], vary: Mapping[str, Sequence[object]]) -> list[str]:
    """What each value has wrong by itself. That it does not fit the rest of the recipe may be another value's fault."""
    problems = []
    for key, value in [*changes.items(), *((key, value) for key, values in vary.items() for value in values)]:
        try:
            override(recipe, {key: value})
        except ConfigError as error:
            problems += [problem for problem in error.problems if problem.startswith((key, "unknown"))]
    return problems


def _placed(problem: str, places: Sequence[str], total: int) -> str:
    """`problem` with the points that have it, unless all have it or it names the value itself."""
    if len(places) == total or "(given:" in problem:
        return problem
    return f"{problem} (at {'; '.join(places[:3])}{'; ...' if len(places) > 3 else ''})"


def _point_problems(recipes: Sequence[Recipe], shown: Sequence[Mapping[str, Any]], check: Callable[[Recipe], Sequence[str]]) -> list[str]:
    """Points that come twice, names that do not exist, and points without a validation split to be judged by."""
    problems = []
    texts = [", ".join(f"{key}={in_words(value)}" for key, value in values.items()) for values in shown]
    problems += [f"{text} stands twice" for text in dict.fromkeys(texts) if texts.count(text) > 1]
    checked = set()
    for recipe in recipes:
        names = repr((recipe.model, recipe.loss, recipe.optim, recipe.train.freeze))
        if names not in checked:
            checked.add(names)
            problems += check(recipe)
        if recipe.data.validate_on == "test" or recipe.data.validation == 0:
            data = recipe.data
            given = f"data.validation={data.validation:g}" if data.validate_on == "train" else "data.validate_on=test"
            problems.append(
                f"{recipe.name} has no validation split of its own ({given}), and a sweep chooses by validation: "
                "set data.validate_on=train and data.validation=0.1"
            )
    return problems


# -- lengths -------------------------------------------------------------------------------------------------------------


def _with_lengths(recipe: Recipe, change: Callable[[Duration], Duration]) -> Recipe:
    """`recipe` with every length of training in it changed: duration, warm-up, milestones, cycle, freezing and phases."""
    schedule, train = recipe.schedule, recipe.train
    return override(
        recipe,
        {
            "train.duration": change(train.duration),
            "schedule.warmup": change(schedule.warmup),
            "schedule.cycle": change(schedule.cycle),
            "schedule.milestones": [change(milestone) for milestone in schedule.milestones],
            "train.freeze": [{**item.model_dump(), "after": change(item.after)} for item in train.freeze],
            "train.phases": [{**phase.model_dump(), "until": change(phase.until)} for phase in train.phases],
        },
    )


def _shorten(plan: StudyPlan, recipes: Sequence[Recipe], *, varied: Sequence[str]) -> tuple[str, list[Recipe]]:
    """The recipes at the length that `plan` asks for, schedules in proportion, and what was done in words."""
    planned = recipes[0].train.duration
    factor = plan.scale or 1.0
    if plan.length is not None:
        length = Duration.parse(plan.length)
        if length.unit != planned.unit:
            raise UsageError(
                f"--epochs {plan.length}: the recipe's length is {planned}; give it in the same unit, so that its schedule can follow"
            )
        factor = length.value / planned.value
    if factor == 1.0:
        return "", list(recipes)

    def scaled(duration: Duration) -> Duration:
        return duration if duration.unit == "%" else Duration(float(f"{duration.value * factor:.6g}"), duration.unit)

    told = f"{spelled(scaled(planned))} in place of {spelled(planned)}"
    if "train.duration" in varied:
        told = f"every length of training times {factor:g} ({planned} becomes {scaled(planned)})"
    return f"{'shortened' if factor < 1 else 'lengthened'}: {told}", [_with_lengths(recipe, scaled) for recipe in recipes]


def spelled(duration: Duration) -> str:
    """ "8ep" -> "8 epochs"."""
    unit = {"ep": "epoch", "st": "step"}.get(duration.unit, "percent of the run")
    return f"{duration.value:g} {unit}{'' if duration.value == 1 or duration.unit == '%' else 's'}"
