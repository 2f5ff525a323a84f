"""A trained network as one ONNX file: an image's stored pixels in, probabilities out."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarlab.augment.test_time import average_views, image_views
from cifarlab.bundle.engines import Engine, finite
from cifarlab.bundle.manifest import ONNX, read_description, update_description
from cifarlab.bundle.onnx_engine import INPUTS, LOGITS, PROBABILITIES, VIEW_LOGITS, VIEW_PIXELS, OnnxEngine, first_line, require_onnx
from cifarlab.bundle.selective import REST, SELECTIVE, WHOLE
from cifarlab.bundle.torch_engine import TorchEngine
from cifarlab.data.preprocess import Preprocess
from cifarlab.errors import BundleError, MissingDependencyError, UsageError
from cifarlab.files import atomic_writer
from cifarlab.metrics import softmax

if TYPE_CHECKING:
    import onnx

OPSET: Final = 20  # the first with Gelu; resizing with antialias is there since 18
BATCH: Final = 100  # images compared at a time
MOST_IMAGES: Final = 1000  # that engines are compared on, with one, two and six views
TOLERANCE: Final = 1e-4  # of a probability, between PyTorch and ONNX Runtime, both in float32


class OnnxGraph(nn.Module):
    """What the ONNX file computes, as `TorchEngine` and `Predictor` do together.

    uint8 [N, S, S, 3], or with `preprocess` None its output, float [N, 3, s, s] -> probabilities [N, K], softmax(logits /
    temperature), and logits [N, K], averaged over `views`. The V views go through the network as one batch, so that the file holds
    one network and not V; with several, what goes in, [V * N, 3, s, s], and what comes out, [V * N, K], are returned as well.
    """

    def __init__(self, network: nn.Module, preprocess: Preprocess | None, *, views: str, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.preprocess = preprocess
        self.views = views
        self.temperature = temperature

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels = images if self.preprocess is None else self.preprocess(images)
        views = image_views(pixels, views=self.views)
        if len(views) == 1:
            logits = self.network(pixels)
            return torch.softmax(logits / self.temperature, dim=1), logits
        batch = torch.cat(views)  # V of [N, 3, s, s] -> [V * N, 3, s, s]
        found = self.network(batch)  # -> [V * N, K]
        logits = average_views(found.unflatten(0, (len(views), -1)).unbind(0))  # -> [N, K]
        return torch.softmax(logits / self.temperature, dim=1), logits, found, batch


def export_graph(
    network: nn.Module,
    preprocess: Preprocess,
    *,
    size: int,
    views: str = "none",
    temperature: float = 1.0,
    preprocessing: bool = True,
    notes: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """`network` (in evaluation mode afterwards as before) as an ONNX model for images of `size` px, with any number of them a batch.

    Inputs and outputs: see `OnnxGraph`; "images" is the input's name, "pixels" without `preprocessing`. `notes` go into
    the file's metadata beside the views. Raises BundleError where the network cannot be exported, MissingDependencyError without onnx.
    """
    require_exporter()
    # A copy in plain memory layout: the exporter would write a channels_last weight with a transposition beside it.
    parts = copy.deepcopy((network, preprocess))
    inside, before = (part.cpu().float().eval().to(memory_format=torch.contiguous_format) for part in parts)  # type: ignore[call-overload]
    graph = OnnxGraph(inside, before if preprocessing else None, views=views, temperature=temperature).eval()
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)  # 2, since a 1 would be taken for a constant
    if not preprocessing:
        with torch.no_grad():
            example = before(example).contiguous()
    name = INPUTS[preprocessing]
    try:
        with _quiet_exporter(), torch.no_grad():
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                verbose=False,
                external_data=False,
                opset_version=OPSET,
                input_names=[name],
                output_names=[PROBABILITIES, LOGITS] + ([] if views == "none" else [VIEW_LOGITS, VIEW_PIXELS]),
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            )
    except torch.onnx.OnnxExporterError as error:
        # The exporter's own words tell of its stages, in colour; what went wrong is the error that it wraps.
        reason = first_line(error.__cause__ or error)
        raise BundleError(f"PyTorch {torch.__version__} cannot export this network to ONNX: {reason}") from error
    assert program is not None
    model = program.model_proto
    # The last two were outputs to give their values a name by which a reader finds them; nobody needs them as outputs.
    del model.graph.output[2:]
    return clean_graph(model, {"views": views, **(notes or {})})


def clean_graph(model: onnx.ModelProto, notes: Mapping[str, str]) -> onnx.ModelProto:
    """`model` without the exporter's notes, which hold paths of the machine that it ran on, and with `notes` as its metadata."""
    for part in (
        model.graph,
        *model.graph.node,
        *model.graph.initializer,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for field in ("doc_string", "metadata_props", "domain", "model_version"):
        model.ClearField(field)
    model.graph.name = "cifarlab"
    for key, value in notes.items():
        model.metadata_props.add(key=key, value=value)
    used = {node.domain for node in model.graph.node}
    kept = [each for each in model.opset_import if each.domain in ("", *used)]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def write_onnx(
    folder: Path,
    *,
    images: NDArray[np.uint8],
    images_from: str = "validation",
    preprocessing: bool = True,
    note: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Add model.onnx to the bundle `folder`, and to its bundle.json the record of it; returns the record.

    images: uint8 [N, S, S, 3] of the split `images_from`; PyTorch and ONNX Runtime are compared on them, on `MOST_IMAGES` spread
    evenly where there are more, before anything is written. note hears of both steps before they begin.
    Raises BundleError where a probability differs by more than `TOLERANCE`.
    """
    require_exporter()
    if not len(images):
        raise UsageError("writing ONNX needs images to compare PyTorch and ONNX Runtime on; none were given")
    tell = note or (lambda text: None)
    tell("writing the model as ONNX and comparing it with PyTorch: this takes a minute or two")
    description = read_description(folder)
    torch_engine = TorchEngine.open(folder, description, device="cpu")
    # A graph looks at all views of every image: what is selected of them is decided outside.
    views = WHOLE if description["tta"] == SELECTIVE else description["tta"]
    temperature = temperature_of(description, views)
    model = export_graph(
        torch_engine.model,
        torch_engine.preprocess,
        size=description["input"]["size"],
        views=views,
        temperature=temperature,
        preprocessing=preprocessing,
        notes={"classes": json.dumps(description["classes"], ensure_ascii=False), "temperature": repr(temperature)},
    )
    content = model.SerializeToString()
    engine = OnnxEngine(content, description)
    tell(f"comparing ONNX Runtime with PyTorch on {min(len(images), MOST_IMAGES)} images")
    parity = compare_engines(torch_engine, engine, images, temperature={each: temperature_of(description, each) for each in engine.views})
    if not parity["max_abs_probability_difference"] <= TOLERANCE:
        raise BundleError(f"ONNX Runtime gives probabilities that differ from PyTorch's by {parity['max_abs_probability_difference']:.2g}")
    record = {**describe_graph(engine), "temperature": temperature, "parity": {**parity, "images": images_from, "with": versions()}}
    with atomic_writer(folder / ONNX) as file:
        file.write(content)
    update_description(folder, {"onnx": {ONNX: record}}, files=[ONNX])
    return record


def temperature_of(description: Mapping[str, Any], views: str) -> float:
    """What logits of `views` are divided by before the softmax; 1 where the bundle has no calibration for them.

    Views that are never given out by themselves, the rest of six, are compared at the temperature of all six.
    """
    calibration = description.get("calibration") or {}
    return float(calibration.get("views", {}).get(WHOLE if views == REST else views, {}).get("temperature", 1.0))


def compare_engines(expected: Engine, given: OnnxEngine, images: NDArray[np.uint8], *, temperature: Mapping[str, float]) -> dict[str, Any]:
    """How far the probabilities of two engines lie apart over `images` (uint8 [N, S, S, 3]), for all views that `given` can show.

    The first views are the bundle's own, whose probabilities come out of the file as it is, as another program would get them.
    {"n", "views", "max_abs_probability_difference", "labels_that_differ"}; the last is a number of images, all views together.
    """
    images = images[:: -(-len(images) // MOST_IMAGES)]
    largest, differ = 0.0, 0
    for views in given.views:
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            wanted = softmax(finite(expected.logits(part, views=views)).astype(np.float64) / temperature[views])
            if views == given.views[0]:
                found = finite(given.probabilities(part)).astype(np.float64)
            else:
                found = softmax(finite(given.logits(part, views=views)).astype(np.float64) / temperature[views])
            largest = max(largest, float(np.abs(wanted - found).max()))
            differ += int((wanted.argmax(1) != found.argmax(1)).sum())
    return {"n": len(images), "views": list(given.views), "max_abs_probability_difference": largest, "labels_that_differ": differ}


def describe_graph(engine: OnnxEngine) -> dict[str, Any]:
    """Of a bundle's ONNX file for its bundle.json: input, outputs, operator set, preprocessing, views."""
    return {
        "input": engine.input,
        "output": PROBABILITIES,
        "outputs": [PROBABILITIES, LOGITS],
        "opset": engine.opset,
        "preprocessing": engine.preprocessing,
        "views": engine.views[0],
    }


def versions() -> dict[str, str]:
    """Of what wrote and ran an ONNX file."""
    return {name: version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime")}


def require_exporter() -> None:
    """Raise MissingDependencyError, which names the install line, where a package that writes ONNX is missing."""
    require_onnx("writing ONNX")
    if find_spec("onnxscript") is None:
        raise MissingDependencyError("onnxscript", extra="onnx", purpose="writing ONNX")


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Within it the exporter keeps two things to itself that nobody here can act on.

    That torchvision, which no network here uses, is not installed (log), and that PyTorch's own copying of an exported program
    calls a function that PyTorch has deprecated (warning).
    """
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated", category=FutureWarning)
            yield
    finally:
        log.setLevel(before)
