"""The table of the page's answers: what it says, and explanations timed against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_files import load

page = load("page")


def test_explanations_are_timed_without_their_first_and_slowest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "time_drops", lambda url, *, tries: {"from drop to label, x": [3.0, 1.0, 2.0]})
    assert page.main(["--tries", "1", "-o", str(tmp_path / "page.md")]) == 0
    found = json.loads((tmp_path / "page.json").read_text())
    assert set(found["milliseconds"]) == {*(f"POST /explain, {name}" for name in page.QUESTIONS), "from drop to label, x"}
    assert all(len(times) == 1 and times[0] > 0 for name, times in found["milliseconds"].items() if "explain" in name)
    assert "| from drop to label, x | 2 | 1 | 3 |" in (tmp_path / "page.md").read_text()


def test_a_model_that_does_not_exist_is_an_error_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert page.main([str(tmp_path / "none"), "--tries", "1", "-o", str(tmp_path / "page.md")]) == 1
    assert "does not start" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()
