from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))  # for small_runs

from small_runs import train

from cifarlab.runs import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """The small run, trained anew: a test may spoil it."""
    return train(tmp_path, "run")
