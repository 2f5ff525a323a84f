"""A finished run -> a bundle folder, which others can load without the run and its data."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from cifarlab.bundle.calibration import calibrate, calibrate_selective, confirm
from cifarlab.bundle.card import write_card
from cifarlab.bundle.engines import finite
from cifarlab.bundle.manifest import FILES, FORMAT, WEIGHTS, is_bundle, read_description, record_file
from cifarlab.bundle.selective import FIRST, SELECTIVE, WHOLE
from cifarlab.bundle.torch_engine import TorchEngine
from cifarlab.data.dataset import Dataset
from cifarlab.errors import BundleError, RunError, UsageError, unknown
from cifarlab.files import atomic_writer, replace_folder, write_json
from cifarlab.metrics import softmax
from cifarlab.restore import restore, weights_path
from cifarlab.runs import Predictions, RunDirectory

MOST_DIFFERENCE: Final = 0.01  # of a probability that half precision may make; beyond it the export is refused
LEAST_VALUES: Final = 4096  # of a tensor that is stored in half precision
BATCH: Final = 250
RANGE_IMAGES: Final = 500  # that int8 takes the ranges of activations from
FORMATS: Final = ("onnx", "int8")
SITE: Final = "site"  # no format of a bundle, but a page: see cifarlab.exporting
LICENSE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_TRAINED_WITH: Final = ("cifarlab", "torch", "numpy", "python", "processor", "device", "threads", "precision", "git_revision")
Images = NDArray[np.uint8]
Progress = Callable[[int, int], None]
Note = Callable[[str], None]


@contextlib.contextmanager
def new_bundle(output: Path, *, force: bool = False) -> Iterator[Path]:
    """A folder beside `output` that takes its place when the block ends without an error; nothing is left otherwise.

    Raises UsageError where `output` exists and is not an empty folder (with `force`: nor a bundle that an export wrote).
    """
    check_output(output, force=force)
    temporary = output.with_name(f".{output.name}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            raise RunError(f"cannot write {output}: {error.strerror or error}. Choose another place") from error
        yield temporary
        check_output(output, force=force)
        try:
            replace_folder(temporary, output)
        except OSError as error:
            raise RunError(f"cannot write {output}: {error.strerror or error}. Choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_output(output: Path, *, force: bool = False) -> None:
    """Raise UsageError where a bundle may not be written to `output`."""
    if output.name in ("", ".."):  # the folder is put in place whole, and whoever stands in the one before would stand nowhere
        raise UsageError(f"--output {output} is no name of a folder; nothing was changed. Give one, such as {output / 'my-model'}")
    for parent in output.absolute().parents:
        if _holds_bundle(parent):
            raise UsageError(f"{output} lies inside the bundle {parent}; nothing was changed. Choose another --output")
    if not os.path.lexists(output):
        return
    if not output.is_dir() or output.is_symlink():
        raise UsageError(f"{output} exists and is not a folder; nothing was changed. Choose another --output")
    inside = {entry.name for entry in output.iterdir()}
    if not inside:
        return
    if strange := inside - {"bundle.json", "README.md", *FILES}:
        raise UsageError(
            f"{output} is not empty and holds what no export wrote ({', '.join(sorted(strange)[:3])}); nothing was changed. "
            "Choose another --output"
        )
    if not force:
        raise UsageError(f"{output} is not empty; nothing was changed. Choose another --output, or replace the bundle in it with --force")


def _holds_bundle(folder: Path) -> bool:
    """Whether `folder` is a bundle that can be read, and not a run directory."""
    if not os.path.isfile(folder / "bundle.json"):
        return False
    with contextlib.suppress(BundleError):
        return is_bundle(read_description(folder))
    return False


def check_request(output: Path, *, force: bool, to: Sequence[str], license: str | None) -> None:
    """Raise UsageError with every problem of an export's request, MissingDependencyError without ONNX where that is asked for."""
    problems = [unknown("format", name, (*FORMATS, SITE)) for name in to if name not in FORMATS]
    if license is not None and not LICENSE.fullmatch(license):
        problems.append(f"licence {license!r}: give an SPDX identifier such as apache-2.0, mit or cc-by-4.0")
    try:
        check_output(output, force=force)
    except UsageError as error:
        problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    if to:
        from cifarlab.bundle.onnx_export import require_exporter

        require_exporter()


def calibrate_run(run: RunDirectory, validation: Dataset, *, device: torch.device) -> dict[str, Any] | None:
    """`calibrate` from a run's predictions on `validation`, and what comes of it on the test split where that was evaluated already.

    With six views "selective" is fitted as well (see cifarlab.bundle.selective), for which the first two views are predicted here.
    """
    predictions = Predictions.load(run.predictions_file("validation"))
    calibration = calibrate(predictions)
    if calibration is None:
        return None
    test = run.predictions_file("test")
    calibration["confirmed"] = confirm(calibration, Predictions.load(test)) if test.exists() else None
    if predictions.tta != WHOLE:
        return calibration
    source = run.read_json("bundle.json")
    engine = TorchEngine(*restore(source, weights_path(run.path, source)), device=device)
    images = validation.images
    first = np.concatenate([engine.logits(images[start : start + BATCH], views=FIRST) for start in range(0, len(images), BATCH)])
    return calibrate_selective(calibration, predictions, finite(first))


def write_bundle(
    folder: Path,
    run: RunDirectory,
    *,
    name: str,
    half: bool,
    calibration: Mapping[str, Any] | None,
    examples: Dataset,
    examples_from: str,
    to: Sequence[str] = (),
    license: str | None = None,
    device: torch.device,
    progress: Progress = lambda done, total: None,
    note: Note | None = None,
) -> dict[str, Any]:
    """Write bundle.json, weights, what `to` names and README.md of a finished run into the empty `folder`; returns the description.

    half: store large tensors in float16. The images of `examples`, of the run's split `examples_from`, tell what that and the
    other formats change. Raises BundleError where half precision cannot hold the weights or changes too much.
    """
    source = run.read_json("bundle.json")
    weights = weights_path(run.path, source)
    tensors = _read_weights(weights)
    stored = _halved(tensors, weights) if half else tensors
    with atomic_writer(folder / WEIGHTS) as file:
        file.write(save(stored, metadata={"format": "pt"}))
    description = {
        "format": FORMAT,
        "name": name,
        **{key: source[key] for key in ("bundle_version", "model", "classes", "input", "tta")},
        **({"tta": SELECTIVE} if calibration is not None and SELECTIVE in calibration["views"] else {}),
        "weights": WEIGHTS,
        "precision": "float16" if half else "float32",
        "parity": None,
        "calibration": calibration,
        "metrics": _metrics(run),
        "test_reads": int(run.status().get("test_reads", 0)),
        "parameters": sum(value.numel() for value in tensors.values() if value.is_floating_point()),
        "dataset": _dataset(run, source),
        "recipe": source["recipe"],
        "license": license,
        "command": shlex.join(str(word) for word in run.read_json("env.json").get("command", [])),
        "trained_with": {key: value for key, value in run.read_json("env.json").items() if key in _TRAINED_WITH},
        "files": {WEIGHTS: record_file(folder / WEIGHTS)},
    }
    if half:
        description["parity"] = _parity(
            source, weights, folder, description, images=examples.images, images_from=examples_from, device=device, progress=progress
        )
    write_json(folder / "bundle.json", description)
    add_formats(folder, examples, examples_from, to=to, note=note)
    description = read_description(folder)  # what was written can be read
    write_card(folder, description)
    return description


def add_formats(folder: Path, examples: Dataset, examples_from: str, *, to: Sequence[str], note: Note | None = None) -> None:
    """Add to the bundle `folder` what `to` names, compared with PyTorch on `examples`; int8 takes its ranges from them too.

    note hears of each step before it begins: they take long.
    """
    if not to:
        return
    from cifarlab.bundle.onnx_export import write_onnx  # here: ONNX is an extra, and slow to import

    write_onnx(folder, images=examples.images, images_from=examples_from, note=note)
    if "int8" in to:
        from cifarlab.bundle.quantize import write_int8

        if note is not None:
            note("quantizing it to int8, and measuring what that changes")
        # Evenly spread, as a folder of pictures is sorted by class.
        ranges = examples.images[:: -(-len(examples) // RANGE_IMAGES)]
        write_int8(folder, calibration=ranges, images=examples.images, labels=examples.labels, images_from=examples_from)


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{file} cannot be read: {error}") from error


def _halved(tensors: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """The large tensors in float16; small ones, which weigh nothing in the file, as they are.

    speednet's whitening kernel of 288 values, in float16, changed a probability by 0.008; all else together by 0.0004.
    """
    halved = {
        name: value.half() if value.is_floating_point() and value.numel() >= LEAST_VALUES else value for name, value in tensors.items()
    }
    for name, value in halved.items():
        if not torch.isfinite(value.float()).all():
            raise BundleError(
                f"{source}: {name} has values beyond 65504, which half precision cannot hold; nothing was written. Export with --no-half"
            )
    return {name: value.contiguous() for name, value in halved.items()}


def _parity(
    source: Mapping[str, Any],
    weights: Path,
    folder: Path,
    description: Mapping[str, Any],
    *,
    images: Images,
    images_from: str,
    device: torch.device,
    progress: Progress,
) -> dict[str, Any]:
    """What half precision changes: the probabilities of `images` with the run's weights and with the bundle's, as they are given out."""
    # Of selective views a difference by which an image just stops or just goes on would be told, not one of precision.
    views = WHOLE if description["tta"] == SELECTIVE else str(description["tta"])
    fitted = ((description["calibration"] or {}).get("views") or {}).get(views)
    temperature = fitted["temperature"] if fitted else 1.0
    model, preprocess = restore(dict(source), weights)
    engines = TorchEngine(model, preprocess, device=device), TorchEngine.open(folder, description, device=device)
    largest, equal, done = 0.0, 0, 0
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        full, half = (softmax(finite(engine.logits(batch, views=views)) / temperature) for engine in engines)  # [B, K]
        largest = max(largest, float(np.abs(full - half).max()))
        equal += int((full.argmax(1) == half.argmax(1)).sum())
        done += len(batch)
        progress(done, len(images))
    if largest > MOST_DIFFERENCE:
        raise BundleError(
            f"half precision changes a probability by {largest:.4f} (at most {MOST_DIFFERENCE} is accepted); nothing was written. "
            "Export with --no-half"
        )
    return {
        "compared_with": "float32 weights of the run",
        "images": images_from,
        "n": len(images),
        "views": views,
        "max_abs_probability_difference": largest,
        "labels_equal": equal,
    }


def _metrics(run: RunDirectory) -> dict[str, Any]:
    """The run's metrics by split, as far as they were measured: test only where someone evaluated it."""
    if not (run.path / "metrics.json").exists():
        return {}
    kept = (
        "tta",
        "checksum",
        "accuracy",
        "correct",
        "errors",
        "n",
        "cross_entropy",
        "mse",
        "calibration_error",
        "per_class",
        "single_view",
    )
    return {split: {key: score[key] for key in kept if key in score} for split, score in run.read_json("metrics.json").items()}


def _dataset(run: RunDirectory, source: Mapping[str, Any]) -> dict[str, Any]:
    env = run.read_json("env.json")
    sizes = env.get("sizes", {})
    return {
        "name": source["dataset"]["name"],
        "sizes": sizes,
        "validated_on": env.get("validated_on"),
        "checksums": {split: env[f"checksum_{split}"] for split in sizes if f"checksum_{split}" in env},
    }
