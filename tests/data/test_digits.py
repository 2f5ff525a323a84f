from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from cifarlab.data.digits import read_digits


def test_digits_are_all_there_once_and_stratified() -> None:
    train, test = read_digits()
    bunch = load_digits()
    ids = [*train.sample_ids.tolist(), *test.sample_ids.tolist()]
    assert sorted(ids) == [f"digits/{n:04d}" for n in range(1797)]
    assert np.all(np.abs(test.class_counts() - 0.2 * np.bincount(bunch.target)) < 1)
    assert train.class_names == tuple("0123456789")
    for part in (train, test):
        index = np.array([int(name.removeprefix("digits/")) for name in part.sample_ids])
        assert np.array_equal(part.labels, bunch.target[index])


def test_digits_are_scaled_as_pillow_scales_them() -> None:
    train, _ = read_digits()
    bunch = load_digits()
    for row in (0, 500, 1000):
        number = int(str(train.sample_ids[row]).removeprefix("digits/"))
        source = Image.fromarray((bunch.images[number] * (255 / 16)).astype(np.float32))
        reference = np.asarray(source.resize((32, 32), Image.Resampling.BILINEAR))
        for channel in range(3):
            assert np.abs(train.images[row, :, :, channel] - reference).max() < 0.51


def test_digits_use_the_whole_range_and_are_the_same_each_time() -> None:
    first, second = read_digits(), read_digits()
    assert (first.train.images.min(), first.train.images.max()) == (0, 255)
    assert first.train.checksum == second.train.checksum
    assert first.test.checksum == second.test.checksum
