"""What predictions are worth: accuracy with its interval, losses, calibration, per-class scores.

Everything works on NumPy arrays and computes in float64. Throughout, `logits` is [N, K] (any float type, finite),
`labels` is int [N] with 0..K-1, and N, K >= 1; anything else raises ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

CALIBRATION_BINS = 15  # the number that Guo et al. (2017) and most papers after it report


class Interval(NamedTuple):
    """A share with its confidence interval; all three lie in [0, 1] and low <= value <= high."""

    value: float
    low: float
    high: float


class Summary(NamedTuple):
    """Several runs of the same thing: `sd` is the sample standard deviation (ddof = 1), None for a single value."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Predictions grouped by the probability of the predicted class.

    edges: float64 [B + 1], 0..1; bin b holds edges[b] < confidence <= edges[b + 1].
    counts: int64 [B]; confidence, accuracy: float64 [B], means over the bin, NaN where it is empty.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


class SplitPredictions(Protocol):
    """The part of `cifarlab.runs.Predictions` that `score_predictions` reads."""

    @property
    def labels(self) -> NDArray[np.int64]: ...
    @property
    def logits(self) -> NDArray[np.float32]: ...
    @property
    def logits_tta(self) -> NDArray[np.float32] | None: ...
    @property
    def final_logits(self) -> NDArray[np.float32]: ...
    @property
    def tta(self) -> str: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def split(self) -> str: ...
    @property
    def checksum(self) -> str: ...


# -- from logits to probabilities and losses ------------------------------------------------------------


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Probabilities float64, the shape of `logits`; the last axis sums to 1. Safe for logits of any finite size."""
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim < 1 or values.shape[-1] < 1:
        raise ValueError(f"logits need at least one class on their last axis, not shape {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError("logits must be finite; they hold NaN or infinity")
    exponentials: NDArray[np.float64] = np.exp(values - values.max(axis=-1, keepdims=True))  # the largest becomes exp(0): no overflow
    exponentials /= exponentials.sum(axis=-1, keepdims=True)
    return exponentials


def accuracy(scores: ArrayLike, labels: ArrayLike) -> float:
    """Share, 0..1, of samples whose highest score (logit or probability, [N, K]) is that of their label."""
    checked, targets = _checked(scores, labels)
    return float(np.mean(checked.argmax(axis=1) == targets))


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative log-likelihood in nats: mean of logsumexp(z) - z[label]. No probability is ever rounded to 0."""
    values, targets = _checked(logits, labels)
    peak = values.max(axis=1)
    log_normalizer = peak + np.log(np.exp(values - peak[:, None]).sum(axis=1))  # [N]
    return float(np.mean(log_normalizer - values[np.arange(len(targets)), targets]))


def mse(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared error of the probability vector against the one-hot label.

    Keras' definition: the mean over the N samples *and* the K classes, so that it is the Brier score divided by K.
    """
    values, targets = _checked(probabilities, labels)
    one_hot = np.zeros_like(values)
    one_hot[np.arange(len(targets)), targets] = 1.0
    return float(np.mean((values - one_hot) ** 2))


# -- uncertainty -------------------------------------------------------------------------------------------


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """The score interval of a binomial proportion (Wilson, 1927, JASA 22:209-212).

    With p = correct / n and z the (1 + confidence) / 2 quantile of the normal distribution, its ends are
    (p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2/n).
    It stays inside [0, 1] and holds its coverage near 0 and 1, where p -+ z sqrt(p (1 - p) / n) does not.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"correct must be 0..n and n at least 1, not correct={correct}, n={n}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    p = correct / n
    scale = 1.0 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z * math.sqrt(p * (1.0 - p) / n + z * z / (4 * n * n)) / scale
    # In exact arithmetic the interval holds p and reaches 0 (or 1) where p does; rounding must not undo that.
    low = 0.0 if correct == 0 else min(max(0.0, centre - half), p)
    high = 1.0 if correct == n else max(min(1.0, centre + half), p)
    return Interval(p, low, high)


def summarize(values: Iterable[float]) -> Summary:
    """Mean, sample standard deviation (ddof = 1) and number of `values`, one value per seed."""
    array = np.asarray(list(values), dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError("summarize needs at least one finite number")
    return Summary(float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else None, int(array.size))


# -- calibration -------------------------------------------------------------------------------------------


def reliability_bins(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = CALIBRATION_BINS) -> ReliabilityBins:
    """Group samples into `bins` bins of equal width by the largest probability (Guo et al., 2017, section 2)."""
    values, targets = _checked(probabilities, labels)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    if values.min() < 0.0 or values.max() > 1.0 + 1e-9:
        raise ValueError("probabilities must lie in 0..1; apply softmax to logits first")
    confidence = np.minimum(values.max(axis=1), 1.0)  # [N, K] -> [N]
    hit = values.argmax(axis=1) == targets
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins).astype(np.int64)
    divisor = np.where(counts > 0, counts, np.nan)
    return ReliabilityBins(
        edges=edges,
        counts=counts,
        confidence=np.bincount(place, weights=confidence, minlength=bins) / divisor,
        accuracy=np.bincount(place, weights=hit, minlength=bins) / divisor,
    )


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = CALIBRATION_BINS) -> float:
    """Mean gap, 0..1, between confidence and accuracy, weighted by bin size (Guo et al., 2017, arXiv 1706.04599, eq. 3)."""
    grouped = reliability_bins(probabilities, labels, bins=bins)
    gaps = np.abs(grouped.accuracy - grouped.confidence)
    return float(np.nansum(grouped.counts * gaps) / grouped.counts.sum())


# -- per class ---------------------------------------------------------------------------------------------


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, *, num_classes: int) -> NDArray[np.int64]:
    """Counts int64 [K, K]: row = true class, column = predicted class. Both arguments are int [N]."""
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, not {num_classes}")
    true, guess = _indices(labels, num_classes, "labels"), _indices(predicted, num_classes, "predicted")
    if true.shape != guess.shape:
        raise ValueError(f"labels and predicted differ in length: {len(true)} and {len(guess)}")
    flat = np.bincount(true * num_classes + guess, minlength=num_classes * num_classes)
    return flat.reshape(num_classes, num_classes).astype(np.int64)


def classification_report(matrix: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, Any]:
    """Precision, recall, F1 and support from a confusion matrix int64 [K, K] (rows true, columns predicted).

    Returns {"per_class": [{"name", "precision", "recall", "f1", "support"}, ...], "macro": {...}, "weighted": {...}}:
    macro is the plain mean over the classes, weighted the mean by support. A quotient with divisor 0 is 0.
    """
    counts = np.asarray(matrix)
    k = len(class_names)
    if counts.shape != (k, k) or counts.min(initial=0) < 0:
        raise ValueError(f"the confusion matrix must hold counts [{k}, {k}] for {k} class names, not {list(counts.shape)}")
    hits = np.diag(counts).astype(np.float64)
    support, predicted = counts.sum(axis=1), counts.sum(axis=0)
    columns = {
        "precision": _quotient(hits, predicted),
        "recall": _quotient(hits, support),
        "f1": _quotient(2.0 * hits, support + predicted),  # the harmonic mean of the two above
    }
    per_class = [
        {"name": name, **{key: float(column[i]) for key, column in columns.items()}, "support": int(support[i])}
        for i, name in enumerate(class_names)
    ]
    total = int(support.sum())
    macro = {key: float(column.mean()) if k else 0.0 for key, column in columns.items()}
    weighted = {key: float((column * support).sum() / total) if total else 0.0 for key, column in columns.items()}
    return {"per_class": per_class, "macro": {**macro, "support": total}, "weighted": {**weighted, "support": total}}


def format_classification_report(report: dict[str, Any], *, digits: int = 4) -> str:
    """`classification_report`'s dict as an aligned text table that ends in a newline."""
    rows = [*report["per_class"], {"name": "macro average", **report["macro"]}, {"name": "weighted average", **report["weighted"]}]
    names = [" ".join(str(row["name"]).split()) for row in rows]
    width = max(len(name) for name in names)
    lines = [f"{'':<{width}}  {'precision':>9}  {'recall':>9}  {'f1':>9}  {'support':>9}"]
    for position, (name, row) in enumerate(zip(names, rows, strict=True)):
        if position == len(report["per_class"]):
            lines.append("")
        scores = "  ".join(f"{row[key]:>9.{digits}f}" for key in ("precision", "recall", "f1"))
        lines.append(f"{name:<{width}}  {scores}  {row['support']:>9d}")
    return "\n".join(lines) + "\n"


# -- everything at once ------------------------------------------------------------------------------------


def score(logits: ArrayLike, labels: ArrayLike, class_names: Sequence[str]) -> dict[str, Any]:
    """Every figure of one set of predictions, ready for JSON.

    Keys: accuracy {"value", "low", "high"} (95 % Wilson interval), correct, errors, n, cross_entropy (nats), mse (Keras'
    mean over N and K), calibration_error (15 bins), and per_class, macro, weighted as `classification_report` gives them.
    """
    values, targets = _checked(logits, labels)
    if values.shape[1] != len(class_names):
        raise ValueError(f"logits have {values.shape[1]} classes, but there are {len(class_names)} class names")
    matrix = confusion_matrix(targets, values.argmax(axis=1), num_classes=len(class_names))
    n, correct = len(targets), int(np.trace(matrix))
    probabilities = softmax(values)
    return {
        "accuracy": wilson_interval(correct, n)._asdict(),
        "correct": correct,
        "errors": n - correct,
        "n": n,
        "cross_entropy": cross_entropy(values, targets),
        "mse": mse(probabilities, targets),
        "calibration_error": expected_calibration_error(probabilities, targets),
        **classification_report(matrix, class_names),
    }


def score_predictions(predictions: SplitPredictions) -> dict[str, Any]:
    """`score` of the logits that count, with split, tta, checksum, and "single_view": the same without test-time augmentation.

    "single_view" leaves out the per-class tables. Where the recipe has no test-time augmentation both sides are equal.
    """
    final = score(predictions.final_logits, predictions.labels, predictions.class_names)
    single = final if predictions.logits_tta is None else score(predictions.logits, predictions.labels, predictions.class_names)
    tables = ("per_class", "macro", "weighted")
    return {
        "split": predictions.split,
        "tta": predictions.tta,
        "checksum": predictions.checksum,
        **final,
        "single_view": {key: value for key, value in single.items() if key not in tables},
    }


# -- checks ------------------------------------------------------------------------------------------------


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """`scores` as finite float64 [N, K] and `labels` as int64 [N]."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 1:
        raise ValueError(f"scores must be [N, K] with N and K at least 1, not {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite; they hold NaN or infinity")
    targets = _indices(labels, values.shape[1], "labels")
    if len(targets) != len(values):
        raise ValueError(f"{len(values)} rows of scores need as many labels, not {len(targets)}")
    return values, targets


def _indices(values: ArrayLike, num_classes: int, what: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{what} must be integers [N], not {array.dtype} {list(array.shape)}")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= num_classes):
        raise ValueError(f"{what} must lie in 0..{num_classes - 1}, but run from {array.min()} to {array.max()}")
    return array.astype(np.int64)


def _quotient(dividend: NDArray[np.float64], divisor: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(dividend, divisor, out=np.zeros_like(dividend), where=divisor > 0)
