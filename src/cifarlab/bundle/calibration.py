"""Probabilities that mean something, and a score of how unlike the training data an image is: both fitted on validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cifarlab.metrics import softmax


def unlikeness(score: str, logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """How unlike the training data each image is, float64 [N], from logits [N, K]; more is more unlike.

    "energy": -logsumexp(logits), the free energy at temperature 1 (Liu et al., 2020, arXiv 2010.03759, eq. 3);
    "max-probability": minus the largest softmax probability (Hendrycks and Gimpel, 2017, arXiv 1610.02136).
    """
    values = np.asarray(logits, dtype=np.float64)
    if not len(values):
        return np.zeros(0)
    if score == "max-probability":
        return -softmax(values).max(axis=1)
    if score != "energy":
        raise ValueError(f"score must be energy or max-probability, not {score!r}")
    peak = values.max(axis=1)
    energies: NDArray[np.float64] = -(peak + np.log(np.exp(values - peak[:, None]).sum(axis=1)))  # [N, K] -> [N]
    return energies
