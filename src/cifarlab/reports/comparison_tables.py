"""The tables of a comparison, the same for terminal and page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cifarlab.paired import LEVEL
from cifarlab.reports.comparison_rows import SEED, ClassDifference, ComparedRun, Comparison, Group, Pair
from cifarlab.reports.comparison_text import optimistic_text
from cifarlab.reports.document import Table
from cifarlab.reports.numbers import between, counted, duration, grouped, p_text, percent, points

MISSING: Final = "-"
_MOST_LACKING: Final = 5  # fields that only some recipes have, before they are counted instead of shown
_LONGEST: Final = 60  # characters of a recipe's value


def score_table(comparison: Comparison) -> Table:
    """Every run with its scores, and the mean of every group of several seeds with its standard deviation."""
    head = ("run", "seed", "accuracy", "95 % interval", "loss", "MSE", "calibration error")
    rows: list[tuple[str, ...]] = []
    for group in comparison.groups:
        rows += [_score_row(run) for run in group.runs]
        if len(group.runs) > 1:
            rows.append(_mean_row(group))
    caption = f"{comparison.split.capitalize()} split, {counted(len(comparison.labels), 'image')}."
    return Table(head, tuple(rows), caption=caption)


def difference_table(comparison: Comparison) -> Table:
    """What the groups are, a column each: seeds, size, length, and every field of the recipe in which they differ."""
    groups = comparison.groups
    rows: list[tuple[str, ...]] = []
    if not comparison.one_recipe:
        rows.append(("seeds", *(", ".join(_seed(run) for run in group.runs) for group in groups)))
    rows.append(("parameters", *(_shared(group, "parameters") for group in groups)))
    rows.append(("training images", *(_shared(group, "training_images") for group in groups)))
    rows.append(("training time", *(_time(group) for group in groups)))
    shown, lacking = _fields(comparison)
    rows += [(name, *(_value(value) for value in comparison.differing[name])) for name in shown]
    for having, count in lacking.items():
        rows.append((f"{count} more fields", *("set" if has else MISSING for has in having)))
    return Table(("", *(group.label for group in groups)), tuple(rows), kind="text")


def pair_table(comparison: Comparison) -> Table:
    """Every pair: the difference in points with its interval, p-values, and the images on which one alone is right."""
    head = ["pair", "difference", "95 % interval", "p", "p (Holm)", "only first right", "only second right", "better"]
    rows = []
    for pair in comparison.pairs:
        one, test = pair.difference, pair.difference.mcnemar
        only = (grouped(test.first_only), grouped(test.second_only)) if test is not None else (MISSING, MISSING)
        interval = f"{points(one.low)} to {points(one.high)}"
        p_values = (p_text(one.p_value), p_text(pair.corrected_p))
        better = {"first": pair.first.label, "second": pair.second.label, "none": "not shown"}[pair.judgement]
        rows.append((f"{pair.first.label} − {pair.second.label}", points(one.value), interval, *p_values, *only, better))
    dropped = [4] if len(comparison.pairs) == 1 else []
    dropped += [5, 6] if all(pair.difference.mcnemar is None for pair in comparison.pairs) else []
    return Table(*_without(dropped, head, rows), caption="Accuracy of the first minus that of the second, in percentage points.")


def class_table(pair: Pair, classes: Sequence[ClassDifference]) -> Table:
    """Recall of each class in both groups of a pair, and the difference."""
    rows = [
        (name, grouped(one.images), *map(percent, recalls), points(one.value), f"{points(one.low)} to {points(one.high)}", p_text(p))
        for name, recalls, one, p in ((each.name, each.recalls, each.difference, each.corrected_p) for each in classes)
        if one is not None
    ]
    head = ("class", "images", pair.first.label, pair.second.label, "difference", "95 % interval", "p (Holm)")
    return Table(head, tuple(rows), caption="Recall by class; differences in percentage points, p-values corrected for the classes.")


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know before taking the figures: spread of the seeds, looks at the test split, equal trainings."""
    lines = []
    if comparison.one_recipe and len(comparison.runs) > 2:
        whole = Group("", comparison.runs)
        assert whole.accuracy.sd is not None
        lines.append(
            f"{len(comparison.runs)} runs of one recipe: mean accuracy {percent(whole.accuracy.mean)}, "
            f"standard deviation over the seeds {100 * whole.accuracy.sd:.2f} points."
        )
    if len(comparison.pairs) > 1:
        lines += _scopes(comparison)
    lines += _too_few_draws(comparison)
    kinds: dict[tuple[bool, str], list[str]] = {}
    for run in comparison.runs:
        kinds.setdefault((run.looked_at_test, run.chose_on), []).append(run.label)
    told = (optimistic_text(names, looked_at_test=looked, chose_on=on, split=comparison.split) for (looked, on), names in kinds.items())
    lines += [line for line in told if line]
    for group in comparison.groups:
        seeds = [run.recipe.get(SEED) for run in group.runs]
        if len(set(map(str, seeds))) < len(seeds):
            lines.append(f"{group.label}: some of its runs have the same seed; they count as different ones.")
    sizes = {run.training_images for run in comparison.runs}
    if len(sizes) > 1 and None not in sizes:
        lines.append("The runs were trained on different numbers of images (see what differs).")
    return lines


def _too_few_draws(comparison: Comparison) -> list[str]:
    """Where the smallest p-value that the bootstrap can give is too large to be shown after the correction."""
    least = 2 / (comparison.resamples + 1)
    if all(pair.difference.mcnemar is not None for pair in comparison.pairs):
        return []  # McNemar's p-values are no shares of draws
    return [
        f"{grouped(comparison.resamples)} draws of the bootstrap are too few to show any difference among {tests} {what}: no p-value of "
        f"theirs can be below {least:.2g}. Give at least {grouped(round(2 * tests / LEVEL))}."
        for tests, what in ((len(comparison.pairs), "pairs with several seeds"), (len(comparison.class_names), "classes"))
        if least * tests >= LEVEL
    ]


def _scopes(comparison: Comparison) -> list[str]:
    """What the sentences of several pairs do not hold for, once."""
    if comparison.one_recipe:
        return ["All runs are of one recipe: the differences are between these trained models, and say nothing about the recipe."]
    lines = [pair.scope for pair in comparison.pairs if pair.difference.seeds.count(1) == 1]
    if any(pair.difference.seeds == (1, 1) for pair in comparison.pairs):
        lines.insert(0, "Between single runs an interval holds for these trained models, not for their recipes: other seeds may differ.")
    return list(dict.fromkeys(lines))


def _score_row(run: ComparedRun) -> tuple[str, ...]:
    score = run.score
    interval = between(score["accuracy"]["low"], score["accuracy"]["high"])
    scores = (f"{score['cross_entropy']:.4f}", f"{score['mse']:.5f}", f"{score['calibration_error']:.4f}")
    return (run.label, _seed(run), percent(run.accuracy), interval, *scores)


def _mean_row(group: Group) -> tuple[str, ...]:
    accuracy = group.accuracy
    means = [sum(run.score[key] for run in group.runs) / len(group.runs) for key in ("cross_entropy", "mse", "calibration_error")]
    spread = f"sd {100 * (accuracy.sd or 0.0):.2f} points"
    scores = (f"{means[0]:.4f}", f"{means[1]:.5f}", f"{means[2]:.4f}")
    return (f"{group.label}, mean", f"n = {accuracy.n}", percent(accuracy.mean), spread, *scores)


def _seed(run: ComparedRun) -> str:
    return str(run.recipe.get(SEED, MISSING))


def _shared(group: Group, name: str) -> str:
    """A number that all runs of the group should have in common."""
    values = sorted({value for run in group.runs if (value := getattr(run, name)) is not None})
    return ", ".join(map(grouped, values)) or MISSING


def _time(group: Group) -> str:
    seconds = [run.seconds for run in group.runs if run.seconds is not None]
    if not seconds:
        return MISSING
    mean = duration(sum(seconds) / len(seconds))
    return mean if len(seconds) == 1 else f"{mean} (mean)"


def _fields(comparison: Comparison) -> tuple[list[str], dict[tuple[bool, ...], int]]:
    """The fields to show, and how many are not: those that some recipes lack and all others have alike, where they are many."""
    lacking: dict[tuple[bool, ...], list[str]] = {}
    for name, values in comparison.differing.items():
        having = tuple(name in group.runs[0].fields for group in comparison.groups)
        given = [value for value, has in zip(values, having, strict=True) if has]
        if not all(having) and all(value == given[0] for value in given):
            lacking.setdefault(having, []).append(name)
    many = {having: names for having, names in lacking.items() if len(names) > _MOST_LACKING}
    hidden = {name for names in many.values() for name in names}
    return [name for name in comparison.differing if name not in hidden], {having: len(names) for having, names in many.items()}


def _value(value: Any) -> str:
    text = MISSING if value is None else ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _without(
    dropped: Sequence[int], head: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    kept = [place for place in range(len(head)) if place not in dropped]
    return tuple(head[place] for place in kept), tuple(tuple(row[place] for place in kept) for row in rows)
