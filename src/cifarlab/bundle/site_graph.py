"""For a browser: an ONNX file whose views can be chosen at each run, so that two are looked at where two suffice."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from cifarlab.bundle.onnx_engine import COUNTS, VIEW_LOGITS, VIEW_PIXELS, cut_graph, read_graph
from cifarlab.errors import BundleError

FIRST_VIEW = "first_view"  # int64 [1] each: the views from the one up to, and without, the other
LAST_VIEW = "last_view"


def with_choice(content: bytes) -> bytes:
    """The ONNX file of a bundle with six views, for one image at a time: images, first_view, last_view -> view_logits [views, K].

    Raises BundleError where it has not six views, or not where this project puts them.
    """
    graph = read_graph(content)
    if {each.key: each.value for each in graph.metadata_props}.get("views") != "six":
        raise BundleError("selective views need an ONNX file with six views. Export the run again")
    model = onnx.load_model_from_string(cut_graph(graph, output=VIEW_LOGITS))
    nodes = model.graph.node
    places = [at for at, node in enumerate(nodes) if node.op_type == "Concat" and VIEW_PIXELS in node.output]
    if len(places) != 1 or len(nodes[places[0]].input) != COUNTS["six"]:
        raise BundleError("the ONNX file is damaged or not of this project: its views are not where this project puts them")
    chosen, axis = f"{VIEW_PIXELS}_chosen", f"{VIEW_PIXELS}_axis"
    for node in nodes:
        node.input[:] = [chosen if name == VIEW_PIXELS else name for name in node.input]
    nodes.insert(places[0] + 1, helper.make_node("Slice", [VIEW_PIXELS, FIRST_VIEW, LAST_VIEW, axis], [chosen]))
    used = {name for node in nodes for name in node.input}  # the runtime would tell of each that is not, on the visitor's console
    kept = [each for each in model.graph.initializer if each.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.initializer.append(helper.make_tensor(axis, TensorProto.INT64, [1], [0]))
    model.graph.input.extend(helper.make_tensor_value_info(name, TensorProto.INT64, [1]) for name in (FIRST_VIEW, LAST_VIEW))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
