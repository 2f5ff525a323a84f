"""Which pixels of the picture a position of a layer can depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cifarlab.errors import UsageError
from cifarlab.explain.traced import TracedNetwork
from cifarlab.models.reach import Reach, Span


@dataclass(frozen=True)
class ReceptiveField:
    """Of one position: rows top ... top + height - 1 and columns left ... left + width - 1 of the picture.

    It may reach beyond the picture, into the border of zeros that convolutions add; `inside` is the part of it that is picture.
    """

    top: int
    left: int
    height: int
    width: int

    def inside(self, size: int) -> ReceptiveField:
        """The part within a picture of side `size`."""
        top, left = max(self.top, 0), max(self.left, 0)
        return ReceptiveField(top, left, min(self.top + self.height, size) - top, min(self.left + self.width, size) - left)


def receptive_field_of(network: TracedNetwork, *, layer: str, row: int = 0, column: int = 0) -> ReceptiveField | None:
    """Of the position (row, column) of `layer`; None where it cannot be told.

    A layer without height and width, such as a dense one, has the position (0, 0). Exact: a pixel outside cannot change the value,
    and the outermost rows and columns can, up to weights that are zero. Raises UsageError for another layer or position.
    """
    height, width = _positions(network, layer)
    if not (0 <= row < height and 0 <= column < width):
        raise UsageError(f"position ({row}, {column}): layer {layer!r} has rows 0 to {height - 1} and columns 0 to {width - 1}")
    spans = receptive_fields_of(network, layer=layer)
    if spans is None:
        return None
    (top, tall), (left, wide) = spans[0][row], spans[1][column]
    return ReceptiveField(top, left, tall, wide)


def receptive_fields_of(network: TracedNetwork, *, layer: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]] | None:
    """First pixel and number of pixels for each row of `layer`, and for each column; None where that cannot be told.

    Pixels are those of the picture before preprocessing crops or resizes it. Raises UsageError for another layer.
    """
    height, width = _positions(network, layer)
    field = network.fields[layer]
    if field == "unknown":
        return None
    whole = Span(0, network.network_size, 0)
    reach = field if isinstance(field, Reach) else Reach(whole, whole)
    return [_pixels(network, reach.rows, index) for index in range(height)], [
        _pixels(network, reach.columns, index) for index in range(width)
    ]


def _positions(network: TracedNetwork, layer: str) -> tuple[int, int]:
    shape = network.row(layer).output_shape
    return (shape[0], shape[1]) if len(shape) == 3 else (1, 1)


def _pixels(network: TracedNetwork, span: Span, index: int) -> tuple[int, int]:
    """First pixel and number of pixels of the picture behind position `index` of a span over the network's input."""
    first = span.start + index * span.step
    last = first + span.size - 1
    seen = network.preprocess.crop or network.size
    before = (network.size - seen) // 2
    if seen != network.network_size:
        # Bilinear: value i at (i + 1/2) scale takes the pixels whose middle is nearer than `support`, which antialiasing widens.
        scale = seen / network.network_size
        support = max(scale, 1.0)
        first = math.floor((first + 0.5) * scale - support - 0.5) + 1
        last = math.ceil((last + 0.5) * scale + support - 0.5) - 1
    return before + first, last - first + 1
