"""The recipe: everything that decides a run, frozen, validated, and the same in Python and YAML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from cifarlab.errors import ConfigError, UsageError, unknown

LONGEST: Final = 1_000_000  # epochs, steps or percent: more is a slip of the key, and would overflow what counts steps
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ep|st|%)\s*")


class Duration:
    """A length of training with its unit: "8ep" epochs, "500st" optimizer steps, "5%" of the whole run."""

    __slots__ = ("unit", "value")

    def __init__(self, value: float, unit: Literal["ep", "st", "%"]) -> None:
        self.value = value
        self.unit = unit

    @classmethod
    def parse(cls, given: object) -> Duration:
        """From "8ep", "500st", "5%", a Duration, or a bare number of epochs; raises ValueError otherwise."""
        if isinstance(given, Duration):
            return given
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            given = f"{given}ep"
        match = _DURATION.fullmatch(given) if isinstance(given, str) else None
        if match is None:
            raise ValueError(f"a duration is epochs ('8ep' or 8), steps ('500st') or a share of the run ('5%'), not {given!r}")
        unit: Any = match.group(2)
        value = float(match.group(1))
        if value > LONGEST:
            raise ValueError(f"a duration is at most {LONGEST} epochs, steps or percent, not {given!r}")
        return cls(value, unit)

    def steps(self, *, steps_per_epoch: int, total_steps: int | None = None) -> int:
        """This length in optimizer steps, rounded; "%" needs `total_steps`."""
        if self.unit == "ep":
            return round(self.value * steps_per_epoch)
        if self.unit == "st":
            return round(self.value)
        if total_steps is None:
            raise ValueError("a share of the run cannot say how long the run is")
        return round(self.value / 100 * total_steps)

    def __str__(self) -> str:
        # Every digit, and no exponent: parse reads it back equal.
        return f"{Decimal(repr(self.value)).normalize():f}{self.unit}"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and (self.value, self.unit) == (other.value, other.unit)

    def __hash__(self) -> int:
        return hash((self.value, self.unit))


DurationField = Annotated[Duration, PlainValidator(Duration.parse), PlainSerializer(str)]


def _number(value: object) -> object:
    """YAML 1.1 reads 1e-3 as a string; people mean the number, also inside lists and mappings."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value.strip()):
        return float(value)
    if isinstance(value, list):
        return [_number(item) for item in value]
    if isinstance(value, dict):
        return {key: _number(item) for key, item in value.items()}
    return value


Arguments = Annotated[dict[str, bool | int | float | str | list[int] | list[float] | None], BeforeValidator(_number)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False, arbitrary_types_allowed=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: object) -> object:
        # No field of a section is true or false, but Python would take true for the number 1.
        if isinstance(value, bool):
            raise ValueError(f"must not be {str(value).lower()}; quote it if the text is meant")
        return value


class DataConfig(_Section):
    """Which images, and how the training split is cut. The test split is never cut and never trained on."""

    name: str = Field("cifar10", min_length=1, description="dataset: cifar10, digits, or a path")
    validation: float = Field(0.1, ge=0, lt=1, description="share of the training split set aside for validation")
    train_size: int | None = Field(None, ge=2, description="train on so many images; smaller subsets are contained in larger ones")
    classes: tuple[str, ...] | None = Field(None, description="keep these classes only, renumbered in this order")
    split_seed: int = Field(0, ge=0, description="seed of the validation split and subset, apart from the run's seed")


class InputConfig(_Section):
    """From stored pixels to network input."""

    normalization: Literal["standardize", "rescale"] = Field(
        "standardize", description="standardize: mean 0, std 1 per channel, measured on the training images; rescale: to 0..1"
    )


class AugmentConfig(_Section):
    """Training augmentation; see cifarlab.augment.Geometric."""

    flip: Literal["none", "random", "alternating"] = Field("none", description="left-right flip")
    translate: int = Field(0, ge=0, le=16, description="largest shift, pixels, reflect padding")
    cutout: int = Field(0, ge=0, le=32, description="side of the square cut out, pixels")


class ModelConfig(_Section):
    name: str = Field(description="network, as in `cifarlab models`")
    arguments: Arguments = Field(default_factory=dict, description="its own keyword arguments")


class OptimConfig(_Section):
    name: str = Field("adam", description="optimizer: adam, muon, sgd")
    lr: float = Field(1e-3, gt=0, le=1e38, description="learning rate, for the mean loss of a batch of train.batch_size")
    weight_decay: float = Field(0.0, ge=0, description="weight decay")
    arguments: Arguments = Field(default_factory=dict, description="the optimizer's own keyword arguments")


class ScheduleConfig(_Section):
    name: Literal["constant", "linear", "cosine"] = Field("constant", description="shape of the learning rate after warm-up")
    warmup: DurationField = Field(Duration(0, "%"), description="linear climb at the start")
    final: float = Field(0.0, ge=0, le=1, description="rate at the end, as a share of the highest")


class FreezeConfig(_Section):
    parameters: str = Field(description="shell pattern of parameter names, such as 'whiten.*'")
    after: DurationField = Field(description="trained for this long, then frozen (from the next epoch on)")


class TrainConfig(_Section):
    duration: DurationField = Field(Duration(10, "ep"), description="length of training")
    batch_size: int = Field(64, ge=1, description="images per optimizer step")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    resolution: tuple[Annotated[int, Field(ge=8, le=512)], ...] = Field(
        (), description="input sizes in pixels of equal phases of training; empty: the data's own size"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the hardware multiplies it fast, else fp32")
    freeze: tuple[FreezeConfig, ...] = Field((), description="parameters that stop training before the end")
    select: Literal["best", "last"] = Field("best", description="weights kept: best on validation, or the last ones")

    @model_validator(mode="after")
    def _length_is_absolute(self) -> TrainConfig:
        if self.duration.unit == "%" or self.duration.value <= 0:
            raise ValueError(f"duration must be a positive number of epochs ('8ep') or steps ('500st'), not {str(self.duration)!r}")
        return self


class EvaluateConfig(_Section):
    tta: Literal["none", "flip", "six"] = Field("none", description="test-time augmentation: number of views of each image")
    batch_size: int = Field(500, ge=1, description="images at once")


class Recipe(_Section):
    """One training run, whole. Fields are read by cifarlab.build alone."""

    name: str = Field("custom", description="name of the recipe")
    model: ModelConfig
    data: DataConfig = Field(default_factory=DataConfig)
    input: InputConfig = Field(default_factory=InputConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    seed: int = Field(0, ge=0, lt=2**63, description="seed of initial weights, order and augmentation")

    @model_validator(mode="after")
    def _selection_has_a_judge(self) -> Recipe:
        if self.train.select == "best" and self.data.validation == 0:
            raise ValueError("train.select=best needs a validation split: set data.validation above 0, or train.select=last")
        return self

    def to_yaml(self) -> str:
        """The whole recipe as YAML; `parse_recipe` reads it back equal."""
        values = self.model_dump(mode="json")
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
        # PyYAML writes Unicode's own line breaks as they are and reads them back as spaces; escaped they survive.
        escape = any(mark in text for mark in "\x85\u2028\u2029")
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=False, width=120) if escape else text


def parse_recipe(text: str, *, source: str = "recipe") -> Recipe:
    """Read a recipe from YAML. Raises ConfigError with every problem; `source` names the file in it."""
    try:
        value = _load_yaml(text)
    except ValueError as error:
        raise ConfigError([f"not YAML: {error}"], source=source) from error
    if not isinstance(value, Mapping):
        sections = ", ".join(Recipe.model_fields)
        raise ConfigError([f"a recipe is a mapping of sections ({sections}), not {type(value).__name__}"], source=source)
    return _validate(value, source)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a YAML file; raises UsageError where there is none."""
    try:
        return parse_recipe(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the recipe {path}: {getattr(error, 'strerror', None) or error}. List the recipes with: cifarlab recipes"
        ) from error


def override(recipe: Recipe, changes: Mapping[str, object]) -> Recipe:
    """`recipe` with dotted keys such as "optim.lr" set anew, validated again.

    A mapping given for a section or for its arguments changes the keys that it holds and leaves the others; an empty one
    given for arguments removes all of them. Lists, such as "train.freeze", are replaced as a whole.
    Raises ConfigError with every unknown key (and its nearest match) and every wrong value.
    """
    values = recipe.model_dump(mode="python")
    problems: list[str] = []
    for key, value in changes.items():
        problem = _assign(values, key, value)
        if problem:
            problems.append(problem)
    try:
        return _validate(values, "overrides", problems)
    except ConfigError as error:
        raise ConfigError(error.problems, source="overrides") from None


def parse_assignments(assignments: Iterable[str]) -> dict[str, object]:
    """["optim.lr=0.1", "data.classes=[deer, dog]"] -> {"optim.lr": 0.1, ...}; values are read as YAML."""
    changes: dict[str, object] = {}
    problems: list[str] = []
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            problems.append(f"{text!r}: write KEY=VALUE, for example optim.lr=0.1")
            continue
        try:
            changes[key.strip()] = _number(_load_yaml(value))
        except RecursionError:  # a value that contains itself
            problems.append(f"{_shorten(text)!r}: the value is nested too deeply")
        except ValueError as error:
            problems.append(f"{_shorten(text)!r}: the value is not YAML ({error}); quote it")
    if problems:
        raise ConfigError(problems, source="--set")
    return changes


def option_keys() -> tuple[str, ...]:
    """Every dotted key that `override` takes, "arguments" of model and optimizer apart."""
    keys: list[str] = []
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            keys += [f"{name}.{inner}" for inner in section.model_fields]
        else:
            keys.append(name)
    return tuple(keys)


def differences(left: Recipe, right: Recipe) -> list[str]:
    """One line for each key in which two recipes differ: "optim.lr: 0.001 -> 0.1"."""
    lines = []
    a, b = (_flatten(recipe.model_dump(mode="json")) for recipe in (left, right))
    for key in dict.fromkeys([*a, *b]):
        if a.get(key) != b.get(key):
            lines.append(f"{key}: {a.get(key)!r} -> {b.get(key)!r}")
    return lines


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flatten(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = inner
    return flat


def _assign(values: dict[str, Any], key: str, value: object) -> str | None:
    """Set a dotted key in place; returns the problem, if there is one."""
    *path, last = key.split(".")
    here = values
    for part in path:
        inner = here.get(part)
        if not isinstance(inner, dict):
            return unknown("option", key, option_keys())
        here = inner
    if last not in here and path[-1:] != ["arguments"]:
        return unknown("option", key, option_keys())
    if isinstance(here.get(last), dict) and not isinstance(value, Mapping):
        keys = ", ".join(f"{key}.{inner}" for inner in here[last]) or f"{key}.NAME"
        return f"{key} is a section, not a value; set one of its keys: {keys}"
    _merge(here, {last: value})
    return None


def _merge(values: dict[str, Any], changes: Mapping[str, object]) -> None:
    for key, value in changes.items():
        inner = values.get(key)
        if isinstance(inner, dict) and isinstance(value, Mapping) and (value or key != "arguments"):
            _merge(inner, value)
        else:
            values[key] = dict(value) if isinstance(value, Mapping) else value


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, which also refuses a key written twice: YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise ValueError(f"the key {key.value!r} stands twice, in lines {seen[key.value]} and {line}")
            seen[key.value] = line
        return super().construct_mapping(node, deep)


def _load_yaml(text: str) -> Any:
    """Plain YAML; raises ValueError with a reason in one line, whatever the parser raises."""
    try:
        return yaml.load(text, _UniqueKeys)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    # The parser lets errors of its conversions through: a 13th month, a number of 5000 digits, "!!bool maybe", "!!timestamp x".
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _shorten(text: str) -> str:
    """`text` as an error shows it: its beginning, where it is long."""
    return text if len(text) <= 80 else text[:77] + "..."


def _validate(values: Mapping[str, Any], source: str, problems: list[str] | None = None) -> Recipe:
    found = list(problems or [])
    try:
        recipe = Recipe.model_validate(values)
    except RecursionError:  # YAML whose anchors make a value contain itself
        found.append("a value is nested too deeply")
    except ValidationError as error:
        # A wrong argument fails once for each type that it could have had: one line for all of them.
        found += dict.fromkeys(_explain(detail, values) for detail in error.errors())
    if found:
        raise ConfigError(found, source=source)
    return recipe


def _explain(detail: Any, values: Mapping[str, Any]) -> str:
    """One pydantic error in the house's words: key, what was given, what is allowed."""
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location)
    if detail["type"] == "extra_forbidden":
        allowed = [name for name in option_keys() if name.startswith(".".join(location[:-1]))] if location[:-1] else option_keys()
        return unknown("option", key, allowed)
    if detail["type"] == "missing":
        return f"{key} is missing"
    if len(location) > 3 and location[1] == "arguments":
        if location[3] == "[key]":
            return f"{'.'.join(location[:2])}: the names of arguments are text (given: {detail['input']!r})"
        given = values[location[0]]["arguments"].get(location[2], detail["input"])
        return f"{'.'.join(location[:3])}: must be true, false, a finite number, text, a list of numbers or null (given: {given!r})"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{key or 'recipe'}: {message}" + ("" if detail["type"] == "value_error" else f" (given: {detail['input']!r})")
