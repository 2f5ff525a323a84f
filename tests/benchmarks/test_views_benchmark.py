"""The table of views: what it counts is what the predictor says, and the page tells whether the test split was read."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from benchmark_files import load

from cifarlab.bundle import Predictor, load_predictor
from cifarlab.bundle.reexport import drawn_images
from cifarlab.data.dataset import Dataset


@pytest.fixture(scope="module")
def views() -> ModuleType:
    return load("views")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor("cifar10-fast", device="cpu")


@pytest.fixture(scope="module")
def data(predictor: Predictor) -> Dataset:
    return drawn_images(32, classes=predictor.class_names).take(np.arange(60))


def test_it_counts_what_the_predictor_says(views: ModuleType, predictor: Predictor, data: Dataset) -> None:
    rows = {row["views"]: row for row in views.measure_accuracy(predictor, data, split="validation")}
    labels = {name: predictor.predict_arrays(list(data.images), tta=name).labels for name in rows}
    assert list(rows) == ["none", "flip", "six", "selective"]
    for name, row in rows.items():
        assert row["right"] == sum(label == predictor.class_names[0] for label in labels[name])  # all are labelled with the first
        assert row["differ_from_six"] == sum(one != other for one, other in zip(labels[name], labels["six"], strict=True))
        assert row["low"] <= row["right"] / row["n"] <= row["high"]
    assert 0 < rows["selective"]["stopped"] < 60


@pytest.mark.parametrize("test", [True, False])
def test_the_page_tells_whether_the_test_split_was_read(views: ModuleType, test: bool) -> None:
    row = {
        "split": "validation",
        "views": "selective",
        "n": 200,
        "right": 190,
        "low": 0.91,
        "high": 0.97,
        "differ_from_six": 1,
        "stopped": 150,
    }
    rate = {"batch": 16, "views": "six", "per_second": [10.0, 30.0, 20.0], "per_cpu_second": [40.0]}
    page = views.render([row], [rate], {"model": "m", "test": test, "confidence": 0.75, "conditions": ["one", "two"]})
    assert "| validation | selective | 95.00 % [91.00, 97.00] | 10 of 200 | 1 | 75.0 % |" in page
    assert "| 16 | six | 20 (10 to 30) | 40 (40 to 40) |" in page
    assert ("The test split was read once" in page) == test
    assert page.endswith("- one\n- two\n")
