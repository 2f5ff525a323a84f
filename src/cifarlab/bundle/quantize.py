"""An ONNX file with its convolutions in 8-bit whole numbers: static quantization by ONNX Runtime, ranges from validation images."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.bundle.calibration import fit_temperature, unlikeness
from cifarlab.bundle.engines import finite
from cifarlab.bundle.manifest import INT8, ONNX, read_description, read_verified, update_description
from cifarlab.bundle.onnx_engine import OnnxEngine, read_graph, require_onnx
from cifarlab.bundle.onnx_export import clean_graph, compare_engines, describe_graph, temperature_of, versions
from cifarlab.errors import UsageError
from cifarlab.files import atomic_writer
from cifarlab.metrics import CALIBRATION_BINS, expected_calibration_error, softmax

if TYPE_CHECKING:
    import onnx

# Convolutions and dense layers do nearly all the work. The other operators are here so that what lies between two of
# them stays in whole numbers; everything else is computed in float32 as before.
LAYERS: Final = ("Conv", "Gemm", "MatMul")
OPERATORS: Final = (*LAYERS, "Relu", "Clip", "MaxPool")
CALIBRATION_BATCH: Final = 32  # images
BATCH: Final = 100  # images predicted at a time


def quantize_graph(model: onnx.ModelProto, calibration: NDArray[Any]) -> onnx.ModelProto:
    """`model` with the weights and inputs of its convolutions and dense layers in 8 bits; input and outputs stay as they are.

    calibration: the model's input for typical images, [N, ...]. Activations are uint8, each with the range that they take over
    `calibration` (minimum to maximum); weights are int8 with one scale a channel, in 7 bits of the 8, so that processors without
    VNNI, whose 16-bit sums of two products saturate, give the same answers. In float32 stay the first convolution, whose
    input has the finest differences, and what gives the logits (docs/LOG.md has the comparison of these choices).
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    notes = {each.key: each.value for each in model.metadata_props}
    name = model.graph.input[0].name
    with tempfile.TemporaryDirectory(prefix="cifarlab-int8-") as folder, _quiet_quantizer():
        given, fused, quantized = (Path(folder) / f"{stage}.onnx" for stage in ("given", "fused", "quantized"))
        given.write_bytes(model.SerializeToString())
        quant_pre_process(given, fused, skip_symbolic_shape=True)  # batch norm goes into the convolution before it
        quantize_static(
            fused,
            quantized,
            _reader(name, calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATORS),
            nodes_to_exclude=kept_in_float(read_graph(fused.read_bytes())),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return clean_graph(read_graph(quantized.read_bytes()), notes)


def kept_in_float(model: onnx.ModelProto) -> list[str]:
    """Names of the layers that stay in float32: those that no layer with weights precedes, and those that none follows."""
    weighted = {node.name for node in model.graph.node if node.op_type in LAYERS}
    nodes = list(model.graph.node)  # each after what it needs
    return sorted(weighted - (_reached(nodes, weighted) & _reached(nodes[::-1], weighted, backwards=True)))


def _reached(nodes: Sequence[onnx.NodeProto], weighted: Set[str], *, backwards: bool = False) -> set[str]:
    """Names of the nodes that one of `weighted` leads to, going through `nodes` in order."""
    values: set[str] = set()  # what has been computed by way of a weighted node
    found = set()
    for node in nodes:
        taken, given = (node.output, node.input) if backwards else (node.input, node.output)
        if values.intersection(taken):
            found.add(node.name)
        if node.name in weighted or node.name in found:
            values.update(given)
    return found


def write_int8(
    folder: Path, *, calibration: NDArray[np.uint8], images: NDArray[np.uint8], labels: NDArray[np.int64], images_from: str = "validation"
) -> dict[str, Any]:
    """Add model.int8.onnx to the bundle `folder`, which has model.onnx, and its record to bundle.json; returns the record.

    calibration: uint8 [M, S, S, 3], a few hundred images whose ranges are taken; images: uint8 [N, S, S, 3] and labels: [N], which
    accuracy is measured on before and after; all of the split `images_from`. Raises UsageError without model.onnx, BundleError.
    """
    require_onnx("writing int8")
    if not len(calibration) or not len(images):
        raise UsageError("writing int8 needs images to take ranges from and to measure accuracy on; none were given")
    description = read_description(folder)
    before = OnnxEngine.open("onnx", folder, description)
    content = quantize_graph(read_graph(read_verified(folder, description, ONNX)), before.prepare(calibration)).SerializeToString()
    after = OnnxEngine(content, description, name="onnx-int8")
    temperature = {views: temperature_of(description, views) for views in after.views}
    given = [probabilities_of(each, images, views=before.views[0], temperature=temperature[before.views[0]]) for each in (before, after)]
    record = {
        **describe_graph(after),
        "temperature": temperature[after.views[0]],
        "calibration": {"n": len(calibration), "images": images_from, "method": "min-max"},
        "own": _own(after, description, images, labels),
        **_effect(given[0], given[1], labels, images_from=images_from, calibrated=_is_calibrated(description, after.views[0])),
        "difference": {**compare_engines(before, after, images, temperature=temperature), "from": ONNX},
        "with": versions(),
    }
    with atomic_writer(folder / INT8) as file:
        file.write(content)
    update_description(folder, {"onnx": {INT8: record}}, files=[INT8])
    return record


def _own(engine: OnnxEngine, description: dict[str, Any], images: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, Any] | None:
    """What would be fitted to int8 itself: its temperature, and how many images the bundle's threshold flags; None uncalibrated.

    The bundle's own temperature and threshold are used for int8 too: for `fast` these were 0.3 % and 1 image of 1 000 away.
    """
    views = engine.views[0]
    if not _is_calibrated(description, views):
        return None
    logits = np.concatenate([finite(engine.logits(images[start : start + BATCH], views=views)) for start in range(0, len(images), BATCH)])
    calibration = description["calibration"]
    flagged = unlikeness(calibration["score"], logits) > calibration["views"][views]["threshold"]
    return {"temperature": fit_temperature(logits, labels), "flagged": int(flagged.sum()), "n": len(images), "views": views}


def probabilities_of(engine: OnnxEngine, images: NDArray[np.uint8], *, views: str, temperature: float) -> NDArray[np.float64]:
    """uint8 [N, S, S, 3] -> [N, K], softmax(logits / temperature)."""
    parts = [finite(engine.logits(images[start : start + BATCH], views=views)) for start in range(0, len(images), BATCH)]
    return softmax(np.concatenate(parts).astype(np.float64) / temperature)


def _effect(
    before: NDArray[np.float64], after: NDArray[np.float64], labels: NDArray[np.int64], *, images_from: str, calibrated: bool
) -> dict[str, Any]:
    """What int8 changes, for bundle.json: from probabilities [N, K] of float32 and of int8 and the labels [N].

    "accuracy", "agreement" of the two (labels_equal: a number of images) and "calibration_error", None where nothing was calibrated.
    """
    right = [each.argmax(1) == labels for each in (before, after)]
    measured = {"n": len(labels), "images": images_from}
    errors = [expected_calibration_error(each, labels) for each in (before, after)] if calibrated else None
    return {
        "accuracy": {
            **measured,
            "before": float(right[0].mean()),
            "after": float(right[1].mean()),
            "lost": int((right[0] & ~right[1]).sum()),
            "won": int((~right[0] & right[1]).sum()),
        },
        "agreement": {
            **measured,
            "max_abs_probability_difference": float(np.abs(before - after).max()),
            "labels_equal": int((before.argmax(1) == after.argmax(1)).sum()),
        },
        "calibration_error": errors and {**measured, "bins": CALIBRATION_BINS, "before": errors[0], "after": errors[1]},
    }


def _is_calibrated(description: dict[str, Any], views: str) -> bool:
    return views in ((description.get("calibration") or {}).get("views") or {})


def _reader(name: str, values: NDArray[Any]) -> Any:
    """What ONNX Runtime's calibration takes its input from, batch by batch."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter([values[start : start + CALIBRATION_BATCH] for start in range(0, len(values), CALIBRATION_BATCH)])

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {name: batch}

    return Reader()


@contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """Within it the quantizer's remarks on single tensors, which it sends to the root logger, are not shown."""
    log = logging.getLogger()
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
