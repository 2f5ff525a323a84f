"""The real command, in this process: its output, its messages and its exit code."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_run import TINY, Command, Outcome

from cifarlab.cli.main import main


def run_command(arguments: tuple[Any, ...], patch: pytest.MonkeyPatch, capsys: Any, *, stdin: str = "") -> Outcome:
    patch.setattr(sys, "argv", ["cifarlab", *map(str, arguments)])
    patch.setattr(sys, "stdin", io.StringIO(stdin))
    patch.setenv("CIFARLAB_DEBUG", "0")
    patch.setenv("COLUMNS", "200")  # messages in one line each
    capsys.readouterr()
    try:
        main()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(bool(left.code))
    captured = capsys.readouterr()
    return Outcome(code, captured.out, captured.err)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Call it as on a command line, in an empty folder of its own."""
    monkeypatch.delenv("CIFARLAB_DATA", raising=False)
    monkeypatch.setenv("CIFARLAB_CACHE", str(tmp_path / "cache"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*arguments: Any, stdin: str = "") -> Outcome:
        return run_command(arguments, monkeypatch, capsys, stdin=stdin)

    return call


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """Call a command that must fail: one error on stderr, nothing on stdout, nothing made; returns the error."""

    def call(*arguments: Any, code: int = 2, stdin: str = "") -> str:
        before = sorted(Path().rglob("*"))
        outcome = command(*arguments, stdin=stdin)
        assert outcome.code == code, outcome
        assert outcome.out == ""
        assert "Traceback" not in outcome.err
        assert "internal error" not in outcome.err
        assert outcome.err.lower().count("error") >= 1
        assert sum(line.startswith("error: ") or "─ Error ─" in line for line in outcome.err.splitlines()) == 1, outcome.err
        assert sorted(Path().rglob("*")) == before
        return outcome.err

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run that is done. Tests that change it take `run`, a copy."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cifarlab", *TINY, "--name", "tiny", "--runs", str(runs)])
        out, err = io.StringIO(), io.StringIO()
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        code: object = 0
        try:
            main()
        except SystemExit as left:
            code = left.code
    assert not code, err.getvalue()
    return runs / "tiny"


@pytest.fixture
def run(trained: Path, command: Command) -> Path:
    """A copy of the tiny run, as runs/tiny of the current folder."""
    return Path(shutil.copytree(trained, Path("runs") / "tiny"))
