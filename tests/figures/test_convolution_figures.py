"""figures.convolution and figures.filters: what is drawn is what was given, and nothing leaves the picture."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from cifarlab.figures import Grid, GridRow, plot_filters, plot_layer_activations, plot_matrices

VALUES = np.array([[3.0, 0.0, -1.5], [2.25, 5.0, -80.0]])


def test_every_number_stands_in_its_cell(tmp_path, written, assert_picture):
    grids = [Grid(VALUES, "input", "image", frame=(0, 1, 2, 2)), Grid(VALUES.T, "output", "output", sign="=")]
    path = plot_matrices([GridRow("heading", "first\nsecond", grids)], tmp_path / "matrices.png", title="A title")
    assert_picture(path, width=600, height=200)
    axes = written[0].axes[0]
    texts = [text.get_text() for text in axes.texts]
    numbers = ["3", "0", "−1.5", "2.25", "5", "−80", "3", "2.25", "0", "5", "−1.5", "−80"]  # the matrix, and the same turned
    assert [text for text in texts if text in numbers] == numbers
    assert {"=", "input", "output", "heading", "first", "second", "A title"} <= set(texts)
    assert not written[0].spilled


def test_the_frame_marks_the_cells_asked_for(tmp_path, written):
    plot_matrices([GridRow("a", "", [Grid(VALUES, "input", "image", frame=(1, 1, 1, 2))])], tmp_path / "frame.png")
    axes = written[0].axes[0]
    cells = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    frame = cells[-1]
    cell = cells[0]
    assert frame.get_width() == pytest.approx(2 * cell.get_width())
    assert (frame.get_x() - cell.get_x()) / cell.get_width() == pytest.approx(1)
    assert (frame.get_y() - cell.get_y()) / cell.get_height() == pytest.approx(1)


def test_output_colours_are_white_at_zero(tmp_path, written):
    plot_matrices([GridRow("a", "", [Grid(VALUES, "out", "output")])], tmp_path / "colours.png")
    low, high = written[0].axes[0].images[0].get_clim()
    assert low == -high


@pytest.mark.parametrize("rows", [[], [GridRow("a", "", [])], [GridRow("a", "", [Grid(np.array([[np.nan]]), "x", "image")])]])
def test_nothing_to_draw_is_refused(rows, tmp_path):
    with pytest.raises(ValueError, match="finite matrices"):
        plot_matrices(rows, tmp_path / "none.png")


def test_rgb_filters_are_tiles_with_their_own_scale(tmp_path, written, assert_picture):
    weights = np.zeros((2, 3, 2, 2), dtype=np.float32)
    weights[0, 0] = 4.0  # all red
    weights[1, 2, 0, 0] = -0.5
    assert_picture(plot_filters(weights, tmp_path / "filters.png", title="Filters"), width=600, height=150)
    first, second = written[0].axes
    np.testing.assert_allclose(first.images[0].get_array()[0, 0], [1.0, 0.5, 0.5])
    np.testing.assert_allclose(second.images[0].get_array()[0, 0], [0.5, 0.5, 0.0])
    assert [axes.get_xlabel() for axes in (first, second)] == ["0: ±4", "1: ±0.5"]
    assert not written[0].spilled


@pytest.mark.parametrize(("filters", "channels", "tiles"), [(24, 3, 24), (80, 3, 64), (5, 4, 20), (64, 32, 256)])
def test_no_more_filters_than_can_be_seen(filters, channels, tiles, tmp_path, written):
    weights = np.random.default_rng(0).normal(size=(filters, channels, 3, 3))
    plot_filters(weights, tmp_path / "many.png", title="t" * 200)
    assert len(written[0].axes) == tiles
    assert not written[0].spilled
    if filters == 80:
        assert any("the first 64 of 80 filters" in text.get_text() for text in written[0].texts)


@pytest.mark.parametrize("weights", [np.zeros((0, 3, 2, 2)), np.zeros((3, 2, 2)), np.full((1, 3, 2, 2), np.inf)])
def test_weights_that_cannot_be_drawn_are_refused(weights, tmp_path):
    with pytest.raises(ValueError, match="weights must be finite"):
        plot_filters(weights, tmp_path / "none.png")


@pytest.mark.parametrize(("channels", "tiles"), [(1, 1), (16, 16), (20, 20), (100, 64)])
def test_activations_stand_beside_their_image_on_one_scale(channels, tiles, images, class_names, tmp_path, written, assert_picture):
    values = np.random.default_rng(0).normal(size=(2, channels, 7, 7))
    path = plot_layer_activations(images[:2], values, tmp_path / "maps.png", captions=class_names[:2], title="A layer " * 20)
    assert_picture(path, width=600, height=200)
    *panels, bar = written[0].axes
    assert len(panels) == 2 * (1 + tiles)
    np.testing.assert_array_equal(panels[1].images[0].get_array(), values[0, 0])
    scales = {panel.images[0].get_clim() for place, panel in enumerate(panels) if place % (1 + tiles)}
    assert len(scales) == 1
    low, high = scales.pop()
    assert low == -high
    assert bar.get_ylim() == (low, high)
    assert not written[0].spilled


def test_activations_that_are_never_negative_begin_at_zero(images, tmp_path, written):
    plot_layer_activations(images[:1], np.abs(np.random.default_rng(0).normal(size=(1, 4, 3, 3))), tmp_path / "relu.png")
    assert written[0].axes[1].images[0].get_clim()[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((0, 8, 8, 3), dtype=np.uint8)}, "at least 1"),
        ({"activations": np.zeros((2, 10))}, "activations must be finite"),
        ({"activations": np.full((2, 1, 2, 2), np.nan)}, "activations must be finite"),
        ({"captions": ["one"]}, "as many captions"),
    ],
)
def test_what_does_not_fit_is_refused(change, message, tmp_path):
    given = {"images": np.zeros((2, 8, 8, 3), dtype=np.uint8), "activations": np.zeros((2, 4, 3, 3)), "captions": ()} | change
    with pytest.raises(ValueError, match=message):
        plot_layer_activations(given["images"], given["activations"], tmp_path / "none.png", captions=given["captions"])
