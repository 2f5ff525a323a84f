"""What a sweep can and cannot show, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from cifarlab.paired import LEVEL
from cifarlab.reports.numbers import between, counted, duration, grouped, p_text, percent, points
from cifarlab.reports.run_report import POOLED
from cifarlab.reports.seed_noise import MeanInterval, compare_points, showable_difference
from cifarlab.reports.sweep_points import SweepPoint, SweepResult


def lead(result: SweepResult) -> str:
    """How much of the sweep is there."""
    facts = result.facts
    finished = sum(len(point.done) for point in result.points)
    seeds = len({run.seed for run in facts.runs})
    head = f"{counted(len(result.points), 'point')} with {counted(seeds, 'seed')} each, "
    head += f"{finished} of {counted(len(facts.runs), 'run')} finished."
    return f"{head} {capitalized(facts.shortened)}." if facts.shortened else head


def notices(result: SweepResult) -> list[str]:
    """What a reader must not miss."""
    facts, texts = result.facts, []
    if facts.shortened:
        note = f" {facts.note}" if facts.note else ""
        texts.append(f"{capitalized(facts.shortened)}, schedules in proportion: these figures are not those of the study in full.{note}")
    if mixed := _unlike_machines(result):
        texts.append(mixed)
    if facts.pooled:
        texts.append(POOLED)
    if facts.test and result.done:
        reads, runs = result.test_reads, sum(len(point.done) for point in result.done)
        texts.append(
            f"The test split was read {counted(reads, 'time')} by the {counted(runs, 'run')} of this sweep, because it was asked for. "
            "The best point is named by validation; nothing was chosen by the test figures."
        )
    return texts


def _unlike_machines(result: SweepResult) -> str:
    """That runs differ in machine, threads or precision where nothing of that was varied; "" where they do not."""
    precision = "train.precision" not in result.facts.keys
    made = [_machine(run.env, precision=precision) for point in result.done for run in point.done]
    if len(set(made)) < 2:
        return ""
    counts = "; ".join(f"{counted(made.count(machine), 'run')} with {machine}" for machine in dict.fromkeys(made))
    return (
        f"The runs were not all trained alike: {counts}. The same seed gives other figures on another processor, with other threads or "
        "in another precision, so that a part of the differences can come from that; times are not comparable. Train all of them alike, "
        "with the same --device and --threads, in a folder of their own."
    )


def conclusion(result: SweepResult) -> list[str]:
    """The best point, what is told apart from it, and how small a difference could be told at all."""
    best = result.best
    if best is None:
        return ["No run is finished: there is nothing to conclude."]
    head = _tie(result, best) if result.tied else f"Best on validation: {result.named(best)}, {_mean(best.accuracy)}"
    if len(result.done) < 2:
        return [f"{head}. {'Only one point has a result' if len(result.points) > 1 else 'One point'}: there is nothing to compare it with."]
    lines = [f"{head}.", *_told_apart(result, best), *_limits(result)]
    return [line for line in lines if line]


def _tie(result: SweepResult, best: SweepPoint) -> str:
    """Several points with the same mean accuracy: none of them is best alone."""
    names = "; ".join(result.named(point) for point in result.tied)
    least = sum(point.loss.mean == best.loss.mean for point in result.tied) == 1
    mark = f"{result.named(best)} is marked as best for " + ("its lower loss" if least else "being named first: the losses are equal, too")
    return f"Tied for best on validation: {names}, each with a mean accuracy of {percent(best.accuracy.mean)}; {mark}"


def _told_apart(result: SweepResult, best: SweepPoint) -> list[str]:
    done = list(result.done)
    values = [point.accuracies("validation") for point in done]
    corrected = compare_points(values)
    place = done.index(best)
    worse: list[str] = []
    alike: list[str] = []
    untested: list[str] = []
    for other, point in enumerate(done):
        if other == place:
            continue
        p = corrected.get((min(place, other), max(place, other)))
        if p is None:
            untested.append(result.named(point))
        elif p < LEVEL:
            worse.append(f"{result.named(point)} ({points(point.accuracy.mean - best.accuracy.mean)} points, {_p_is(p)})")
        else:
            alike.append(f"{result.named(point)} ({points(point.accuracy.mean - best.accuracy.mean)} points, {_p_is(p)})")
    if not worse and not alike:
        return [
            "With one run a point, how much of a difference comes from the seed alone is not known: this sweep cannot say whether any of "
            "these values is better than another. Give it more seeds."
        ]
    lines = [f"Shown to be worse than that: {'; '.join(worse)}." if worse else "No other point is shown to be worse than that."]
    if alike:
        lines.append(f"Not told apart from it by these seeds, which does not say that they are equal: {'; '.join(alike)}.")
    if untested:
        lines.append(f"With a single run, and so not tested: {'; '.join(untested)}.")
    others = [pair for pair, p in corrected.items() if p < LEVEL and place not in pair]
    if others:
        lines.append(f"Besides, {counted(len(others), 'pair')} of other points differ; the table of differences names them.")
    return lines


def _limits(result: SweepResult) -> list[str]:
    """How small a difference could be shown, and what the intervals leave out."""
    reach = showable_difference([point.accuracies("validation") for point in result.done])
    counts = sorted({len(point.done) for point in result.done})
    runs = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    lines = []
    if result.without_spread:
        images = min(int(run.scores["validation"]["n"]) for point in result.done for run in point.done)
        lines.append(
            "The seeds of every point gave equal accuracies. That does not measure the noise between seeds, which is not 0: on few "
            f"validation images (here {grouped(images)}) different weights can answer alike. More of them, or more seeds, can show it."
        )
    elif reach is not None:
        lines.append(
            f"With {runs} runs a point and the spread between seeds of all points together, differences below about "
            f"{100 * reach:.2f} points are as a rule not shown; where the seeds of two points lie closer together, smaller ones can be."
        )
    if result.image_noise is not None:
        n = grouped(int(result.done[0].done[0].scores["validation"]["n"]))
        if result.same_images:
            lines.append(
                f"All runs were judged on the same {n} validation images; with other images all accuracies would move together, by up to "
                f"about {100 * result.image_noise:.2f} points either way."
            )
        else:
            lines.append(
                "The points were judged on different validation images, so that differences also hold the choice of these images: about "
                f"{100 * result.image_noise:.2f} points either way for the best point."
            )
    return lines


def method(result: SweepResult) -> tuple[str, ...]:
    """How the figures were made."""
    facts = result.facts
    lines = [
        "Accuracy and cross-entropy (without any penalty) are of the validation split, from the prediction file of each run. "
        "Mean, standard deviation (n - 1) and 95 % interval of the mean (Student's t) are over the seeds; they hold the noise of "
        "initial weights, order and augmentation, not that of the choice of images.",
        "Points are compared by Welch's t test, all pairs of points, p values corrected by Holm's procedure at "
        f"{100 * LEVEL:.0f} % for all of them together; all pairs, because the best point is picked by the same figures.",
        "The test split was read where it says so above; nothing was chosen by it." if facts.test else "The test split was not read.",
    ]
    if any(run.selected == "best" for point in result.done for run in point.done):
        lines.append(
            "Each run kept the weights of the epoch that was best on validation, so that validation accuracies are a little optimistic, "
            "those of long trainings with many epochs to choose from more than those of short ones."
        )
    if facts.fixed == "steps":
        lines.append("Every run took the same number of optimizer steps: those of the first point; schedules follow the steps.")
    if facts.nested:
        lines.append(
            "Training sets are nested: each is contained in every larger one."
            + (" That counts the validation images, which are drawn anew from each." if facts.pooled else "")
        )
    if facts.changed:
        lines.append(f"Changed from the recipe {facts.recipe}: {', '.join(facts.changed)}.")
    machines = dict.fromkeys(_machine(run.env) for point in result.done for run in point.done)
    if machines:
        lines.append(f"Trained on: {'; '.join(machines)}.")
    seconds = [float(run.status.get("seconds") or 0.0) for point in result.done for run in point.done]
    if seconds:
        lines.append(f"Training time of all finished runs: {duration(sum(seconds))}.")
    return tuple(lines)


def capitalized(text: str) -> str:
    """`text` as a sentence begins."""
    return text[:1].upper() + text[1:]


def _p_is(p: float) -> str:
    """ "p = 0.031", or "p < 0.001"."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _mean(value: MeanInterval) -> str:
    if value.low is None or value.high is None:
        return f"{percent(value.mean)} accuracy (one run)"
    if value.sd == 0:
        return f"{percent(value.mean)} accuracy (the same with each of {value.n} seeds)"
    return f"{percent(value.mean)} accuracy (mean of {value.n} seeds, 95 % interval {between(value.low, value.high)})"


def _machine(env: object, *, precision: bool = True) -> str:
    given = env if isinstance(env, dict) else {}
    threads = given.get("threads")
    parts: Sequence[str] = (
        str(given.get("processor") or given.get("device") or "not recorded"),
        f"{threads} thread{'' if threads == 1 else 's'}" if threads and str(given.get("device")) == "cpu" else "",
        f"precision {given['precision']}" if precision and given.get("precision") else "",
    )
    return ", ".join(filter(None, parts))
