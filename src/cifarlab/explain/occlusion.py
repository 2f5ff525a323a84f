"""What a class loses when a part of the picture is hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import UsageError
from cifarlab.explain.activations import check_images

GRAY: Final = (128, 128, 128)
BATCH_SIZE: Final = 64  # pictures at once
Probabilities = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class Occlusion:
    """How much a class depends on each part of one picture.

    target: number of the class; probability: of the class, nothing hidden; tops: int [n], first rows of the patches, and first
    columns too; drops: float32 [n, n], probability minus that with the patch there, so above 0 where the class loses by the
    patch; resized: float32 [size, size], for each pixel the mean over the patches that cover it. patch: side in pixels.
    """

    target: int
    probability: float
    tops: NDArray[np.int64]
    drops: NDArray[np.float32]
    resized: NDArray[np.float32]
    patch: int


def occlusion_map(
    probabilities: Probabilities,
    image: NDArray[np.uint8],
    *,
    target: int,
    patch: int | None = None,
    stride: int | None = None,
    fill: tuple[int, int, int] = GRAY,
) -> Occlusion:
    """Slide a patch of the colour `fill` over `image`, uint8 [size, size, 3], and see what class `target` loses.

    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014), section 4.2. probabilities: uint8
    [N, size, size, 3] -> [N, K]; any classifier will do. patch: a quarter of the picture without it; stride: half of the patch; where
    that does not reach the last row or column exactly, the last patch is put there. Raises UsageError for a patch or stride that does
    not fit, a class that there is not; ValueError for another image.
    """
    check_images(image[None])
    size = len(image)
    if image.shape[1] != size:
        raise ValueError(f"the image must be square, not {list(image.shape)}")
    side = max(1, size // 4) if patch is None else patch
    step = max(1, side // 2) if stride is None else stride
    if not 1 <= side <= size:
        raise UsageError(f"patch {side}: allowed is 1 to {size}, the side of the picture")
    if not 1 <= step <= side:
        raise UsageError(f"stride {step}: allowed is 1 to {side}, the side of the patch, so that every pixel is covered")
    tops = np.unique(np.append(np.arange(0, size - side + 1, step), size - side))
    plain = probabilities(image[None])[0]
    if not 0 <= target < len(plain):
        raise UsageError(f"class {target}: the classifier has the classes 0 to {len(plain) - 1}")
    hidden = np.concatenate([probabilities(batch)[:, target] for batch in _batches(image, tops, side, fill)])
    drops = (plain[target] - hidden).reshape(len(tops), len(tops))
    return Occlusion(target, float(plain[target]), tops, drops.astype(np.float32), _over_picture(drops, tops, side, size), side)


def _batches(image: NDArray[np.uint8], tops: NDArray[np.int64], side: int, fill: tuple[int, int, int]) -> list[NDArray[np.uint8]]:
    """The picture with each patch, row after row, at most BATCH_SIZE at a time."""
    places = [(top, left) for top in tops for left in tops]
    batches = []
    for start in range(0, len(places), BATCH_SIZE):
        chosen = places[start : start + BATCH_SIZE]
        batch = np.repeat(image[None], len(chosen), axis=0)
        for picture, (top, left) in zip(batch, chosen, strict=True):
            picture[top : top + side, left : left + side] = fill
        batches.append(batch)
    return batches


def _over_picture(drops: NDArray[np.floating], tops: NDArray[np.int64], side: int, size: int) -> NDArray[np.float32]:
    total, covered = np.zeros((size, size)), np.zeros((size, size))
    for row, top in enumerate(tops):
        for column, left in enumerate(tops):
            total[top : top + side, left : left + side] += drops[row, column]
            covered[top : top + side, left : left + side] += 1
    mean: NDArray[np.float32] = (total / covered).astype(np.float32)
    return mean
