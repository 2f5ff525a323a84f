"""figures.confusion: the numbers, the axes, the contrast, from two classes to a hundred."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from cifarlab.figures import plot_confusion_matrix

MATRIX = np.full((10, 10), 3, dtype=np.int64) + np.diag(np.arange(900, 1000, 10))


def cells(figure):
    return {tuple(reversed(text.get_position())): text for text in figure.axes[0].texts}


def test_svg_names_its_axes_and_classes(tmp_path):
    names = ("cat", "dog & <co>")
    path = plot_confusion_matrix(np.array([[8, 2], [1, 9]]), names, tmp_path / "matrix.svg")
    texts = ["".join(node.itertext()).strip() for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert {"True", "Predicted", "8", "2", "1", "9"} <= set(texts)
    assert texts.count("cat") == texts.count("dog & <co>") == 2


def test_rows_are_true_classes(tmp_path, written):
    plot_confusion_matrix(np.array([[8, 2], [1, 9]]), ("cat", "dog"), tmp_path / "matrix.png")
    axes = written[0].axes[0]
    assert cells(written[0])[0, 1].get_text() == "2"
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("True", "Predicted")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]


@pytest.mark.parametrize("normalize", [False, True])
def test_nothing_is_clipped(normalize, class_names, tmp_path, written, assert_picture):
    assert_picture(plot_confusion_matrix(MATRIX, class_names, tmp_path / "matrix.png", normalize=normalize), width=1000, height=900)
    assert not written[0].spilled


def test_normalized_rows_are_percent_of_the_true_class_and_an_empty_one_is_zero(tmp_path, written):
    plot_confusion_matrix(np.array([[3, 1], [0, 0]]), ("cat", "dog"), tmp_path / "matrix.png", normalize=True)
    assert {place: text.get_text() for place, text in cells(written[0]).items()} == {
        (0, 0): "75.0",
        (0, 1): "25.0",
        (1, 0): "0.0",
        (1, 1): "0.0",
    }


def test_numbers_are_dark_on_light_and_light_on_dark(tmp_path, written):
    matrix = np.arange(100, dtype=np.int64).reshape(10, 10)  # every shade of the scale
    plot_confusion_matrix(matrix, [str(i) for i in range(10)], tmp_path / "matrix.png")
    image = written[0].axes[0].images[0]
    for (row, column), text in cells(written[0]).items():
        red, green, blue, _ = image.cmap(image.norm(matrix[row, column]))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        ink = {"white": 1.0, "black": 0.0}[text.get_color()]
        contrast = (max(luminance, ink) + 0.05) / (min(luminance, ink) + 0.05)
        assert contrast >= 4.5, "below the WCAG 2 minimum"


def test_a_number_fits_its_cell(tmp_path, written):
    plot_confusion_matrix(np.full((20, 20), 98765, dtype=np.int64), [str(i) for i in range(20)], tmp_path / "matrix.png")
    axes = written[0].axes[0]
    width = axes.get_window_extent().width / 20
    assert all(text.get_window_extent().width <= width for text in axes.texts)


def test_a_hundred_classes(tmp_path, written, assert_picture):
    matrix = np.diag(np.full(100, 90)) + np.eye(100, k=1, dtype=np.int64) * 10
    assert_picture(plot_confusion_matrix(matrix, [f"class {i}" for i in range(100)], tmp_path / "matrix.png"), width=3000, height=3000)
    assert len(written[0].axes[0].get_yticklabels()) == 100
    assert len(written[0].axes[0].texts) == 199  # zeros are left out
    assert min(text.get_fontsize() for text in written[0].axes[0].texts) >= 4.5


def test_a_matrix_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be \[3, 3\]"):
        plot_confusion_matrix(np.eye(2, dtype=np.int64), ("a", "b", "c"), tmp_path / "matrix.png")
