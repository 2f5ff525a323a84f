"""Interrupted equals uninterrupted, bit for bit, wherever the interruption falls."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import (
    CPU,
    EPOCHS,
    STEPS,
    STEPS_PER_EPOCH,
    CrashError,
    Watcher,
    crash_at,
    make_recipe,
    make_splits,
    outcome,
    resume,
    signal_at,
    train,
)
from torch import nn

from cifarlab.data.digits import read_digits
from cifarlab.errors import RunError, UsageError
from cifarlab.evaluation import predict_logits
from cifarlab.runs import RunDirectory
from cifarlab.training import PreemptedError, resume_run, session

DRIVER = Path(__file__).with_name("small_runs.py")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


# -- equal and different seeds ---------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_byte_for_byte(tmp_path: Path, unbroken: RunDirectory) -> None:
    torch.rand(3)  # the state of the process does not matter
    assert outcome(train(tmp_path, "again")) == outcome(unbroken)


def test_another_seed_gives_other_weights(tmp_path: Path, unbroken: RunDirectory) -> None:
    other, _ = outcome(train(tmp_path, "other", make_recipe(seed=1)))
    assert other["last"] != outcome(unbroken)[0]["last"]


# -- every place ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(1, STEPS))
def test_a_stop_after_any_step_and_a_resume_change_nothing(tmp_path: Path, unbroken: RunDirectory, step: int) -> None:
    with pytest.raises(PreemptedError, match=rf"stopped after step {step} of {STEPS}; saved\. .*--resume"):
        train(tmp_path, "run", watcher=signal_at(step))
    run = RunDirectory.open(tmp_path / "run")
    assert run.status()["state"] == "preempted"
    assert len(run.epochs()) == step // STEPS_PER_EPOCH  # an epoch whose last step is done is closed
    assert outcome(resume(run.path)) == outcome(unbroken)
    assert run.status()["state"] == "done"


def test_a_stop_asked_for_at_the_last_step_finds_nothing_left_to_stop(tmp_path: Path, unbroken: RunDirectory) -> None:
    run = train(tmp_path, "run", watcher=signal_at(STEPS))
    assert run.status()["state"] == "done"
    assert outcome(run) == outcome(unbroken)


@pytest.mark.parametrize("step", [1, STEPS_PER_EPOCH + 2])
def test_a_crash_falls_back_to_the_last_checkpoint(tmp_path: Path, unbroken: RunDirectory, step: int) -> None:
    with pytest.raises(CrashError):
        train(tmp_path, "run", watcher=crash_at(step))
    assert RunDirectory.open(tmp_path / "run").status()["state"] == "failed"
    assert outcome(resume(tmp_path / "run")) == outcome(unbroken)


@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
@pytest.mark.parametrize("place", ["before the checkpoint", "after the checkpoint"])
def test_a_crash_at_an_epoch_boundary(
    tmp_path: Path, unbroken: RunDirectory, monkeypatch: pytest.MonkeyPatch, epoch: int, place: str
) -> None:
    def crash(row: dict[str, Any]) -> None:
        if row["epoch"] == epoch:
            raise CrashError

    if place == "before the checkpoint":  # the epoch's row is in metrics.jsonl already
        append = RunDirectory.append_epoch
        monkeypatch.setattr(RunDirectory, "append_epoch", lambda self, row: (append(self, row), crash(row)))
        watcher = None
    else:
        watcher = Watcher(at_epoch=crash)
    with pytest.raises(CrashError):
        train(tmp_path, "run", watcher=watcher)
    monkeypatch.undo()
    assert outcome(resume(tmp_path / "run")) == outcome(unbroken)


def test_a_crash_between_the_last_epoch_and_the_end(tmp_path: Path, unbroken: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: object) -> None:
        raise CrashError

    monkeypatch.setattr(session._Session, "_finish", crash)
    with pytest.raises(CrashError):
        train(tmp_path, "run")
    monkeypatch.undo()
    run = resume(tmp_path / "run")
    assert outcome(run) == outcome(unbroken)
    assert run.status()["state"] == "done"
    assert run.status()["error"] is None


def test_interrupted_again_and_again(tmp_path: Path, unbroken: RunDirectory) -> None:
    with pytest.raises(PreemptedError):
        train(tmp_path, "run", watcher=signal_at(1))
    for step in (2, 4, 7, 11):
        with pytest.raises(PreemptedError):
            resume(tmp_path / "run", watcher=signal_at(step))
    assert outcome(resume(tmp_path / "run")) == outcome(unbroken)


def test_a_finished_run_is_returned_as_it_is(tmp_path: Path) -> None:
    run = train(tmp_path, "run")
    before = contents(run.path)
    assert resume(run.path).path == run.path
    assert contents(run.path) == before


def test_random_draws_of_the_network_go_on_where_they_stopped(tmp_path: Path, register_model: Any) -> None:
    def factory(*, num_classes: int, image_size: int) -> nn.Module:
        """Draws in every training step."""
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, num_classes))

    register_model("test-dropout", factory)
    settings: dict[str, Any] = {"train__resolution": [], "train__freeze": [], "optim__name": "sgd", "optim__lr": 0.01}
    recipe = make_recipe(model={"name": "test-dropout", "arguments": {}}, optim__arguments={}, **settings)
    whole = outcome(train(tmp_path, "whole", recipe))
    for step in (2, STEPS_PER_EPOCH):
        with pytest.raises(PreemptedError):
            train(tmp_path, f"broken-{step}", recipe, watcher=signal_at(step))
        torch.rand(11)
        assert outcome(resume(tmp_path / f"broken-{step}")) == whole


def test_resumed_rates_count_only_the_images_of_this_process(tmp_path: Path) -> None:
    with pytest.raises(PreemptedError):
        train(tmp_path, "run", watcher=signal_at(STEPS_PER_EPOCH - 1))
    resume(tmp_path / "run", watcher=Watcher(lambda step: time.sleep(0.5) if step == STEPS_PER_EPOCH else None))
    rate = RunDirectory.open(tmp_path / "run").epochs()[0]["images_per_second"]
    assert 0 < rate < 32 / 0.5  # one batch of 32 was left, and it took over half a second


# -- real signals, real processes ------------------------------------------------------------------------------------------


def drive(runs: Path, step: int, *signals: str) -> int:
    command = [sys.executable, str(DRIVER), str(runs), "run", str(step), *signals]
    return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode


def test_a_run_killed_mid_epoch_ends_with_the_same_weights(tmp_path: Path, unbroken: RunDirectory) -> None:
    assert drive(tmp_path, STEPS_PER_EPOCH + 2, "SIGKILL") == -signal.SIGKILL
    assert RunDirectory.open(tmp_path / "run").status()["state"] == "running"
    assert outcome(resume(tmp_path / "run")) == outcome(unbroken)


def test_a_second_signal_leaves_at_once_and_loses_only_the_running_epoch(tmp_path: Path, unbroken: RunDirectory) -> None:
    assert drive(tmp_path, STEPS_PER_EPOCH + 2, "SIGTERM", "SIGINT") == 128 + signal.SIGINT
    run = RunDirectory.open(tmp_path / "run")
    assert run.status()["state"] == "running"  # no time to say more
    assert len(run.epochs()) == 1
    assert outcome(resume(run.path)) == outcome(unbroken)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_saves_and_leaves_with_the_signals_code(tmp_path: Path, number: int, code: int) -> None:
    command = [sys.executable, "-m", "cifarlab", "train", "digits", "--train-size", "120", "--epochs", "4000", "--threads", "1"]
    options = ["--set", "model.arguments.widths=[8,8,8]", "--no-report", "--runs", str(tmp_path), "--name", "run"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    rows = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline and not (rows.exists() and rows.stat().st_size):
        time.sleep(0.02)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"stopped after step" in message
    assert b"Traceback" not in message
    run = RunDirectory.open(tmp_path / "run")
    status = run.status()
    assert status["state"] == "preempted"
    with pytest.raises(PreemptedError, match=f"after step {status['step'] + 1} of"):  # it goes on at the next step
        resume_run(run.path, read_digits(), device=CPU, predict=predict_logits, listener=signal_at(status["step"] + 1))


# -- what is refused ------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    with pytest.raises(PreemptedError):
        train(tmp_path, "run", watcher=signal_at(5))
    return tmp_path / "run"


def test_a_changed_recipe_is_refused_and_nothing_changed(stopped: Path) -> None:
    before = contents(stopped)
    with pytest.raises(UsageError, match=r"(?s)changed recipe; nothing was changed.*optim\.lr: 0\.1 -> 0\.2.*--name"):
        resume(stopped, recipe=make_recipe(optim__lr=0.2))
    assert contents(stopped) == before


def test_an_edited_recipe_file_is_refused_and_nothing_changed(stopped: Path) -> None:
    file = stopped / "recipe.yaml"
    file.write_text(file.read_text().replace("batch_size: 32", "batch_size: 64"))
    before = contents(stopped)
    with pytest.raises(UsageError, match=r"train\.batch_size: 32 -> 64"):
        resume(stopped)
    assert contents(stopped) == before


@pytest.mark.parametrize("changed", ["train", "validation", "test"])
def test_changed_data_are_refused_and_nothing_changed(stopped: Path, changed: str) -> None:
    splits = make_splits()
    part = splits.test if changed == "test" else splits.train
    arranged = session.arrange(make_recipe(), splits)._asdict()[changed]
    position = int(np.flatnonzero(part.sample_ids == arranged.sample_ids[0])[0])
    part.images[position, 3, 3, 0] ^= 1
    before = contents(stopped)
    with pytest.raises(RunError, match=rf"checksum of the {changed} images differs\. Nothing was changed"):
        resume(stopped, splits=splits)
    assert contents(stopped) == before


def test_a_run_that_another_process_trains_is_refused(stopped: Path) -> None:
    holder = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holder, str(stopped / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        before = contents(stopped)
        with pytest.raises(RunError, match="is being trained by another process"):
            resume(stopped)
        assert contents(stopped) == before
        process.communicate()
    assert resume(stopped).status()["state"] == "done"


def test_a_training_holds_its_lock(tmp_path: Path) -> None:
    found = []

    def look(step: int) -> None:
        with (tmp_path / "run" / ".lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found.append(step)

    train(tmp_path, "run", watcher=Watcher(look))
    assert len(found) == STEPS
