"""Which files the arguments of `predict` stand for."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

from cifarlab.data.images import SUFFIXES, expand_inputs, image_files, read_image
from cifarlab.errors import DataError, ImageError, UsageError

NOTHING = io.StringIO("")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_keep_their_order_and_come_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "b.png", tmp_path / "a.png", tmp_path / "in" / "c.png")
    given = ["b.png", "a.png", "./b.png", str(tmp_path / "a.png"), "in/../b.png", "in"]
    assert expand_inputs(given, stdin=NOTHING) == [Path("b.png"), Path("a.png"), Path("in/c.png")]


def test_a_directory_is_read_to_the_bottom_sorted_without_hidden_files(tmp_path: Path) -> None:
    wanted = [tmp_path / name for name in ("a.JPG", "b/a.webp", "b/c/d.gif", "z.png")]
    touch(*wanted, tmp_path / ".hidden.png", tmp_path / ".cache" / "x.png", tmp_path / "notes.txt", tmp_path / "b" / "Thumbs.db")
    assert expand_inputs([str(tmp_path)], stdin=NOTHING) == wanted


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_is_found_in_any_case(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path / f"a{suffix}", tmp_path / f"b{suffix.upper()}")
    assert len(expand_inputs([str(tmp_path)], stdin=NOTHING)) == 2


def test_missing_files_and_unknown_suffixes_are_kept_for_the_reader_to_judge() -> None:
    assert expand_inputs(["gone.png", "photo"], stdin=NOTHING) == [Path("gone.png"), Path("photo")]


def test_links_to_files_are_followed_and_loops_of_folders_end(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert expand_inputs([str(tmp_path)], stdin=NOTHING) == [tmp_path / "a.png", tmp_path / "link.png"]


def test_stdin_gives_one_path_a_line(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "c.png")
    listed = io.StringIO(f"two words.png\r\n\n{tmp_path / 'in'}\nlast.png")
    assert expand_inputs(["first.png", "-", "-"], stdin=listed) == [
        Path("first.png"),
        Path("two words.png"),
        tmp_path / "in" / "c.png",
        Path("last.png"),
    ]


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match="no images given"):
        expand_inputs([], stdin=NOTHING)
    with pytest.raises(UsageError, match=r"holds no images \(looked for \.jpg"):
        expand_inputs([str(tmp_path)], stdin=NOTHING)
    with pytest.raises(UsageError, match="standard input holds no paths"):
        expand_inputs(["-"], stdin=io.StringIO("\n \n"))


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # the latter where the locale is POSIX
def test_an_image_on_stdin_is_no_list_of_paths(errors: str) -> None:
    content = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    with pytest.raises(UsageError, match="standard input holds no list of paths: it is binary"):
        expand_inputs(["-"], stdin=io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors=errors))


def test_a_directory_that_cannot_be_listed(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a.png")
    (tmp_path / "in").chmod(0)
    try:
        if os.access(tmp_path / "in", os.R_OK):
            pytest.skip("this user may list every directory")
        with pytest.raises(UsageError, match=r"cannot be listed.*permissions"):
            expand_inputs([str(tmp_path / "in")], stdin=NOTHING)
    finally:
        (tmp_path / "in").chmod(0o700)


def _refuse_below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user who may not enter `folder`; root may enter all."""
    for name in ("stat", "lstat", "open", "scandir"):
        genuine = getattr(os, name)

        def refusing(path: Any, *rest: Any, _genuine: Any = genuine, **named: Any) -> Any:
            if str(path).startswith(str(folder)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return _genuine(path, *rest, **named)

        monkeypatch.setattr(os, name, refusing)


def test_a_file_in_a_folder_that_may_not_be_entered_is_one_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.png", tmp_path / "shut" / "b.png")
    _refuse_below(tmp_path / "shut", monkeypatch)
    given = [str(tmp_path / "shut" / "b.png"), str(tmp_path / "a.png")]
    first, second = expand_inputs(given, stdin=NOTHING)
    assert [str(first), str(second)] == given
    with pytest.raises(ImageError, match=r"b\.png: cannot be read \(Permission denied\)"):
        read_image(first)


def test_a_name_that_is_too_long_is_one_bad_file(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    long = "x" * 300 + ".png"
    assert expand_inputs([long, str(tmp_path / "a.png")], stdin=NOTHING) == [Path(long), tmp_path / "a.png"]
    with pytest.raises(ImageError, match="File name too long"):
        read_image(long)


def test_a_list_ended_by_nul_is_read_with_line_breaks_in_names() -> None:
    assert expand_inputs(["-"], stdin=io.StringIO("a.png\0two\nlines.png\0")) == [Path("a.png"), Path("two\nlines.png")]


def test_a_folder_below_that_cannot_be_listed_is_an_error_for_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.png", tmp_path / "shut" / "b.png")
    _refuse_below(tmp_path / "shut", monkeypatch)
    with pytest.raises(DataError, match=r"shut: the directory cannot be listed \(Permission denied\)"):
        image_files(tmp_path)
    with pytest.raises(UsageError, match=r"shut: the directory cannot be listed \(Permission denied\)"):
        expand_inputs([str(tmp_path)], stdin=NOTHING)


def test_a_folder_without_images_has_none(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt", tmp_path / ".hidden" / "a.png")
    assert image_files(tmp_path) == []
