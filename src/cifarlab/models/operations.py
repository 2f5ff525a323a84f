"""What one operation of a traced network is called, and how it moves over the image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from cifarlab.models.reach import Window

Shape = tuple[int, ...]  # without the batch: (channels, height, width) or (features,)

_ACTIVATIONS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "leaky ReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "hardswish": "hard swish",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "softmax": "softmax",
    "log_softmax": "log-softmax",
}
_JOINS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "cat": "concat",
    "concat": "concat",
    "maximum": "maximum",
}
_POINTWISE = {"square", "sqrt", "rsqrt", "pow", "abs", "exp", "log", "neg", "clamp"}
_RESHAPES = {"flatten", "view", "reshape", "squeeze"}
_GLOBAL_POOLS = {"mean": "average", "sum": "sum", "amax": "max", "max": "max"}
_NOTHING_CHANGES = {"contiguous", "clone", "detach", "float", "to", "identity", "chunk", "split"}
_POOL_ARGUMENTS = {
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "avg_pool2d": ("input", "kernel_size", "stride", "padding", "ceil_mode"),
}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """kind: its name, "" where nothing changes; details: kernel, stride, padding, rate; window: where it has one;
    mixes: each output depends on the whole input; known: False where that cannot be told; elementwise: value by value;
    activation: elementwise, and part of the layer before it."""

    kind: str
    details: str = ""
    window: Window | None = None
    mixes: bool = False
    known: bool = True
    elementwise: bool = False
    activation: bool = False


def describe(node: fx.Node, root: nn.Module, given: Shape, result: Shape, sizes: Mapping[fx.Node, int]) -> Operation:
    """The operation of `node` in a network traced from `root`, from an input of shape `given` to one of shape `result`.

    `sizes` holds the nodes whose value is a whole number, such as x.shape[1]."""
    if node.op == "call_module":
        return _describe_module(root.get_submodule(str(node.target)), given, result)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    arguments, named = fx.map_arg((node.args, dict(node.kwargs)), lambda each: sizes.get(each, each))
    return _describe_function(name.rstrip("_"), arguments, named, given, result)  # relu_ is relu in place


def words(name: str) -> str:
    """ "TrainableSubsampling" -> "trainable subsampling"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()


def _describe_module(module: nn.Module, given: Shape, result: Shape) -> Operation:
    if isinstance(module, nn.Conv2d):
        return _convolution(module)
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        kind = "max pool" if isinstance(module, nn.MaxPool2d) else "average pool"
        dilation = getattr(module, "dilation", 1)
        return _pool(kind, module.kernel_size, module.stride, module.padding, dilation, module.ceil_mode)
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        return _adaptive_pool("average" if isinstance(module, nn.AdaptiveAvgPool2d) else "max", given, result)
    if isinstance(module, nn.Linear):
        return Operation(kind="dense", mixes=True)
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return Operation(kind="batch norm")
    if isinstance(module, nn.LocalResponseNorm):
        return Operation(kind="local response norm", details=f"over {module.size} channels")
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return _dropout(module.p)
    if isinstance(module, nn.Flatten):
        return _reshape(given, result)
    if isinstance(module, nn.Identity):
        return Operation(kind="", elementwise=True)
    if isinstance(module, nn.modules.padding._ConstantPadNd):
        return _pad(tuple(module.padding))
    if type(module).__module__ == nn.ReLU.__module__:
        name = type(module).__name__
        return Operation(kind=_ACTIVATIONS.get(name.lower(), name), elementwise=True, activation=True)
    return Operation(kind=words(type(module).__name__), known=False)


def _describe_function(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], given: Shape, result: Shape) -> Operation:
    if name in _ACTIVATIONS:
        return Operation(kind=_ACTIVATIONS[name], elementwise=True, activation=True)
    if name in _JOINS:
        return Operation(kind=_JOINS[name], elementwise=not name.startswith("c"))
    if name in _POINTWISE:
        return Operation(kind=name, elementwise=True)
    if name in _NOTHING_CHANGES:
        return Operation(kind="", elementwise=True)
    if name in _RESHAPES:
        return _reshape(given, result)
    if name in _GLOBAL_POOLS and given[1:] != result[1:] and (len(result) == 1 or result[1:] == (1, 1)):
        return Operation(kind=f"global {_GLOBAL_POOLS[name]} pool", mixes=True)
    if name in _POOL_ARGUMENTS:
        named = dict(zip(_POOL_ARGUMENTS[name], args, strict=False)) | dict(kwargs)
        stride = named.get("stride") or named["kernel_size"]
        kind = "max pool" if name == "max_pool2d" else "average pool"
        return _pool(kind, named["kernel_size"], stride, named.get("padding", 0), named.get("dilation", 1), bool(named.get("ceil_mode")))
    if name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        return _adaptive_pool("average" if "avg" in name else "max", given, result)
    if name.startswith("dropout"):
        return _dropout(float((dict(zip(("input", "p"), args, strict=False)) | dict(kwargs)).get("p", 0.5)))
    if name == "pad":
        return _pad(tuple(args[1] if len(args) > 1 else kwargs["pad"]))
    if name == "index_select" and args[1] == 1:
        return Operation(kind="select channels")
    if name == "getitem":
        return Operation(kind="") if isinstance(args[1], int) else _slice(args[1], given)  # a number: a part of a split
    return Operation(kind=name.replace("_", " "), known=False)


def _convolution(module: nn.Conv2d) -> Operation:
    kernel, stride, dilation = _pair(module.kernel_size), _pair(module.stride), _pair(module.dilation)
    extent = tuple(spacing * (size - 1) + 1 for spacing, size in zip(dilation, kernel, strict=True))
    if module.padding == "same":
        padding = (extent[0] - 1, extent[1] - 1)
        before = (padding[0] // 2, padding[1] // 2)  # of an odd total, PyTorch puts the larger half behind
    else:
        before = (0, 0) if module.padding == "valid" else _pair(module.padding)
        padding = (2 * before[0], 2 * before[1])
    window = Window(kernel=kernel, stride=stride, padding=padding, before=before, dilation=dilation)
    details = [f"{kernel[0]}x{kernel[1]}"]
    if kernel != (1, 1) and padding == (0, 0):
        details[0] += " valid"
    elif kernel != (1, 1) and padding == tuple(size - 1 for size in extent):
        details[0] += " same"  # as Keras says it; with a stride, the size is divided by that
    elif padding != (0, 0):
        details.append(f"pad {_sides(before)}")
    if stride != (1, 1):
        details.append(f"stride {_sides(stride)}")
    if dilation != (1, 1):
        details.append(f"dilation {_sides(dilation)}")
    depthwise = module.groups > 1 and module.groups == module.in_channels
    if module.groups > 1 and not depthwise:
        details.append(f"{module.groups} groups")
    return Operation(kind="depthwise conv" if depthwise else "conv", details=", ".join(details), window=window)


def _pool(kind: str, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Operation:
    kernel, stride, before = _pair(kernel), _pair(stride), _pair(padding)
    total = (2 * before[0], 2 * before[1])
    details = [f"{kernel[0]}x{kernel[1]}"]
    if stride != kernel:
        details.append(f"stride {_sides(stride)}")
    if before != (0, 0):
        details.append(f"pad {_sides(before)}")
    window = Window(kernel=kernel, stride=stride, padding=total, before=before, dilation=_pair(dilation), ceil=ceil)
    return Operation(kind=kind, details=", ".join(details), window=window)


def _adaptive_pool(kind: str, given: Shape, result: Shape) -> Operation:
    if result[1:] == (1, 1):
        return Operation(kind=f"global {kind} pool", mixes=True)
    if given[1] % result[1] or given[2] % result[2]:
        return Operation(kind=f"adaptive {kind} pool", known=False)  # windows of unequal size
    kernel = (given[1] // result[1], given[2] // result[2])
    return _pool(f"{kind} pool", kernel, kernel, 0, 1, False)


def _dropout(rate: float) -> Operation:
    return Operation(kind="dropout" if rate > 0 else "", details=f"{rate:g}")


def _reshape(given: Shape, result: Shape) -> Operation:
    if given == result:
        return Operation(kind="")
    if len(result) == 1:
        return Operation(kind="flatten", mixes=True)
    return Operation(kind="reshape", known=given[-2:] == result[-2:])


def _pad(sides: Sequence[int]) -> Operation:
    """`sides`: left, right, above, below, and those of the channels, as torch.nn.functional.pad takes them."""
    left, right, above, below = (*sides, 0, 0)[:4]
    if not (left or right or above or below):
        return Operation(kind="zero pad", details="channels")
    window = Window(kernel=(1, 1), stride=(1, 1), padding=(above + below, left + right), before=(above, left))
    return Operation(kind="zero pad", window=window)


def _slice(index: Any, given: Shape) -> Operation:
    """Some channels, or every s-th row and column of a range, as shortcuts without weights take them; other indices are not understood."""
    parts = index if isinstance(index, tuple) else ()
    whole = all(isinstance(bound, int | None) for part in parts if isinstance(part, slice) for bound in (part.start, part.stop, part.step))
    if not whole or len(given) != 3 or not all(isinstance(part, slice) for part in parts) or parts[:1] != (slice(None),):
        return Operation(kind="slice", known=False)
    if len(parts) == 2:
        return Operation(kind="select channels")
    spatial = (*parts[2:], slice(None), slice(None))[:2]
    ranges = [range(*part.indices(size)) for part, size in zip(spatial, given[1:], strict=True)]
    if any(part.step < 1 or not part for part in ranges):
        return Operation(kind="slice", known=False)
    cut = tuple(size - (part.stop - part.start) for part, size in zip(ranges, given[1:], strict=True))
    window = Window(
        kernel=(1, 1),
        stride=(ranges[0].step, ranges[1].step),
        padding=(-cut[0], -cut[1]),
        before=(-ranges[0].start, -ranges[1].start),
    )
    return Operation(kind="subsample", details=f"stride {_sides(window.stride)}" if window.stride != (1, 1) else "", window=window)


def _pair(value: Any) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    return (int(pair[0]), int(pair[-1]))


def _sides(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"
