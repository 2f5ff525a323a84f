"""Atomic writing: rights, names and messages."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cifarlab.errors import RunError
from cifarlab.files import atomic_writer, replace_folder, write_text


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_a_file_has_the_rights_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    write_text(tmp_path / "a.txt", "hello")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_writing_changes_nothing_of_the_whole_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask belongs to every thread"))
    monkeypatch.delattr(os, "fchmod", raising=False)  # as on Windows before Python 3.13
    write_text(tmp_path / "a.txt", "hello")
    assert (tmp_path / "a.txt").read_text() == "hello"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with atomic_writer(tmp_path / "a.txt") as first, atomic_writer(tmp_path / "a.txt") as second:
        first.write(b"first")
        second.write(b"second")
        assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "a.txt").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_remedy_fits_every_writer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"untouched; choose another place$"):
        write_text(tmp_path / "file" / "a.txt", "hello")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_space_is_advised_where_it_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("cifarlab.files.os.fsync", full)
    with pytest.raises(RunError, match=r"untouched; free some space or choose another place$"):
        write_text(tmp_path / "a.txt", "hello")
    assert list(tmp_path.iterdir()) == []


def folder_with(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    place = folder_with(tmp_path / "place", "before")
    replace_folder(folder_with(tmp_path / ".new.tmp", "after"), place)
    assert (place / "file").read_text() == "after"
    assert [entry.name for entry in tmp_path.iterdir()] == ["place"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_folder_that_is_not_replaced_after_all_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    place, new = folder_with(tmp_path / "place", "before"), folder_with(tmp_path / ".new.tmp", "after")
    rename = os.replace

    def fail(source: Path, destination: Path) -> None:
        if source == new:
            raise error
        rename(source, destination)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error)):
        replace_folder(new, place)
    assert (place / "file").read_text() == "before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".new.tmp", "place"]


def test_a_folder_that_cannot_be_put_back_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, new = folder_with(tmp_path / "place", "before"), folder_with(tmp_path / ".new.tmp", "after")
    rename = os.replace

    def once(source: Path, destination: Path) -> None:
        if source != place:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, destination)

    monkeypatch.setattr(os, "replace", once)
    with pytest.raises(OSError, match="Input/output"):
        replace_folder(new, place)
    assert (tmp_path / ".new.old" / "file").read_text() == "before"
