"""CIFAR-10 from any of its published packings, checked down to the last pixel.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html.
The python layout (pickles), the binary layout (records of 1 + 3072 bytes) and the two published archives hold the same
images. A published MD5 tells that a file is a known packing; the SHA-256 of the decoded pixels and labels decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cifarlab.data.batch_pickle import load_batch_pickle, to_array
from cifarlab.data.dataset import Dataset, Images, Labels, Splits, content_checksum
from cifarlab.errors import DataError

_SIDE: Final = 32
_PIXELS: Final = 3 * _SIDE * _SIDE
_META: Final = "batches.meta"
_ARCHIVE_ENDINGS: Final = (".tar.gz", ".tgz", ".tar")
_REMEDY: Final = (
    "Replace it by the official file, or fetch a fresh copy with: cifarlab data get cifar10 (a damaged folder is left as it is: "
    "there, choose another place with --data-dir DIR)"
)

ARCHIVE_MD5: Final = {  # as published beside the archives
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
}
ARCHIVE_NAMES: Final = tuple(ARCHIVE_MD5)


@dataclass(frozen=True)
class CifarLayout:
    """What a complete copy consists of. Tests read small copies through a layout of their own."""

    class_names: tuple[str, ...]
    train_batches: int
    images_per_batch: int
    train_checksum: str
    test_checksum: str
    batch_checksums: Mapping[str, str] = field(default_factory=dict)  # content of each batch, whatever its packing
    known_md5: Mapping[str, str] = field(default_factory=dict)

    @property
    def batches(self) -> tuple[str, ...]:
        return (*(f"data_batch_{number}" for number in range(1, self.train_batches + 1)), "test_batch")

    def file_names(self, packing: str) -> tuple[str, ...]:
        """All files of the "python" or the "binary" packing."""
        if packing == "binary":
            return (*(f"{name}.bin" for name in self.batches), f"{_META}.txt")
        return (*self.batches, _META)

    @property
    def size_limit(self) -> int:
        """Bytes beyond which a file cannot be one of these; pickles also hold the file names of the images."""
        return 2 * self.images_per_batch * _PIXELS + (1 << 20)


OFFICIAL: Final = CifarLayout(
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    train_batches=5,
    images_per_batch=10_000,
    train_checksum="3567dfbd32122a29233d507443ca1844e6bf727016d1b806dd05268db27f887e",
    test_checksum="e600ce11aaf5eb6759aae8ec88c3ab7c664a3bb307f49f95ddb7a5333c26325a",
    batch_checksums={
        "data_batch_1": "af54bf6ae3b5c6dc04dfb5c63e2d137aa5b7a5e67671fa2629ae2009f38fcf4b",
        "data_batch_2": "02ae9ea6925bbae9a4149ab26c8bca78bac0052d7c4b93d593d5717591710e7c",
        "data_batch_3": "f81071912cfe81cea40cf1a59fa445fe775fc508c1b16b89f1b491202a95ea53",
        "data_batch_4": "53a83e144b8dc4b71d809707e30ebc8d870bcf62687fc6bfdb2967d4a701c3ab",
        "data_batch_5": "6a4a6a16018d7f491d008ec2d5cee2b0067f4760e11d69ee06d337206659edd0",
        "test_batch": "e600ce11aaf5eb6759aae8ec88c3ab7c664a3bb307f49f95ddb7a5333c26325a",
    },
    known_md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        **ARCHIVE_MD5,
    },
)


class CifarFile(NamedTuple):
    """One file as found. `known`: its MD5 is the published one. `official`: its content is, however packed."""

    name: str
    size: int
    md5: str
    known: bool
    official: bool


@dataclass(frozen=True)
class CifarReport:
    """The outcome of `check_cifar10`; checksums are SHA-256 (hex) of decoded pixels and labels.

    archive: the archive that `files` were read out of, or None where they lie in a folder.
    """

    path: Path
    packing: str
    files: tuple[CifarFile, ...]
    train_checksum: str
    test_checksum: str
    train_official: bool
    test_official: bool
    archive: CifarFile | None = None

    @property
    def ok(self) -> bool:
        return self.train_official and self.test_official


def find_cifar10(path: Path, *, layout: CifarLayout = OFFICIAL) -> Path | None:
    """Where under `path` a copy lies: the folder itself, a published folder or archive inside it, or an archive; else None.

    Raises DataError where the system does not let one look.
    """
    with _looking_at(path):
        if path.is_file():
            return path if path.name.endswith(_ARCHIVE_ENDINGS) else None
        candidates = (path, path / "cifar-10-batches-py", path / "cifar-10-batches-bin")
        for folder in candidates:
            if _folder_packing(folder, layout) is not None:
                return folder
        return next((path / name for name in ARCHIVE_NAMES if (path / name).is_file()), None)


def read_cifar10(path: Path, *, layout: CifarLayout = OFFICIAL) -> Splits:
    """CIFAR-10: train [50000, 32, 32, 3] and test [10000, 32, 32, 3], uint8, verified.

    path: a folder of the python or binary layout, an archive, or a folder that contains one of these (see `find_cifar10`).
    Sample ids count in batch order: "train/00000" to "train/49999", "test/00000" to "test/09999".
    Raises DataError where a file is missing, truncated, damaged, unsafe, or holds other images than the published ones.
    """
    splits, report = _read(path, layout)
    if not report.ok:
        wrong = [file.name for file in report.files if not file.official]
        raise DataError(
            f"{report.path}: this is not CIFAR-10. The shapes are right, but pixels or labels differ from the published ones in: "
            f"{', '.join(wrong) or 'the order of the batches'}. {_REMEDY}"
        )
    return splits


def check_cifar10(path: Path, *, layout: CifarLayout = OFFICIAL) -> CifarReport:
    """What `path` holds, file by file, without insisting that the images are the published ones.

    Raises DataError where the copy cannot be read at all (missing, truncated or damaged files).
    """
    report = _read(path, layout)[1]
    return replace(report, archive=_describe_archive(report, layout)) if report.path.is_file() else report


def _read(path: Path, layout: CifarLayout) -> tuple[Splits, CifarReport]:
    found = find_cifar10(path, layout=layout)
    if found is None:
        raise DataError(
            f"{path}: no CIFAR-10 here. Expected the folder cifar-10-batches-py or cifar-10-batches-bin, its files, "
            f"or one of {' and '.join(ARCHIVE_NAMES)}. Fetch it with: cifarlab data get cifar10 --data-dir {path}"
        )
    train_n = layout.train_batches * layout.images_per_batch
    images = np.empty((train_n + layout.images_per_batch, _SIDE, _SIDE, 3), dtype=np.uint8)
    labels = np.empty(len(images), dtype=np.int64)
    files: dict[str, CifarFile] = {}
    # Batches arrive in any order (the archives are not sorted) and each goes to its place at once, so that
    # only one raw file is in memory beside the arrays.
    for name, raw in _files(found, layout):
        md5 = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        known = layout.known_md5.get(name) == md5
        source = f"{found / name}" if found.is_dir() else f"{found}, member {name}"
        if name.startswith(_META):
            official = _meta_names(name, raw, source=source, known=known) == layout.class_names
            if not official:
                raise DataError(f"{source}: does not name the classes {', '.join(layout.class_names)}. {_REMEDY}")
        else:
            stem = name.removesuffix(".bin")
            start = layout.batches.index(stem) * layout.images_per_batch
            place = slice(start, start + layout.images_per_batch)
            decode = _decode_binary if name.endswith(".bin") else _decode_python
            _fill(images[place], labels[place], decode, raw, layout=layout, source=source, known=known)
            expected = layout.batch_checksums.get(stem)
            # A known MD5 settles it; the second hash is spent on unknown packings only.
            official = known or expected is None or expected == content_checksum(images[place], labels[place])
        files[name] = CifarFile(name, len(raw), md5, known, official)

    splits = Splits(
        train=_dataset("train", images[:train_n], labels[:train_n], layout),
        test=_dataset("test", images[train_n:], labels[train_n:], layout),
    )
    sums = splits.train.checksum, splits.test.checksum
    packing = "binary" if any(name.endswith(".bin") for name in files) else "python"
    in_order = tuple(files[name] for name in layout.file_names(packing))
    return splits, CifarReport(found, packing, in_order, *sums, sums[0] == layout.train_checksum, sums[1] == layout.test_checksum)


def _dataset(split: str, images: Images, labels: Labels, layout: CifarLayout) -> Dataset:
    ids = np.array([f"{split}/{number:05d}" for number in range(len(images))])
    return Dataset(name="cifar10", images=images, labels=labels, class_names=layout.class_names, sample_ids=ids)


# -- files: from a folder or an archive, as bytes -----------------------------------------------------------------


@contextlib.contextmanager
def _looking_at(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be looked into ({error.strerror or error}). Check the path and its permissions") from error


def _describe_archive(report: CifarReport, layout: CifarLayout) -> CifarFile:
    """The archive as one file. That its packing is unknown says nothing about its content, which was read already."""
    path = report.path
    try:
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        known = md5 in [layout.known_md5.get(name) for name in ARCHIVE_NAMES]
        return CifarFile(path.name, path.stat().st_size, md5, known, report.ok)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}). Check the disk and the permissions") from error


def _folder_packing(folder: Path, layout: CifarLayout) -> str | None:
    """The packing of which `folder` holds at least one batch, the python one first."""
    for packing in ("python", "binary"):
        if any((folder / name).exists() for name in layout.file_names(packing)[:-1]):
            return packing
    return None


def _files(found: Path, layout: CifarLayout) -> Iterator[tuple[str, bytes]]:
    """Each file of the copy at `found` exactly once, with its bytes; raises DataError where one is missing."""
    if found.is_file():
        yield from _archive_files(found, layout)
        return
    with _looking_at(found):
        packing = _folder_packing(found, layout)
        assert packing is not None
        names = layout.file_names(packing)
        present = {name for name in names if (found / name).is_file()}
    _require(found, present, names)
    for name in names:
        path = found / name
        try:
            size = path.stat().st_size
            if size > layout.size_limit:
                raise DataError(f"{path}: {size} bytes, far more than such a file has (at most {layout.size_limit}). {_REMEDY}")
            yield name, path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error}). Check the disk and the permissions") from error


def _archive_files(archive: Path, layout: CifarLayout) -> Iterator[tuple[str, bytes]]:
    """As `_files`, out of a .tar or .tar.gz: members are read in memory and never written anywhere."""
    wanted = {packing: layout.file_names(packing) for packing in ("python", "binary")}
    seen: set[str] = set()
    packing = ""
    total = 0
    try:
        with tarfile.open(archive, mode="r:*") as tar:
            for member in tar:
                total += member.size
                if total > layout.size_limit * (layout.train_batches + 3):
                    raise DataError(f"{archive}: unpacks to more than CIFAR-10 can be; refused. {_REMEDY}")
                name = Path(member.name).name
                # Reading goes on until one packing is complete; a file of the other one is then no business of ours.
                if name not in (wanted[packing] if packing else (*wanted["python"], *wanted["binary"])):
                    continue
                packing = packing or ("binary" if name in wanted["binary"] else "python")
                if not member.isreg() or member.size > layout.size_limit or name in seen:
                    kind = "a second time" if name in seen else "oversized" if member.isreg() else "as a link or device"
                    raise DataError(f"{archive}: holds {member.name} {kind}; refused. {_REMEDY}")
                file = tar.extractfile(member)
                raw = file.read() if file is not None else b""
                if len(raw) != member.size:
                    raise DataError(f"{archive}: ends within {member.name} ({len(raw)} of {member.size} bytes). {_REMEDY}")
                seen.add(name)
                yield name, raw
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{archive}: not a whole archive ({error}); it is truncated or damaged. {_REMEDY}") from error
    _require(archive, seen, wanted[packing or "python"])


def _require(place: Path, present: set[str], names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in present]
    if missing:
        raise DataError(f"{place}: incomplete, {len(missing)} of {len(names)} files missing: {', '.join(missing)}. {_REMEDY}")


# -- decoding -----------------------------------------------------------------------------------------------------

_Decoded = tuple[NDArray[np.uint8], NDArray[np.int64]]


def _fill(
    images: Images, labels: Labels, decode: Callable[..., _Decoded], raw: bytes, *, layout: CifarLayout, source: str, known: bool
) -> None:
    """Decode one batch into its place: images uint8 [n, 32, 32, 3], labels int64 [n]."""
    planes, found = decode(raw, count=layout.images_per_batch, source=source, known=known)
    if found.min() < 0 or found.max() >= len(layout.class_names):
        raise DataError(f"{source}: labels run from {found.min()} to {found.max()}, expected 0 to {len(layout.class_names) - 1}. {_REMEDY}")
    labels[:] = found
    chw = planes.reshape(-1, 3, _SIDE, _SIDE)
    for channel in range(3):  # plane by plane is several times faster than one transposed copy
        images[..., channel] = chw[:, channel]  # [n, C, H, W] -> [n, H, W, C]


def _decode_python(raw: bytes, *, count: int, source: str, known: bool) -> _Decoded:
    batch = load_batch_pickle(raw, source=source, known=known)
    missing = [key for key in ("data", "labels") if key not in batch]
    if missing:
        raise DataError(f"{source}: no {' and no '.join(map(repr, missing))} in it; not a CIFAR-10 batch. {_REMEDY}")
    pixels = to_array(batch["data"], source=source)
    labels = to_array(batch["labels"], source=source)
    if pixels.dtype != np.uint8 or pixels.shape != (count, _PIXELS):
        raise DataError(f"{source}: pixels are {pixels.dtype} {list(pixels.shape)}, expected uint8 [{count}, {_PIXELS}]. {_REMEDY}")
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise DataError(f"{source}: labels are {labels.dtype} {list(labels.shape)}, expected {count} integers. {_REMEDY}")
    return pixels, labels.astype(np.int64)


def _decode_binary(raw: bytes, *, count: int, source: str, known: bool) -> _Decoded:
    record = 1 + _PIXELS
    if len(raw) != count * record:
        raise DataError(f"{source}: {len(raw)} bytes, expected {count * record} ({count} records of {record}). {_REMEDY}")
    records = np.frombuffer(raw, dtype=np.uint8).reshape(count, record)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _meta_names(name: str, raw: bytes, *, source: str, known: bool) -> tuple[str, ...]:
    """The class names of batches.meta (pickle) or batches.meta.txt (one a line)."""
    if name.endswith(".txt"):
        return tuple(line.strip() for line in raw.decode("latin1").splitlines() if line.strip())
    names = load_batch_pickle(raw, source=source, known=known).get("label_names")
    if not isinstance(names, list) or not all(isinstance(item, str | bytes) for item in names):
        raise DataError(f"{source}: no list of label names in it. {_REMEDY}")
    return tuple(item.decode("latin1") if isinstance(item, bytes) else item for item in names)
