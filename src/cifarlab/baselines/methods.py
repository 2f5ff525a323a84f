"""The classical methods by name: their arguments, what is chosen on validation, and how their answers become logits.

A run keeps logits, and most of these methods only count votes. One rule for all that do: n votes, of which a share p_k is for
class k of K, give the logit log((n p_k + 1/K) / (n + 1)), as if one more vote had been spread evenly over the classes. The
class with most votes stays first (of equals, the one with the lowest number), and no probability is 0.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from cifarlab.baselines.cmeans import fuzzy_c_means, memberships
from cifarlab.errors import UsageError, unknown

Arguments = Mapping[str, Any]
Features = NDArray[Any]  # uint8 pixels or float32 [N, D]
Logits = NDArray[np.float32]
Watch = Callable[[int, int], None]
_QUERIES: Final = 1000  # images whose neighbours are sought at a time


class Fitted(Protocol):
    """A method that has seen the training images."""

    def logits(self, features: Features, watch: Watch) -> Logits:
        """float32 [N, K] for features [N, D]; `watch(done, total)`."""
        ...


@dataclass(eq=False)
class Task:
    """What a method learns from. features: [N, D]; labels: int64 [N], every class present. `shared` lives as long as one method
    tries its candidates, for what they have in common; `watch(done, total)` hears of the fitting."""

    features: Features
    labels: NDArray[np.int64]
    num_classes: int
    seed: int
    threads: int
    watch: Watch = lambda done, total: None
    shared: dict[str, Any] = field(default_factory=dict)

    def floats(self) -> NDArray[np.float32]:
        """The features as float32, pixels as 0..1."""
        if "floats" not in self.shared:
            self.shared["floats"] = as_floats(self.features)
        floats: NDArray[np.float32] = self.shared["floats"]
        return floats


@dataclass(frozen=True)
class Method:
    """defaults: argument -> value; a tuple holds candidates, from which the one best on validation is taken (the first, where
    there is no validation). scores: how logits come about. counts: arguments that may not exceed the number of training images.
    calibrated: its scores are no probabilities, and get a scale on validation. seeded: whether a seed changes anything."""

    summary: str
    defaults: Mapping[str, Any]
    scores: str
    fit: Callable[[Task, Arguments], Fitted]
    counts: tuple[str, ...] = ()
    calibrated: bool = False
    seeded: bool = True

    def candidates(self, given: Arguments, *, images: int) -> list[dict[str, Any]]:
        """Every combination of arguments to try on `images` training images; a `given` one takes the default's place, a list as
        candidates. Default counts above `images` are left out; where all of them are, the number of images takes their place."""
        options = {}
        for name, value in self.defaults.items():
            values = _as_tuple(given.get(name, value))
            if name in self.counts and name not in given:
                values = tuple(one for one in values if one <= images) or (images,)
            options[name] = values
        return [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]

    def left_out(self, given: Arguments, *, images: int) -> dict[str, tuple[Any, ...]]:
        """Argument -> its default candidates that are more than `images` training images allow."""
        counts = {name: _as_tuple(self.defaults[name]) for name in self.counts if name not in given}
        return {name: large for name, values in counts.items() if (large := tuple(one for one in values if one > images))}


def baseline_names() -> tuple[str, ...]:
    """Names of all classical baselines, in the order of their table."""
    return tuple(_METHODS)


def baseline_summary(name: str) -> str:
    """What a baseline is, in one line."""
    return find_method(name).summary


def baseline_arguments(name: str) -> dict[str, Any]:
    """The arguments of a baseline with their defaults; a tuple holds the candidates from which validation chooses."""
    return dict(find_method(name).defaults)


def is_seeded(name: str) -> bool:
    """Whether another seed can give another result."""
    return find_method(name).seeded


def find_method(name: str) -> Method:
    """The method of that name; raises UsageError with the nearest match."""
    if name not in _METHODS:
        raise UsageError(unknown("baseline", name, _METHODS))
    return _METHODS[name]


def as_floats(features: Features) -> NDArray[np.float32]:
    """float32 [N, D]: uint8 pixels divided by 255, anything else as it is."""
    floats: NDArray[np.float32] = np.ascontiguousarray(features, dtype=np.float32)
    if features.dtype == np.uint8:
        floats /= np.float32(255)
    return floats


def vote_logits(shares: NDArray[Any], votes: NDArray[Any] | float) -> Logits:
    """Logits float32 [N, K] from shares [N, K] of `votes` votes ([N, 1] or one number): see the top of this file."""
    shares = np.asarray(shares, dtype=np.float64)
    logits: Logits = np.log((votes * shares + 1 / shares.shape[1]) / (votes + 1)).astype(np.float32)
    return logits


# -- nearest neighbours ------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Neighbours:
    task: Task
    k: int

    def logits(self, features: Features, watch: Watch) -> Logits:
        found = self._labels(features, watch)[:, : self.k]  # [N, k]
        votes = (found[:, :, None] == np.arange(self.task.num_classes)).mean(axis=1)
        return vote_logits(votes, self.k)

    def _labels(self, features: Features, watch: Watch) -> NDArray[np.int64]:
        """Labels [N, largest k] of the nearest training images, nearest first; sought once for all candidates."""
        shared = self.task.shared
        last = shared.get("asked")
        if last is None or last[0] is not features:
            searcher = shared["searcher"]
            parts = []
            for start in range(0, len(features), _QUERIES):
                rows = as_floats(features[start : start + _QUERIES])
                parts.append(self.task.labels[searcher.kneighbors(rows, return_distance=False)])
                watch(min(start + _QUERIES, len(features)), len(features))
            last = shared["asked"] = (features, np.concatenate(parts))
        labels: NDArray[np.int64] = last[1]
        return labels


def _fit_neighbours(task: Task, arguments: Arguments) -> Fitted:
    from sklearn.neighbors import NearestNeighbors

    if "searcher" not in task.shared:
        largest = max(task.shared.get("candidates", [arguments]), key=lambda each: each["k"])["k"]
        task.shared["searcher"] = NearestNeighbors(n_neighbors=largest, algorithm="brute", n_jobs=task.threads).fit(task.floats())
    return _Neighbours(task, arguments["k"])


# -- linear support vector machine --------------------------------------------------------------------------


@dataclass(eq=False)
class _Linear:
    """Weights float32 [K, D] and biases [K] on standardized features."""

    model: Any
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    two: bool

    def logits(self, features: Features, watch: Watch) -> Logits:
        parts = []
        for rows in _rows(features, watch):
            margins = self.model.decision_function((as_floats(rows) - self.mean) / self.scale)
            # For two classes scikit-learn gives the margin of the second alone.
            parts.append(np.stack([-margins, margins], axis=1) if self.two else margins)
        return np.concatenate(parts).astype(np.float32)


def _fit_linear(task: Task, arguments: Arguments) -> Fitted:
    from sklearn.linear_model import SGDClassifier

    shared = task.shared
    if "scale" not in shared:
        # In place, but never in the caller's own array: beside the pixels of CIFAR-10 a second copy would cost half a gigabyte.
        floats = shared["floats"] = task.floats().copy() if np.shares_memory(task.floats(), task.features) else task.floats()
        shared["mean"] = floats.mean(axis=0, dtype=np.float64).astype(np.float32)
        floats -= shared["mean"]
        scale = np.sqrt(np.einsum("nd,nd->d", floats, floats, dtype=np.float64) / len(floats))
        shared["scale"] = np.where(scale > 1e-6, scale, 1).astype(np.float32)  # a feature that never varies carries nothing
        floats /= shared["scale"]
    model = SGDClassifier(loss="hinge", alpha=arguments["alpha"], average=True, n_jobs=task.threads)
    # One state for all epochs: partial_fit would shuffle each of them alike from a plain seed.
    model.random_state = np.random.RandomState(task.seed % 2**32)
    for epoch in range(arguments["epochs"]):
        model.partial_fit(task.floats(), task.labels, classes=np.arange(task.num_classes))
        task.watch(epoch + 1, arguments["epochs"])
    return _Linear(model, shared["mean"], shared["scale"], two=task.num_classes == 2)


# -- trees -------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Trees:
    """votes: of the whole forest; None: the training images in the leaf of a single tree."""

    model: Any
    votes: int | None

    def logits(self, features: Features, watch: Watch) -> Logits:
        parts = []
        for rows in _rows(features, watch):
            floats = as_floats(rows)
            votes: Any = self.votes
            if votes is None:
                votes = self.model.tree_.n_node_samples[self.model.apply(floats)][:, None]
            parts.append(vote_logits(self.model.predict_proba(floats), votes))
        return np.concatenate(parts)


def _fit_tree(task: Task, arguments: Arguments) -> Fitted:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(
        max_depth=arguments["max_depth"], min_samples_leaf=arguments["min_samples_leaf"], random_state=task.seed % 2**32
    )
    return _Trees(model.fit(task.floats(), task.labels), votes=None)


def _fit_forest(task: Task, arguments: Arguments) -> Fitted:
    from sklearn.ensemble import RandomForestClassifier

    total = arguments["trees"]
    model = RandomForestClassifier(
        min_samples_leaf=arguments["min_samples_leaf"],
        max_features="sqrt",
        warm_start=True,
        n_jobs=task.threads,
        random_state=task.seed % 2**32,
    )
    for grown in range(0, total, 10):  # the same trees as all at once, with a word after every ten
        model.n_estimators = min(grown + 10, total)
        model.fit(task.floats(), task.labels)
        task.watch(model.n_estimators, total)
    return _Trees(model, votes=total)


# -- clusters with majority labels ----------------------------------------------------------------------------


@dataclass(eq=False)
class _Clusters:
    """assign: features as floats [B, D] -> cluster of each; shares [C, K] of the classes among a cluster's training images, sizes [C]."""

    assign: Callable[[NDArray[np.float32]], NDArray[np.int64]]
    shares: NDArray[np.float64]
    sizes: NDArray[np.int64]

    def logits(self, features: Features, watch: Watch) -> Logits:
        table = vote_logits(self.shares, self.sizes[:, None])  # [C, K]
        return np.concatenate([table[self.assign(as_floats(rows))] for rows in _rows(features, watch)])


def _majorities(task: Task, clusters: int, assign: Callable[[NDArray[np.float32]], NDArray[np.int64]]) -> Fitted:
    """Count the classes in each cluster; the labels take no other part."""
    place = np.concatenate([assign(rows) for rows in _rows(task.floats(), lambda done, total: None)])
    counts = np.zeros((clusters, task.num_classes), dtype=np.int64)
    np.add.at(counts, (place, task.labels), 1)
    sizes = counts.sum(axis=1)
    return _Clusters(assign, counts / np.maximum(sizes, 1)[:, None], sizes)


def _fit_kmeans(task: Task, arguments: Arguments) -> Fitted:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    # It subtracts the mean and adds it again: in place where the array is ours, for a copy of CIFAR-10's pixels is half a gigabyte.
    copy = np.shares_memory(task.floats(), task.features)
    model = KMeans(arguments["clusters"], n_init=1, max_iter=arguments["iterations"], random_state=task.seed % 2**32, copy_x=copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # images that occur twice leave a cluster empty, which is no harm here
        model.fit(task.floats())
    return _majorities(task, arguments["clusters"], lambda rows: model.predict(rows).astype(np.int64))


def _fit_cmeans(task: Task, arguments: Arguments) -> Fitted:
    found = fuzzy_c_means(
        task.floats(),
        clusters=arguments["clusters"],
        fuzzifier=arguments["fuzzifier"],
        iterations=arguments["iterations"],
        seed=task.seed,
        watch=task.watch,
    )
    return _majorities(
        task, arguments["clusters"], lambda rows: memberships(rows, found.centres, found.fuzzifier).argmax(axis=1).astype(np.int64)
    )


def _rows(features: Features, watch: Watch) -> Iterator[Features]:
    """Pieces of `features`, so that their floats do not lie in memory all at once."""
    for start in range(0, len(features), _QUERIES):
        yield features[start : start + _QUERIES]
        watch(min(start + _QUERIES, len(features)), len(features))


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


_METHODS: Final[dict[str, Method]] = {
    "knn": Method(
        "k nearest neighbours, Euclidean distance, one vote each",
        {"k": (10, 1, 5, 20, 50)},
        "log of the neighbours' vote shares, with one more vote spread evenly over the classes",
        _fit_neighbours,
        counts=("k",),
        seeded=False,
    ),
    "svm": Method(
        "linear support vector machine, one against the rest, on standardized features",
        {"alpha": (1e-3, 1e-4, 1e-2), "epochs": 5},
        "margins, one against the rest, times a factor that makes the cross-entropy on validation smallest",
        _fit_linear,
        calibrated=True,
    ),
    "tree": Method(
        "decision tree (CART, Gini impurity)",
        {"max_depth": 10, "min_samples_leaf": 10},
        "log of the class shares in the leaf, with one more training image spread evenly over the classes",
        _fit_tree,
        counts=("min_samples_leaf",),
    ),
    "forest": Method(
        "random forest (Breiman 2001)",
        {"trees": 100, "min_samples_leaf": 1},
        "log of the trees' mean class shares, with one more tree spread evenly over the classes",
        _fit_forest,
        counts=("min_samples_leaf",),
    ),
    "kmeans": Method(
        "k-means clusters, each labelled with its majority",
        {"clusters": (200, 10, 50), "iterations": 50},
        "log of the class shares in the cluster, with one more training image spread evenly over the classes",
        _fit_kmeans,
        counts=("clusters",),
    ),
    "cmeans": Method(
        "fuzzy c-means clusters (Bezdek 1981), each labelled with the majority of those that belong to it most",
        {"clusters": 100, "fuzzifier": (1.1, 1.05, 1.3, 2.0), "iterations": 30},
        "log of the class shares in the cluster, with one more training image spread evenly over the classes",
        _fit_cmeans,
        counts=("clusters",),
    ),
}
