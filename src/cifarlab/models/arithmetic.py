"""A layer's figures as sums with the numbers in place."""

from __future__ import annotations

import math

from cifarlab.models.reach import Window
from cifarlab.models.summary import LayerRow


def explain_layer(row: LayerRow) -> dict[str, str]:
    """How the figures of a layer come about, each as one line of arithmetic, keyed by what it explains.

    output: (W - F + 2P)/S + 1 with width W, kernel F, padding P on each side and stride S; receptive field: r + (F - 1)*j with
    r and j (pixels between neighbours) of the layer before. A figure that is carried over unchanged has no line.
    """
    lines = {
        "output": _output(row),
        "parameters": _parameters(row),
        "multiply-adds": _multiply_adds(row),
        "receptive field": _receptive_field(row),
    }
    return {what: text for what, text in lines.items() if text}


def _output(row: LayerRow) -> str:
    given, result = row.input_shapes[0], row.output_shape
    if row.window is not None:
        height, width = (_side(given[axis], row.window, axis, result[axis]) for axis in (0, 1))
        return width if height == width else f"height {height}; width {width}"
    if row.kind == "flatten":
        return f"{'*'.join(map(str, given))} = {grouped(result[0])}"
    if row.kind == "concat" and len(row.input_shapes) > 1:
        return f"{' + '.join(str(shape[-1]) for shape in row.input_shapes)} = {result[-1]} channels"
    return ""


def _side(size: int, window: Window, axis: int, result: int) -> str:
    """(W - F + 2P)/S + 1 along one axis."""
    kernel, stride, padding = window.extent[axis], window.stride[axis], window.padding[axis]
    twice = f"2*{padding // 2}" if padding % 2 == 0 else str(padding)  # an odd total is not the same on both sides
    exact = (size - kernel + padding) / stride + 1
    text = f"({size} - {kernel} + {twice})/{stride} + 1 = {exact:.4g}".replace("+ 2*-", "- 2*").replace("+ -", "- ")
    if exact != result:
        up = math.ceil(exact) if window.ceil else math.floor(exact)
        text += f", rounded {'up' if window.ceil else 'down'}: {up}"
        if up != result:  # PyTorch leaves out a window that would begin beyond the image and its padding
            text += f", without the window that begins in the padding: {result}"
    if window.dilation[axis] > 1:
        text += f", with F = {window.dilation[axis]}*({window.kernel[axis]} - 1) + 1 = {kernel}"
    return text


def _parameters(row: LayerRow) -> str:
    if not row.terms:
        return ""
    text = f"{' + '.join('*'.join(map(str, term)) for term in row.terms)} = {grouped(row.parameters)}"
    if row.kind == "batch norm" and row.terms[0][0] == 4:
        text += " (scale, shift, running mean, running variance)"
    return f"{text}, {grouped(row.frozen)} not trained" if row.frozen else text


def _multiply_adds(row: LayerRow) -> str:
    if not row.multiply_adds:
        return ""
    factors = list(map(str, row.terms[0])) if row.terms else [grouped(row.multiply_adds)]
    places = [str(side) for side in row.output_shape[:-1]] if row.terms else []
    return f"{' * '.join(filter(None, ['*'.join(factors), '*'.join(places)]))} = {grouped(row.multiply_adds)}"


def _receptive_field(row: LayerRow) -> str:
    if not isinstance(row.receptive_field, int) or not row.fields_before:
        return ""
    sizes = [size for size, _ in row.fields_before]
    if len(sizes) > 1:
        return f"max({', '.join(map(str, sizes))}) = {row.receptive_field} px" if max(sizes) == row.receptive_field else ""
    if row.window is None:
        return ""
    (size, step), kernel, stride = row.fields_before[0], max(row.window.extent), max(row.window.stride)
    if (kernel, stride) == (1, 1) or row.receptive_field != size + (kernel - 1) * step:
        return ""
    text = f"{size} + ({kernel} - 1)*{step} = {row.receptive_field} px"
    return f"{text}, {step}*{stride} = {row.step} px apart" if stride > 1 else text


def grouped(number: int) -> str:
    """12345 -> "12 345"."""
    return f"{number:,}".replace(",", " ")
