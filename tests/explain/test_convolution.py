"""explain.convolution: the published matrix, SciPy's correlation, and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import maximum_filter
from scipy.signal import correlate2d

from cifarlab.explain import convolve, filter_examples, pooling_examples, volume_examples, window_examples
from cifarlab.explain.convolution import INPUT

# Printed in the final project report (R2).
PUBLISHED = [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]
MATRIX = np.array([[3, 0, 1, 2, 7, 4], [1, 5, 8, 9, 3, 1], [2, 7, 2, 5, 1, 3], [0, 1, 3, 1, 7, 8], [4, 2, 1, 6, 2, 8], [2, 4, 5, 2, 3, 9]])


def test_the_vertical_filter_gives_the_published_matrix():
    np.testing.assert_array_equal(INPUT, MATRIX)
    vertical = filter_examples()[0]
    np.testing.assert_array_equal(vertical.kernel[0], [[1, 0, -1]] * 3)
    np.testing.assert_array_equal(vertical.output, PUBLISHED)


def test_the_four_filters_are_scipys_correlation():
    examples = {example.name: example for example in filter_examples()}
    assert list(examples) == ["vertical", "horizontal", "Sobel", "Scharr"]
    for example in examples.values():
        np.testing.assert_array_equal(example.output, correlate2d(MATRIX, example.kernel[0], mode="valid"))
    np.testing.assert_array_equal(examples["horizontal"].kernel[0], examples["vertical"].kernel[0].T)
    np.testing.assert_array_equal(examples["Sobel"].kernel[0], np.outer([1, 2, 1], [1, 0, -1]))
    np.testing.assert_array_equal(examples["Scharr"].kernel[0], np.outer([3, 10, 3], [1, 0, -1]))


def test_it_is_correlation_and_not_convolution_with_a_turned_kernel():
    kernel = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    output = convolve("one", [MATRIX], [kernel]).output
    np.testing.assert_array_equal(output, correlate2d(MATRIX, kernel, mode="valid"))
    assert not np.array_equal(output, correlate2d(MATRIX, kernel[::-1, ::-1], mode="valid"))


def test_same_padding_and_stride():
    same, strided, both = window_examples()
    whole = correlate2d(MATRIX, same.kernel[0], mode="same")
    np.testing.assert_array_equal(same.output, whole)
    np.testing.assert_array_equal(strided.output, np.array(PUBLISHED)[::2, ::2])
    np.testing.assert_array_equal(both.output, whole[::2, ::2])
    np.testing.assert_array_equal(same.padded[0], np.pad(MATRIX, 1))


@pytest.mark.parametrize(
    ("place", "size"),
    [
        (0, "(6 - 3 + 2*1)/1 + 1 = 6"),
        (1, "(6 - 3 + 2*0)/2 + 1 = 2.5, rounded down: 2"),
        (2, "(6 - 3 + 2*1)/2 + 1 = 3.5, rounded down: 3"),
    ],
)
def test_sizes_stand_as_sums_with_their_numbers(place, size):
    example = window_examples()[place]
    assert example.size == size
    assert size.endswith(str(len(example.output)))


def test_the_first_number_stands_as_a_sum():
    vertical, *_, scharr = filter_examples()
    assert vertical.first == "3*1 + 0*0 + 1*(-1) + 1*1 + 5*0 + 8*(-1) + 2*1 + 7*0 + 2*(-1) = -5"
    left, result = scharr.first.split(" = ")
    assert sum(int(a) * int(b.strip("()")) for a, b in (product.split("*") for product in left.split(" + "))) == int(result) == -64


def test_a_volume_is_the_sum_of_its_channels():
    image = np.stack([MATRIX, MATRIX.T, MATRIX[:, ::-1]])
    every, red = volume_examples()
    for example in (every, red):
        np.testing.assert_array_equal(example.image, image)
        parts = [correlate2d(channel, kernel, mode="valid") for channel, kernel in zip(image, example.kernel, strict=True)]
        np.testing.assert_array_equal(example.parts, parts)
        np.testing.assert_array_equal(example.output, sum(parts))
    np.testing.assert_array_equal(red.output, PUBLISHED)


def test_pooling_is_that_of_windows_cut_by_hand():
    pools = {pool.name: pool.output for pool in pooling_examples()}
    windows = MATRIX.reshape(3, 2, 3, 2).transpose(0, 2, 1, 3).reshape(3, 3, 4)
    np.testing.assert_array_equal(pools["max"], windows.max(axis=2))
    np.testing.assert_array_equal(pools["average"], windows.mean(axis=2))
    np.testing.assert_array_equal(pools["min"], windows.min(axis=2))
    np.testing.assert_array_equal(pools["max"], maximum_filter(MATRIX, size=2, origin=-1)[::2, ::2])
    assert (pools["global max"].item(), pools["global min"].item()) == (9, 0)
    assert pools["global average"].item() == pytest.approx(MATRIX.mean())


def test_the_size_of_pooling_stands_as_a_sum():
    assert {pool.size for pool in pooling_examples()} == {"(6 - 2 + 2*0)/2 + 1 = 3", ""}


@pytest.mark.parametrize(
    ("image", "kernel", "padding"),
    [([MATRIX], [np.ones((7, 7))], 0), ([MATRIX], [np.ones((3, 3))] * 2, 0), ([np.ones((1, 1))], [np.ones((3, 3))], 0)],
)
def test_a_kernel_that_does_not_fit_is_refused(image, kernel, padding):
    with pytest.raises(ValueError, match="does not fit an image"):
        convolve("wrong", image, kernel, padding=padding)
