"""Receptive fields: which input pixels an output position of a layer can depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Window:
    """A convolution's or a pool's window, each pair as (height, width), in positions of its input.

    `padding` is the total of both sides, `before` the part of it above and to the left; `ceil`: sizes are rounded up.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    before: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)
    ceil: bool = False

    @property
    def extent(self) -> tuple[int, int]:
        """Positions from the first to the last that the kernel touches: d (k - 1) + 1."""
        height, width = (spacing * (size - 1) + 1 for spacing, size in zip(self.dilation, self.kernel, strict=True))
        return height, width


@dataclass(frozen=True)
class Span:
    """Along one axis, position i of a layer sees the input pixels start + i*step ... start + i*step + size - 1."""

    start: int
    size: int
    step: int

    def under_window(self, *, extent: int, stride: int, before: int) -> Span:
        """What a window over this layer sees: r_out = r_in + (k - 1) j_in and j_out = j_in s, with r the size and j the step."""
        return Span(self.start - before * self.step, self.size + (extent - 1) * self.step, self.step * stride)


PIXEL = Span(0, 1, 1)  # the input image itself


@dataclass(frozen=True)
class Reach:
    """The spans of a layer's positions along height and width."""

    rows: Span = PIXEL
    columns: Span = PIXEL

    def under_window(self, window: Window) -> Reach:
        """The reach of a convolution or pool with `window` over a layer of this reach."""
        rows, columns = (
            span.under_window(extent=window.extent[axis], stride=window.stride[axis], before=window.before[axis])
            for axis, span in enumerate((self.rows, self.columns))
        )
        return Reach(rows, columns)

    @property
    def size(self) -> int:
        """Side of the receptive field in pixels, the longer one where they differ."""
        return max(self.rows.size, self.columns.size)

    @property
    def step(self) -> int:
        """Pixels between the receptive fields of neighbouring positions, the larger of both axes."""
        return max(self.rows.step, self.columns.step)


def joined(reaches: Sequence[Reach]) -> Reach | None:
    """The reach of a layer that joins branches position by position; None where their steps differ.

    A branch lies inside another as a rule, and the size is then the maximum of theirs.
    """
    spans = []
    for branch in ([reach.rows for reach in reaches], [reach.columns for reach in reaches]):
        if len({span.step for span in branch}) != 1:
            return None
        start = min(span.start for span in branch)
        end = max(span.start + span.size for span in branch)
        spans.append(Span(start, end - start, branch[0].step))
    return Reach(spans[0], spans[1])
