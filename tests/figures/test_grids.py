"""figures.grids: the right images under the right words."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cifarlab.figures import plot_mistakes, plot_predictions, plot_sample_grid

NAMES = ("cat", "dog")


def captions(figure):
    return [axes.get_title() for axes in figure.axes if axes.images]


def overlapping(figure):
    """Pairs of captions in one row that run into each other."""
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.images]
    return [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


def test_sample_grid_shows_the_first_images_with_their_classes(images, tmp_path, written, assert_picture):
    labels = np.arange(40) % 2
    path = plot_sample_grid(images, labels, NAMES, tmp_path / "grid.png", rows=2, columns=3, title="Samples")
    assert_picture(path, width=600, height=400)
    assert captions(written[0]) == ["cat", "dog", "cat", "dog", "cat", "dog"]
    np.testing.assert_array_equal(written[0].axes[4].images[0].get_array(), images[4])


def test_sample_grid_with_fewer_images_than_places(images, tmp_path, written, assert_picture):
    assert_picture(
        plot_sample_grid(images[:4], np.zeros(4, dtype=np.int64), NAMES, tmp_path / "grid.png", columns=3), width=600, height=400
    )
    assert len(captions(written[0])) == 4
    assert not written[0].spilled


def test_captions_stay_apart_and_inside(images, class_names, tmp_path, written, assert_picture):
    labels = np.arange(40) % 10
    probabilities = np.full((40, 10), 0.0)
    probabilities[np.arange(40), (labels + np.arange(40) % 3) % 10] = 1.0
    assert_picture(plot_predictions(images, labels, probabilities, class_names, tmp_path / "grid.png"), width=1600, height=1200)
    assert not written[0].spilled
    assert not overlapping(written[0])


def test_predictions_give_predicted_class_score_and_true_class(images, tmp_path, written):
    probabilities = np.array([[0.9, 0.1], [0.38, 0.62], [0.9996, 0.0004], [0.9951, 0.0049]])
    plot_predictions(images[:4], np.array([0, 0, 0, 1]), probabilities, NAMES, tmp_path / "grid.png")
    assert captions(written[0]) == [
        "✓ cat 90 %\ntrue: cat",
        "✗ dog 62 %\ntrue: cat",
        "✓ cat 100 %\ntrue: cat",
        "✗ cat 99 %\ntrue: dog",
    ]


def test_a_wrong_prediction_differs_by_more_than_colour(images, tmp_path, written):
    plot_predictions(images[:2], np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]]), NAMES, tmp_path / "grid.png")
    right, wrong = (axes.spines["left"] for axes in written[0].axes)
    assert wrong.get_linewidth() > right.get_linewidth()
    assert wrong.get_linestyle() != right.get_linestyle()


def test_mistakes_come_most_confident_first(images, tmp_path, written):
    top = np.array([0.7, 0.99, 0.6, 0.8, 0.9])
    labels = np.array([1, 0, 1, 1, 1])  # all are called "cat": the second is right
    plot_mistakes(images[:5], labels, np.stack([top, 1 - top], axis=1), NAMES, tmp_path / "grid.png", count=3)
    assert [caption.splitlines()[0] for caption in captions(written[0])] == ["✗ cat 90 %", "✗ cat 80 %", "✗ cat 70 %"]
    np.testing.assert_array_equal(written[0].axes[0].images[0].get_array(), images[4])


def test_no_mistakes_is_said(images, tmp_path, written, assert_picture):
    path = plot_mistakes(images[:3], np.zeros(3, dtype=np.int64), np.tile([1.0, 0.0], (3, 1)), NAMES, tmp_path / "grid.png")
    assert_picture(path, width=500, height=100)
    assert written[0].axes[0].texts[0].get_text() == "No mistakes: all 3 predictions are right"


@pytest.mark.parametrize("shape", [(28, 28), (96, 160), (300, 40)])
def test_images_of_any_shape(shape, tmp_path, written, assert_picture):
    images = np.random.default_rng(0).integers(0, 256, size=(3, *shape, 3), dtype=np.uint8)
    assert_picture(plot_sample_grid(images, np.array([0, 1, 0]), NAMES, tmp_path / "grid.png", title="Any shape"), width=300, height=100)
    assert not written[0].spilled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((0, 8, 8, 3), dtype=np.uint8)}, "M at least 1"),
        ({"images": np.zeros((2, 8, 8, 3), dtype=np.float32)}, "uint8"),
        ({"labels": np.array([0, 2])}, r"0\.\.1"),
        ({"labels": np.array([0])}, "2 numbers"),
        ({"probabilities": np.ones((2, 3))}, r"\[2, 2\]"),
        ({"columns": 0}, "columns"),
    ],
)
def test_what_does_not_belong_together_is_refused(change, message, images, tmp_path):
    arguments = {"images": images[:2], "labels": np.array([0, 1]), "probabilities": np.eye(2), "columns": 8, **change}
    columns = arguments.pop("columns")
    with pytest.raises(ValueError, match=message):
        plot_predictions(*arguments.values(), NAMES, tmp_path / "grid.png", columns=columns)
