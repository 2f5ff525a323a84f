from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cifar_copies import Copy, binary_files, python_files, write_archive, write_folder
from loopback import Handler, loopback, serve_well, wrong_bytes
from PIL import Image
from typer.testing import CliRunner, Result

import cifarlab.data
from cifarlab.cli.data import app
from cifarlab.cli.progress import download_progress
from cifarlab.data import cifar, sources
from cifarlab.errors import DataError, UsageError


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, copy: Copy) -> Copy:
    """Makes a small copy pass for the official one."""

    def read(path: Path) -> Any:
        return cifar.read_cifar10(path, layout=copy.layout)

    monkeypatch.setattr(cifarlab.data, "read_cifar10", read)
    monkeypatch.setattr(sources, "read_cifar10", read)
    monkeypatch.setattr(cifarlab.data, "check_cifar10", lambda path: cifar.check_cifar10(path, layout=copy.layout))
    return copy


def test_show_prints_tables_and_writes_both_figures(no_data: Path, tmp_path: Path) -> None:
    result = _run("show", "--data", "digits", "--classes", "3,7", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "digits: images per class" in result.stdout
    assert "validation" in result.stdout
    assert "mean" in result.stdout
    assert "samples.png" in result.stderr
    for name in ("class_counts.png", "samples.png"):
        with Image.open(tmp_path / "out" / name) as image:
            assert min(image.size) > 100


def test_show_json_holds_the_same_numbers(no_data: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = [
        "--data",
        "digits",
        "--train-size",
        "100",
        "--validation",
        "0.2",
        "--seed",
        "3",
        "-o",
        tmp_path,
        "--json",
    ]
    result = _run("show", *arguments)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["class_names"] == list("0123456789")
    assert {name: split["images"] for name, split in shown["splits"].items()} == {"train": 100, "validation": 288, "test": 359}
    assert sum(shown["splits"]["train"]["class_counts"].values()) == 100
    assert all(len(split["mean"]) == len(split["std"]) == 3 for split in shown["splits"].values())
    assert all(Path(path).is_file() for path in shown["figures"])


def test_show_without_validation_has_two_splits(no_data: Path, tmp_path: Path) -> None:
    result = _run("show", "--data", "digits", "--validation", "0", "-o", tmp_path, "--json")
    assert list(json.loads(result.stdout)["splits"]) == ["train", "test"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "digit"], "did you mean 'digits'"),
        (["--data", "digits", "--classes", "3,eleven"], "unknown class 'eleven'"),
        (["--data", "digits", "--validation", "1.5"], "validation fraction 1.5"),
        (["--data", "digits", "--train-size", "5000"], "training size 5000"),
        (["--data", "digits", "--seed", "-1"], "seed -1"),
    ],
)
def test_show_refuses_what_is_not_allowed(arguments: list[str], message: str, no_data: Path, tmp_path: Path) -> None:
    result = _run("show", *arguments, "-o", tmp_path / "out")
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_check_accepts_a_right_copy(no_data: Path, small: Copy, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "copy", python_files(small))
    result = _run("check", folder, "--json")
    assert result.exit_code == 0, result.output
    outcome = json.loads(result.stdout)
    assert outcome["ok"] is True
    assert outcome["packing"] == "python"
    assert [file["name"] for file in outcome["files"]] == ["data_batch_1", "data_batch_2", "test_batch", "batches.meta"]
    assert outcome["content"]["train"] == {"checksum": small.layout.train_checksum, "official": True}
    assert "official" in _run("check", folder).stdout


def test_check_shows_the_md5_of_an_archive(no_data: Path, small: Copy, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "cifar-10-python.tar.gz", python_files(small))
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    shown = json.loads(_run("check", archive, "--json").stdout)
    assert shown["archive"] == {"name": archive.name, "size": archive.stat().st_size, "md5": md5, "known": False, "official": True}
    row = next(line for line in _run("check", archive).stdout.splitlines() if md5 in line)
    assert row.split() == [archive.name, str(archive.stat().st_size), md5, "unknown", "official"]
    assert json.loads(_run("check", write_folder(tmp_path / "copy", python_files(small)), "--json").stdout)["archive"] is None


def test_check_leaves_with_1_where_pixels_differ(no_data: Path, small: Copy, tmp_path: Path) -> None:
    files = binary_files(small)
    files["data_batch_1.bin"] = files["data_batch_1.bin"][:-1] + bytes([files["data_batch_1.bin"][-1] ^ 1])
    folder = write_folder(tmp_path / "copy", files)
    result = _run("check", folder)
    assert result.exit_code == 1
    assert "WRONG" in result.stdout
    outcome = json.loads(_run("check", folder, "--json").stdout)
    assert outcome["ok"] is False
    assert [file["name"] for file in outcome["files"] if not file["official"]] == ["data_batch_1.bin"]


def test_check_tells_what_is_missing(no_data: Path, small: Copy, tmp_path: Path) -> None:
    files = python_files(small)
    del files["test_batch"]
    folder = write_folder(tmp_path / "copy", files)
    result = _run("check", folder)
    assert isinstance(result.exception, DataError)
    as_json = _run("check", folder, "--json")
    assert as_json.exit_code == 1
    assert "test_batch" in json.loads(as_json.stdout)["problem"]


def test_check_reads_digits(no_data: Path) -> None:
    outcome = json.loads(_run("check", "digits", "--json").stdout)
    assert outcome["ok"] is True
    assert outcome["train"] + outcome["test"] == 1797


def test_check_without_data_says_how_to_get_it(no_data: Path) -> None:
    result = _run("check")
    assert isinstance(result.exception, DataError)
    assert "cifarlab data get cifar10" in str(result.exception)


def test_get_downloads_into_the_folder_given_and_prints_the_path(no_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(where: tuple[str, ...], destination: Path, *, progress: Any, **options: Any) -> Path:
        for done in range(0, 101):
            progress(done << 20, 100 << 20)
        return destination

    monkeypatch.setattr(sources, "download", fetch)
    result = _run("get", "cifar10", "--data-dir", tmp_path / "here")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'here' / 'cifar-10-python.tar.gz'}\n"
    lines = [line for line in result.stderr.splitlines() if line.startswith("download:")]
    assert lines[0] == "download: 0 of 100 MiB (0 %)"
    assert lines[5].startswith("download: 50 of 100 MiB (50 %), about ")
    assert len(lines) == 11


def test_get_verifies_a_copy_that_is_there(no_data: Path, small: Copy, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "cifar-10-batches-py", python_files(small))
    result = _run("get", "cifar10", "--data-dir", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{folder}\n"
    (folder / "test_batch").write_bytes(b"damaged")
    assert isinstance(_run("get", "cifar10", "--data-dir", tmp_path).exception, DataError)


def test_get_replaces_a_damaged_archive_once_the_new_one_is_verified(no_data: Path, small: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_archive(no_data.parent / "whole.tar.gz", python_files(small)).read_bytes()
    archive = no_data / "cifar-10-python.tar.gz"
    no_data.mkdir()
    archive.write_bytes(whole[: len(whole) // 2])
    seen: list[bytes] = []

    def serve(handler: Handler, start: int) -> None:
        seen.append(archive.read_bytes())  # what lies there while the new one arrives
        serve_well(handler, start)

    monkeypatch.setattr(sources, "CIFAR10_SIZE", len(whole))
    monkeypatch.setattr(sources, "CIFAR10_SHA256", hashlib.sha256(whole).hexdigest())
    monkeypatch.setattr(sources, "download", functools.partial(sources.download, allow_loopback_http=True))
    monkeypatch.setenv("no_proxy", "*")
    with loopback(whole, wrong_bytes, serve) as server:
        monkeypatch.setattr(sources, "CIFAR10_SOURCES", (server.url,))
        failed = _run("get", "cifar10")
        assert isinstance(failed.exception, DataError)
        assert archive.read_bytes() == whole[: len(whole) // 2]
        result = _run("get", "cifar10")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{archive}\n"
    assert "not a whole archive" in result.stderr
    assert seen == [whole[: len(whole) // 2]]
    assert archive.read_bytes() == whole


def test_get_knows_what_is_embedded_and_what_is_unknown(no_data: Path) -> None:
    assert "nothing to fetch" in _run("get", "digits").stderr
    assert isinstance(_run("get", "cifar").exception, UsageError)


def test_the_bar_of_a_terminal_says_eta(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with download_progress() as progress:
        progress(0, 1000)
        progress(1000, 1000)
    assert "ETA" in capsys.readouterr().err


def test_help_of_every_command_answers(no_data: Path) -> None:
    for command in ("get", "show", "check"):
        assert _run(command, "--help").exit_code == 0
