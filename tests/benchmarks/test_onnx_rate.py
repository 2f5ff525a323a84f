"""The table of prediction rates: its arithmetic, and one short measurement from beginning to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_files import load

rate = load("onnx_rate")
RECORDS = {
    "model.onnx": {
        "parity": {
            "n": 9,
            "images": "validation",
            "views": ["six", "none"],
            "max_abs_probability_difference": 2e-6,
            "labels_that_differ": 0,
        }
    },
    "model.int8.onnx": {
        "views": "six",
        "calibration": {"n": 5, "images": "validation"},
        "accuracy": {"n": 400, "images": "validation", "before": 0.95, "after": 0.9475, "lost": 3, "won": 2},
    },
}


def about() -> dict[str, Any]:
    return {
        "model": "m (speednet)",
        "parameters": 1975096,
        "views": "none",
        "rounds": 3,
        "seconds": 1.0,
        "threads": 1,
        "load": [0.1, 1.2],
        "records": RECORDS,
        "environment": {"processor": "P", "cpu_capability": "AVX2", "python": "3.11", "git_revision": "abc"},
        "versions": {"torch": "2"},
        "date": "2026-01-01",
        "command": "python benchmarks/onnx_rate.py",
    }


def test_rates_and_ratios_are_of_the_timings() -> None:
    walls = {"torch": [0.4, 0.2, 0.8], "onnx": [0.2, 0.1, 0.2], "onnx-int8": [0.1, 0.04, 0.05]}
    timings = {
        (name, batch): [rate.Timing(wall * batch / 16, wall * batch / 32) for wall in values]
        for name, values in walls.items()
        for batch in rate.BATCHES
    }
    page = rate.render(timings, about())
    rows = [line for line in page.splitlines() if line.startswith("| 16 |")]
    assert rows[0] == "| 16 | 400.0 (200.0 to 800.0) | 200.0 (100.0 to 200.0) | 50.0 (40.0 to 100.0) |"  # ms
    assert rows[1] == "| 16 | 40 (20 to 80) | 80 (80 to 160) | 320 (160 to 400) |"  # images/s on the clock
    assert rows[2] == "| 16 | 80 (40 to 160) | 160 (160 to 320) | 640 (320 to 800) |"  # of processor time, half the clock's
    # Within rounds: onnx / torch 2, 2, 4; int8 / onnx 2, 2.5, 4; int8 / torch 4, 5, 16.
    assert rows[3].split(" | ")[1] == "2.00 (2.00 to 4.00) \\| 2.00 (2.00 to 4.00)"
    assert rows[3].split(" | ")[2] == "2.50 (2.00 to 4.00) \\| 2.50 (2.00 to 4.00)"
    assert "1 975 096 parameters" in page
    assert "95.00 % before, 94.75 % after (-0.25 points; 3 answers lost, 2 won)" in page


def test_a_call_is_timed_by_its_median() -> None:
    calls: list[int] = []
    timing = rate.time_calls(lambda: calls.append(1), seconds=0.0)
    assert len(calls) == 3
    assert 0 <= timing.wall < 5


def test_a_bundle_without_onnx_is_refused_with_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        rate.main([str(tmp_path), "-o", str(tmp_path / "a.md")])
    assert left.value.code == 2
    assert "is not a trained model" in capsys.readouterr().err


def test_measuring_takes_every_engine_at_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, str]] = []

    class Fake:
        size = 8

        def __init__(self, name: str) -> None:
            self.engine = self
            self.name = name

        def logits(self, images: Any, *, views: str) -> None:
            assert images.dtype == np.uint8
            assert images.shape[1:] == (8, 8, 3)
            seen.append((self.name, len(images), views))

    timings = rate.measure({name: Fake(name) for name in rate.ENGINES}, views="flip", rounds=2, seconds=0.0)
    assert set(timings) == {(name, batch) for name in rate.ENGINES for batch in rate.BATCHES}
    assert {len(values) for values in timings.values()} == {2}
    assert set(seen) == {(name, batch, "flip") for name in rate.ENGINES for batch in rate.BATCHES}
