"""What a classical baseline sees of an image: its pixels, or histograms of oriented gradients."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import MissingDependencyError, UsageError

FEATURES: Final = ("pixels", "hog")
ORIENTATIONS: Final = 9
CELLS: Final = 8  # along a side, so that the number of features does not grow with the images
BLOCK: Final = 2  # cells along a side of a block, whose histograms are normalized together
_CHUNK: Final = 500  # images a process is given at a time
Watch = Callable[[int, int], None]


def pixel_features(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [N, H, W, C] -> uint8 [N, H*W*C], 0..255, without a copy."""
    return images.reshape(len(images), -1)


def hog_features(images: NDArray[np.uint8], *, threads: int = 1, watch: Watch = lambda done, total: None) -> NDArray[np.float32]:
    """Histograms of oriented gradients (Dalal and Triggs, CVPR 2005), uint8 [N, H, W, 3] -> float32 [N, D], values 0..1.

    By scikit-image: 9 orientations, 8 cells along a side (4 px each at 32 px), blocks of 2 x 2 cells with L2-Hys norm, the colour
    channel with the steepest gradient: D = 7 * 7 * 2 * 2 * 9 = 1764 at 32 px. `threads`: processes side by side.
    `watch(images done, images in all)`. Raises MissingDependencyError without scikit-image, UsageError for images under 16 px.
    """
    check_hog(images.shape[1:3])
    parts: list[NDArray[np.float32]] = []
    chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    done = 0
    for part in _computed(chunks, threads):
        parts.append(part)
        done += len(part)
        watch(done, len(images))
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)


def check_hog(size: tuple[int, ...]) -> None:
    """Raise what `hog_features` would raise for images of `size` (height, width)."""
    _hog_function()
    if min(size) < 2 * CELLS:
        raise UsageError(f"HOG features need images of at least {2 * CELLS} px, not {size[0]} x {size[1]}; use --features pixels")


def _computed(chunks: list[NDArray[np.uint8]], threads: int) -> Iterator[NDArray[np.float32]]:
    """The features of each chunk, in order."""
    if threads == 1 or len(chunks) < 2:
        yield from map(_chunk_features, chunks)
        return
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    yield from Parallel(n_jobs=threads, return_as="generator")(delayed(_chunk_features)(chunk) for chunk in chunks)


def _chunk_features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    hog = _hog_function()
    cell = (images.shape[1] // CELLS, images.shape[2] // CELLS)
    rows = [
        hog(image, orientations=ORIENTATIONS, pixels_per_cell=cell, cells_per_block=(BLOCK, BLOCK), block_norm="L2-Hys", channel_axis=-1)
        for image in images
    ]
    return np.asarray(rows, dtype=np.float32)


def _hog_function() -> Any:
    try:
        return importlib.import_module("skimage.feature").hog
    except ImportError as error:
        raise MissingDependencyError("scikit-image", extra="baselines", purpose="HOG features (--features hog)") from error
