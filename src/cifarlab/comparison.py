"""`cifarlab compare` as a function: runs opened and checked, missing predictions made, pairs tested, a page written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from cifarlab.config import parse_recipe
from cifarlab.errors import CifarlabError, ConfigError, RunError, UsageError, unknown
from cifarlab.reports.comparison import write_comparison
from cifarlab.reports.comparison_rows import ComparedRun, Comparison, compare_runs
from cifarlab.runs import Predictions, RunDirectory

if TYPE_CHECKING:
    from cifarlab.api import Note, Progress, Run

SPLITS: Final = ("test", "validation")
LEAST_RESAMPLES: Final = 1000  # with fewer the ends of a 95 % interval are guesses
MOST_RESAMPLES: Final = 1_000_000


def compare(
    runs: Sequence[str | Path | Run],
    *,
    split: str = "test",
    baseline: str | Path | Run | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    output: str | Path | None = None,
    evaluate: bool = False,
    data_dir: str | Path | None = None,
    device: str = "auto",
    note: Note | None = None,
    progress: Callable[[str], Progress] | None = None,
) -> Comparison:
    """Compare finished runs on the images of `split` ("test" or "validation"), pair by pair; runs of one recipe count together.

    baseline: compare every recipe with that of this run only. resamples, seed: of the bootstrap (cifarlab.paired). output: a folder
    that gets comparison.html and its figures. Predictions on validation are made where they are missing; those on test only with
    `evaluate`, and each such reading is counted in its run. data_dir: where the data lies now, for that and for the pictures.
    progress(run name) gives a callback for an evaluation. Raises UsageError with every problem at once, before anything is computed.
    """
    if wrong := _check_types(runs, baseline, output):
        raise ConfigError(wrong, source="compare")
    problems = _check_options(split, resamples, seed, output)
    paths = [_path(run) for run in runs]
    of_baseline = None if baseline is None else _path(baseline)
    if of_baseline is not None and not any(_same(path, of_baseline) for path in paths):
        paths.append(of_baseline)
    problems += _check_paths(paths)
    if split not in SPLITS:
        raise ConfigError(problems, source="compare")
    paths = [path for place, path in enumerate(paths) if not any(_same(path, other) for other in paths[:place])]
    opened, more = _open_all(paths, split, evaluate=evaluate)
    problems += more + _check_alike(opened, split)
    if problems:
        raise ConfigError(problems, source="compare")
    for one in opened:
        if one.predictions is None:
            _evaluate(one, split, data_dir=data_dir, device=device, note=note, progress=progress)
    if late := _check_alike(opened, split):
        raise ConfigError(late, source="compare")
    compared = [one.compared() for one in opened]
    chosen = next((run for run, path in zip(compared, paths, strict=True) if of_baseline is not None and _same(path, of_baseline)), None)
    comparison = compare_runs(compared, baseline=chosen, resamples=resamples, seed=seed)
    if output is None:
        return comparison
    images = _find_images(comparison, data_dir, note)
    return replace(comparison, page=write_comparison(Path(output), comparison, images=images))


# -- what is compared ------------------------------------------------------------------------------------------


@dataclass
class _Opened:
    """A run whose files hold; predictions: None where they are still to be made."""

    label: str
    directory: RunDirectory
    recipe: dict[str, Any]
    status: dict[str, Any]
    env: dict[str, Any]
    epochs: list[dict[str, Any]]
    predictions: Predictions | None
    class_names: tuple[str, ...] | None
    checksum: str | None

    def compared(self) -> ComparedRun:
        assert self.predictions is not None
        return ComparedRun(self.label, self.directory, self.recipe, self.status, self.env, self.epochs, self.predictions)


def _check_types(runs: object, baseline: object, output: object) -> list[str]:
    """What is neither a run nor a list of runs; a string is no list, though it could be read letter by letter."""
    problems = []
    many = "a list of run directories, such as ['runs/a', 'runs/b']"
    if not isinstance(runs, Sequence) or isinstance(runs, str):
        problems.append(f"runs must be {many} (given: {runs!r})")
    else:
        problems += [f"runs must be {many}; this is no run directory: {run!r}" for run in runs if not _is_run(run)]
    if baseline is not None and not _is_run(baseline):
        problems.append(f"baseline must be a run directory, such as 'runs/a', or None (given: {baseline!r})")
    if output is not None and not isinstance(output, str | Path):
        problems.append(f"output must be a folder or None (given: {output!r})")
    return problems


def _is_run(value: object) -> bool:
    """A path, or what holds one: asking for the class Run itself would import PyTorch."""
    return isinstance(value, str | Path) or isinstance(getattr(value, "path", None), Path)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_options(split: str, resamples: int, seed: int, output: str | Path | None) -> list[str]:
    problems = []
    if split not in SPLITS:
        problems.append(unknown("split", split, SPLITS))
    if not _is_whole(resamples) or not LEAST_RESAMPLES <= resamples <= MOST_RESAMPLES:
        problems.append(f"resamples {resamples!r}: allowed is a whole number from {LEAST_RESAMPLES} to {MOST_RESAMPLES}, for example 10000")
    if not _is_whole(seed) or seed < 0:
        problems.append(f"seed {seed!r}: allowed is a whole number from 0")
    if output is not None:
        folder = Path(output)
        if folder.exists() and not folder.is_dir():
            problems.append(f"cannot write into {folder}: it is a file; name a folder for the page and its figures")
        elif (folder / "status.json").exists():
            problems.append(f"cannot write into {folder}: it is a run directory; name a folder of its own for the comparison")
        elif not folder.parent.is_dir():
            problems.append(f"cannot write into {folder}: no such folder as {folder.parent}; make it first")
    return problems


def _check_paths(paths: Sequence[Path]) -> list[str]:
    problems = []
    for place, path in enumerate(paths):
        earlier = next((other for other in paths[:place] if _same(other, path)), None)
        if earlier is not None:
            name = "" if str(path) == str(earlier) else f" (as {earlier}, too)"
            problems.append(f"{path} is given twice{name}: a run compared with itself says nothing")
    if len(paths) < 2:
        given = f"only {paths[0]}" if paths else "none"
        problems.append(f"a comparison needs at least two runs; given: {given}")
    return problems


def _path(run: str | Path | Run) -> Path:
    return Path(run) if isinstance(run, str | Path) else run.path


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _open_all(paths: Sequence[Path], split: str, *, evaluate: bool) -> tuple[list[_Opened], list[str]]:
    """The runs that can be compared, and a line for each that cannot."""
    opened, problems = [], []
    labels = _labels(paths)
    for path, label in zip(paths, labels, strict=True):
        try:
            opened.append(_open(path, label, split, evaluate=evaluate))
        except CifarlabError as error:
            problems.append(str(error))
    return opened, list(dict.fromkeys(problems))


def _labels(paths: Sequence[Path]) -> list[str]:
    """The names of the runs; those that several have, with as many folders before them as tell them apart."""
    parts = [Path(os.path.realpath(path)).parts for path in paths]
    labels = []
    for own in parts:
        length = 1
        while length < len(own) and sum(other[-length:] == own[-length:] for other in set(parts)) > 1:
            length += 1
        labels.append("/".join(own[-length:]))
    return labels


def _open(path: Path, label: str, split: str, *, evaluate: bool) -> _Opened:
    """Raises UsageError or RunError where `path` is no finished run or lacks what is compared and cannot be made."""
    directory = RunDirectory.open(path)
    status = directory.status()
    recipe, env = _read_recipe(directory), directory.read_json("env.json")
    if status.get("state") != "done":
        trains = "model" in recipe  # a classical baseline has none, and nothing to resume
        remedy = f"Finish it with: cifarlab train --resume {path}" if trains else "Run its command again"
        raise UsageError(f"{path} is {status.get('state')}, not done. {remedy}")
    predictions = None
    if directory.predictions_file(split).exists():
        predictions = _checked(Predictions.load(directory.predictions_file(split)), path, split)
        class_names, checksum = predictions.class_names, predictions.checksum
    else:
        _refuse_missing(directory, env, split, evaluate=evaluate)
        names = directory.read_json("bundle.json").get("classes")
        class_names = tuple(map(str, names)) if isinstance(names, list) else None  # type: ignore[assignment]
        checksum = env.get(f"checksum_{split}")  # type: ignore[assignment]
    return _Opened(label, directory, recipe, status, env, directory.epochs(), predictions, class_names, checksum)


def _read_recipe(directory: RunDirectory) -> dict[str, Any]:
    """The recipe as written, with fields that came into cifarlab since then at their defaults: a run is of the same recipe whichever
    version wrote it. Sections that it lacks stay away, for a classical baseline has no optimizer."""
    try:
        text = directory.recipe_file.read_text(encoding="utf-8")
        recipe = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunError(f"{directory.recipe_file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(recipe, dict):
        raise RunError(f"{directory.recipe_file} is damaged: a recipe is a mapping")
    try:
        complete = parse_recipe(text).model_dump(mode="json")
    except ConfigError:  # of another kind than a network's; it is compared as it stands
        return recipe
    return complete if "train" in recipe else {key: value for key, value in complete.items() if key in recipe}


def _checked(predictions: Predictions, path: Path, split: str) -> Predictions:
    """`predictions` where its parts belong together; raises RunError otherwise."""
    n, k = len(predictions.labels), len(predictions.class_names)
    sound = (
        n > 0
        and predictions.labels.dtype.kind in "iu"
        and predictions.final_logits.shape == (n, k)
        and predictions.sample_ids.shape == (n,)
        and bool(np.isfinite(predictions.final_logits).all())
        and 0 <= int(predictions.labels.min()) <= int(predictions.labels.max()) < k
        and len(np.unique(predictions.sample_ids)) == n
    )
    if not sound:
        raise RunError(f"{path}/predictions/{split}.npz is damaged: its ids, labels, classes and logits do not belong together")
    if predictions.split != split:
        raise RunError(f"{path}/predictions/{split}.npz holds predictions of the {predictions.split} split, not of {split}")
    return predictions


def _refuse_missing(directory: RunDirectory, env: dict[str, Any], split: str, *, evaluate: bool) -> None:
    """Raise UsageError unless the missing predictions of `split` can, and may, be made."""
    path, sizes = directory.path, env.get("sizes")
    if split == "validation" and env.get("validated_on") == "test":
        raise UsageError(f"{path} has no validation split (it validated on test); compare it with --split test")
    if split == "validation" and isinstance(sizes, dict) and not sizes.get("validation"):
        raise UsageError(f"{path} has no validation split (data.validation is 0); compare it with --split test")
    if not any(path.glob("weights/*.safetensors")):
        raise UsageError(f"{path} has no predictions of the {split} split, and no weights to make them with")
    if split == "test" and not evaluate:
        raise UsageError(
            f"{path} has no predictions of the test split. Make them with: cifarlab evaluate {path} --split test "
            "(or --evaluate here); either way the reading is counted in the run"
        )


def _check_alike(opened: Sequence[_Opened], split: str) -> list[str]:
    """A line for each run whose images are not those of the first, and for each that is a copy."""
    problems = []
    for one in opened[1:]:
        first = opened[0]
        heads = f"{one.directory.path} and {first.directory.path}"
        if None not in (one.class_names, first.class_names) and one.class_names != first.class_names:
            same = sorted(one.class_names or ()) == sorted(first.class_names or ())
            how = "the same classes in another order" if same else f"{_some(one.class_names)} and {_some(first.class_names)}"
            problems.append(f"{heads} have other classes: {how}. Compare runs of the same classes")
        elif one.predictions is not None and first.predictions is not None:
            problems += _differing_images(heads, one, first, split)
        elif one.checksum != first.checksum:
            problems.append(f"{heads} have other data: the checksums of their {split} splits differ. {_why_split_differs(one, first)}")
    return problems + _copies(opened)


def _differing_images(heads: str, one: _Opened, first: _Opened, split: str) -> list[str]:
    a, b = one.predictions, first.predictions
    assert a is not None
    assert b is not None
    if not np.array_equal(np.sort(a.sample_ids), np.sort(b.sample_ids)):
        shared = len(np.intersect1d(a.sample_ids, b.sample_ids))
        counts = f"{len(a.labels)} and {len(b.labels)} images, {shared} of them in both"
        return [f"{heads} have other sample ids: their {split} splits hold {counts}. {_why_split_differs(one, first)}"]
    if not np.array_equal(a.sample_ids, b.sample_ids):
        return [f"{heads} have the same {split} images in another order; evaluate both again with this version of cifarlab"]
    if not np.array_equal(a.labels, b.labels):
        return [f"{heads} have other labels: {int((a.labels != b.labels).sum())} of {len(a.labels)} {split} images differ in their class"]
    if a.checksum != b.checksum:
        return [f"{heads} have other data: the pixels of their {split} splits differ, though the sample ids are the same"]
    return []


def _copies(opened: Sequence[_Opened]) -> list[str]:
    """A line for each run that is one of the earlier ones under another name."""
    problems = []
    for place, one in enumerate(opened):
        for first in opened[:place]:
            if one.recipe != first.recipe or one.predictions is None or first.predictions is None:
                continue
            if np.array_equal(one.predictions.final_logits, first.predictions.final_logits):
                heads = f"{one.directory.path} and {first.directory.path}"
                problems.append(f"{heads} are copies of one run: recipe, seed and predictions are equal")
                break
    return problems


def _why_split_differs(one: _Opened, first: _Opened) -> str:
    """The fields of the recipes' data section that say why, and what to do."""
    own, other = _data_section(one.recipe), _data_section(first.recipe)
    named = ("name", "classes", "validation", "validate_on", "split_seed", "pooled")
    fields = [f"data.{key}: {own.get(key)} and {other.get(key)}" for key in named if own.get(key) != other.get(key)]
    return f"They differ in {'; '.join(fields)}" if fields else "Compare runs that were trained and evaluated on the same data"


def _data_section(recipe: dict[str, Any]) -> dict[str, Any]:
    section = recipe.get("data")
    return section if isinstance(section, dict) else {}


def _some(names: Sequence[str] | None) -> str:
    shown = list(names or ())
    return ", ".join(shown) if len(shown) <= 4 else f"{', '.join(shown[:3])}, ... ({len(shown)})"


def _evaluate(
    one: _Opened,
    split: str,
    *,
    data_dir: str | Path | None,
    device: str,
    note: Note | None,
    progress: Callable[[str], Progress] | None,
) -> None:
    """Make the predictions of a run; a reading of the test split is counted in it."""
    from cifarlab import api  # with it comes PyTorch, which a comparison of what is there does not need

    if note is not None:
        counted = "; this reading is counted in the run" if split == "test" else ""
        note(f"{one.label} has no predictions of the {split} split: making them{counted}")
    follow = progress(one.label) if progress is not None else lambda done, total: None
    api.evaluate(one.directory.path, split=split, data_dir=data_dir, device=device, report=split == "test", progress=follow, note=note)
    one.predictions = _checked(Predictions.load(one.directory.predictions_file(split)), one.directory.path, split)
    one.class_names, one.checksum = one.predictions.class_names, one.predictions.checksum
    one.status = one.directory.status()


# -- pictures ---------------------------------------------------------------------------------------------------


def _find_images(comparison: Comparison, data_dir: str | Path | None, note: Note | None) -> NDArray[np.uint8] | None:
    """The images that were compared, uint8 [N, H, W, 3], where their data is still there and unchanged; else None, and `note` hears."""
    from cifarlab.data import content_checksum, dataset_names, load_splits

    predictions = comparison.runs[0].predictions
    try:
        recipe, recorded = comparison.runs[0].recipe, comparison.runs[0].env.get("found_in")
        name = str(recipe["data"]["name"])
        where = Path(data_dir) if data_dir is not None else Path(recorded) if recorded and Path(recorded).exists() else None
        if where is not None and name not in dataset_names():
            name, where = str(where), None
        splits = load_splits(name, data_dir=where, download=False)
        ids = np.concatenate([part.sample_ids for part in splits])
        order = np.argsort(ids)
        place = order[np.minimum(np.searchsorted(ids, predictions.sample_ids, sorter=order), len(ids) - 1)]
        if not np.array_equal(ids[place], predictions.sample_ids):
            raise RunError("the data holds other images")
        from_test = place >= len(splits.train)
        images = np.empty((len(place), *splits.test.images.shape[1:]), dtype=np.uint8)
        images[from_test] = splits.test.images[place[from_test] - len(splits.train)]
        images[~from_test] = splits.train.images[place[~from_test]]
        if content_checksum(images, predictions.labels) != predictions.checksum:
            raise RunError("the data has changed since")
    except (CifarlabError, OSError, KeyError, TypeError, ValueError) as error:
        if note is not None:
            note(f"the page is made without pictures of the data: {error}")
        return None
    return images
