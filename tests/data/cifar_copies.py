"""Small copies in CIFAR's packings, for tests: a few images a batch, in every layout that is read."""

from __future__ import annotations

import io
import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.data.cifar import CifarLayout
from cifarlab.data.dataset import content_checksum

CLASSES = ("cat", "dog", "ship")
N = 4  # images a batch
BATCHES = ("data_batch_1", "data_batch_2", "test_batch")


@dataclass(frozen=True)
class Copy:
    """planes: uint8 [n, 3072] and labels: int64 [n] of each batch, with the layout that describes them."""

    planes: dict[str, NDArray[np.uint8]]
    labels: dict[str, NDArray[np.int64]]
    layout: CifarLayout


def make_copy() -> Copy:
    rng = np.random.default_rng(7)
    planes = {name: rng.integers(0, 256, (N, 3072), dtype=np.uint8) for name in BATCHES}
    labels = {name: rng.integers(0, len(CLASSES), N) for name in BATCHES}
    images = {name: planes[name].reshape(N, 3, 32, 32).transpose(0, 2, 3, 1) for name in BATCHES}
    train = BATCHES[:2]
    layout = CifarLayout(
        class_names=CLASSES,
        train_batches=2,
        images_per_batch=N,
        train_checksum=content_checksum(np.concatenate([images[n] for n in train]), np.concatenate([labels[n] for n in train])),
        test_checksum=content_checksum(images["test_batch"], labels["test_batch"]),
        batch_checksums={name: content_checksum(images[name], labels[name]) for name in BATCHES},
    )
    return Copy(planes, labels, layout)


def pickled(copy: Copy, name: str, *, protocol: int = 2) -> bytes:
    batch = {
        b"batch_label": b"a batch",
        b"labels": copy.labels[name].tolist(),
        b"data": copy.planes[name],
        b"filenames": [b"x.png"] * N,
    }
    return pickle.dumps(batch, protocol=protocol)


def python2_pickled(copy: Copy, name: str) -> bytes:
    """A batch as Python 2 and NumPy 1 wrote it, opcode by opcode: byte strings in BINSTRING, numpy.core names."""
    data = copy.planes[name].tobytes()
    labels = b"".join(b"K" + bytes([label]) for label in copy.labels[name].tolist())
    dtype = b"cnumpy\ndtype\n" + b"U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + b"(K\x01K"
        + bytes([N])
        + b"M\x00\x0c\x86"
        + dtype
        + b"\x89T"
        + len(data).to_bytes(4, "little")
        + data
        + b"tb"
    )
    return b"\x80\x02}(U\x06labels](" + labels + b"eU\x04data" + array + b"u."


def python_files(copy: Copy, *, protocol: int = 2) -> dict[str, bytes]:
    meta = {b"num_cases_per_batch": N, b"label_names": [name.encode() for name in CLASSES], b"num_vis": 3072}
    return {**{name: pickled(copy, name, protocol=protocol) for name in BATCHES}, "batches.meta": pickle.dumps(meta, protocol=protocol)}


def binary_files(copy: Copy) -> dict[str, bytes]:
    records = {
        f"{name}.bin": np.concatenate([copy.labels[name].astype(np.uint8)[:, None], copy.planes[name]], axis=1).tobytes()
        for name in BATCHES
    }
    return {**records, "batches.meta.txt": ("\n".join(CLASSES) + "\n\n").encode()}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


def write_archive(path: Path, files: dict[str, bytes], *, folder: str = "cifar-10-batches-py") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in sorted(files, reverse=True):  # not in batch order, as the published archives are not
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(files[name])
            tar.addfile(member, io.BytesIO(files[name]))
    return path
