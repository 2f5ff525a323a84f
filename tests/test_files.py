"""Atomic writing: rights, names and messages."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cifarlab.errors import RunError
from cifarlab.files import atomic_writer, write_text


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
