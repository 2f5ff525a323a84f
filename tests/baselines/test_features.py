"""baselines.features: pixels, and HOG against scikit-image on single images."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from cifarlab.baselines import hog_features
from cifarlab.baselines.features import pixel_features
from cifarlab.errors import MissingDependencyError, UsageError


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(6, 32, 32, 3), dtype=np.uint8)


def test_hog_is_scikit_images_with_cells_of_4_pixels(images):
    from skimage.feature import hog

    features = hog_features(images)
    assert features.dtype == np.float32
    assert features.shape == (6, 1764)
    expected = hog(images[3], orientations=9, pixels_per_cell=(4, 4), cells_per_block=(2, 2), block_norm="L2-Hys", channel_axis=-1)
    np.testing.assert_allclose(features[3], expected, rtol=1e-5, atol=1e-7)


def test_the_number_of_features_does_not_grow_with_the_images():
    large = np.random.default_rng(0).integers(0, 256, size=(2, 64, 64, 3), dtype=np.uint8)
    assert hog_features(large).shape == (2, 1764)


def test_a_vertical_edge_speaks_in_its_own_direction():
    image = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    image[:, :, 16:] = 200
    blocks = hog_features(image).reshape(7, 7, 2, 2, 9)
    strongest = blocks[3, 3].sum(axis=(0, 1)).argmax()
    turned = hog_features(image.transpose(0, 2, 1, 3).copy()).reshape(7, 7, 2, 2, 9)[3, 3].sum(axis=(0, 1)).argmax()
    assert (strongest, turned) == (0, 4)  # gradients along 0 and 90 degrees, in bins of 20


def test_progress_counts_images_and_processes_change_nothing(images, monkeypatch):
    monkeypatch.setattr("cifarlab.baselines.features._CHUNK", 2)
    heard: list[tuple[int, int]] = []
    alone = hog_features(images, watch=lambda done, total: heard.append((done, total)))
    assert heard == [(2, 6), (4, 6), (6, 6)]
    np.testing.assert_array_equal(hog_features(images, threads=2), alone)


def test_pixels_are_a_view(images):
    features = pixel_features(images)
    assert features.shape == (6, 3072)
    assert np.shares_memory(features, images)


def test_small_images_are_refused():
    with pytest.raises(UsageError, match="at least 16 px, not 8 x 8; use --features pixels"):
        hog_features(np.zeros((1, 8, 8, 3), dtype=np.uint8))


def test_without_scikit_image_the_install_line_is_named(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'cifarlab\[baselines\]'"):
        hog_features(images)
