"""What a reproduction says in words: why a figure agrees or not, what looking at the test split was worth, how all was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from cifarlab.reports.numbers import between, counted, grouped, is_number, percent, points
from cifarlab.reports.reproduction_rows import FinishedRun, Row, difference_of_protocols
from cifarlab.reports.verdict import Difference

SWING: Final = 0.01  # gap between the best and the last epoch's validation accuracy from which a row speaks of it

METHOD: Final = (
    "Accuracy, loss (cross-entropy in nats) and MSE (of the probability vector against the one-hot label, mean over images and classes, "
    "as Keras defines it) are computed from each run's predictions of the test split. A mean is over n seeds, sd is the sample standard "
    "deviation over them.",
    "The 95 % interval: with n = 1 the Wilson interval of that run on N test images. It knows nothing of the spread between seeds: higher "
    "or lower from one seed says only that the choice of test images does not explain the gap. "
    "With n of 2 and more it is the one in which one more run is expected: the wider, at either end, of the Wilson interval of the mean m "
    "on N images and of the prediction interval "
    "m -+ t * sd * sqrt(1 + 1/n), where t is the 0.975 quantile of Student's distribution with n - 1 degrees of freedom.",
    "Verdict: the measured accuracy agrees with the claimed one where that lies in this interval; else it is higher or lower.",
    "A difference of protocols is taken on the test images that all runs share and over the seeds that both protocols have. Its 95 % "
    "interval is that of `cifarlab compare`: a bootstrap over the images, the same for all runs, and Student's t for the spread of the "
    "seeds, pooled over both protocols; with one seed a side it holds for these two trained networks only.",
    "As published: the protocol of the report; where that looked at the test split while training, so does the run, which trains on all "
    "training images. Corrected: validation is carved from the training images, and the test split is read once, at the end. A report "
    "that did so itself has one protocol only.",
    "Train accuracy is taken during the epoch, with augmentation and dropout on, as Keras shows it. Time is that of training, validation "
    "after every epoch included.",
)


def why(row: Row) -> str:
    """One or more sentences about the verdict of `row`, which has finished runs, with the evidence that they hold."""
    claimed = row.system.headline.accuracy
    if claimed is None:
        return f"The report states no accuracy; measured {percent(row.accuracy.mean)}."
    if row.shortened:
        return f"Trained for {row.length} epochs only, which says nothing of the claimed {percent(claimed)}."
    low, high = row.expected.low, row.expected.high
    if row.verdict == "agrees":
        return " ".join([f"The claimed {percent(claimed)} lies in the interval, {between(low, high)}.", *_conditions(row)])
    gap = points(row.accuracy.mean - claimed)
    head = f"Measured minus claimed is {gap} points; the claimed {percent(claimed)} lies outside the interval, {between(low, high)}."
    return " ".join([head, *_conditions(row), *_evidence(row)])


def protocol_sentences(rows: Sequence[Row]) -> list[str]:
    """What the published protocol was worth against the corrected one; `rows` are those of one system. Empty without both."""
    by_protocol = {row.protocol: row for row in rows if row.done}
    if set(by_protocol) != {"published", "corrected"}:
        return []
    published, corrected = by_protocol["published"].done[0], by_protocol["corrected"].done[0]
    sentences = ["Shortened runs: this says nothing of the whole length."] if any(row.shortened for row in by_protocol.values()) else []
    sentences.append(_what_differs(published, corrected))
    difference = difference_of_protocols(rows)
    if difference is None:
        sentences.append("The runs share no seed or no test image, so that they cannot be compared image by image.")
    else:
        sentences.append(
            f"Published minus corrected: {points(difference.value)} points (95 % interval {points(difference.low)} to "
            f"{points(difference.high)}, {grouped(difference.images)} test images, {counted(difference.seeds, 'seed')})."
        )
        sentences.append(_how_sure(difference))
    sentences += _what_choosing_was_worth(by_protocol["published"])
    return sentences


def _how_sure(difference: Difference) -> str:
    if difference.low <= 0 <= difference.high:
        return "That is no more than chance explains."
    if difference.seeds == 1:
        return "That is more than the choice of test images explains; from one seed nobody can tell how much of it is the seed."
    return "That is more than chance explains."


def _what_differs(published: FinishedRun, corrected: FinishedRun) -> str:
    sizes = [_train_images(run) for run in (published, corrected)]
    if not published.validated_on_test:
        return f"The published protocol trained on {sizes[0]} images, the corrected one on {sizes[1]}."
    looked = (
        "let the test split choose" if published.selected_on_test else "looked at the test split after every epoch, but chose nothing by it"
    )
    return f"The published protocol trained on {sizes[0]} images and {looked}; the corrected one trained on {sizes[1]}."


def _what_choosing_was_worth(row: Row) -> list[str]:
    """Inside the published runs: the epoch that the test split chose against the last one."""
    chosen = [run for run in row.done if run.selected_on_test]
    if not chosen:
        return [
            "Nothing was chosen by the test split: the difference comes from the number of training images and from chance (initial "
            "weights, order, and how good the epoch happened to be with which training ended)."
        ]
    pairs = [(run.evaluated_epoch, run.epochs[-1]) for run in chosen if run.epochs]
    known = [
        (float(kept["validation_accuracy"]), float(last["validation_accuracy"]))
        for kept, last in pairs
        if kept is not None and kept.get("validation_accuracy") is not None and last.get("validation_accuracy") is not None
    ]
    if not known or row.done[0].option("train.select") != "best":
        return ["The difference holds both: more training images, and what the test split decided."]
    kept_mean, last_mean = (sum(values) / len(known) for values in zip(*known, strict=True))
    return [
        f"Inside the published {'run' if len(known) == 1 else 'runs'}, the epoch that scored best on the test split has "
        f"{percent(kept_mean)}, the last one {percent(last_mean)}: keeping the best by the test split, not the last, was worth "
        f"{points(kept_mean - last_mean)} points; the rest of the difference is more training images, with chance."
    ]


def _conditions(row: Row) -> list[str]:
    """What to have in mind with any verdict."""
    sentences = []
    if row.accuracy.n == 1:
        sentences.append("One seed: the spread between seeds is not in the interval.")
    if row.protocol == "corrected" and row.system.selects_on_test:
        sentences.append("The claimed figure is the best of many looks at the test split; this one was read once.")
    return sentences


def _evidence(row: Row) -> list[str]:
    """What in the runs may explain a figure that is not the claimed one."""
    claim, sentences = row.system.headline, []
    if row.protocol == "corrected" and row.verdict == "lower":
        sentences.append(f"It trains on {_train_images(row.done[0])} images, for validation is carved from them.")
    train = row.mean_of("train_accuracy", -1)
    if train is not None:
        stated = f" (claimed {percent(claim.train_accuracy)})" if claim.train_accuracy is not None else ""
        sentences.append(f"Train accuracy in the last epoch is {percent(train)}{stated}, test accuracy {percent(row.accuracy.mean)}.")
    if row.verdict == "lower" and row.done and all(run.status.get("best_epoch") == run.status.get("epochs") for run in row.done):
        sentences.append(f"The last epoch was the best on {_judge(row)}: more epochs might have given more.")
    sentences += _unlucky_end(row)
    if row.system.not_stated:
        sentences.append(f"The report leaves open what is listed below as not stated ({counted(len(row.system.not_stated), 'item')}).")
    return sentences


def _unlucky_end(row: Row) -> list[str]:
    """Whether runs that keep their last weights ended with an epoch that validation shows to be far from their best."""
    if row.verdict != "lower" or any(run.status.get("selected") != "last" for run in row.done):
        return []
    curves = [[value for line in run.epochs if is_number(value := line.get("validation_accuracy"))] for run in row.done]
    if not all(curves):
        return []
    last, best = (float(np.mean(values)) for values in ([curve[-1] for curve in curves], [max(curve) for curve in curves]))
    if best - last < SWING:
        return []
    return [
        f"Accuracy on {_judge(row)} is {percent(last)} after the last epoch, whose weights are kept, and {percent(best)} after the best "
        "one: it swings from epoch to epoch, and the end of training happened to be a low point."
    ]


def _judge(row: Row) -> str:
    """The images that the runs of `row` were watched on."""
    return "the test split, used as validation," if row.done[0].validated_on_test else "validation"


def _train_images(run: FinishedRun) -> str:
    size = run.size_of("train")
    return grouped(size) if size is not None else "an unknown number of"
