from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cifar_copies import Copy, python_files, write_folder
from PIL import Image

import cifarlab.data
from cifarlab.data import cifar, sources
from cifarlab.data.dataset import Dataset
from cifarlab.data.sources import cache_folder, dataset_names, find_named_cifar10, load_splits, search_places, split_info
from cifarlab.errors import DataError, DownloadError, UsageError


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, copy: Copy) -> dict[str, bytes]:
    """The files of a small copy, which passes for the official one."""

    def read(path: Path) -> Any:
        return cifar.read_cifar10(path, layout=copy.layout)

    monkeypatch.setattr(sources, "read_cifar10", read)
    return python_files(copy)


def test_a_data_dir_comes_first_and_alone(no_data: Path, small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = write_folder(tmp_path / "mine" / "cifar-10-batches-py", small)
    write_folder(tmp_path / "env" / "cifar-10-batches-py", small)
    monkeypatch.setenv("CIFARLAB_DATA", str(tmp_path / "env"))
    assert find_named_cifar10(mine.parent) == mine
    assert find_named_cifar10(mine) == mine
    assert find_named_cifar10() == tmp_path / "env" / "cifar-10-batches-py"
    assert len(load_splits("cifar10", data_dir=mine).train) == 8


def test_the_cache_comes_last(no_data: Path, small: dict[str, bytes]) -> None:
    folder = write_folder(no_data / "cifar-10-batches-py", small)
    assert find_named_cifar10() == folder
    assert len(load_splits("cifar10", download=False).test) == 4


def test_the_places_are_those_of_the_documentation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CIFARLAB_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CIFARLAB_DATA", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "cifarlab"
    assert [place.path for place in search_places()] == [tmp_path, cache_folder()]
    assert [place.path for place in search_places(tmp_path)] == [tmp_path]


def test_a_data_dir_without_the_data_does_not_fall_through(no_data: Path, small: dict[str, bytes], tmp_path: Path) -> None:
    write_folder(no_data / "cifar-10-batches-py", small)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"--data-dir .*empty holds no CIFAR-10.*cifarlab data get cifar10 --data-dir"):
        load_splits("cifar10", data_dir=tmp_path / "empty")
    with pytest.raises(DataError, match=r"--data-dir is .*nowhere, but there is no such file or folder"):
        load_splits("cifar10", data_dir=tmp_path / "nowhere")


def test_cifarlab_data_that_does_not_exist_is_an_error(no_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFARLAB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"\$CIFARLAB_DATA is .*nowhere, but there is no such file or folder"):
        load_splits("cifar10")


def test_cifarlab_data_without_the_data_is_noted(
    no_data: Path, small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(no_data / "cifar-10-batches-py", small)
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("CIFARLAB_DATA", str(tmp_path / "other"))
    notes: list[str] = []
    assert find_named_cifar10(note=notes.append) == folder
    assert notes == [f"$CIFARLAB_DATA is {tmp_path / 'other'}, which holds no CIFAR-10; looking in {no_data}"]


def test_nowhere_and_offline_gives_one_error_with_three_remedies(no_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, remedy: str, **options: object) -> Path:
        raise DownloadError(f"cannot download x:\n  - https://a: host name not found\n{remedy}")

    monkeypatch.setattr(sources, "download", offline)
    archive = no_data / "cifar-10-python.tar.gz"
    for download in (True, False):
        with pytest.raises(DataError, match="CIFAR-10 is not on this machine") as caught:
            load_splits("cifar10", download=download)
        text = str(caught.value)
        assert f"at {archive}" in text
        assert "set CIFARLAB_DATA to a folder" in text
        assert "--data digits" in text
    assert isinstance(caught.value, DataError)


def test_a_download_goes_into_the_cache_and_is_read(
    no_data: Path, small: dict[str, bytes], copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cifar_copies import write_archive

    def fetch(where: tuple[str, ...], destination: Path, **options: Any) -> Path:
        assert where == sources.CIFAR10_SOURCES
        assert (options["size"], options["sha256"]) == (sources.CIFAR10_SIZE, sources.CIFAR10_SHA256)
        destination.parent.mkdir(parents=True)
        return write_archive(destination, small)

    monkeypatch.setattr(sources, "download", fetch)
    assert len(load_splits("cifar10").train) == 8
    assert (no_data / "cifar-10-python.tar.gz").is_file()


def test_all_sources_are_https_and_several() -> None:
    assert len(sources.CIFAR10_SOURCES) >= 2
    assert all(source.startswith("https://") for source in sources.CIFAR10_SOURCES)


@pytest.mark.parametrize(("given", "message"), [("cifar1", "did you mean 'cifar10'"), ("zzz", "allowed: cifar10, digits")])
def test_an_unknown_name_gets_the_nearest_match(given: str, message: str, no_data: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load_splits(given)


def test_a_path_that_does_not_exist_is_told(no_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no data at .*nowhere: there is no such file or folder"):
        load_splits(str(tmp_path / "nowhere"))


def test_a_path_is_read_as_cifar10_or_as_a_folder_of_images(no_data: Path, small: dict[str, bytes], tmp_path: Path) -> None:
    write_folder(tmp_path / "c" / "cifar-10-batches-py", small)
    assert load_splits(str(tmp_path / "c")).train.class_names == ("cat", "dog", "ship")
    for name in ("x", "y"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (8, 8)).save(tmp_path / "images" / name / f"{number}.png")
    assert load_splits(str(tmp_path / "images")).train.class_names == ("x", "y")


def test_a_file_that_is_no_archive_is_told(no_data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"notes\.txt: no CIFAR-10 here"):
        load_splits(str(tmp_path / "notes.txt"))


def test_digits_need_nothing(no_data: Path) -> None:
    assert "digits" in dataset_names()
    assert load_splits("digits", download=False).train.name == "digits"


def test_split_info_equals_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)
    labels = np.arange(50) % 3
    data = Dataset(name="x", images=images, labels=labels, class_names=("a", "b", "c"), sample_ids=np.arange(50).astype(str))
    info = split_info(data)
    np.testing.assert_allclose(info.mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(info.std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-12)
    assert info.counts.tolist() == [17, 17, 16]
    assert (info.images, info.checksum) == (50, data.checksum)


def test_importing_the_data_package_loads_no_torch() -> None:
    source = str(Path(cifarlab.data.__file__).parents[2])
    code = "import sys, cifarlab.data; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": source}, check=False).returncode == 0


def test_the_public_surface_is_what_it_says() -> None:
    assert sorted(cifarlab.data.__all__) == cifarlab.data.__all__
    assert all(hasattr(cifarlab.data, name) for name in cifarlab.data.__all__)


@pytest.fixture
def shut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that this user may not enter."""
    genuine = os.stat

    def refusing(path: Any, *rest: Any, **named: Any) -> Any:
        if str(path).startswith(str(tmp_path / "shut") + os.sep):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return genuine(path, *rest, **named)

    (tmp_path / "shut").mkdir()
    monkeypatch.setattr(os, "stat", refusing)
    return tmp_path / "shut"


def test_a_path_that_may_not_be_looked_at_is_told(no_data: Path, shut: Path) -> None:
    with pytest.raises(DataError, match=r"shut/in: cannot be looked at \(Permission denied\)\. Check the path and its permissions"):
        load_splits(str(shut / "in"))
    with pytest.raises(DataError, match=r"shut: cannot be looked into \(Permission denied\)"):
        load_splits(str(shut))


def test_a_named_dataset_says_which_place_may_not_be_looked_at(no_data: Path, shut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="shut: cannot be looked into"):
        load_splits("cifar10", data_dir=shut)
    monkeypatch.setenv("CIFARLAB_DATA", str(shut / "in"))
    with pytest.raises(DataError, match="shut/in: cannot be looked at"):
        load_splits("cifar10")


@pytest.mark.parametrize(("given", "message"), [("x" * 300, "unknown dataset"), ("in/" + "x" * 300, "there is no such file or folder")])
def test_a_name_that_is_too_long_for_a_file_is_no_dataset(given: str, message: str, no_data: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load_splits(given)
