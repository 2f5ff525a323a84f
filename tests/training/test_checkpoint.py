"""Damaged, malicious and unwritable checkpoints."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import torch
from small_runs import STEPS_PER_EPOCH, Watcher, outcome, resume, signal_at, train

from cifarlab.errors import RunError
from cifarlab.files import atomic_writer
from cifarlab.runs import RunDirectory
from cifarlab.training import PreemptedError, checkpoint


@pytest.fixture
def stopped(tmp_path: Path) -> RunDirectory:
    """Stopped in its second epoch: checkpoint.pt of that step, checkpoint.previous.pt of the first epoch's end."""
    with pytest.raises(PreemptedError):
        train(tmp_path, "run", watcher=signal_at(STEPS_PER_EPOCH + 2))
    return RunDirectory.open(tmp_path / "run")


def flip_a_bit_of_a_weight(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    raw = bytearray(file.read_bytes())
    place = raw.find(content["model"]["head.weight"].numpy().tobytes())
    assert place > 0
    raw[place + 5] ^= 0x10
    file.write_bytes(raw)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGES = {
    "empty": lambda file: file.write_bytes(b""),
    "truncated": cut,
    "not a checkpoint": lambda file: file.write_bytes(b"hello, this is no checkpoint" * 40),
    "one bit of one weight": flip_a_bit_of_a_weight,
    "another version": lambda file: torch.save({"version": 99}, file),
    "half a checkpoint": lambda file: torch.save({"version": 1, "step": 3}, file),
    "no dictionary": lambda file: torch.save([1, 2], file),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_previous_and_the_run_ends_equal(
    stopped: RunDirectory, unbroken: RunDirectory, damage: str
) -> None:
    DAMAGES[damage](stopped.checkpoint_file)
    steps: list[int] = []
    assert outcome(resume(stopped.path, watcher=Watcher(steps.append))) == outcome(unbroken)
    assert steps[0] == STEPS_PER_EPOCH + 1


def test_both_damaged_is_one_error_that_names_both_and_the_remedy(stopped: RunDirectory) -> None:
    cut(stopped.checkpoint_file)
    stopped.previous_checkpoint_file.unlink()
    with pytest.raises(RunError, match=r"checkpoint\.pt: .*checkpoint\.previous\.pt: not there\)\. Train again with: cifarlab train"):
        resume(stopped.path)
    assert stopped.status()["state"] == "preempted"


class Canary:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("packing", ["torch", "plain pickle"])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_nothing(stopped: RunDirectory, tmp_path: Path, packing: str) -> None:
    flown = tmp_path / "flown"
    for file in (stopped.checkpoint_file, stopped.previous_checkpoint_file):
        if packing == "torch":
            torch.save({"version": 1, "step": Canary(flown)}, file)
        else:
            file.write_bytes(pickle.dumps(Canary(flown)))
    with pytest.raises(RunError, match="has no checkpoint to continue from"):
        resume(stopped.path)
    assert not flown.exists()
    pickle.loads(pickle.dumps(Canary(flown)))  # noqa: S301  # the canary does fly where it is let
    assert flown.exists()


def limit_file_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints end at 8 kB, as on a full disk: the operating system itself refuses the rest."""

    @contextlib.contextmanager
    def limited(path: Path) -> Iterator[IO[bytes]]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
        try:
            with atomic_writer(path) as file:
                yield file
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(checkpoint, "atomic_writer", limited)


def refuse_to_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("fill", [limit_file_size, refuse_to_sync])
def test_a_full_disk_keeps_the_older_checkpoint_and_a_resume_ends_equal(
    tmp_path: Path, unbroken: RunDirectory, monkeypatch: pytest.MonkeyPatch, fill: object
) -> None:
    watcher = Watcher(lambda step: fill(monkeypatch) if step == STEPS_PER_EPOCH + 2 else None)  # type: ignore[operator]
    with pytest.raises(RunError, match="cannot write"):
        train(tmp_path, "run", watcher=watcher)
    monkeypatch.undo()
    run = RunDirectory.open(tmp_path / "run")
    assert checkpoint.load_checkpoint(run)["step"] == STEPS_PER_EPOCH
    assert not list(run.path.rglob("*.tmp"))
    assert outcome(resume(run.path)) == outcome(unbroken)


def test_saving_keeps_the_previous_whole(stopped: RunDirectory) -> None:
    steps = [torch.load(file, weights_only=True)["step"] for file in (stopped.previous_checkpoint_file, stopped.checkpoint_file)]
    assert steps == [STEPS_PER_EPOCH, STEPS_PER_EPOCH + 2]


def test_the_older_checkpoint_takes_the_damaged_ones_place_and_is_said(stopped: RunDirectory) -> None:
    older = stopped.previous_checkpoint_file.read_bytes()
    cut(stopped.checkpoint_file)
    heard: list[str] = []

    checkpoint.load_checkpoint(stopped, note=heard.append)

    assert stopped.checkpoint_file.read_bytes() == older  # so that the next save keeps this one, not the damaged one
    assert len(heard) == 1
    assert "going on from the one before it" in heard[0]


def test_a_resume_discards_predictions_of_the_weights_before(stopped: RunDirectory) -> None:
    stale = [stopped.predictions_file("test"), stopped.path / "metrics.json", stopped.report_file]
    for file in stale:
        file.parent.mkdir(exist_ok=True)
        file.write_text("stale")
    stopped.count_test_read()

    resume(stopped.path)

    assert not any(file.exists() for file in stale)
    assert stopped.status()["test_reads"] == 1
