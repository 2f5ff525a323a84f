"""The lock of a run directory: one process trains it, others can see that."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cifarlab.errors import RunError
from cifarlab.files import try_lock
from cifarlab.runs import RunDirectory

HOLD = """
import sys
import threading
from pathlib import Path
from cifarlab.runs import RunDirectory
with RunDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs", "one", recipe_yaml="name: x\n", env={"seed": 0})


def test_two_processes_cannot_train_one_run(run: RunDirectory) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="being trained by another process"), run.locked():
            pass
        assert run.in_use()
        other.kill()  # the lock goes with the process, however it ends
    assert not run.in_use()
    with run.locked():
        pass


def test_asking_whether_a_run_is_trained_creates_nothing(run: RunDirectory) -> None:
    before = sorted(path.name for path in run.path.iterdir())
    assert not run.in_use()
    assert sorted(path.name for path in run.path.iterdir()) == before


def test_a_look_at_the_lock_does_not_refuse_a_training(run: RunDirectory) -> None:
    with run.locked():
        pass
    with (run.path / ".lock").open("rb") as file:
        assert try_lock(file)
        threading.Timer(0.02, file.close).start()
        with run.locked():
            pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are those of POSIX")
def test_a_pipe_in_place_of_the_lock_holds_up_nobody_who_asks(run: RunDirectory) -> None:
    os.mkfifo(run.path / ".lock")
    asked: list[bool] = []
    asking = threading.Thread(target=lambda: asked.append(run.in_use()), daemon=True)
    asking.start()
    asking.join(5)
    assert asked == [False]
