"""One baseline from recipe to run directory: features, choice on validation, predictions, all of it recorded."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from cifarlab.baselines.features import FEATURES, check_hog, hog_features, pixel_features
from cifarlab.baselines.methods import Fitted, Method, Task, find_method
from cifarlab.config import Recipe, differences, parse_recipe, read_recipe
from cifarlab.data.dataset import Dataset
from cifarlab.data.splits import ArrangedSplits
from cifarlab.errors import CifarlabError, RunError, UsageError, unknown
from cifarlab.files import write_json
from cifarlab.metrics import accuracy, cross_entropy
from cifarlab.runs import BASELINE_PREFIX, Predictions, RunDirectory

MOST_BYTES: Final = 2**31  # of features as float32: what a laptop can hold beside everything else
PROBE_IMAGES: Final = 500  # training images that a cost estimate fits
StageWatch = Callable[[str, int, int], None]


def baseline_recipe(name: str, features: str, *, data: Mapping[str, Any], arguments: Mapping[str, Any], seed: int) -> Recipe:
    """The recipe of a baseline: its model is called "baseline-NAME" and has the argument "features"; only data and seed count besides.

    `data`: fields of a recipe's data section; `arguments`: those of the method that are not left to its defaults.
    Raises ConfigError as a recipe does, UsageError for unknown names.
    """
    find_method(name)
    if features not in FEATURES:
        raise UsageError(unknown("features", features, FEATURES))
    return parse_recipe(_yaml(name, features, data, arguments, seed), source="baseline")


def _yaml(name: str, features: str, data: Mapping[str, Any], arguments: Mapping[str, Any], seed: int) -> str:
    """What of a recipe a baseline has; the sections that speak of training a network are left out."""
    sections: dict[str, Any] = {
        "name": f"{BASELINE_PREFIX}{name}-{features}",
        "model": {"name": f"{BASELINE_PREFIX}{name}", "arguments": {"features": features, **arguments}},
        "data": dict(data),
        "seed": seed,
    }
    if not data.get("validation", 0.1):
        sections["train"] = {"select": "last"}  # nothing is selected without a validation split
    return yaml.safe_dump(sections, sort_keys=False, allow_unicode=False, width=120)


def recipe_text(recipe: Recipe) -> str:
    """recipe.yaml of a baseline, resolved: everything that decides it, and nothing else."""
    name, features, arguments = method_of(recipe)
    return _yaml(name, features, recipe.data.model_dump(mode="json"), arguments, recipe.seed)


def method_of(recipe: Recipe) -> tuple[str, str, dict[str, Any]]:
    """Name, features and given arguments of the baseline that a recipe describes."""
    arguments: dict[str, Any] = dict(recipe.model.arguments)
    return recipe.model.name.removeprefix(BASELINE_PREFIX), str(arguments.pop("features")), arguments


class FeatureStore:
    """The features of one arranged dataset, each kind computed once and kept until another kind is asked for."""

    def __init__(self, arranged: ArrangedSplits, *, threads: int) -> None:
        self.arranged = arranged
        self.threads = threads
        self._kind = ""
        self._kept: dict[str, tuple[NDArray[Any], float]] = {}

    def has(self, kind: str, split: str) -> bool:
        """Whether they are there already."""
        return kind == self._kind and split in self._kept

    def get(self, kind: str, split: str, watch: StageWatch) -> tuple[NDArray[Any], float]:
        """Features [N, D] of a split, and the seconds that they took when they were computed."""
        if kind != self._kind:
            self._kept.clear()
            self._kind = kind
        if split not in self._kept:
            dataset: Dataset = self.arranged._asdict()[split]
            begun = time.perf_counter()
            if kind == "hog":
                stage = f"HOG features, {split}"
                features: NDArray[Any] = hog_features(
                    dataset.images, threads=self.threads, watch=lambda done, total: watch(stage, done, total)
                )
            else:
                features = pixel_features(dataset.images)
            self._kept[split] = features, time.perf_counter() - begun
        return self._kept[split]


def check_fit(recipe: Recipe, arranged: ArrangedSplits) -> list[str]:
    """Why this baseline cannot be fitted to this data, one line a reason; nothing is computed."""
    name, features, given = method_of(recipe)
    method, train = find_method(name), arranged.train
    problems = []
    for argument in method.counts:
        largest = max(candidate[argument] for candidate in method.candidates(given, images=len(train)))
        if largest > len(train):
            problems.append(
                f"{name}.{argument}={largest} is more than the {len(train)} training images; set {name}.{argument} to {len(train)} or fewer"
            )
    if empty := [train.class_names[k] for k in np.flatnonzero(train.class_counts() == 0)]:
        problems.append(f"{train.name}: no training image of {', '.join(empty)}; leave such classes out with --set data.classes=[...]")
    if features == "hog":
        try:
            check_hog(train.images.shape[1:3])
        except CifarlabError as error:
            problems.append(str(error))
    elif (needed := 4 * train.images.size) > MOST_BYTES:
        problems.append(
            f"the pixels of {len(train)} images of {train.images.shape[1]} px would take {needed / 2**30:.1f} GiB; "
            "use --features hog, or fewer images with --train-size"
        )
    return problems


def left_out_candidates(recipe: Recipe, arranged: ArrangedSplits) -> list[str]:
    """A line for each argument of this baseline some of whose default candidates are too large for this data, and are not tried."""
    name, _, given = method_of(recipe)
    method, images = find_method(name), len(arranged.train)
    lines = []
    for argument, large in method.left_out(given, images=images).items():
        tried = dict.fromkeys(candidate[argument] for candidate in method.candidates(given, images=images))
        without, instead = ", ".join(map(str, large)), ", ".join(map(str, tried))
        lines.append(f"{name}.{argument}={without} left out: more than the {images} training images; tried instead: {instead}")
    return lines


def finished_baseline(path: Path, recipe: Recipe, arranged: ArrangedSplits) -> RunDirectory | None:
    """The run at `path` where it is this baseline on this data, and done; None where there is none, or one that was broken off.

    Raises UsageError where another run lies there.
    """
    if not path.exists():
        return None
    run = RunDirectory.open(path)
    if changed := differences(read_recipe(run.recipe_file), recipe):
        raise UsageError(
            f"{path} holds another run; nothing was changed. It differs in {'; '.join(changed)}. Choose another folder with --runs DIR"
        )
    recorded = run.read_json("env.json")
    if any(recorded.get(key) != value for key, value in _checksums(arranged).items()):
        raise UsageError(f"{path} was fitted to other data. Choose another folder with --runs DIR, or point --data-dir to the same data")
    done = run.status().get("state") == "done" and run.predictions_file("test").exists()
    return run if done else None


def estimate_seconds(recipe: Recipe, store: FeatureStore) -> float | None:
    """About how long `fit_baseline` will take: every cost grows with the images, so that a few hundred of them tell.

    None for data so small that asking would take as long as doing. Features that are there already cost nothing.
    """
    name, kind, given = method_of(recipe)
    method, train = find_method(name), store.arranged.train
    if len(train) < 10 * PROBE_IMAGES:
        return None
    few = train.take(np.arange(0, len(train), len(train) // PROBE_IMAGES)[:PROBE_IMAGES])
    begun = time.perf_counter()
    features = hog_features(few.images) if kind == "hog" else pixel_features(few.images)
    waiting = sum(len(part) for split, part in store.arranged._asdict().items() if part is not None and not store.has(kind, split))
    preparing = (time.perf_counter() - begun) / PROBE_IMAGES * waiting / (store.threads if kind == "hog" else 1)
    candidates = method.candidates(given, images=len(train))
    first = {key: min(value, PROBE_IMAGES) if key in method.counts else value for key, value in candidates[0].items()}
    task = Task(features, few.labels, few.num_classes, recipe.seed, store.threads)
    method.fit(task, first).logits(features[:10], _silent)  # the first call loads and sets up what the others find ready
    begun = time.perf_counter()
    fitted = method.fit(task, first)
    fitting = (time.perf_counter() - begun) / PROBE_IMAGES * len(train) * len(candidates)
    begun = time.perf_counter()
    fitted.logits(features, _silent)
    queries = len(store.arranged.test) + len(store.arranged.validation or ()) * (1 if name == "knn" else len(candidates))
    share = len(train) / PROBE_IMAGES if name == "knn" else 1.0  # each query is compared with every training image
    predicting = (time.perf_counter() - begun) / PROBE_IMAGES * queries * share
    return preparing + fitting + predicting


def fit_baseline(
    recipe: Recipe,
    store: FeatureStore,
    *,
    runs: Path,
    name: str,
    env: Mapping[str, Any],
    watch: StageWatch = lambda stage, done, total: None,
) -> RunDirectory:
    """Fit the baseline of `recipe` to the data of `store`, predict validation and test, and keep all of it in runs/name.

    Arguments with several candidates are chosen by accuracy on validation; without a validation split the first is taken. The test
    split is predicted once, by what was chosen, and that reading is counted. baseline.json holds arguments, choice, seconds and
    peak memory. A run that was broken off there is begun anew, and keeps its count. `watch(stage, done, total)`.
    """
    arranged = store.arranged
    reads = _clear_unfinished(runs / name)
    sizes = {"train": len(arranged.train), "validation": len(arranged.validation or ()), "test": len(arranged.test)}
    about = {"seed": recipe.seed, "dataset": recipe.data.name, "validated_on": "train", "pooled": recipe.data.pooled}
    environment = {**env, **about, **_checksums(arranged), "sizes": sizes}
    run = RunDirectory.create(runs, name, recipe_yaml=recipe_text(recipe), env=environment)
    with run.locked():
        try:
            if reads:
                run.update_status(test_reads=reads)
            description = _fit(recipe, store, run, watch)
            write_json(run.path / "baseline.json", description)
            run.update_status(state="done", seconds=round(sum(description["seconds"].values()), 3))
        except KeyboardInterrupt:
            run.update_status(state="preempted")
            raise
        except BaseException as error:
            run.mark_failed(f"{type(error).__name__}: {error}")
            raise
    return run


def _fit(recipe: Recipe, store: FeatureStore, run: RunDirectory, watch: StageWatch) -> dict[str, Any]:
    """Everything between an empty run directory and baseline.json, which it returns."""
    import threadpoolctl  # type: ignore[import-untyped]

    name, kind, given = method_of(recipe)
    method, arranged = find_method(name), store.arranged
    reset_peak_memory()
    features, preparing = store.get(kind, "train", watch)
    task = Task(features, arranged.train.labels, arranged.train.num_classes, recipe.seed, store.threads)
    held_out = None
    if arranged.validation is not None:
        held_out, seconds = store.get(kind, "validation", watch)
        preparing += seconds
    with threadpoolctl.threadpool_limits(store.threads):
        begun = time.perf_counter()
        tried, chosen, fitted = _choose(method, task, given, held_out, arranged.validation, watch)
        factor = 1.0
        if arranged.validation is not None and held_out is not None:
            logits = fitted.logits(held_out, _silent)
            factor = _scale(logits, arranged.validation.labels) if method.calibrated else 1.0
            _predictions(logits * np.float32(factor), arranged.validation, "validation").save(run.predictions_file("validation"))
        fitting = time.perf_counter() - begun
        test, seconds = store.get(kind, "test", watch)
        begun = time.perf_counter()
        run.count_test_read()
        logits = fitted.logits(test, lambda done, total: watch("predicting the test split", done, total))
        _predictions(logits * np.float32(factor), arranged.test, "test").save(run.predictions_file("test"))
    return {
        "baseline": name,
        "summary": method.summary,
        "features": {"kind": kind, "dimensions": int(features.shape[1])},
        "arguments": chosen,
        "chosen_by": "accuracy on validation" if len(tried) > 1 and held_out is not None else "fixed in advance",
        "candidates": tried,
        "logits": method.scores,
        "logit_factor": factor,
        "seconds": {"features": preparing + seconds, "fit": fitting, "predict": time.perf_counter() - begun},
        "peak_memory_bytes": peak_memory(),
        "threads": store.threads,
    }


def _choose(
    method: Method,
    task: Task,
    given: Mapping[str, Any],
    held_out: NDArray[Any] | None,
    validation: Dataset | None,
    watch: StageWatch,
) -> tuple[list[dict[str, Any]], dict[str, Any], Fitted]:
    """Every candidate with its accuracy on validation, the arguments of the best (the first of equals), and it, fitted."""
    candidates = method.candidates(given, images=len(task.labels))
    if validation is None:
        candidates = candidates[:1]
    task.shared["candidates"] = candidates
    tried: list[dict[str, Any]] = []
    best: tuple[float, dict[str, Any], Fitted] | None = None
    for number, arguments in enumerate(candidates, start=1):
        place = f" {number} of {len(candidates)}" if len(candidates) > 1 else ""
        stage = ", ".join([f"fitting{place}", *(f"{key}={value:g}" for key, value in arguments.items())])
        watch(stage, 0, 1)
        task.watch = lambda done, total, stage=stage: watch(stage, done, total)  # type: ignore[misc]
        fitted = method.fit(task, arguments)
        value = None
        if validation is not None and held_out is not None and len(candidates) > 1:
            logits = fitted.logits(held_out, lambda done, total, place=place: watch(f"validating{place}", done, total))  # type: ignore[misc]
            value = accuracy(logits, validation.labels)
        tried.append({"arguments": arguments, "validation_accuracy": value})
        if best is None or (value is not None and value > best[0]):
            best = (-1.0 if value is None else value, arguments, fitted)
    assert best is not None
    return tried, best[1], best[2]


def _silent(done: int, total: int) -> None:
    """A watch that hears nothing."""


def _scale(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The factor above 0 by which logits [N, K] have the smallest cross-entropy; the predicted classes stay as they are."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda power: cross_entropy(logits * 10.0**power, labels), bounds=(-3.0, 3.0), method="bounded")
    return float(10.0**found.x)


def _predictions(logits: NDArray[np.float32], dataset: Dataset, split: str) -> Predictions:
    return Predictions(
        sample_ids=dataset.sample_ids,
        labels=dataset.labels,
        logits=logits.astype(np.float32),
        logits_tta=None,
        tta="none",
        class_names=dataset.class_names,
        split=split,
        checksum=dataset.checksum,
    )


def _checksums(arranged: ArrangedSplits) -> dict[str, str]:
    return {f"checksum_{split}": part.checksum for split, part in arranged._asdict().items() if part is not None}


def _clear_unfinished(path: Path) -> int:
    """Remove what a broken-off fit left at `path`; returns how often it had read the test split. BusyError where it is still at work."""
    if not path.exists():
        return 0
    run = RunDirectory.open(path)
    if run.status().get("state") == "done" and run.predictions_file("test").exists():
        raise UsageError(f"{path} is done; nothing was changed")
    with run.locked():
        reads = int(run.status().get("test_reads", 0))
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise RunError(f"cannot remove {path}: {error.strerror or error}") from error
    return reads


# -- memory ------------------------------------------------------------------------------------------------------


def reset_peak_memory() -> None:
    """Let `peak_memory` count from here on, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int | None:
    """Largest resident memory of this process in bytes, interpreter and data included; None where the system does not tell."""
    for line in _status_lines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status_lines() -> Iterator[str] | Sequence[str]:
    try:
        return Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
