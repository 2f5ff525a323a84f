"""Convolution and pooling on a 6 x 6 matrix that can be followed by hand, computed by the layers that the networks use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarlab.models.arithmetic import explain_layer
from cifarlab.models.summary import summarize_model

Matrix = NDArray[np.float64]

# The worked example of the final project report (R2).
INPUT: Final = ((3, 0, 1, 2, 7, 4), (1, 5, 8, 9, 3, 1), (2, 7, 2, 5, 1, 3), (0, 1, 3, 1, 7, 8), (4, 2, 1, 6, 2, 8), (2, 4, 5, 2, 3, 9))
VERTICAL: Final = ((1, 0, -1), (1, 0, -1), (1, 0, -1))
HORIZONTAL: Final = ((1, 1, 1), (0, 0, 0), (-1, -1, -1))
SOBEL: Final = ((1, 0, -1), (2, 0, -2), (1, 0, -1))
SCHARR: Final = ((3, 0, -3), (10, 0, -10), (3, 0, -3))
SIDE: Final = len(INPUT)
POOL: Final = 2  # side and stride of the pooling windows
_MEANING: Final = {
    "vertical": "bright left of dark gives a positive number: vertical edges",
    "horizontal": "bright above dark gives a positive number: horizontal edges",
    "Sobel": "vertical edges, the middle row counts twice",
    "Scharr": "vertical edges, weights that treat all directions most alike",
}


@dataclass(frozen=True, eq=False)
class ConvolutionExample:
    """One convolution. name, meaning: what it is; image: [C, 6, 6]; kernel: [C, 3, 3]; padded: [C, 6 + 2P, 6 + 2P], what the kernel
    moves over; parts: [C, H, W], what each channel adds; output: [H, W], their sum; size: the arithmetic of its side;
    first: the sum behind its first number."""

    name: str
    meaning: str
    image: Matrix
    kernel: Matrix
    stride: int
    padding: int
    padded: Matrix
    parts: Matrix
    output: Matrix
    size: str
    first: str


@dataclass(frozen=True, eq=False)
class PoolingExample:
    """One pooling of the matrix: output [H, W], [1, 1] for a global one; size: the arithmetic of its side, "" for a global one."""

    name: str
    meaning: str
    output: Matrix
    size: str


def filter_examples() -> list[ConvolutionExample]:
    """The vertical, horizontal, Sobel and Scharr filter on the matrix, without padding, at stride 1."""
    kernels = {"vertical": VERTICAL, "horizontal": HORIZONTAL, "Sobel": SOBEL, "Scharr": SCHARR}
    return [convolve(name, [INPUT], [kernel], meaning=_MEANING[name]) for name, kernel in kernels.items()]


def window_examples() -> list[ConvolutionExample]:
    """The vertical filter with same padding, with stride 2, and with both."""
    same, step = "a border of zeros keeps the size: padding (F - 1)/2 = 1", "every second position, down and across"
    return [
        convolve("same padding", [INPUT], [VERTICAL], padding=1, meaning=same),
        convolve("stride 2", [INPUT], [VERTICAL], stride=2, meaning=step),
        convolve("same padding, stride 2", [INPUT], [VERTICAL], stride=2, padding=1, meaning="both together halve the size"),
    ]


def volume_examples() -> list[ConvolutionExample]:
    """Two filters over a volume of 6 x 6 x 3: red is the matrix, green its transpose, blue its mirror image.

    Each filter has a 3 x 3 kernel for each channel and gives one matrix; two of them give an output of two channels.
    """
    red = np.array(INPUT)
    image = [red, red.T, red[:, ::-1]]
    zero = np.zeros((3, 3))
    return [
        convolve("edges in all channels", image, [VERTICAL] * 3, meaning="the vertical filter on red, green and blue, added up"),
        convolve("edges in red only", image, [VERTICAL, zero, zero], meaning="zeros for green and blue: it gives the first matrix again"),
    ]


def pooling_examples() -> list[PoolingExample]:
    """Max, average and min pooling of the matrix in 2 x 2 windows at stride 2, and of the whole of it."""
    image = _tensor([INPUT])
    size = _pool_size()
    rows = [
        ("max", "the largest of each window", F.max_pool2d(image, POOL), size),
        ("average", "the mean of each window", F.avg_pool2d(image, POOL), size),
        # PyTorch has no min pooling; the smallest is the negative of the largest negative.
        ("min", "the smallest of each window", -F.max_pool2d(-image, POOL), size),
        ("global max", "one number a channel, whatever the size", image.amax(dim=(2, 3), keepdim=True), ""),
        ("global average", "one number a channel, whatever the size", image.mean(dim=(2, 3), keepdim=True), ""),
        ("global min", "one number a channel, whatever the size", image.amin(dim=(2, 3), keepdim=True), ""),
    ]
    return [PoolingExample(name, meaning, _matrix(output)[0], text) for name, meaning, output, text in rows]


@torch.no_grad()
def convolve(
    name: str,
    image: Sequence[Sequence[Sequence[float]] | NDArray[np.generic]],
    kernel: Sequence[Sequence[Sequence[float]] | NDArray[np.generic]],
    *,
    stride: int = 1,
    padding: int = 0,
    meaning: str = "",
) -> ConvolutionExample:
    """`kernel` (C square matrices) over `image` (C square matrices) by torch.nn.Conv2d, in float64.

    As in every convolutional network this is cross-correlation: the kernel is laid on the image as it is, not turned by 180 degrees.
    Raises ValueError where the channels differ or the kernel is larger than the padded image.
    """
    pixels, weights = _tensor(image), _tensor(kernel)  # [1, C, S, S], [1, C, F, F]
    channels, side = weights.shape[1], weights.shape[2]
    if pixels.shape[1] != channels or side > pixels.shape[2] + 2 * padding:
        raise ValueError(f"a kernel {list(weights.shape[1:])} does not fit an image {list(pixels.shape[1:])} with padding {padding}")
    layer = nn.Conv2d(channels, 1, side, stride=stride, padding=padding, bias=False, dtype=torch.float64)
    layer.weight.copy_(weights)
    each = nn.Conv2d(channels, channels, side, stride=stride, padding=padding, groups=channels, bias=False, dtype=torch.float64)
    each.weight.copy_(weights.transpose(0, 1))  # one kernel a channel, not added up
    padded = F.pad(pixels, (padding,) * 4)
    return ConvolutionExample(
        name=name,
        meaning=meaning,
        image=_matrix(pixels),
        kernel=_matrix(weights),
        stride=stride,
        padding=padding,
        padded=_matrix(padded),
        parts=_matrix(each(pixels)),
        output=_matrix(layer(pixels))[0],
        size=_size(nn.Conv2d(3, 1, side, stride=stride, padding=padding), image_size=pixels.shape[2]),
        first=_first_sum(_matrix(padded), _matrix(weights)),
    )


def _first_sum(padded: Matrix, kernel: Matrix) -> str:
    """The products behind the first number of the output, row by row, channel after channel; products with 0 weights included."""
    side = kernel.shape[1]
    window = padded[:, :side, :side]
    rows = [" + ".join(_product(pixel, weight) for pixel, weight in zip(*row, strict=True)) for row in _rows(window, kernel)]
    return f"{' + '.join(rows)} = {number(float((window * kernel).sum()))}"


def _rows(window: Matrix, kernel: Matrix) -> list[tuple[Matrix, Matrix]]:
    side = kernel.shape[2]
    return list(zip(window.reshape(-1, side), kernel.reshape(-1, side), strict=True))


def _product(pixel: float, weight: float) -> str:
    return f"{number(pixel)}*({number(weight)})" if weight < 0 else f"{number(pixel)}*{number(weight)}"


def number(value: float) -> str:
    """3.0 -> "3", -2.75 -> "-2.75"; at most two decimals, never "-0"."""
    text = f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _size(layer: nn.Module, *, image_size: int) -> str:
    """(W - F + 2P)/S + 1 with the numbers of `layer` in place, as `cifarlab models show --explain` writes it."""
    return explain_layer(summarize_model(layer if isinstance(layer, nn.Sequential) else nn.Sequential(layer), image_size=image_size)[-1])[
        "output"
    ]


def _pool_size() -> str:
    # A layer with a weight in front: the summary asks the network for its device.
    return _size(nn.Sequential(nn.Conv2d(3, 3, 1), nn.MaxPool2d(POOL)), image_size=SIDE)


def _tensor(channels: Sequence[Sequence[Sequence[float]] | NDArray[np.generic]]) -> Tensor:
    """float64 [1, C, H, W]."""
    return torch.from_numpy(np.stack([np.asarray(channel, dtype=np.float64) for channel in channels]))[None]


def _matrix(tensor: Tensor) -> Matrix:
    """[1, C, H, W] -> float64 [C, H, W], without negative zeros."""
    matrix: Matrix = tensor[0].detach().numpy() + 0.0
    return matrix
