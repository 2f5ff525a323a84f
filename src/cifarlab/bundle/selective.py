"""Two views where they suffice, six where they do not: as sure an answer as six views give, at less than half the work.

The image and its mirror image are looked at first. Where their calibrated top probability reaches a confidence that the bundle
holds, that is the answer; otherwise the four moved views are looked at as well, and the answer is that of all six. So it is a function
of the image alone, whatever float32 engine computes it and whatever images it is predicted beside (the confidence is compared with a
number that rounding moves by about 1e-6: an image so near to it may get the one answer or the other). Int8 computes other logits and
is compared with the same confidence, which was not chosen for it.

The confidence is the smallest, from `LEAST` on, at which no validation image gets another label than with six views. Where new images come
from the same source as those N of validation, the chance that one's label changes is at most 1 / (N + 1): it would have to be
surer of a label that six views overturn than each of the N, all of which are equally likely to be the surest. This takes the
temperature as given, though that one number was fitted on the same N.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.bundle.engines import Engine, finite
from cifarlab.errors import UsageError
from cifarlab.metrics import softmax

SELECTIVE: Final = "selective"
FIRST: Final = "flip"  # what is looked at of every image
REST: Final = "moved"  # and beside it of the others, which makes "six" of it
WHOLE: Final = "six"
LEAST: Final = 0.5  # no confidence below it: what is less probable than all else together is not sure
RULE: Final = "the smallest confidence from 0.5 on at which no validation image gets another label than with six views"
Logits = NDArray[np.float32]


def view_logits(engine: Engine, images: NDArray[np.uint8], *, views: str, description: Mapping[str, Any]) -> Logits:
    """As `Engine.logits`, for "selective" too: uint8 [B, S, S, 3] -> float32 [B, K]. Raises UsageError without a confidence."""
    if views != SELECTIVE:
        return engine.logits(images, views=views)
    temperature, confidence = confidence_of(description)
    logits = finite(engine.logits(images, views=FIRST)).copy()
    rest = np.flatnonzero(~is_sure(logits, temperature=temperature, confidence=confidence))
    if len(rest):
        logits[rest] = joined(logits[rest], engine.logits(images[rest], views=REST))
    return logits


def joined(first: Logits, rest: Logits) -> Logits:
    """Logits of six views from those of the first two and of the other four, [B, K] each: half of each, as cifarlab.augment has it."""
    whole: Logits = np.float32(0.5) * first + np.float32(0.5) * rest
    return whole


def is_sure(logits: Logits, *, temperature: float, confidence: float) -> NDArray[np.bool_]:
    """Where two views suffice: their logits [B, K] -> bool [B]."""
    sure: NDArray[np.bool_] = top_probability(logits, temperature=temperature) >= confidence
    return sure


def top_probability(logits: Logits, *, temperature: float) -> NDArray[np.float64]:
    """The largest of softmax(logits / temperature) of each row: [B, K] -> float64 [B]."""
    if not len(logits):
        return np.zeros(0)
    largest: NDArray[np.float64] = softmax(logits.astype(np.float64) / temperature).max(axis=1)
    return largest


def confidence_of(description: Mapping[str, Any]) -> tuple[float, float]:
    """Temperature of the first views, and the confidence at which they suffice; raises UsageError where the bundle has none."""
    views = (description.get("calibration") or {}).get("views") or {}
    if not can_select(description):
        raise UsageError(
            "this model has no confidence at which two views suffice (views 'selective'): an export of a run with six views and a "
            "validation split writes it. Use views none, flip or six"
        )
    return float(views[FIRST]["temperature"]), float(views[SELECTIVE]["confidence"])


def can_select(description: Mapping[str, Any]) -> bool:
    """Whether a bundle holds what "selective" needs."""
    views = (description.get("calibration") or {}).get("views") or {}
    return FIRST in views and SELECTIVE in views


def choose_confidence(first: Logits, whole: Logits, *, temperature: float) -> float:
    """The confidence by `RULE`, from logits [N, K] of the first two and of all six views of validation images.

    It lies halfway between the surest image whose label six views change and the next one that is surer.
    """
    probability = top_probability(first, temperature=temperature)
    changed = first.argmax(axis=1) != whole.argmax(axis=1)
    lowest = float(probability[changed].max(initial=0.0))
    if lowest < LEAST:
        return LEAST
    above = probability[probability > lowest]
    return float((lowest + above.min(initial=1.0)) / 2)


def select(first: Logits, whole: Logits, *, temperature: float, confidence: float) -> tuple[Logits, NDArray[np.bool_]]:
    """What `view_logits` gives, from logits [N, K] that are there already; and bool [N], where the first views sufficed."""
    sure = is_sure(first, temperature=temperature, confidence=confidence)
    chosen: Logits = np.where(sure[:, None], first, whole)
    return chosen, sure
