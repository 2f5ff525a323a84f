"""A network whose layers can be asked for: traced once, then run often."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from cifarlab.data.preprocess import Preprocess
from cifarlab.errors import UsageError, unknown
from cifarlab.explain.activations import check_images, layer_activations, layer_names
from cifarlab.models.summary import Field, LayerRow, traced_layers
from cifarlab.restore import full_float32


class TracedNetwork:
    """The layers of `model` as `cifarlab models show` lists them, for pictures uint8 [size, size, 3] of which it sees one view.

    rows: the layers by name, in the order of their computation; fields: the Reach of each one's positions over the network's input,
    "image" or "unknown". Puts the model into evaluation mode. Any thread may ask, also while others compute with the model. Raises
    ValueError for a network whose Python code depends on the values that it computes, and for one that `size` does not fit.
    """

    def __init__(self, model: nn.Module, preprocess: Preprocess, *, size: int) -> None:
        self.preprocess = preprocess
        self.size = size
        self.network_size = preprocess.output_size(size)
        graph, found = traced_layers(model.eval(), image_size=self.network_size)
        self._graph = graph.eval()
        self._nodes = {row.name: node.name for row, node, _ in found}
        # A module that is used several times has its name in several rows: the last is its output.
        self.rows: dict[str, LayerRow] = {row.name: row for row, _, _ in found}
        self.fields: dict[str, Field] = {row.name: field for row, _, field in found}
        self._device = next(model.parameters()).device

    @property
    def spatial(self) -> tuple[str, ...]:
        """Layers with more than one position: those that a map can be drawn of."""
        return tuple(
            name for name, row in self.rows.items() if len(row.output_shape) == 3 and row.output_shape[0] * row.output_shape[1] > 1
        )

    def row(self, layer: str) -> LayerRow:
        """The row of a layer; raises UsageError for another name."""
        if layer not in self.rows:
            raise UsageError(unknown("layer", layer, self.rows))
        return self.rows[layer]

    def run(self, images: NDArray[np.uint8], *, layer: str, gradient: bool = False) -> tuple[Tensor, Tensor]:
        """What `layer` gives for `images`, uint8 [N, size, size, 3], after its activation, float [N, ...], and the logits, [N, K].

        gradient: the logits can be differentiated by what the layer gave, and by nothing before it. Raises UsageError for another
        layer or one that gives no tensor, ValueError for other images.
        """
        self.row(layer)
        check_images(images)
        watcher = _Watcher(self._graph, self._nodes[layer], gradient=gradient)
        with torch.no_grad(), full_float32():
            logits = watcher.run(self.preprocess(torch.from_numpy(images).to(self._device)))  # [N, S, S, 3] -> [N, K]
        if not isinstance(watcher.caught, Tensor):
            raise UsageError(f"layer {layer!r} gives several tensors; choose another")
        return watcher.caught, logits


def row_activations(
    model: nn.Module, preprocess: Preprocess, images: NDArray[np.uint8], *, layer: str
) -> tuple[NDArray[np.float32], LayerRow | None]:
    """Output of a layer as `cifarlab models show` lists it, after the activation that stands in its row, for a few `images`.

    images: uint8 [N, H, W, C] with N at least 1. Returns float32 [N, ...] as `layer_activations` does, and the layer's row. Operations
    without a module of their own, such as a sum of branches, have rows too. A module that is no row, such as a group of
    layers, gives its output, and None in place of the row. The model's mode is as before afterwards. Raises UsageError for another
    name, ValueError for other images.
    """
    check_images(images)
    modes = {module: module.training for module in model.modules()}
    try:
        network = TracedNetwork(model, preprocess, size=int(images.shape[1]))
        if layer not in network.rows:
            if layer in layer_names(model):
                return layer_activations(model, preprocess, images, layer=layer), None
            raise UsageError(unknown("layer", layer, network.rows, remedy="what they are: cifarlab models show NETWORK"))
        values, _ = network.run(images, layer=layer)
    finally:
        for module, training in modes.items():
            module.training = training
    return values.float().cpu().contiguous().numpy(), network.rows[layer]


class _Watcher(fx.Interpreter):
    """Runs a graph and keeps the value of one node, as it is when that was computed; from there on with gradients where asked for."""

    def __init__(self, graph: fx.GraphModule, wanted: str, *, gradient: bool) -> None:
        super().__init__(graph)
        self._wanted = wanted
        self._gradient = gradient
        self.caught: object = None

    def run_node(self, n: fx.Node) -> Any:
        """The value of node `n`, kept where it is the wanted one."""
        # Before the layer nothing is recorded, which saves the time and memory of it.
        with torch.set_grad_enabled(self._gradient and self.caught is not None):
            result = super().run_node(n)
        if n.name != self._wanted:
            return result
        # Copies: an operation in place after the layer must not change what the layer gave.
        self.caught = result.detach().clone() if isinstance(result, Tensor) else result
        if not self._gradient or not isinstance(self.caught, Tensor):
            return result
        self.caught.requires_grad_()
        with torch.enable_grad():
            return self.caught.clone()
