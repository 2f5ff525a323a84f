"""Temperature and threshold against brute force and SciPy, and what they are never fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp
from scipy.special import softmax as scipy_softmax

from cifarlab.bundle.calibration import COLDEST, HOTTEST, LEAST_IMAGES, calibrate, confirm, fit_temperature, fit_threshold, unlikeness
from cifarlab.runs import Predictions


def logits_and_labels(n: int = 400, k: int = 5, *, sharpness: float = 3.0, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Labels drawn from softmax(z), and sharpness * z: the right temperature is about `sharpness`."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(n, k)) * 2
    labels = np.array([generator.choice(k, p=row) for row in scipy_softmax(z, axis=1)])
    return (sharpness * z).astype(np.float32), labels.astype(np.int64)


def predictions(n: int = 400, split: str = "validation", tta: str = "six") -> Predictions:
    logits, labels = logits_and_labels(n)
    ids = np.array([f"train/{i:05}" for i in range(n)])
    return Predictions(ids, labels, logits, None if tta == "none" else logits * np.float32(0.5), tta, tuple("abcde"), split, "0" * 64)


def mean_loss(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float) -> float:
    return float(-log_softmax(logits.astype(np.float64) / temperature, axis=1)[np.arange(len(labels)), labels].mean())


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 3.0])
def test_temperature_equals_a_grid_search(sharpness: float) -> None:
    logits, labels = logits_and_labels(sharpness=sharpness)
    grid = np.geomspace(COLDEST, HOTTEST, 20_001)
    best = grid[np.argmin([mean_loss(logits, labels, t) for t in grid])]
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=4e-4)  # one step of the grid is 3e-4


def test_temperature_recovers_the_one_that_labels_were_drawn_with() -> None:
    logits, labels = logits_and_labels(n=20_000, sharpness=2.5)
    assert fit_temperature(logits, labels) == pytest.approx(2.5, rel=0.05)


def test_where_every_image_is_right_the_temperature_is_the_bound() -> None:
    labels = np.arange(5).repeat(30)
    assert fit_temperature(np.eye(5)[labels], labels) == pytest.approx(COLDEST, rel=1e-3)


@pytest.mark.parametrize(("n", "above"), [(100, 5), (144, 7), (1000, 50)])
def test_threshold_flags_the_share_asked_for(n: int, above: int) -> None:
    score = np.random.default_rng(1).normal(size=n)
    assert (score > fit_threshold(score)).sum() == above


def test_threshold_of_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="0 images"):
        fit_threshold(np.arange(5.0))


def test_energy_is_the_negative_logsumexp() -> None:
    logits = logits_and_labels()[0] * 100
    np.testing.assert_allclose(unlikeness("energy", logits), -logsumexp(logits.astype(np.float64), axis=1), rtol=1e-12)


def test_max_probability_is_the_negative_of_the_largest() -> None:
    logits = logits_and_labels()[0]
    np.testing.assert_allclose(unlikeness("max-probability", logits), -scipy_softmax(logits.astype(np.float64), axis=1).max(1), rtol=1e-12)


def test_both_views_are_fitted_apart() -> None:
    given = predictions()
    fitted = calibrate(given)
    assert fitted is not None
    assert fitted["views"].keys() == {"none", "six"}
    # The second logits are half the first: so is their temperature.
    assert fitted["views"]["six"]["temperature"] == pytest.approx(fitted["views"]["none"]["temperature"] / 2, rel=1e-4)


def test_what_is_recorded_is_what_the_temperature_does() -> None:
    given = predictions(tta="none")
    fitted = calibrate(given)
    assert fitted is not None
    used = fitted["views"]["none"]
    assert used["cross_entropy"]["before"] == pytest.approx(mean_loss(given.logits, given.labels, 1.0))
    assert used["cross_entropy"]["after"] == pytest.approx(mean_loss(given.logits, given.labels, used["temperature"]))
    assert used["calibration_error"]["after"] < used["calibration_error"]["before"]
    assert (fitted["n"], fitted["split"], used["flagged"]) == (400, "validation", 20)


def test_the_test_split_fits_nothing() -> None:
    with pytest.raises(ValueError, match="never on test"):
        calibrate(predictions(split="test"))


def test_too_few_images_fit_nothing() -> None:
    assert calibrate(predictions(LEAST_IMAGES - 1)) is None
    assert calibrate(predictions(LEAST_IMAGES)) is not None


def test_confirming_changes_nothing_that_was_fitted() -> None:
    fitted = calibrate(predictions())
    assert fitted is not None
    other: Any = confirm(fitted, predictions(split="test"))
    for views in ("none", "six"):
        assert other["views"][views]["cross_entropy"] == fitted["views"][views]["cross_entropy"]  # the same images here
        assert "temperature" not in other["views"][views]
