"""scikit-learn's embedded handwritten digits, scaled to 32 x 32 x 3: data that needs no network and no file.

Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (its test part, 1797 images).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from cifarlab.data.dataset import Dataset, Images, Splits
from cifarlab.data.splits import carve_validation

_TEST_FRACTION: Final = 0.2
_SPLIT_SEED: Final = 0
_SCALE: Final = 4  # 8 x 8 -> 32 x 32


def read_digits() -> Splits:
    """The digits as train [1438, 32, 32, 3] and test [359, 32, 32, 3], uint8, grey in all three channels.

    The set has no published split; the test part here is a fixed, stratified 20 % (`carve_validation` with seed 0).
    Sample ids are "digits/0000" to "digits/1796", the place in scikit-learn's order.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    whole = Dataset(
        name="digits",
        images=_upscale(bunch.images.astype(np.int64)),
        labels=bunch.target.astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
        sample_ids=np.array([f"digits/{number:04d}" for number in range(len(bunch.target))]),
    )
    train, test = carve_validation(whole, _TEST_FRACTION, _SPLIT_SEED)
    assert test is not None
    return Splits(train=train, test=test)


def _upscale(images: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Images:
    """Bilinear with pixel centres at halves, int64 [N, 8, 8] in 0..16 -> uint8 [N, 32, 32, 3] in 0..255.

    In whole numbers, so that the checksum is the same on every machine and library version.
    """
    side = images.shape[1]
    weights = np.zeros((_SCALE * side, side), dtype=np.int64)  # [32, 8], each row adds up to 2 * _SCALE
    for row in range(_SCALE * side):
        eighths = 2 * row + 1 - _SCALE  # the source position in units of 1 / (2 * _SCALE) pixel
        low, part = divmod(eighths, 2 * _SCALE)
        weights[row, np.clip(low, 0, side - 1)] += 2 * _SCALE - part
        weights[row, np.clip(low + 1, 0, side - 1)] += part
    unit = 16 * (2 * _SCALE) ** 2
    grey = (weights @ images @ weights.T * 255 + unit // 2) // unit  # [N, 8, 8] -> [N, 32, 32]
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=3)
