"""Fuzzy c-means clustering (Bezdek, "Pattern Recognition with Fuzzy Objective Function Algorithms", 1981, section 11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
ROWS = 4096  # samples at a time: distances and memberships of all of them would not fit beside the data


@dataclass(frozen=True, eq=False)
class FuzzyClusters:
    """centres: [C, D], of the samples' float type; fuzzifier: m > 1; objective: J_m before each update of the centres;
    converged: whether the memberships moved by less than the tolerance before the iterations ran out."""

    centres: Array
    fuzzifier: float
    objective: tuple[float, ...]
    converged: bool


def fuzzy_c_means(
    samples: Array,
    *,
    clusters: int,
    fuzzifier: float = 2.0,
    iterations: int = 100,
    tolerance: float = 1e-3,
    seed: int = 0,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> FuzzyClusters:
    """Cluster `samples`, float [N, D], so that each belongs to every cluster to a degree.

    It minimizes J_m = sum_k sum_i u_ik^m d_ik^2, where d_ik is the Euclidean distance of sample k to centre v_i, u_ik >= 0 its
    membership and sum_i u_ik = 1, by doing these two in turn until no membership moves by more than `tolerance`:

        u_ik = 1 / sum_j (d_ik / d_jk)^(2 / (m - 1))        (samples on a centre belong to it alone)
        v_i  = sum_k u_ik^m x_k / sum_k u_ik^m

    m = `fuzzifier` > 1: close to 1 it is k-means; the larger, the more alike all memberships. In many dimensions distances differ
    little, and with m = 2 all centres meet in the mean. Starts at `clusters` different samples drawn with `seed`.
    `watch(iterations done, at most)`. Raises ValueError for other arguments.
    """
    n = len(samples)
    if samples.ndim != 2 or not 1 <= clusters <= n:
        raise ValueError(
            f"samples must be [N, D] with N at least the number of clusters, not {list(samples.shape)} for {clusters} clusters"
        )
    if not fuzzifier > 1 or iterations < 1:
        raise ValueError(f"fuzzifier must be above 1 and iterations at least 1, not {fuzzifier} and {iterations}")
    centres = samples[np.random.default_rng(seed).choice(n, size=clusters, replace=False)].astype(samples.dtype)
    before: Array | None = None
    objective: list[float] = []
    for done in range(iterations):
        belongs, sums, weights, value = _sweep(samples, centres, fuzzifier)
        objective.append(value)
        # A cluster that no sample belongs to (underflow) stays where it is.
        centres = np.where(weights[:, None] > 0, sums / np.maximum(weights, np.finfo(weights.dtype).tiny)[:, None], centres)
        centres = centres.astype(samples.dtype)
        watch(done + 1, iterations)
        if before is not None and float(np.abs(belongs - before).max()) < tolerance:
            return FuzzyClusters(centres, fuzzifier, tuple(objective), True)
        before = belongs
    return FuzzyClusters(centres, fuzzifier, tuple(objective), False)


def memberships(samples: Array, centres: Array, fuzzifier: float) -> Array:
    """u, float [N, C] with rows that sum to 1, of `samples` [N, D] in clusters at `centres` [C, D]; see `fuzzy_c_means`."""
    parts = [_memberships(_squared_distances(rows, centres), fuzzifier) for rows in _pieces(samples)]
    return np.concatenate(parts)


def _sweep(samples: Array, centres: Array, fuzzifier: float) -> tuple[Array, Array, Array, float]:
    """Memberships float32 [N, C], sum of u^m x [C, D], sum of u^m [C] (float64), and J_m, all at `centres`."""
    parts: list[Array] = []
    sums = np.zeros(centres.shape, dtype=np.float64)
    weights = np.zeros(len(centres), dtype=np.float64)
    objective = 0.0
    for rows in _pieces(samples):
        distances = _squared_distances(rows, centres)  # [B, C]
        belongs = _memberships(distances, fuzzifier)
        raised = belongs**fuzzifier
        sums += raised.T.astype(rows.dtype) @ rows  # [C, B] @ [B, D] -> [C, D]
        weights += raised.sum(axis=0)
        objective += float((raised * distances).sum())
        parts.append(belongs.astype(np.float32))
    return np.concatenate(parts), sums, weights, objective


def _pieces(samples: Array) -> list[Array]:
    return [samples[start : start + ROWS] for start in range(0, len(samples), ROWS)]


def _squared_distances(rows: Array, centres: Array) -> Array:
    """float64 [B, C]. |x|^2 - 2 x.v + |v|^2: one product of matrices in place of B C differences; rounding may not go below 0."""
    # Around the middle of the centres the three terms are small, and little is lost where they cancel.
    middle = centres.mean(axis=0)
    rows, centres = rows - middle, centres - middle
    products = (rows @ centres.T).astype(np.float64)
    squares = (centres.astype(np.float64) ** 2).sum(axis=1)
    own = np.einsum("bd,bd->b", rows, rows, dtype=np.float64)
    distances: Array = np.maximum(own[:, None] - 2 * products + squares, 0.0)
    return distances


def _memberships(distances: Array, fuzzifier: float) -> Array:
    """From squared distances [B, C]; in logarithms, for near m = 1 the powers would overflow."""
    on_centre = distances <= 0
    with np.errstate(divide="ignore"):
        logs = -np.log(distances) / (fuzzifier - 1)  # the exponent 2 / (m - 1) of a distance is 1 / (m - 1) of its square
    logs = np.where(on_centre.any(axis=1, keepdims=True), np.where(on_centre, 0.0, -np.inf), logs)
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    belongs: Array = powers / powers.sum(axis=1, keepdims=True)
    return belongs
