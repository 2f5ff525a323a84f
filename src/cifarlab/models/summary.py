"""A network layer by layer, as Keras summarizes it: output shape, parameters, receptive field, multiply-adds."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from cifarlab.models.operations import Operation, Shape, describe, words
from cifarlab.models.reach import Reach, Window, joined
from cifarlab.models.registry import create_model

_LAYERS = (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.MaxPool2d, nn.AvgPool2d)
Field = Reach | Literal["image", "unknown"]
_TRACING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer. Shapes are (height, width, channels) or (features,), of one image.

    name: the module's name, or that of the module around it and the operation. kind, details, activation: "conv", "3x3 same",
    "ReLU"; an elementwise activation belongs to the layer before it. trainable, frozen: parameters, as Keras counts them: running
    mean and variance of batch norm are frozen. terms: the factors whose products add up to them. multiply_adds: of convolutions
    and dense layers. receptive_field: side, in input pixels, of what one output position can depend on, "image" after a layer that
    joins all positions, "unknown" where that cannot be told; it may exceed the image. step: pixels between the fields of neighbours.
    fields_before: receptive field and step of each input that has them.
    """

    name: str
    kind: str
    details: str
    activation: str
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    trainable: int
    frozen: int
    terms: tuple[Shape, ...]
    multiply_adds: int
    receptive_field: int | Literal["image", "unknown"]
    step: int | None
    window: Window | None
    fields_before: tuple[tuple[int, int], ...]

    @property
    def parameters(self) -> int:
        """Trainable and frozen together."""
        return self.trainable + self.frozen

    @property
    def type(self) -> str:
        """ "conv 3x3 same, ReLU"."""
        return ", ".join(filter(None, [f"{self.kind} {self.details}".strip(), self.activation]))


def summarize_model(model: nn.Module, *, image_size: int = 32) -> list[LayerRow]:
    """The layers of `model` in the order of their computation, for images float [1, 3, image_size, image_size].

    The network is traced and run on one zero image, on the device that it is on. The receptive field follows r_out = r_in + (k - 1) j_in,
    j_out = j_in s with kernel k and stride s; branches that meet give what they see together. Raises ValueError for a network whose
    Python code depends on the values that it computes.
    """
    return _summarized(model, image_size)[0].found


def traced_layers(model: nn.Module, *, image_size: int = 32) -> tuple[fx.GraphModule, list[tuple[LayerRow, fx.Node, Field]]]:
    """`model` as a graph, and each of the rows that `summarize_model` gives with the node whose value is the layer's output, after
    its activation, and where the receptive fields of its positions lie: their Reach, "image" or "unknown". Errors as there.

    Other threads may compute with `model` meanwhile."""
    summary, graph = _summarized(model, image_size)
    last = {owner: node for node, owner in summary.owners.items()}  # later nodes come later
    rows = [(row, last[index], summary.fields[last[index]]) for index, row in enumerate(summary.found)]
    return fx.GraphModule(model, graph), rows


def _summarized(model: nn.Module, image_size: int) -> tuple[_Summary, fx.Graph]:
    """The rows of a network and its graph; see `summarize_model`."""
    was_training = model.training
    model.eval()
    try:
        try:
            with _TRACING:  # PyTorch's tracer replaces methods of all modules and puts them back: two at once would get that wrong
                graph = _Tracer().trace(model)
        except (fx.proxy.TraceError, TypeError) as error:
            raise ValueError(f"{type(model).__name__} has no fixed sequence of layers: {error}") from error
        device = next(model.parameters()).device
        recorder = _Recorder(fx.GraphModule(model, graph))
        with torch.no_grad():
            recorder.run(torch.zeros(1, 3, image_size, image_size, device=device))
    finally:
        model.train(was_training)
    summary = _Summary(model, recorder.shapes, recorder.sizes)
    summary.rows(graph)
    return summary, graph


class _Tracer(fx.Tracer):
    """Follows the network into every module except those of torch.nn and what inherits from its layers.

    While it traces, every thread's calls of modules come here: those of other threads are let through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _LAYERS) or super().is_leaf_module(m, module_qualified_name)


class _Recorder(fx.Interpreter):
    """Runs the network and keeps the shape of every tensor, without the batch, and every whole number; parts of a split have the
    shape of the first."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, Shape] = {}
        self.sizes: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        first = result[0] if isinstance(result, tuple | list) and result and not isinstance(result, torch.Size) else result
        if isinstance(first, Tensor):
            self.shapes[n] = tuple(first.shape[1:])
        elif isinstance(first, int):
            self.sizes[n] = first
        return result


class _Summary:
    """Turns the nodes of a graph into rows; `fields` and `owners` hold each node's receptive field and row."""

    def __init__(self, model: nn.Module, shapes: dict[fx.Node, Shape], sizes: dict[fx.Node, int]) -> None:
        self.model = model
        self.shapes = shapes
        self.sizes = sizes
        self.fields: dict[fx.Node, Field] = {}
        self.owners: dict[fx.Node, int] = {}
        self.counted: set[int] = set()
        self.found: list[LayerRow] = []

    def rows(self, graph: fx.Graph) -> list[LayerRow]:
        for nodes, module, name in _layers(graph, self.model):
            if nodes[0].op == "placeholder":
                self.fields[nodes[0]] = Reach()
                continue
            self._add(nodes, module, name)
        return self.found

    def _inputs(self, node: fx.Node) -> list[fx.Node]:
        """The tensors that `node` computes with and that depend on the image."""
        return [each for each in node.all_input_nodes if each in self.fields]

    def _add(self, nodes: list[fx.Node], module: nn.Module | None, name: str) -> None:
        operations: dict[fx.Node, Operation] = {}
        for node in nodes:
            if node in self.shapes and (given := self._inputs(node)):  # constants and sizes are no layers
                operations[node] = describe(node, self.model, self.shapes[given[0]], self.shapes[node], self.sizes)
                self.fields[node] = self._field(node, operations[node])
        if not operations:
            return
        first, last = next(iter(operations)), next(reversed(operations))
        before = [each for each in self._inputs(first) if each not in operations]
        weights = list(self._weights(nodes, module))
        operation = operations[first] if first is last else _composed(list(operations.values()), module, bool(weights))
        owner = self.owners.get(before[0]) if len(before) == 1 else None
        if owner is not None and self._belongs_before(operation, owner, before[0]):
            row = self.found[owner]
            if operation.activation:
                self.found[owner] = replace(row, activation=operation.kind)
            elif operation.kind:
                self.found[owner] = replace(row, output_shape=_height_width_channels(self.shapes[last]))
        elif operation.kind:
            owner = len(self.found)
            self.found.append(self._row(name, operation, before, last, weights, module))
        if owner is not None:
            self.owners.update(dict.fromkeys(operations, owner))

    def _belongs_before(self, operation: Operation, owner: int, before: fx.Node) -> bool:
        """Whether an operation is no layer of its own: it changes nothing, or is the only use of the layer before it and an
        activation, the first one, or the flattening of the single position that a global pool leaves."""
        row = self.found[owner]
        if operation.activation:
            return len(before.users) == 1 and not row.activation
        flattens_one = operation.kind == "flatten" and row.kind.startswith("global ") and row.output_shape[:2] == (1, 1)
        return not operation.kind or (flattens_one and len(before.users) == 1)

    def _field(self, node: fx.Node, operation: Operation) -> Field:
        given = [self.fields[each] for each in self._inputs(node)]
        if "unknown" in given or not operation.known:
            return "unknown"
        if operation.mixes or "image" in given:
            return "image"
        reaches = [field for field in given if isinstance(field, Reach)]
        if operation.window is not None:
            return reaches[0].under_window(operation.window)
        return joined(reaches) or "unknown"

    def _weights(self, nodes: list[fx.Node], module: nn.Module | None) -> Iterator[Tensor]:
        """Parameters and statistics that a layer brings: its module's, or those that its operations take by name; each once."""
        named = [] if module is None else [*module.parameters(), *module.buffers()]
        for node in nodes:
            for source in (node, *node.all_input_nodes):
                if source.op == "get_attr":
                    path, _, attribute = str(source.target).rpartition(".")
                    named.append(getattr(self.model.get_submodule(path), attribute))
        for tensor in named:
            # num_batches_tracked is bookkeeping (an integer), not a weight.
            if tensor.is_floating_point() and id(tensor) not in self.counted:
                self.counted.add(id(tensor))
                yield tensor

    def _row(
        self, name: str, operation: Operation, before: list[fx.Node], last: fx.Node, weights: list[Tensor], module: nn.Module | None
    ) -> LayerRow:
        field = self.fields[last]
        reaches = [given for node in before if isinstance(given := self.fields[node], Reach)]
        output = self.shapes[last]
        trainable = sum(w.numel() for w in weights if w.requires_grad)
        multiply_adds = 0
        if isinstance(module, nn.Conv2d | nn.Linear):
            multiply_adds = module.weight.numel() * (math.prod(output[1:]) if isinstance(module, nn.Conv2d) else 1)
        return LayerRow(
            name=name,
            kind=operation.kind if operation.activation is False else "activation",
            details=operation.details if operation.activation is False else operation.kind,
            activation="",
            input_shapes=tuple(_height_width_channels(self.shapes[node]) for node in before),
            output_shape=_height_width_channels(output),
            trainable=trainable,
            frozen=sum(w.numel() for w in weights) - trainable,
            terms=_terms(module, weights),
            multiply_adds=multiply_adds,
            receptive_field=field.size if isinstance(field, Reach) else field,
            step=field.step if isinstance(field, Reach) else None,
            window=operation.window,
            fields_before=tuple((reach.size, reach.step) for reach in reaches),
        )


def blank_model(name: str, *, num_classes: int = 10, image_size: int = 32, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """The network that create_model builds, with zeros where that draws weights at random: quick to have, for a look at its layers.

    Leaves the random number generators alone. Raises UsageError as create_model does.
    """
    with _ZerosForDraws():
        return create_model(name, num_classes=num_classes, image_size=image_size, arguments=arguments)


class _ZerosForDraws(TorchFunctionMode):
    """Fills a tensor with zeros instead of random numbers: nearly all the time that it takes to build a network goes there."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in ("uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_"):
            with torch.no_grad():
                return (args[0] if args else given["tensor"]).zero_()
        return func(*args, **given)


def _layers(graph: fx.Graph, model: nn.Module) -> Iterator[tuple[list[fx.Node], nn.Module | None, str]]:
    """Nodes that belong together, their module and a name: what a module without inner modules does is one layer."""
    gathered: list[fx.Node] = []
    last_key: str | None = None
    for node in graph.nodes:
        stack = list(node.meta.get("nn_module_stack", {}).items())
        key, path = (stack[-1][0], stack[-1][1][0]) if stack else ("", "")
        whole = bool(path) and not any(model.get_submodule(path).children())
        if gathered and (not whole or key != last_key):
            yield gathered, *_owner(gathered[0], model)
            gathered = []
        if whole:
            gathered.append(node)
            last_key = key
        elif node.op != "output":
            target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", node.name)
            yield [node], None, f"{path}.{target}".lstrip(".")
    if gathered:
        yield gathered, *_owner(gathered[0], model)


def _owner(node: fx.Node, model: nn.Module) -> tuple[nn.Module, str]:
    path = next(reversed(node.meta["nn_module_stack"].values()))[0]
    return model.get_submodule(path), path


def _composed(operations: list[Operation], module: nn.Module | None, weighted: bool) -> Operation:
    """One name for what a module does in several operations."""
    assert module is not None
    windows = [each.window for each in operations if each.window is not None]
    return Operation(
        kind=words(type(module).__name__),
        window=windows[0] if len(windows) == 1 else None,
        activation=all(each.elementwise for each in operations) and not weighted,
    )


def _terms(module: nn.Module | None, weights: list[Tensor]) -> tuple[Shape, ...]:
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and weights:
        return ((len(weights), module.num_features),)
    if isinstance(module, nn.Conv2d):
        # [out, in / groups, height, width] -> height * width * in / groups * out, the order in which it is explained.
        return tuple((*w.shape[2:], w.shape[1], w.shape[0]) if w.dim() == 4 else tuple(w.shape) for w in weights)
    if isinstance(module, nn.Linear):
        return tuple(tuple(reversed(w.shape)) for w in weights)
    return tuple(tuple(w.shape) for w in weights)


def _height_width_channels(shape: Shape) -> Shape:
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape
