"""What is compared, gathered: runs, groups of runs that differ in their seed alone, and pairs of groups with their tests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.metrics import Summary, score_predictions, softmax, summarize
from cifarlab.paired import LEVEL, PairedDifference, compare_groups, holm
from cifarlab.reports.comparison_text import Judgement, judge_pair
from cifarlab.reports.numbers import is_number
from cifarlab.runs import BASELINE_PREFIX, Predictions, RunDirectory

Json = Mapping[str, Any]
SEED: Final = "seed"  # the field of a recipe in which the runs of a group may differ
_FEW_FIELDS: Final = 2  # that a label may name


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A finished run with its predictions on the split that is compared, its files read once. label: short, and its own."""

    label: str
    directory: RunDirectory
    recipe: Json
    status: Json
    env: Json
    epochs: Sequence[Json]
    predictions: Predictions

    @cached_property
    def score(self) -> Json:
        """`metrics.score_predictions` of its predictions."""
        return score_predictions(self.predictions)

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The recipe with dotted names: {"optim.lr": 0.1, ...}."""
        return _flatten(self.recipe)

    @cached_property
    def answers(self) -> NDArray[np.int64]:
        """Predicted classes, int64 [N]."""
        answers: NDArray[np.int64] = self.predictions.final_logits.argmax(axis=1)
        return answers

    @property
    def accuracy(self) -> float:
        """0..1, of the logits that count."""
        return float(self.score["accuracy"]["value"])

    @property
    def seconds(self) -> float | None:
        """How long training took, where the run says."""
        return _number(self.status.get("seconds"))

    @property
    def parameters(self) -> int | None:
        """Of the network; None where the run has none."""
        count = _number(self.status.get("parameters"))
        return None if count is None else int(count)

    @property
    def training_images(self) -> int | None:
        sizes = self.env.get("sizes")
        count = _number(sizes.get("train")) if isinstance(sizes, Mapping) else None
        return None if count is None else int(count)

    @property
    def looked_at_test(self) -> bool:
        """Whether the test split took the place of a validation split while it was trained."""
        return self.env.get("validated_on") == "test" or self.fields.get("data.validate_on") == "test"

    @cached_property
    def chose_on(self) -> str:
        """The split that chose its weights, end, learning rate or, of a classical baseline, arguments: "validation", "test" or ""."""
        options = self.fields
        if str(options.get("model.name")).startswith(BASELINE_PREFIX):
            candidates = self.directory.read_json("baseline.json").get("candidates")
            return "validation" if isinstance(candidates, list) and len(candidates) > 1 else ""
        best = self.status.get("selected", options.get("train.select")) == "best"
        chose = best or options.get("train.patience") is not None or options.get("schedule.name") == "plateau"
        return "" if not chose else "test" if self.looked_at_test else "validation"

    @property
    def recipe_key(self) -> str:
        """Equal for runs of one recipe: all of it but the seed."""
        return json.dumps({key: value for key, value in self.fields.items() if key != SEED}, sort_keys=True, default=str)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of one recipe with different seeds, or one run alone; its accuracy is the mean over its runs."""

    label: str
    runs: tuple[ComparedRun, ...]

    @cached_property
    def accuracy(self) -> Summary:
        """Mean, standard deviation over the seeds and their number."""
        return summarize(run.accuracy for run in self.runs)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Mean over the runs, float64 [N, K]."""
        return np.mean([softmax(run.predictions.final_logits) for run in self.runs], axis=0)  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two groups on the same images: accuracy of `first` minus that of `second`.

    corrected_p: after Holm's correction for all pairs of the comparison. judgement: "first" or "second" is better, or "none" shown.
    sentence: the same in words; scope: what the sentence does not hold for, "" where nothing need be said.
    """

    first: Group
    second: Group
    difference: PairedDifference
    corrected_p: float
    judgement: Judgement
    sentence: str
    scope: str

    @property
    def verdict(self) -> str:
        """The sentence with its scope."""
        return f"{self.sentence} {self.scope}".rstrip()


@dataclass(frozen=True)
class ClassDifference:
    """recalls: share of the class's images that each of two groups has right; difference: between them, None where the class has no
    image; corrected_p: after Holm's correction for the classes."""

    name: str
    recalls: tuple[float, ...]
    difference: PairedDifference | None
    corrected_p: float

    @property
    def shown(self) -> bool:
        """Whether the class's difference is shown."""
        one = self.difference
        return one is not None and self.corrected_p < LEVEL and (one.low > 0 or one.high < 0)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side on one split. one_recipe: all runs are of one recipe, so that each stands for itself.

    differing: dotted recipe fields in which the groups differ, with each group's value. pairs: all, or those with the baseline.
    page: comparison.html, where it was written.
    """

    split: str
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    runs: tuple[ComparedRun, ...]
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    baseline: Group | None
    one_recipe: bool
    differing: Mapping[str, tuple[Any, ...]]
    resamples: int
    seed: int
    page: Path | None = None

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One plain sentence (or two) for each pair."""
        return tuple(pair.verdict for pair in self.pairs)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each run is right on each image, bool [R, N]."""
        return np.stack([run.answers == self.labels for run in self.runs])

    def rows_of(self, group: Group) -> list[int]:
        """The rows of `correct` that are the runs of `group`."""
        return [self.runs.index(run) for run in group.runs]


def compare_runs(runs: Sequence[ComparedRun], *, baseline: ComparedRun | None = None, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Group `runs` (at least two, on the same images in the same order) and test every pair of groups, or those with the baseline's.

    Raises ValueError as `paired.compare_groups` does, or where the runs answered other images.
    """
    first = runs[0].predictions
    if len(runs) < 2 or any(not np.array_equal(run.predictions.sample_ids, first.sample_ids) for run in runs):
        raise ValueError("a comparison needs at least two runs with predictions of the same images")
    groups, one_recipe = form_groups(runs)
    of_baseline = next((i for i, group in enumerate(groups) if baseline in group.runs), None)
    if of_baseline is None:
        places = list(itertools.combinations(range(len(groups)), 2))
    else:
        places = [(i, of_baseline) for i in range(len(groups)) if i != of_baseline]
    comparison = Comparison(
        split=first.split,
        class_names=first.class_names,
        labels=first.labels,
        runs=tuple(runs),
        groups=groups,
        pairs=(),
        baseline=None if of_baseline is None else groups[of_baseline],
        one_recipe=one_recipe,
        differing=_differing(groups),
        resamples=resamples,
        seed=seed,
    )
    rows = [comparison.rows_of(group) for group in groups]
    found = compare_groups(comparison.correct, rows, places, resamples=resamples, seed=seed)
    corrected = holm([one.p_value for one in found])
    pairs = []
    for (a, b), one, p in zip(places, found, corrected.tolist(), strict=True):
        judged = judge_pair(groups[a].label, groups[b].label, one, corrected_p=p, tests=len(places), one_recipe=one_recipe)
        pairs.append(Pair(groups[a], groups[b], one, p, *judged))
    return replace(comparison, pairs=tuple(pairs))


def form_groups(runs: Sequence[ComparedRun]) -> tuple[tuple[Group, ...], bool]:
    """Runs whose recipes are equal but for the seed, together; where all are of one recipe, each run by itself, and True."""
    gathered: dict[str, list[ComparedRun]] = {}
    for run in runs:
        gathered.setdefault(run.recipe_key, []).append(run)
    if len(gathered) == 1:
        return tuple(Group(run.label, (run,)) for run in runs), True
    members = [tuple(own) for own in gathered.values()]
    return tuple(Group(label, own) for label, own in zip(_group_labels(members), members, strict=True)), False


def _group_labels(members: Sequence[tuple[ComparedRun, ...]]) -> list[str]:
    """A run alone goes by its own name; seeds together by that of their recipe, with the fields in which recipes of one name differ."""
    names = [own[0].label if len(own) == 1 else str(own[0].recipe.get("name") or own[0].label) for own in members]
    labels = []
    for name, own in zip(names, members, strict=True):
        alike = [other[0].fields for other, named in zip(members, names, strict=True) if named == name]
        fields = [key for key in own[0].fields if key != SEED and any(other.get(key) != own[0].fields[key] for other in alike)]
        if len(alike) == 1:
            labels.append(name)
        elif 1 <= len(fields) <= _FEW_FIELDS:
            labels.append(f"{name} ({', '.join(_named(key, own[0].fields[key]) for key in fields)})")
        else:
            labels.append(f"{name} ({own[0].label}{f' and {len(own) - 1} more' if len(own) > 1 else ''})")
    return labels


def _named(key: str, value: object) -> str:
    """ "optim.lr", 0.1 -> "lr 0.1"."""
    return f"{key.rpartition('.')[2]} {value}"


def class_differences(comparison: Comparison, pair: Pair) -> list[ClassDifference]:
    """The recall of each class in both groups of `pair`."""
    rows = [comparison.rows_of(pair.first), comparison.rows_of(pair.second)]
    correct = comparison.correct[[*rows[0], *rows[1]]]
    groups = [list(range(len(rows[0]))), list(range(len(rows[0]), len(correct)))]
    found: list[PairedDifference | None] = []
    for number in range(len(comparison.class_names)):
        own = correct[:, comparison.labels == number]
        settings = {"resamples": comparison.resamples, "seed": comparison.seed}
        found.append(compare_groups(own, groups, [(0, 1)], **settings)[0] if own.size else None)
    corrected = iter(holm([one.p_value for one in found if one is not None]).tolist())
    return [
        ClassDifference(
            name,
            tuple(float(correct[group][:, comparison.labels == number].mean()) if one is not None else 0.0 for group in groups),
            one,
            1.0 if one is None else next(corrected),
        )
        for number, (name, one) in enumerate(zip(comparison.class_names, found, strict=True))
    ]


def agreement(runs: Iterable[ComparedRun]) -> NDArray[np.float64]:
    """Share of images on which two runs give the same answer, float64 [R, R]."""
    answers = np.stack([run.answers for run in runs])  # [R, N]
    return np.stack([(answers == one).mean(axis=1) for one in answers])


def _differing(groups: Sequence[Group]) -> dict[str, tuple[Any, ...]]:
    fields = [group.runs[0].fields for group in groups]
    names = dict.fromkeys(name for own in fields for name in own if name != SEED)
    values = {name: tuple(own.get(name) for own in fields) for name in names}
    return {name: given for name, given in values.items() if any(value != given[0] for value in given)}


def _flatten(value: Json, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            flat |= _flatten(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = inner
    return flat


def _number(value: object) -> float | None:
    return float(value) if is_number(value) else None
