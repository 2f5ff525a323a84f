"""The table of what lies around the training: how a command is watched, and what the table says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmark_files import load

path = load("path")
ENVIRONMENT = dict.fromkeys(("processor", "cpu_capability", "threads", "python", "torch", "pillow", "git_revision"), "x")
ABOUT = {"tries": 3, "load": 0.1, "environment": ENVIRONMENT, "date": "x", "command": "x"}


def test_a_command_is_watched_from_its_start_to_its_end() -> None:
    program = "import time; kept = bytearray(200_000_000); time.sleep(0.3)"
    seconds, mib = path.watch([sys.executable, "-c", program], inside=False)
    assert 0.3 <= seconds < 10
    assert 190 < mib < 400


def test_seconds_inside_a_process_are_those_that_it_prints() -> None:
    assert path.watch([sys.executable, "-c", "print(12.5)"], inside=True)[0] == 12.5


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="ended with 3"):
        path.watch([sys.executable, "-c", "raise SystemExit(3)"], inside=False)


def test_the_table_says_which_goal_is_missed() -> None:
    rows = [path.Row("one", "cifarlab one", (1.0, 3.0, 2.0), 200.4, 2.5), path.Row("two", "cifarlab two", (3.0,), 100.0, 2.5)]
    page = path.render(rows, ABOUT)
    assert "| one | 2.00 (1.00 to 3.00) | 2.5 | 200 MiB | `cifarlab one` |" in page
    assert "| two | 3.00 (3.00 to 3.00) | 2.5 (missed) | 100 MiB | `cifarlab two` |" in page


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        path.main([str(tmp_path), "-o", str(tmp_path / "x.md")])
    assert ended.value.code == 2
