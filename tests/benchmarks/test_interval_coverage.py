"""The simulation of interval coverage: what it takes for the truth is the mean of what it simulates."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def coverage() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("interval_coverage")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("luck", [0.0, 0.4])
def test_the_true_difference_is_the_mean_of_simulated_ones(coverage, luck):
    generator = np.random.default_rng(0)
    made = [coverage.simulate(100_000, (2, 2), luck, generator) for _ in range(20)]
    found = [correct[:2].mean() - correct[2:].mean() for correct in made]
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - coverage.true_difference(luck)) < 4 * error


def test_every_method_gives_an_interval_around_the_measured_difference(coverage):
    correct = coverage.simulate(1000, (3, 3), 0.1, np.random.default_rng(1))
    measured = correct[:3].mean() - correct[3:].mean()
    found = list(coverage.intervals(correct, (3, 3), 200, 0))
    assert len(found) == len(coverage.METHODS)
    assert all(low < measured < high for low, high in found)
