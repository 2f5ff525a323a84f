"""The benchmark of the server: its clients notice wrong answers and refusals, and its page says what was measured."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("serving")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def folder(bench: ModuleType, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the pictures and what the model says of them, and a short warm-up."""
    monkeypatch.setattr(bench, "WARM_UP", 0.2)
    bench.write_pictures(bench.parse([str(folders["first"]), "-o", "x.md"]), tmp_path / "pictures.json", views=None)
    return tmp_path


def test_right_answers_are_counted(bench: ModuleType, url: str, folder: Path) -> None:
    phase = bench.run_clients("some", url, os.getpid(), folder, clients=4, seconds=0.5)
    assert set(phase.statuses) == {"200"}
    assert phase.statuses["200"] > 4
    assert (phase.wrong, phase.lost) == (0, 0)
    assert 0 < phase.milliseconds["p50"] <= phase.milliseconds["p99"] <= phase.milliseconds["max"]


def test_wrong_answers_are_noticed(bench: ModuleType, url: str, folder: Path) -> None:
    file = folder / "pictures.json"
    whole: dict[str, Any] = json.loads(file.read_text())
    for picture in whole["pictures"]:
        picture["answer"]["ant"] += 0.002
    file.write_text(json.dumps(whole))
    phase = bench.run_clients("some", url, os.getpid(), folder, clients=2, seconds=0.5)
    assert phase.wrong == phase.statuses["200"] > 0


def test_at_a_given_rate_as_many_are_sent(bench: ModuleType, url: str, folder: Path) -> None:
    phase = bench.run_clients("some", url, os.getpid(), folder, clients=50, seconds=1.0, rate=20)
    # Fewer where the machine is busy with other things, never more than the rate and its catching up.
    assert 1 <= sum(phase.statuses.values()) <= 26
    assert phase.lost == 0


def test_without_a_server_nothing_is_answered(bench: ModuleType, folder: Path) -> None:
    with pytest.raises(RuntimeError, match="clients failed"):
        bench.run_clients("some", "http://127.0.0.1:9", os.getpid(), folder, clients=1, seconds=0.1)


def test_growth_is_the_slope_of_the_second_half(bench: ModuleType) -> None:
    seconds = list(range(100))
    rising = bench.Memory(seconds=seconds, mib=[300 + 2 * second / 60 for second in seconds])
    assert rising.growth() == pytest.approx(2)
    settled = bench.Memory(seconds=seconds, mib=[300 + min(second, 40) for second in seconds])
    assert settled.growth() == pytest.approx(0, abs=1e-9)
    assert np.isfinite(bench.resident_mib(os.getpid()))


def test_the_page_tells_what_was_measured(bench: ModuleType, tmp_path: Path) -> None:
    options = bench.parse(
        ["some-model", "--seconds", "3", "--views", "none", "--also", "six", "-o", str(tmp_path / "out.md"), "--", "--queue", "32"]
    )
    assert options.command().endswith("--views none --also six -o out.md -- --queue 32")
    times = {"p50": 5.0, "p95": 6.0, "p99": 7.0, "max": 9.0}
    one = bench.Phase("one client", 10, {"200": 100}, 0, 0, times, 0.1, server_share=0.5)
    many = bench.Phase("64 clients", 60, {"200": 6000}, 2, 1, times, 0.1)
    over = bench.Phase("twice too much", 20, {"200": 2000, "429": 1900}, 0, 0, times, 0.1, rate=200.0)
    memory = bench.Memory(seconds=[1, 2, 3], mib=[300, 310, 305])
    page = bench.render([one, many, over], memory, bench.describe(options, memory, load_before=0.0, pictures="64 drawn pictures"))
    assert "| one client | 10.0 | 5.0 ms | 6.0 ms | 7.0 ms | 9.0 ms | 100 x 200 | 0 | 0 | 50 % | 10 % |" in page
    assert "| twice too much (200/s sent) | 100.0 |" in page
    assert "2000 x 200, 1900 x 429" in page
    assert "300 to 310 MiB" in page
    assert options.command() in page
    bench.draw(memory, tmp_path / "memory.png")
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
