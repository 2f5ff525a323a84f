from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import pickle
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cifar_copies import BATCHES, CLASSES, Copy, N, binary_files, pickled, python2_pickled, python_files, write_archive, write_folder

from cifarlab.data.cifar import OFFICIAL, check_cifar10, find_cifar10, read_cifar10
from cifarlab.errors import DataError


def _python_folder(copy: Copy, root: Path) -> Path:
    return write_folder(root / "copy", python_files(copy))


def _binary_folder(copy: Copy, root: Path) -> Path:
    return write_folder(root / "copy", binary_files(copy))


def _python_archive(copy: Copy, root: Path) -> Path:
    return write_archive(root / "cifar-10-python.tar.gz", python_files(copy))


def _binary_archive(copy: Copy, root: Path) -> Path:
    return write_archive(root / "cifar-10-binary.tar.gz", binary_files(copy), folder="cifar-10-batches-bin")


def _parent_of_python(copy: Copy, root: Path) -> Path:
    return write_folder(root / "cifar-10-batches-py", python_files(copy)).parent


def _parent_of_binary(copy: Copy, root: Path) -> Path:
    return write_folder(root / "cifar-10-batches-bin", binary_files(copy)).parent


def _parent_of_archive(copy: Copy, root: Path) -> Path:
    return _binary_archive(copy, root).parent


PLACES = [_python_folder, _binary_folder, _python_archive, _binary_archive, _parent_of_python, _parent_of_binary, _parent_of_archive]


@pytest.mark.parametrize("place", PLACES)
def test_every_packing_gives_the_same_images_labels_and_ids(place: Callable[[Copy, Path], Path], copy: Copy, tmp_path: Path) -> None:
    train, test = read_cifar10(place(copy, tmp_path), layout=copy.layout)
    for index in range(2 * N):
        batch, row = BATCHES[index // N], index % N
        for channel, y, x in ((0, 0, 0), (1, 3, 5), (2, 31, 30)):  # planes: channel, then row, then column
            assert train.images[index, y, x, channel] == copy.planes[batch][row, 1024 * channel + 32 * y + x]
        assert train.labels[index] == copy.labels[batch][row]
    assert train.images.shape == (2 * N, 32, 32, 3)
    assert test.labels.tolist() == copy.labels["test_batch"].tolist()
    assert train.class_names == CLASSES
    assert train.sample_ids.tolist() == [f"train/{n:05d}" for n in range(2 * N)]
    assert test.sample_ids[0] == "test/00000"


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_copy_packed_again_by_python_3_is_recognised_by_its_content(protocol: int, copy: Copy, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "copy", python_files(copy, protocol=protocol))
    report = check_cifar10(folder, layout=copy.layout)
    assert report.ok
    assert not any(file.known for file in report.files)


def test_python_2_pickles_are_read(copy: Copy, tmp_path: Path) -> None:
    files = {**python_files(copy), **{name: python2_pickled(copy, name) for name in BATCHES}}
    reference = pickle.loads(files["data_batch_1"], encoding="bytes")  # noqa: S301 - the test's own bytes: is the fixture a true pickle?
    assert np.array_equal(reference[b"data"], copy.planes["data_batch_1"])
    assert check_cifar10(write_folder(tmp_path / "copy", files), layout=copy.layout).ok


def test_labels_as_an_array_and_pixels_in_fortran_order_are_read(copy: Copy, tmp_path: Path) -> None:
    files = python_files(copy)
    batch = {"labels": copy.labels["test_batch"].astype(np.int32), "data": np.asfortranarray(copy.planes["test_batch"])}
    files["test_batch"] = pickle.dumps(batch, protocol=4)
    assert check_cifar10(write_folder(tmp_path / "copy", files), layout=copy.layout).ok


def test_a_published_md5_marks_a_known_packing(copy: Copy, tmp_path: Path) -> None:
    files = python_files(copy)
    md5 = {"test_batch": hashlib.md5(files["test_batch"]).hexdigest()}
    report = check_cifar10(write_folder(tmp_path / "copy", files), layout=dataclasses.replace(copy.layout, known_md5=md5))
    assert {file.name: file.known for file in report.files} == {**dict.fromkeys(files, False), "test_batch": True}


@pytest.mark.parametrize("pack", [python_files, binary_files])
def test_other_pixels_are_no_cifar10_and_the_files_are_named(pack: Callable[[Copy], dict[str, bytes]], copy: Copy, tmp_path: Path) -> None:
    planes = {**copy.planes, "data_batch_2": copy.planes["data_batch_2"].copy()}
    planes["data_batch_2"][1, 100] ^= 1
    folder = write_folder(tmp_path / "copy", pack(dataclasses.replace(copy, planes=planes)))
    with pytest.raises(DataError, match=r"differ from the published ones in: data_batch_2(\.bin)?\. Replace it"):
        read_cifar10(folder, layout=copy.layout)
    report = check_cifar10(folder, layout=copy.layout)
    assert (report.train_official, report.test_official, report.ok) == (False, True, False)


def test_swapped_batches_are_no_cifar10(copy: Copy, tmp_path: Path) -> None:
    files = python_files(copy)
    files["data_batch_1"], files["data_batch_2"] = files["data_batch_2"], files["data_batch_1"]
    with pytest.raises(DataError, match="data_batch_1, data_batch_2"):
        read_cifar10(write_folder(tmp_path / "copy", files), layout=copy.layout)


@pytest.mark.parametrize("pack", [python_files, binary_files])
def test_missing_files_are_all_named(pack: Callable[[Copy], dict[str, bytes]], copy: Copy, tmp_path: Path) -> None:
    files = pack(copy)
    missing = list(files)[1:3]
    for name in missing:
        del files[name]
    with pytest.raises(DataError, match=f"2 of 4 files missing: {', '.join(missing)}"):
        read_cifar10(write_folder(tmp_path / "copy", files), layout=copy.layout)
    with pytest.raises(DataError, match=f"2 of 4 files missing: {', '.join(missing)}"):
        read_cifar10(write_archive(tmp_path / "x.tar.gz", files), layout=copy.layout)


def test_a_truncated_binary_batch_says_expected_and_found(copy: Copy, tmp_path: Path) -> None:
    files = binary_files(copy)
    files["data_batch_1.bin"] = files["data_batch_1.bin"][:-1]
    with pytest.raises(DataError, match=r"data_batch_1\.bin: 12291 bytes, expected 12292 \(4 records of 3073\)"):
        read_cifar10(write_folder(tmp_path / "copy", files), layout=copy.layout)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({b"labels": [0] * N, b"data": np.zeros((N - 1, 3072), np.uint8)}, r"pixels are uint8 \[3, 3072\], expected uint8 \[4, 3072\]"),
        ({b"labels": [0] * N, b"data": np.zeros((N, 3072), np.int16)}, r"pixels are int16"),
        ({b"labels": [0] * N, b"data": np.zeros((N, 3072), np.float32)}, r"array elements of type <f4"),
        ({b"labels": [0] * N, b"data": np.array([[None] * 3072] * N)}, r"test_batch: not a readable CIFAR batch"),
        ({b"labels": [0] * (N + 1), b"data": np.zeros((N, 3072), np.uint8)}, r"labels are int64 \[5\], expected 4 integers"),
        ({b"labels": [0, 1, 2, 3], b"data": np.zeros((N, 3072), np.uint8)}, r"labels run from 0 to 3, expected 0 to 2"),
        ({b"labels": [0, 1, 2, -1], b"data": np.zeros((N, 3072), np.uint8)}, r"labels run from -1 to 2"),
        ({b"labels": [0, 1, 2, None], b"data": np.zeros((N, 3072), np.uint8)}, r"more than integers"),
        ({b"labels": [0] * N, b"data": b"pixels"}, r"a bytes where an array belongs"),
        ({b"labels": [0] * N}, r"no 'data' in it"),
        ([1, 2], r"holds a list, not a dictionary"),
    ],
)
def test_a_batch_of_another_shape_is_refused(batch: object, message: str, copy: Copy, tmp_path: Path) -> None:
    files = {**python_files(copy), "test_batch": pickle.dumps(batch, protocol=2)}
    with pytest.raises(DataError, match=message) as caught:
        read_cifar10(write_folder(tmp_path / "copy", files), layout=copy.layout)
    assert "test_batch" in str(caught.value)


def test_a_label_out_of_range_in_the_binary_layout_is_refused(copy: Copy, tmp_path: Path) -> None:
    files = binary_files(copy)
    files["test_batch.bin"] = b"\x09" + files["test_batch.bin"][1:]
    with pytest.raises(DataError, match=r"labels run from 0 to 9|labels run from 1 to 9|labels run from 2 to 9"):
        read_cifar10(write_folder(tmp_path / "copy", files), layout=copy.layout)


def test_other_class_names_are_refused(copy: Copy, tmp_path: Path) -> None:
    files = {**binary_files(copy), "batches.meta.txt": b"cat\ndog\nplane\n"}
    with pytest.raises(DataError, match="does not name the classes cat, dog, ship"):
        read_cifar10(write_folder(tmp_path / "copy", files), layout=copy.layout)


def test_an_oversized_file_is_refused_before_it_is_read(copy: Copy, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "copy", python_files(copy))
    with (folder / "test_batch").open("r+b") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that would not fit into memory
    with pytest.raises(DataError, match="far more than such a file has"):
        read_cifar10(folder, layout=copy.layout)


def test_nothing_there_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no CIFAR-10 here\. Expected the folder cifar-10-batches-py"):
        read_cifar10(tmp_path)
    assert find_cifar10(tmp_path) is None
    assert find_cifar10(tmp_path / "nowhere") is None


def test_an_archive_cut_short_is_refused(copy: Copy, tmp_path: Path) -> None:
    archive = _python_archive(copy, tmp_path)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match="truncated or damaged"):
        read_cifar10(archive, layout=copy.layout)


def test_a_file_that_only_claims_to_be_an_archive_is_refused(copy: Copy, tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match="not a whole archive"):
        read_cifar10(archive, layout=copy.layout)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_an_archive_are_refused(kind: bytes, copy: Copy, tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        member.type, member.linkname = kind, "/etc/hostname"
        tar.addfile(member)
    with pytest.raises(DataError, match="test_batch as a link or device; refused"):
        read_cifar10(archive, layout=copy.layout)


def test_an_oversized_member_is_refused(copy: Copy, tmp_path: Path) -> None:
    files = {**python_files(copy), "test_batch": bytes(copy.layout.size_limit + 1)}
    with pytest.raises(DataError, match="test_batch oversized; refused"):
        read_cifar10(write_archive(tmp_path / "x.tar.gz", files), layout=copy.layout)


def test_an_archive_that_unpacks_without_end_is_refused(copy: Copy, tmp_path: Path) -> None:
    files = {f"filler_{number}": bytes(copy.layout.size_limit) for number in range(6)}
    with pytest.raises(DataError, match="unpacks to more than CIFAR-10 can be"):
        read_cifar10(write_archive(tmp_path / "x.tar.gz", files), layout=copy.layout)


def test_a_member_given_twice_is_refused(copy: Copy, tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    raw = pickled(copy, "test_batch")
    with tarfile.open(archive, "w") as tar:
        for _ in range(2):
            member = tarfile.TarInfo("cifar-10-batches-py/test_batch")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    with pytest.raises(DataError, match="a second time; refused"):
        read_cifar10(archive, layout=copy.layout)


def test_reading_an_archive_writes_nothing(copy: Copy, tmp_path: Path) -> None:
    archive = _python_archive(copy, tmp_path)
    read_cifar10(archive, layout=copy.layout)
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


# -- the real files -----------------------------------------------------------------------------------------------


def test_the_real_files_are_official_and_read_in_time(real_cifar10: Path) -> None:
    report = check_cifar10(real_cifar10)
    assert report.ok
    if report.packing == "python":
        assert all(file.known for file in report.files)
    since = time.process_time()
    train, test = read_cifar10(real_cifar10)
    assert time.process_time() - since < 6  # 0.9 s measured for the python folder; generous for slow machines
    assert train.class_counts().tolist() == [5000] * 10
    assert test.class_counts().tolist() == [1000] * 10
    # The first test images are known to everybody who has plotted them.
    assert [test.class_names[label] for label in test.labels[:4]] == ["cat", "ship", "ship", "airplane"]


def test_the_real_images_packed_as_binary_are_recognised(real_cifar10: Path, tmp_path: Path) -> None:
    train, test = read_cifar10(real_cifar10)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number, name in enumerate(OFFICIAL.batches):
        part = test if name == "test_batch" else train.take(np.arange(10_000 * number, 10_000 * (number + 1)))
        planes = part.images.transpose(0, 3, 1, 2).reshape(10_000, 3072)
        np.concatenate([part.labels.astype(np.uint8)[:, None], planes], axis=1).tofile(folder / f"{name}.bin")
    (folder / "batches.meta.txt").write_text("\n".join(OFFICIAL.class_names) + "\n")
    report = check_cifar10(tmp_path)
    assert report.packing == "binary"
    assert report.ok
    assert all(file.official for file in report.files)


@pytest.mark.parametrize("published", [True, False])
def test_an_archive_is_reported_with_its_md5(published: bool, copy: Copy, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "renamed.tgz", python_files(copy))
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    layout = dataclasses.replace(copy.layout, known_md5={"cifar-10-python.tar.gz": md5} if published else {})
    report = check_cifar10(archive, layout=layout)
    assert report.archive == ("renamed.tgz", archive.stat().st_size, md5, published, True)
    assert report.ok


def test_a_folder_is_reported_without_an_archive(copy: Copy, tmp_path: Path) -> None:
    assert check_cifar10(_python_folder(copy, tmp_path), layout=copy.layout).archive is None


def test_the_published_sums_of_both_archives_are_known() -> None:
    # https://www.cs.toronto.edu/~kriz/cifar.html
    assert OFFICIAL.known_md5["cifar-10-python.tar.gz"] == "c58f30108f718f92721af3b95e74349a"
    assert OFFICIAL.known_md5["cifar-10-binary.tar.gz"] == "c32a1d4ab5d03f1284b67883e8d87530"


def test_a_folder_that_may_not_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **options: object) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(DataError, match=r"cannot be looked into \(Permission denied\)\. Check the path and its permissions"):
        find_cifar10(tmp_path)
