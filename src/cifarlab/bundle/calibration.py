"""Probabilities that mean something, and a score of how unlike the training data an image is: both fitted on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cifarlab.bundle.selective import FIRST, RULE, SELECTIVE, choose_confidence, select
from cifarlab.metrics import CALIBRATION_BINS, cross_entropy, expected_calibration_error, softmax
from cifarlab.runs import Predictions

TARGET_SHARE: Final = 0.05  # of validation images that the threshold flags
LEAST_IMAGES: Final = 100  # of validation: with fewer, the last 5 % are a handful
COLDEST: Final = 0.1  # the lowest temperature looked at
HOTTEST: Final = 10.0
SCORE: Final = "energy"


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The T > 0 for which softmax(logits / T) has the least cross-entropy, in 0.1..10 (Guo et al., 2017, arXiv 1706.04599, eq. 9).

    logits: [N, K]; labels: int [N]. One parameter: no label changes, only how sure the model says it is. The cross-entropy
    is convex in 1 / T, hence has one minimum; where every image is right it lies at T = 0, and the bound comes back.
    """
    from scipy.optimize import minimize_scalar  # here, because it is slow to import and prediction does without

    values = np.asarray(logits, dtype=np.float64)

    def loss(log_temperature: float) -> float:
        return cross_entropy(values / math.exp(log_temperature), labels)

    found = minimize_scalar(loss, bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded", options={"xatol": 1e-7})
    return math.exp(float(found.x))


def fit_threshold(score: ArrayLike, share: float = TARGET_SHARE) -> float:
    """The value that the share of `score` [N] lies above: halfway between its two neighbours in order."""
    values = np.sort(np.asarray(score, dtype=np.float64))
    above = round(share * len(values))
    if not 1 <= above < len(values):
        raise ValueError(f"a share of {share} of {len(values)} images is {above} images; 1 to {len(values) - 1} are needed")
    return float((values[-above - 1] + values[-above]) / 2)


def calibrate(predictions: Predictions, *, score: str = SCORE) -> dict[str, Any] | None:
    """Temperature and threshold for the views used and for one view, ready for bundle.json; None with too few images.

    Raises ValueError for predictions of another split than validation: the test split fits nothing.
    """
    if predictions.split != "validation":
        raise ValueError(f"calibration is fitted on validation, never on {predictions.split}")
    if len(predictions.labels) < LEAST_IMAGES:
        return None
    sets = {"none": predictions.logits, predictions.tta: predictions.final_logits}
    return {
        "split": "validation",
        "n": len(predictions.labels),
        "checksum": predictions.checksum,
        "bins": CALIBRATION_BINS,
        "score": score,
        "target_share": TARGET_SHARE,
        "views": {views: _fit(logits, predictions.labels, score=score) for views, logits in sets.items()},
    }


def calibrate_selective(calibration: Mapping[str, Any], predictions: Predictions, first: NDArray[np.float32]) -> dict[str, Any]:
    """`calibration` of six views with "flip" and "selective" added, each with a temperature and a threshold of its own.

    first: logits [N, K] of the first two views of the same validation images. Beside what every entry has, "selective" holds its
    confidence, how many images stop there, accuracy beside six views', and how many labels differ. Raises ValueError as `calibrate`.
    """
    if predictions.split != "validation":
        raise ValueError(f"a confidence is chosen on validation, never on {predictions.split}")
    whole, labels = predictions.final_logits, predictions.labels
    fitted = _fit(first, labels, score=calibration["score"])
    confidence = choose_confidence(first, whole, temperature=fitted["temperature"])
    chosen, sure = select(first, whole, temperature=fitted["temperature"], confidence=confidence)
    selective = {
        **_fit(chosen, labels, score=calibration["score"]),
        "confidence": confidence,
        "rule": RULE,
        "stopped": int(sure.sum()),
        "labels_that_differ": int((chosen.argmax(1) != whole.argmax(1)).sum()),
        "accuracy": {"selective": _accuracy(chosen, labels), "six": _accuracy(whole, labels)},
    }
    return {**calibration, "views": {**calibration["views"], FIRST: fitted, SELECTIVE: selective}}


def _accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((logits.argmax(1) == labels).mean())


def confirm(calibration: Mapping[str, Any], predictions: Predictions) -> dict[str, Any]:
    """What a calibration does on predictions that it was not fitted on, such as the test split's: nothing is chosen by them."""
    sets = {"none": predictions.logits, predictions.tta: predictions.final_logits}
    found = {
        views: _effect(sets[views], predictions.labels, fitted["temperature"], fitted["threshold"], score=calibration["score"])
        for views, fitted in calibration["views"].items()
        if views in sets
    }
    return {"split": predictions.split, "n": len(predictions.labels), "checksum": predictions.checksum, "views": found}


def _fit(logits: NDArray[np.float32], labels: NDArray[np.int64], *, score: str) -> dict[str, Any]:
    temperature, threshold = fit_temperature(logits, labels), fit_threshold(unlikeness(score, logits))
    return {"temperature": temperature, "threshold": threshold, **_effect(logits, labels, temperature, threshold, score=score)}


def _effect(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float, threshold: float, *, score: str) -> dict[str, Any]:
    before, after = logits.astype(np.float64), logits.astype(np.float64) / temperature
    return {
        "flagged": int((unlikeness(score, logits) > threshold).sum()),
        "cross_entropy": {"before": cross_entropy(before, labels), "after": cross_entropy(after, labels)},
        "calibration_error": {
            "before": expected_calibration_error(softmax(before), labels),
            "after": expected_calibration_error(softmax(after), labels),
        },
    }


def unlikeness(score: str, logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """How unlike the training data each image is, float64 [N], from logits [N, K]; more is more unlike.

    "energy": -logsumexp(logits), the free energy at temperature 1 (Liu et al., 2020, arXiv 2010.03759, eq. 3);
    "max-probability": minus the largest softmax probability (Hendrycks and Gimpel, 2017, arXiv 1610.02136).
    """
    values = np.asarray(logits, dtype=np.float64)
    if not len(values):
        return np.zeros(0)
    found: NDArray[np.float64]
    if score == "max-probability":
        found = -softmax(values).max(axis=1)
    elif score == "energy":
        peak = values.max(axis=1)
        found = -(peak + np.log(np.exp(values - peak[:, None]).sum(axis=1)))  # [N, K] -> [N]
    else:
        raise ValueError(f"score must be energy or max-probability, not {score!r}")
    return found
