"""The run directory: atomic files, status, locks, and what damaged or foreign files do."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarlab.errors import RunError, UsageError
from cifarlab.files import atomic_writer, write_json, write_text
from cifarlab.runs import SCHEMA_VERSION, Predictions, RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs", "one", recipe_yaml="name: x\n", env={"seed": 0})


@pytest.fixture
def predictions() -> Predictions:
    return Predictions(
        sample_ids=np.array(["test/0", "test/1", "tést/2"]),
        labels=np.array([0, 1, 1]),
        logits=np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32),
        logits_tta=None,
        tta="none",
        class_names=("deer", "größe"),
        split="test",
        checksum="abc",
    )


# -- atomic writing -------------------------------------------------------------------------------------------------


def test_a_failure_in_the_middle_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_writer(path) as file:  # noqa: PT012
        file.write(b"half of the n")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_system_call_that_fails_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(RunError, match=r"cannot write .*file: No space left on device\. What was there before is untouched"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_systems_own_refusal_in_the_middle_of_a_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(RunError, match=r"cannot write .*file: File too large"):
            write_text(path, "n" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        write_text(tmp_path / "taken" / "file", "x")


def test_json_refuses_what_json_has_no_word_for(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"größe": 1})
    assert json.loads(path.read_text(encoding="utf-8")) == {"größe": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"größe": 1}


# -- life -----------------------------------------------------------------------------------------------------------


def test_a_new_run_is_running_and_has_read_no_test_image(run: RunDirectory) -> None:
    assert run.status() == {"schema": SCHEMA_VERSION, "state": "running", "test_reads": 0}
    assert run.recipe_file.read_text() == "name: x\n"
    assert run.read_json("env.json") == {"seed": 0}
    assert RunDirectory.open(run.path) == run
    assert run.name == "one"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "../x", "a/b", "a b", "é", "x" * 101, "a\n", "a\0"])
def test_unsafe_names_are_refused_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="use 1 to 100 letters"):
        RunDirectory.create(tmp_path / "runs", name, recipe_yaml="", env={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "fast-0", "0", "A.b_c-9", "x" * 100])
def test_plain_names_are_taken(tmp_path: Path, name: str) -> None:
    assert RunDirectory.create(tmp_path, name, recipe_yaml="", env={}).path == tmp_path / name


def test_a_taken_name_is_refused_and_the_run_untouched(run: RunDirectory) -> None:
    with pytest.raises(UsageError, match="already exists; nothing was changed"):
        RunDirectory.create(run.path.parent, "one", recipe_yaml="name: other\n", env={})
    assert run.recipe_file.read_text() == "name: x\n"


def test_a_runs_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match=r"cannot create .*--runs DIR"):
        RunDirectory.create(tmp_path / "runs", "one", recipe_yaml="", env={})


def test_a_run_that_cannot_be_written_leaves_its_name_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="No space left"):
            RunDirectory.create(tmp_path, "one", recipe_yaml="", env={})
    assert list(tmp_path.iterdir()) == []
    assert RunDirectory.create(tmp_path, "one", recipe_yaml="", env={}).status()["state"] == "running"


def test_a_missing_run_comes_with_the_nearest(run: RunDirectory) -> None:
    with pytest.raises(UsageError, match=r"no such folder\. Did you mean .*one\?"):
        RunDirectory.open(run.path.parent / "onee")


def test_a_file_is_no_run(run: RunDirectory) -> None:
    with pytest.raises(UsageError, match="it is a file"):
        RunDirectory.open(run.recipe_file)


def test_a_folder_without_status_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"it has no status\.json and no recipe\.yaml$"):
        RunDirectory.open(tmp_path)


@pytest.mark.parametrize(("there", "missing"), [("recipe.yaml", "status.json"), ("status.json", "recipe.yaml")])
def test_only_what_is_missing_is_named(tmp_path: Path, there: str, missing: str) -> None:
    (tmp_path / there).write_text("{}")
    with pytest.raises(UsageError, match=rf"it has no {missing}$"):
        RunDirectory.open(tmp_path)


@pytest.mark.parametrize("schema", [SCHEMA_VERSION + 1, 0, None, "1"])
def test_a_run_of_another_version_is_refused(run: RunDirectory, schema: object) -> None:
    write_json(run.path / "status.json", {"schema": schema, "state": "done"})
    with pytest.raises(RunError, match=rf"version {schema!r} .* reads version {SCHEMA_VERSION}"):
        RunDirectory.open(run.path)


# -- status ---------------------------------------------------------------------------------------------------------


def test_status_is_merged(run: RunDirectory) -> None:
    run.update_status(state="done", seconds=3.5)
    run.update_status(seconds=4.0)
    assert run.status() == {"schema": SCHEMA_VERSION, "state": "done", "test_reads": 0, "seconds": 4.0}


def test_an_unknown_state_is_refused(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match="state must be one of"):
        run.update_status(state="finished")
    assert run.status()["state"] == "running"


def test_test_reads_are_counted_one_by_one(run: RunDirectory) -> None:
    assert [run.count_test_read() for _ in range(3)] == [1, 2, 3]
    assert RunDirectory.open(run.path).status()["test_reads"] == 3


def test_a_failure_is_recorded_with_its_reason(run: RunDirectory) -> None:
    run.mark_failed("the loss is nan")
    assert run.status()["state"] == "failed"
    assert run.status()["error"] == "the loss is nan"


def test_a_failure_that_cannot_be_recorded_does_not_hide_the_first(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    run.mark_failed("the loss is nan")
    assert run.status()["state"] == "running"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null"])
def test_damaged_json_names_the_file(run: RunDirectory, content: bytes) -> None:
    (run.path / "status.json").write_bytes(content)
    with pytest.raises(RunError, match=r"status\.json is damaged.*\. Restore it from a copy, train again, or remove the run's folder"):
        RunDirectory.open(run.path)


def test_missing_json_names_the_file(run: RunDirectory) -> None:
    with pytest.raises(RunError, match=r"nothing\.json does not exist"):
        run.read_json("nothing.json")


# -- epochs ---------------------------------------------------------------------------------------------------------


def test_rows_are_read_as_they_were_added(run: RunDirectory) -> None:
    assert run.epochs() == []
    run.append_epoch({"epoch": 1, "loss": 0.5})
    run.append_epoch({"epoch": 2, "loss": None})
    assert run.epochs() == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}]


@pytest.mark.parametrize("cut", [b'{"epoch": 3, "lo', b"\xff\xfe", b"{"])
def test_a_last_line_cut_by_a_crash_is_dropped(run: RunDirectory, cut: bytes) -> None:
    run.append_epoch({"epoch": 1})
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(cut)
    assert run.epochs() == [{"epoch": 1}]


def test_damage_in_the_middle_is_an_error_that_names_the_line(run: RunDirectory) -> None:
    (run.path / "metrics.jsonl").write_bytes(b'{"epoch": 1}\n{"ep\xff\n{"epoch": 3}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl, line 2, is damaged"):
        run.epochs()


def test_rewritten_rows_are_in_both_files(run: RunDirectory) -> None:
    run.append_epoch({"epoch": 9})
    run.rewrite_epochs([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    assert run.epochs() == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    assert (run.path / "results.csv").read_text() == "epoch,loss\n1,0.5\n2,0.25\n"


def test_a_full_disk_while_adding_a_row_says_how_to_go_on(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"No space left on device.*use --resume"):
        run.append_epoch({"epoch": 1})


# -- predictions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tta", ["none", "six"])
def test_predictions_survive_the_file(tmp_path: Path, predictions: Predictions, tta: str) -> None:
    views = None if tta == "none" else predictions.logits + 1
    Predictions(**{**vars(predictions), "tta": tta, "logits_tta": views}).save(tmp_path / "p" / "test.npz")
    read = Predictions.load(tmp_path / "p" / "test.npz")
    for name in ("sample_ids", "labels", "logits"):
        np.testing.assert_array_equal(getattr(read, name), getattr(predictions, name))
        assert getattr(read, name).dtype == getattr(predictions, name).dtype
    assert (read.tta, read.class_names, read.split, read.checksum) == (tta, ("deer", "größe"), "test", "abc")
    np.testing.assert_array_equal(read.final_logits, predictions.logits if views is None else views)


def test_missing_predictions_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"does not exist. Make it with: cifarlab evaluate .*one"):
        Predictions.load(tmp_path / "one" / "predictions" / "test.npz")


def _damaged(whole: bytes) -> dict[str, bytes]:
    middle = len(whole) // 2
    return {
        "empty": b"",
        "truncated": whole[:middle],
        "changed": whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 40]) + whole[middle + 40 :],
        "text": b"not a zip file",
        "pickle": pickle.dumps([1, 2]),
    }


@pytest.mark.parametrize("kind", ["empty", "truncated", "changed", "text", "pickle"])
def test_damaged_predictions_are_refused(tmp_path: Path, predictions: Predictions, kind: str) -> None:
    path = tmp_path / "test.npz"
    predictions.save(path)
    path.write_bytes(_damaged(path.read_bytes())[kind])
    with pytest.raises(RunError, match="not a readable predictions file"):
        Predictions.load(path)


def test_a_changed_byte_anywhere_is_never_a_traceback(tmp_path: Path, predictions: Predictions) -> None:
    path = tmp_path / "test.npz"
    predictions.save(path)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            Predictions.load(path)
        except RunError:
            refused += 1
    assert refused > 0  # not every byte matters (a date of the archive), but most do


@pytest.mark.parametrize("missing", ["labels", "class_names", "checksum"])
def test_predictions_without_a_part_are_refused(tmp_path: Path, predictions: Predictions, missing: str) -> None:
    path = tmp_path / "test.npz"
    predictions.save(path)
    with np.load(path) as file:
        kept = {name: file[name] for name in file if name != missing}
    np.savez(path, **kept)
    with pytest.raises(RunError, match=missing):
        Predictions.load(path)


def test_a_single_array_is_no_predictions_file(tmp_path: Path) -> None:
    path = tmp_path / "test.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(RunError, match="not a readable predictions file"):
        Predictions.load(path)


class Canary:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_an_array_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    path, canary = tmp_path / "test.npz", tmp_path / "canary"
    np.savez(path, sample_ids=np.array([Canary(canary)], dtype=object))
    with pytest.raises(RunError, match="not a readable predictions file"):
        Predictions.load(path)
    assert not canary.exists()
    with np.load(path, allow_pickle=True) as file:  # the canary does sing where pickles are let in
        file["sample_ids"]
    assert canary.is_dir()


def test_a_run_that_may_not_be_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, **options: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(UsageError, match=r"no run at .*shut: it cannot be looked at \(Permission denied\)\."):
        RunDirectory.open(tmp_path / "shut")
