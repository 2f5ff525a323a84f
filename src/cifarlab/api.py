"""The verbs: train, resume, evaluate, report, load. The command line and Python both come through here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cifarlab.build import arrange, check_recipe, unknown_names
from cifarlab.bundle import Predictor, load_predictor
from cifarlab.config import Recipe, RecipeError, override, read_recipe
from cifarlab.data import ArrangedSplits, Splits, dataset_names, find_named_cifar10, load_splits
from cifarlab.errors import ConfigError, DataError, RunError, UsageError, unknown
from cifarlab.evaluation import evaluate_run, predict_logits
from cifarlab.recipes import get_recipe
from cifarlab.reports import ReportImages, write_metrics, write_run_report
from cifarlab.restore import choose_device
from cifarlab.runs import BASELINE_PREFIX, RunDirectory
from cifarlab.training import Listener, describe_environment, refuse_other_data, resume_run, train_run

EVALUATED = ("validation", "test")
SAMPLES = 36  # training images in a report's sample grid
Progress = Callable[[int, int], None]
Note = Callable[[str], None]


class Metrics(Mapping[str, dict[str, Any]]):
    """A run's metrics by split, as far as they are there. Only `metrics["test"]`, written out, makes what is missing:
    it evaluates the test split, and that reading is counted in the run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getitem__(self, split: str) -> dict[str, Any]:
        stored = self._stored()
        if split not in stored and split == "test":
            return evaluate(self._run, split=split)
        metrics: dict[str, Any] = stored[split]
        return metrics

    def __contains__(self, split: object) -> bool:
        return split in self._stored()

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored())

    def __len__(self) -> int:
        return len(self._stored())

    def _stored(self) -> dict[str, Any]:
        return self._run.directory.read_json("metrics.json") if (self._run.path / "metrics.json").exists() else {}


class Run:
    """A run on disk. `metrics["test"]["accuracy"]` holds value, low and high."""

    def __init__(self, path: str | Path) -> None:
        """Open the run directory `path`; raises UsageError where it is none."""
        self.directory = RunDirectory.open(Path(path))
        self.path = self.directory.path
        self.recipe: Recipe = read_recipe(self.directory.recipe_file)
        self.metrics = Metrics(self)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def status(self) -> dict[str, Any]:
        """state ("running", "done", "failed", "preempted"), seconds, epochs, test_reads, ..."""
        return self.directory.status()

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row per epoch, as in metrics.jsonl."""
        return self.directory.epochs()

    @property
    def is_baseline(self) -> bool:
        """Whether this is a classical baseline (`cifarlab baseline`): predictions and metrics, but no network."""
        return self.recipe.model.name.startswith(BASELINE_PREFIX)

    def load(self, *, device: str = "auto") -> Predictor:
        """The trained model, ready to predict."""
        return load(self.path, device=device)


def resolve_recipe(
    recipe: str | Path | Recipe, *, data: str | None = None, seed: int | None = None, overrides: Mapping[str, object] | None = None
) -> Recipe:
    """A recipe by name, file or value with changes made; every name in it is checked. Raises UsageError with all problems."""
    changes: dict[str, object] = dict(overrides or {})
    if data is not None:
        # A path keeps its meaning when the run is evaluated from another folder; a name stays one beside a folder called so.
        is_path = data not in dataset_names() and data and ("/" in data or Path(data).exists())
        changes["data.name"] = str(Path(data).expanduser().resolve()) if is_path else data
    if seed is not None:
        changes["seed"] = seed
    try:
        resolved = override(recipe if isinstance(recipe, Recipe) else get_recipe(str(recipe)), changes)
    except RecipeError as error:
        more = [] if error.rest is None else unknown_names(error.rest)
        raise ConfigError([*error.problems, *more], source=error.source) from None
    check_recipe(resolved)
    return resolved


def train(
    recipe: str | Path | Recipe,
    *,
    data: str | None = None,
    data_dir: str | Path | None = None,
    seed: int | None = None,
    name: str | None = None,
    runs: str | Path = "runs",
    device: str = "auto",
    overrides: Mapping[str, object] | None = None,
    report: bool = True,
    listener: Listener | None = None,
    note: Note | None = None,
    progress: Progress | None = None,
    on_stop: Callable[[int], None] = lambda number: None,
) -> Run:
    """Train a recipe (name, YAML file or Recipe) into runs/name and, with `report`, write its report.

    data: dataset name or path instead of the recipe's; overrides: dotted keys such as {"optim.lr": 0.1};
    name: default is the recipe and seed, numbered where taken. listener hears steps and epochs, note takes
    messages, progress a download's bytes. Raises UsageError, DataError, TrainingError or RunError; after SIGINT
    or SIGTERM the state is saved and training.PreemptedError raised.
    """
    resolved = resolve_recipe(recipe, data=data, seed=seed, overrides=overrides)
    chosen_device = choose_device(device)
    folder = Path(runs)
    chosen_name = name if name is not None else free_name(folder, f"{resolved.name}-{resolved.seed}")
    RunDirectory.check_free(folder, chosen_name)
    where = Path(data_dir) if data_dir is not None else None
    splits = load_splits(resolved.data.name, data_dir=where, progress=progress, note=note)
    if resolved.data.validate_on == "test" and note is not None:
        note(
            f"warning: {resolved.name} looks at the TEST split after every epoch, as the report that it repeats did: what is called "
            "validation here is test. Each look is counted; data.validate_on=train is the honest way"
        )
    found = find_named_cifar10(where) if resolved.data.name == "cifar10" else None
    directory = train_run(
        resolved,
        splits,
        runs=folder,
        name=chosen_name,
        device=chosen_device,
        predict=predict_logits,
        found_in=found,
        listener=listener,
        on_stop=on_stop,
    )
    return _after_training(directory, arrange(resolved, splits), device=device, report=report)


def resume(
    path: str | Path,
    *,
    recipe: Recipe | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    report: bool = True,
    listener: Listener | None = None,
    note: Note | None = None,
    progress: Progress | None = None,
    on_stop: Callable[[int], None] = lambda number: None,
) -> Run:
    """Continue an interrupted run from its last checkpoint; see `train`. A `recipe` that differs from the run's is refused."""
    run = Run(path)
    if run.is_baseline:
        raise UsageError(f"{path} is a classical baseline, which is not trained; repeat the `cifarlab baseline` command that made it")
    if note is not None:
        _say_what_differs(run, device, note)
    splits = _load_again(run, data_dir, progress=progress, note=note)
    directory = resume_run(
        run.path, splits, device=choose_device(device), predict=predict_logits, recipe=recipe, listener=listener, note=note, on_stop=on_stop
    )
    return _after_training(directory, arrange(run.recipe, splits), device=device, report=report)


def evaluate(
    run: str | Path | Run,
    *,
    split: str = "test",
    data_dir: str | Path | None = None,
    device: str = "auto",
    report: bool = True,
    progress: Progress = lambda done, total: None,
    note: Note | None = None,
) -> dict[str, Any]:
    """Predict a split, write its predictions file, metrics and (with `report`) the report; returns the split's metrics.

    A reading of the test split is counted in the run. Raises UsageError, DataError, RunError or BundleError.
    """
    if split not in EVALUATED:
        raise UsageError(unknown("split", split, EVALUATED))
    opened = run if isinstance(run, Run) else Run(run)
    if opened.is_baseline:
        return _metrics_of_baseline(opened, split, note)
    arranged = arrange(opened.recipe, _load_again(opened, data_dir, note=note))
    evaluate_run(opened.directory, arranged, split, device=choose_device(device), progress=progress)
    _write_results(opened.directory, arranged, report=report)
    return opened.metrics[split]


def report(run: str | Path | Run, *, data_dir: str | Path | None = None, note: Note | None = None) -> Path:
    """Draw a run's figures anew from its files and write report.html; returns its path. The test split is not predicted.

    Pictures come from the run's data; where that is gone or has changed they are left out, and `note` hears of it.
    """
    opened = run if isinstance(run, Run) else Run(run)
    try:
        arranged = arrange(opened.recipe, _load_again(opened, data_dir, note=note))
        images = report_images(opened.directory, arranged)
    except (DataError, UsageError, RunError) as error:
        if note is not None:
            note(f"the report is made without pictures of the data: {error}")
        images = ReportImages()
    return write_run_report(opened.directory, images=images)


def load(path: str | Path, *, device: str = "auto", engine: str = "torch") -> Predictor:
    """A trained model: a run directory, a bundle, a shipped name ("cifar10-fast") or "hf://owner/name" from the Hugging Face Hub.

    engine: what computes: "torch", or "onnx" and "onnx-int8" where the bundle has them. Raises UsageError or BundleError.
    """
    return load_predictor(path, device=device, engine=engine)


def _metrics_of_baseline(run: Run, split: str, note: Note | None) -> dict[str, Any]:
    """The stored metrics of a classical baseline: it predicts when it is fitted, and keeps no model that could do so again."""
    stored = dict(run.metrics)
    if split not in stored:
        raise UsageError(
            f"{run.path} is a classical baseline without predictions of the {split} split, and it keeps no model to make them with. "
            "Fit it (again) with: cifarlab baseline"
        )
    if note is not None:
        note(f"{run.path} is a classical baseline: these are its stored predictions, and nothing was read again")
    return run.metrics[split]


def _after_training(directory: RunDirectory, arranged: ArrangedSplits, *, device: str, report: bool) -> Run:
    """Predictions on validation, metrics and report; a run without validation waits for `evaluate`.

    A run that validated on the test split has looked at it already, and is reported on it.
    """
    if arranged.validation is not None:
        on_test = arranged.validation is arranged.test
        evaluate_run(directory, arranged, "test" if on_test else "validation", device=choose_device(device))
        _write_results(directory, arranged, report=report)
    return Run(directory.path)


def _write_results(directory: RunDirectory, arranged: ArrangedSplits, *, report: bool) -> None:
    """Metrics files, and with `report` the figures and the page too, from the run's prediction files."""
    if report:
        write_run_report(directory, images=report_images(directory, arranged))  # writes the metrics files as well
    else:
        write_metrics(directory)


def _say_what_differs(run: Run, device: str, note: Note) -> None:
    """Exact resume holds for the same PyTorch, threads and processor; elsewhere sums are rounded in another order."""
    recorded = run.directory.read_json("env.json")
    now_here = describe_environment(choose_device(device))
    for key in ("torch", "threads", "processor", "device"):
        now = now_here[key]
        then = recorded.get(key)
        if then is not None and str(then) != str(now):
            note(f"this run began with {key} {then} and goes on with {now}: its weights will differ in rounding from an unbroken run's")


def _load_again(run: Run, data_dir: str | Path | None, *, progress: Progress | None = None, note: Note | None = None) -> Splits:
    """The data of a run: from `data_dir`, else from where it was found when the run began, else from the usual places.

    Whatever is found is compared with the run's checksums by those who use it.
    """
    recorded = run.directory.read_json("env.json").get("found_in")
    if data_dir is None and isinstance(recorded, str) and Path(recorded).exists():
        data_dir = recorded
    where = None if data_dir is None else Path(data_dir)
    if where is not None and run.recipe.data.name not in dataset_names():
        return load_splits(str(where), progress=progress, note=note)  # a folder of pictures that has moved
    return load_splits(run.recipe.data.name, data_dir=where, progress=progress, note=note)


def arranged_again(run: Run, data_dir: str | Path | None = None, *, note: Note | None = None) -> ArrangedSplits:
    """The splits of a run's data; raises RunError where what is found is not the data that it was set up with."""
    arranged = arrange(run.recipe, _load_again(run, data_dir, note=note))
    refuse_other_data(run.directory, arranged)
    return arranged


def report_images(directory: RunDirectory, arranged: ArrangedSplits) -> ReportImages:
    """What a report shows of a run's data; raises RunError where `arranged` is not the data that it was set up with."""
    refuse_other_data(directory, arranged)
    train = arranged.train
    chosen = np.sort(np.random.default_rng(0).permutation(len(train))[:SAMPLES])
    present = {name: part for name, part in arranged._asdict().items() if part is not None}
    if arranged.validation is arranged.test:
        del present["validation"]  # the same images twice
    return ReportImages(
        class_counts={name: part.class_counts() for name, part in present.items()},
        samples=train.images[chosen],
        sample_labels=train.labels[chosen],
        evaluated={name: part.images for name, part in present.items() if directory.predictions_file(name).exists()},
    )


def free_name(runs: Path, wanted: str) -> str:
    """`wanted`, or the first of wanted-2, wanted-3, ... that is not taken."""
    name, number = wanted, 1
    while (runs / name).exists():
        number += 1
        name = f"{wanted}-{number}"
    return name
