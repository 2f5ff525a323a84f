"""bundle.json: the description of a trained model, and the files that it vouches for.

A bundle is one folder: bundle.json, the files that it lists with size and SHA-256, and README.md, the model card. A run directory
has a bundle.json as well, without "format" and "files": it is read as a bundle whose weights lie in weights/.
Nothing here loads PyTorch. Whoever wrote a bundle is not trusted: every value is checked before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cifarlab.bundle.shipped import no_model
from cifarlab.data.images import RESIZE_RULES
from cifarlab.errors import BundleError, UsageError, unknown
from cifarlab.files import write_json

FORMAT: Final = 1  # of the bundle folder; a run directory has none
WEIGHTS: Final = "model.safetensors"
ONNX: Final = "model.onnx"
INT8: Final = "model.int8.onnx"
FILES: Final = (WEIGHTS, ONNX, INT8)  # all that bundle.json may vouch for: names, never paths
COLORS: Final = ("rgb", "gray")  # what a network sees of a picture
VIEWS: Final = ("none", "flip", "six", "selective")  # as cifarlab.augment has them, which needs PyTorch, and cifarlab.bundle.selective
MOST_BYTES: Final = 4 << 20  # of bundle.json
MOST_CLASSES: Final = 10_000
LARGEST_SIDE: Final = 1024  # pixels
SCORES: Final = ("energy", "max-probability")  # what an image may be judged by: see cifarlab.bundle.calibration
MOST_LOST: Final = 0.003  # of the answers that int8 may lose before whoever exports is warned
_AGAIN: Final = "Copy or download the bundle again"
Json = dict[str, Any]


def read_description(folder: Path) -> Json:
    """The content of `folder`'s bundle.json with every part that a predictor needs checked.

    Raises UsageError where `folder` holds none, BundleError where it is damaged or of another version.
    """
    file = folder / "bundle.json"
    try:
        if file.is_dir():
            raise BundleError(f"{file} is damaged: it is a folder, not a file. {_AGAIN}")
        if not file.is_file():
            raise UsageError(no_model(folder))
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise BundleError(f"{file} is damaged: it has more than {MOST_BYTES >> 20} MiB")
        description = json.loads(content.decode("utf-8"))
    # A description nested a thousand deep ends the parser with RecursionError; a path with a NUL is a ValueError.
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise BundleError(f"{file} is damaged: {error}") from error
    if not isinstance(description, dict):
        raise BundleError(f"{file} is damaged: a JSON object was expected")
    if is_bundle(description) and not _whole(description["format"], FORMAT, FORMAT):
        raise BundleError(
            f"{folder} was written in version {repr(description['format'])[:20]} of the bundle; this cifarlab reads version {FORMAT}. "
            "Use the cifarlab release that wrote it, or export the run again"
        )
    if problem := _problem(description):
        raise BundleError(f"{file} is damaged: {problem}")
    return description


@contextlib.contextmanager
def records_of(folder: Path) -> Iterator[None]:
    """Within it what the bundle.json of `folder` lacks, or holds in another form, raises BundleError.

    For whoever uses what is recorded beside the model (metrics, data, recipe): `read_description` checks what a predictor needs.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{folder / 'bundle.json'} is damaged or incomplete: {type(error).__name__}: {error}. {_AGAIN}") from error


def is_bundle(description: Mapping[str, Any]) -> bool:
    """Whether `description` is of a bundle, whose files have hashes, and not of a run directory."""
    return "format" in description


def read_verified(folder: Path, description: Mapping[str, Any], name: str) -> bytes:
    """The content of a bundle's file, which has the size and SHA-256 that bundle.json records; what is used is what was hashed.

    Raises BundleError where bundle.json does not list `name`, the file is missing or its content differs.
    """
    recorded = description["files"].get(name)
    if recorded is None:
        raise BundleError(f"{folder} has no {name}: its bundle.json lists {', '.join(sorted(description['files'])) or 'no files'}")
    file = folder / name
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or device could block or never end
            raise BundleError(f"{file} is damaged: it is not a regular file")
        if status.st_size != recorded["bytes"]:
            raise BundleError(f"{file} is damaged: it has {status.st_size} bytes, and bundle.json records {recorded['bytes']}. {_AGAIN}")
        with file.open("rb") as stream:
            content = stream.read(recorded["bytes"])
    except FileNotFoundError:
        raise BundleError(f"{file} is missing, though bundle.json lists it. {_AGAIN}") from None
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror or error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != recorded["sha256"]:
        raise BundleError(
            f"{file} is damaged: its SHA-256 begins with {found[:12]}, and bundle.json records {recorded['sha256'][:12]}. {_AGAIN}"
        )
    return content


def update_description(folder: Path, changes: Mapping[str, Any], *, files: Sequence[str] = ()) -> Json:
    """Merge `changes` into a bundle's bundle.json, record size and SHA-256 of `files` anew, atomically; returns the whole.

    A dict in `changes` is merged into the one that is there, one level deep. Raises BundleError or RunError.
    """
    description = read_description(folder)
    for key, value in changes.items():
        before = description.get(key)
        description[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, Mapping) else value
    description["files"] = {**description.get("files", {}), **{name: record_file(folder / name) for name in files}}
    if problem := _problem(description):
        raise ValueError(f"bundle.json would be unreadable: {problem}")
    write_json(folder / "bundle.json", description)
    return description


def int8_warning(description: Mapping[str, Any]) -> str | None:
    """What is to be said of a bundle's int8 file that lost more than `MOST_LOST` of its answers, None where it did not."""
    right = ((description.get("onnx") or {}).get(INT8) or {}).get("accuracy")
    if right is None or (right["lost"] - right["won"]) <= MOST_LOST * right["n"]:
        return None
    lost = 100 * (right["before"] - right["after"])
    return (
        f"warning: int8 loses {lost:.2f} points of accuracy on {right['n']} {right['images']} images "
        f"({100 * right['before']:.2f} to {100 * right['after']:.2f} %), more than {100 * MOST_LOST:g}. "
        "Use --engine onnx where that matters"
    )


def record_file(file: Path) -> Json:
    """{"sha256", "bytes"} of a file, as bundle.json keeps them."""
    with file.open("rb") as stream:
        return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest(), "bytes": file.stat().st_size}


def _problem(description: Json) -> str | None:
    """What is wrong with a description's values, or None. Network and input statistics are checked where they are built."""
    classes = description.get("classes")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        return f"its classes must be a list of names, not {str(classes)[:80]}"
    if odd := [name for name in classes if not name.isprintable()]:  # a terminal would obey what it should show
        return f"the name of a class has characters that cannot be printed: {odd[0][:80]!r}"
    if len(classes) > MOST_CLASSES:
        return f"it has {len(classes)} classes; at most {MOST_CLASSES}"
    if len(set(classes)) < len(classes):
        return f"two of its classes have one name: {next(name for name in classes if classes.count(name) > 1)!r}"
    source = description.get("input")
    if not isinstance(source, dict):
        return f"its input must be an object, not {type(source).__name__}"
    if not _whole(source.get("size"), 1, LARGEST_SIDE):
        return f"its input size must be 1 to {LARGEST_SIDE} pixels, not {repr(source.get('size'))[:80]}"
    for key in ("center_crop", "network_size"):
        if source.get(key) is not None and not _whole(source[key], 1, LARGEST_SIDE):
            return f"its {key} must be 1 to {LARGEST_SIDE} pixels, not {repr(source[key])[:80]}"
    if source.get("color") not in COLORS:
        return unknown("color", source.get("color"), COLORS)
    if source.get("resize") not in RESIZE_RULES:
        return unknown("resize rule", source.get("resize"), RESIZE_RULES)
    if description.get("tta") not in VIEWS:
        return unknown("test-time augmentation", description.get("tta"), VIEWS)
    if not is_bundle(description):
        return "its views are selective, which only a bundle has" if description["tta"] == "selective" else None
    if description.get("weights") != WEIGHTS:
        return f"its weights must be {WEIGHTS}, not {repr(description.get('weights'))[:80]}"
    if problem := _file_problem(description.get("files")) or _calibration_problem(description.get("calibration")):
        return problem
    fitted = (description.get("calibration") or {}).get("views", {})
    if description["tta"] == "selective" and "selective" not in fitted:
        return "its views are selective, and its calibration has no confidence for them"
    return None


def _file_problem(files: object) -> str | None:
    if not isinstance(files, dict):
        return f"its files must be an object, not {type(files).__name__}"
    for name, recorded in files.items():
        if name not in FILES:
            return unknown("file", name, FILES)
        if not isinstance(recorded, dict) or not isinstance(recorded.get("sha256"), str) or not _whole(recorded.get("bytes"), 0, 1 << 40):
            return f"files[{name!r}] must hold sha256 and bytes"
    return None


def _calibration_problem(calibration: object) -> str | None:
    """Of {"score": name, "views": {views: {"temperature", "threshold", ...}}, ...} or None."""
    if calibration is None:
        return None
    if not isinstance(calibration, dict) or not isinstance(calibration.get("views"), dict):
        return "its calibration must be an object with views"
    if calibration.get("score") not in SCORES:
        return unknown("score", calibration.get("score"), SCORES)
    for name, fitted in calibration["views"].items():
        if name not in VIEWS or not isinstance(fitted, dict):
            return unknown("views in calibration", name, VIEWS)
        temperature, threshold = fitted.get("temperature"), fitted.get("threshold")
        if not _number(temperature, 1e-3, 1e3):
            return f"calibration: the temperature must lie in 0.001 to 1000, not {repr(temperature)[:80]}"
        if not _number(threshold, -1e300, 1e300):
            return f"calibration: the threshold must be a number, not {repr(threshold)[:80]}"
        if name == "selective" and not _number(fitted.get("confidence"), 0.0, 1.0):
            return f"calibration: the confidence of selective views must lie in 0 to 1, not {repr(fitted.get('confidence'))[:80]}"
    if "selective" in calibration["views"] and "flip" not in calibration["views"]:
        return "calibration: selective views need a temperature for flip, which they begin with"
    return None


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most  # NaN is not
