"""A folder of one's own images, one subfolder a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from cifarlab.data.dataset import Dataset, Splits
from cifarlab.data.images import SUFFIXES, fit_image, image_files, read_image
from cifarlab.data.splits import carve_validation
from cifarlab.errors import DataError, ImageError

_SHOWN: Final = 5
_SPLIT_NAMES: Final = ("train", "val", "valid", "validation", "test")
_ARRANGEMENTS: Final = "<class>/<image>, or train/<class>/<image> and test/<class>/<image>"


def read_folder(
    root: Path, *, size: int = 32, test_fraction: float = 0.2, seed: int = 0, note: Callable[[str], None] | None = None
) -> Splits:
    """Images of `root` as uint8 [N, size, size, 3]: upright, RGB, the central square, resized (bicubic).

    root: holds train/<class>/* and test/<class>/*, or <class>/* alone; then a stratified `test_fraction` drawn with `seed`
    becomes the test split. Classes are numbered in alphabetical order; sample ids are paths relative to `root`. Hidden
    files and folders are skipped. note hears of folders that are left out because they hold no images.
    Raises DataError where there are fewer than two classes, train and test differ in them, one of the two is missing or
    a validation folder stands beside them, or images or folders cannot be read.
    """
    if _is_divided(root):
        names, test_names = _class_names(root / "train"), _class_names(root / "test")
        if names != test_names:
            raise DataError(
                f"{root}: train and test hold different classes (only in train: {_listed(names, test_names)}; "
                f"only in test: {_listed(test_names, names)}). Give both the same subfolders"
            )
        _tell_empty((root / "train", root / "test"), note)
        return Splits(train=_read(root, "train", names, size), test=_read(root, "test", names, size))
    names = _class_names(root)
    _tell_empty((root,), note)
    whole = _read(root, "", names, size)
    train, test = carve_validation(whole, test_fraction, seed)
    if test is None:
        raise DataError(f"{root}: has no test folder, and a test fraction of 0 leaves nothing to measure on")
    return Splits(train=train, test=test)


def _listed(some: tuple[str, ...], others: tuple[str, ...]) -> str:
    return ", ".join(name for name in some if name not in others) or "none"


def _is_divided(root: Path) -> bool:
    """Whether `root` holds train and test; raises DataError for splits that would be left out or taken for classes."""
    folders = {path.name: path for path in _folders(root)}
    divided = {"train", "test"} <= folders.keys()
    # A folder such as test/ that holds images is a class like any other; one that holds classes is a split.
    found = [name for name, path in folders.items() if name.lower() in _SPLIT_NAMES and any(map(image_files, _folders(path)))]
    rest = ", ".join(name for name in found if name not in ("train", "test"))
    if divided and rest:
        raise DataError(
            f"{root}: holds train, test and {rest}, and {rest} would not be used. Move its images into train: validation is carved "
            "from the training images (data.validation sets how many)"
        )
    if found and not divided:
        raise DataError(
            f"{root}: {', '.join(found)} {'looks' if len(found) == 1 else 'look'} like splits, not classes, but both train and test are "
            f"needed. Rename the folder to measure on to test and the others, merged, to train; expected {_ARRANGEMENTS}. "
            "Validation is carved from the training images"
        )
    return divided


def _folders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted, without hidden ones such as .ipynb_checkpoints."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_dir())
    except OSError as error:
        raise DataError(f"{folder}: the directory cannot be listed ({error.strerror or error}); check its permissions") from error


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(entry.name for entry in _folders(folder) if image_files(entry))
    if len(names) < 2:
        raise DataError(
            f"{folder}: found {len(names)} folder{'' if len(names) == 1 else 's'} with images, and a classifier needs at least "
            f"two classes. Expected {_ARRANGEMENTS}; images end in {', '.join(SUFFIXES)}"
        )
    return names


def _tell_empty(folders: Sequence[Path], note: Callable[[str], None] | None) -> None:
    """Name the folders in `folders` that are no classes, for they hold no images."""
    if note is None:
        return
    empty = [str(entry) for folder in folders for entry in _folders(folder) if not image_files(entry)]
    if empty:
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        note(f"left out, without images: {', '.join(empty[:_SHOWN])}{more} (images end in {', '.join(SUFFIXES)})")


def _read(root: Path, split: str, class_names: tuple[str, ...], size: int) -> Dataset:
    files = [(path, label) for label, name in enumerate(class_names) for path in image_files(root / split / name)]
    images = np.empty((len(files), size, size, 3), dtype=np.uint8)
    unreadable: list[str] = []
    for number, (path, _) in enumerate(files):
        try:
            images[number] = fit_image(read_image(path), size=size)  # the rule by which prediction reads a photo
        except ImageError as error:
            unreadable.append(str(error))
    if unreadable:
        more = f"\n  ... and {len(unreadable) - _SHOWN} more" if len(unreadable) > _SHOWN else ""
        raise DataError(
            f"{root}: {len(unreadable)} of {len(files)} images cannot be read; mend or remove them:\n  "
            + "\n  ".join(unreadable[:_SHOWN])
            + more
        )
    labels = np.array([label for _, label in files], dtype=np.int64)
    ids = np.array([path.relative_to(root).as_posix() for path, _ in files])
    return Dataset(name=root.resolve().name, images=images, labels=labels, class_names=class_names, sample_ids=ids)
