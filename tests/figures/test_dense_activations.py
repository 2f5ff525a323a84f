"""figures.activations: images beside what the last dense layer answers."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from cifarlab.figures import plot_dense_activations

VALUES = np.array([[2.0, -1.0, 0.04], [-3.0, 0.5, 0.25]], dtype=np.float32)
LABELS = np.array([0, 2])
NAMES = ("cat", "deer", "dog")


def test_strips_show_activations_predicted_and_true_class(images, tmp_path, written, assert_picture):
    assert_picture(plot_dense_activations(images[:2], VALUES, LABELS, NAMES, tmp_path / "strips.png"), width=500, height=200)
    pictures, strips = written[0].axes
    np.testing.assert_array_equal(strips.images[0].get_array(), VALUES)
    low, high = strips.images[0].get_clim()
    assert low == -high  # white is zero
    texts = [text.get_text() for text in strips.texts]
    assert texts[:6] == ["2.0", "−1.0", "0.0", "−3.0", "0.5", "0.2"]
    assert texts[6:] == ["✓ cat", "✗ deer\ntrue: dog"]
    framed = [patch.get_x() + patch.get_width() / 2 for patch in strips.patches if isinstance(patch, Rectangle)]
    assert framed == pytest.approx([0, 1])  # the highest of each row
    assert [round(float(line.get_xdata()[0])) for line in strips.lines] == [0, 2]  # the true classes
    assert len(pictures.images) == 2
    assert not written[0].spilled


def test_a_small_negative_activation_is_not_minus_zero(images, tmp_path, written):
    plot_dense_activations(images[:1], np.array([[-0.01, 1.0]], dtype=np.float32), np.array([0]), ("a", "b"), tmp_path / "zero.png")
    assert written[0].axes[1].texts[0].get_text() == "0.0"


@pytest.mark.parametrize("n", [1, 12])
def test_images_are_square_and_in_line_with_their_strips(n, images, class_names, tmp_path, written):
    activations = np.random.default_rng(0).normal(size=(n, 10)).astype(np.float32)
    plot_dense_activations(images[:n], activations, np.arange(n) % 10, class_names, tmp_path / "strips.png")
    figure = written[0]
    pictures, strips = figure.axes
    assert pictures.get_position().y0 == strips.get_position().y0
    assert pictures.get_position().height == strips.get_position().height
    box = pictures.get_window_extent()
    assert box.width == pytest.approx(box.height / n, rel=0.02)
    assert not figure.spilled


def test_wide_pictures_keep_their_shape(tmp_path, written):
    wide = np.zeros((2, 16, 32, 3), dtype=np.uint8)
    plot_dense_activations(wide, VALUES, LABELS, NAMES, tmp_path / "wide.png")
    left, right, bottom, top = written[0].axes[0].images[0].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((0, 8, 8, 3), dtype=np.uint8)}, "at least 1"),
        ({"images": np.zeros((2, 8, 8, 3))}, "uint8"),
        ({"activations": VALUES[:, :2]}, r"\[2, 3\]"),
        ({"activations": np.full((2, 3), np.nan, dtype=np.float32)}, "finite"),
        ({"labels": np.array([0, 3])}, r"0\.\.2"),
        ({"class_names": [str(i) for i in range(41)], "activations": np.zeros((2, 41), dtype=np.float32)}, "2 to 40 classes"),
    ],
)
def test_what_does_not_fit_is_refused(change, message, tmp_path):
    given = {"images": np.zeros((2, 8, 8, 3), dtype=np.uint8), "activations": VALUES, "labels": LABELS, "class_names": NAMES} | change
    with pytest.raises(ValueError, match=message):
        plot_dense_activations(given["images"], given["activations"], given["labels"], given["class_names"], tmp_path / "none.png")
