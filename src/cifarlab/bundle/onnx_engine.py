"""Logits by ONNX Runtime on the CPU. A file is checked before it reaches the runtime; nothing here loads PyTorch by itself."""

from __future__ import annotations

import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.bundle.manifest import INT8, ONNX, is_bundle, read_verified
from cifarlab.bundle.shipped import name_of
from cifarlab.errors import BundleError, MissingDependencyError, UsageError, unknown

if TYPE_CHECKING:
    import onnx
    import onnxruntime

FILES: Final = {"onnx": ONNX, "onnx-int8": INT8}  # engine -> file of the bundle
INPUTS: Final = {True: "images", False: "pixels"}  # name of the input, with preprocessing in the graph and without
PROBABILITIES: Final = "probabilities"
LOGITS: Final = "logits"  # averaged over the graph's views
VIEW_PIXELS: Final = "views"  # inside a graph with several views: what goes into the network, one view after the other
VIEW_LOGITS: Final = "view_logits"  # and what comes out of it
# As cifarlab.augment has them: the views of a file, and which of them each name stands for, in the order of the file.
COUNTS: Final = {"none": 1, "flip": 2, "six": 6}
PLACES: Final = {"none": slice(0, 1), "flip": slice(0, 2), "six": slice(0, 6), "moved": slice(2, 6)}
MOST_BYTES: Final = (1 << 31) - 1  # protobuf's own limit
MOST_VALUES: Final = 1 << 28  # of any intermediate result, for one image: 1 GiB
STANDARD: Final = ("", "ai.onnx")  # domains of operators that every runtime has


class OnnxEngine:
    """See `cifarlab.bundle.engines.Engine`. views: what the graph holds; preprocessing: whether pixels are its input as stored.

    Sessions use as many threads as PyTorch would (--threads), and are told to compute the same way every time.
    """

    device = "cpu"

    def __init__(self, content: bytes, description: Mapping[str, Any], *, name: str = "onnx", threads: int | None = None) -> None:
        """From the bytes of an ONNX file and the bundle's description; raises BundleError where they are damaged or do not fit."""
        require_onnx("ONNX Runtime")
        self.name = name
        self.threads = threads or _threads()
        self._description = description
        self._model = read_graph(content)
        notes = {each.key: each.value for each in self._model.metadata_props}
        if notes.get("views") not in COUNTS:
            raise _damaged("its metadata: " + unknown("views", notes.get("views"), COUNTS))
        held = COUNTS[notes["views"]]
        # The graph's own views first.
        own = [name for name, count in reversed(COUNTS.items()) if count <= held]
        self.views: tuple[str, ...] = (*own, *(name for name, place in PLACES.items() if name not in own and place.stop <= held))
        self.preprocessing = self._check_input()
        self._classes = len(description["classes"])
        given = self._model.graph.output[0].type.tensor_type.shape.dim
        if not given or given[-1].dim_value != self._classes:
            raise _damaged(f"it gives {given[-1].dim_value if given else 0} classes and the bundle has {self._classes}")
        self._sessions: dict[tuple[str, str, int], onnxruntime.InferenceSession] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self.prepare = _as_is if self.preprocessing else _outside(description)
        self._session(LOGITS, self.views[0], self.threads)  # what the runtime refuses is refused now

    @classmethod
    def open(cls, name: str, folder: Path, description: Mapping[str, Any], *, device: object = "auto") -> OnnxEngine:
        """The file of engine `name` ("onnx", "onnx-int8") in a bundle.

        Raises UsageError where the bundle has none or `device` is no CPU, BundleError where it is damaged, MissingDependencyError.
        """
        file = FILES[name]
        if str(device) not in ("auto", "cpu"):
            raise UsageError(f"--engine {name} computes on the CPU, not on {str(device)!r}. Use --device cpu, or --engine torch")
        if not is_bundle(description) or file not in description["files"]:
            kind = "int8" if file == INT8 else "onnx"
            model = name_of(folder)
            raise UsageError(
                f"{model} has no {file}, which --engine {name} needs. Write it with: cifarlab export {model} -o my-model --to {kind}\n"
                f"then give my-model in place of {model}"
            )
        require_onnx(f"--engine {name}")
        if description["files"][file]["bytes"] > MOST_BYTES:
            raise BundleError(f"{folder / file} is damaged: an ONNX file has at most {MOST_BYTES} bytes")
        try:
            return cls(read_verified(folder, description, file), description, name=name)
        except BundleError as error:
            where = str(folder / file)
            raise error if where in str(error) else BundleError(f"{where} is refused: {error}") from error

    @property
    def input(self) -> dict[str, Any]:
        """The graph's input for bundle.json: {"name", "dtype", "shape"}, the batch as "batch"."""
        size = self._description["input"]["size"]
        if self.preprocessing:
            return {"name": INPUTS[True], "dtype": "uint8", "shape": ["batch", size, size, 3]}
        sides = [each.dim_value for each in self._given.type.tensor_type.shape.dim]
        return {"name": INPUTS[False], "dtype": "float32", "shape": ["batch", *sides[1:]]}

    @property
    def opset(self) -> int:
        """Version of the standard operators that the graph is written in."""
        return next(int(each.version) for each in self._model.opset_import if each.domain in STANDARD)

    def split_over(self, threads: int) -> None:
        """From now on share the images of a batch out among `threads` threads, each of which computes on one core.

        For servers, where other work takes a core now and then: the runtime's own threads wait for the slowest after every operation.
        A lone image is computed by all of the runtime's threads as before: then there is no other work.
        """
        if threads > 1:
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="network")

    def logits(self, images: NDArray[np.uint8], *, views: str) -> NDArray[np.float32]:
        """See `Engine.logits`. Raises UsageError for views that the graph does not hold."""
        if views not in self.views:
            raise UsageError(
                f"the bundle's ONNX file holds {' and '.join(self.views)} as views, not {views!r}. Use --engine torch for that"
            )
        if self._pool is None or len(images) < 2:
            return self._logits(images, views=views, threads=self.threads)
        pieces = np.array_split(images, min(len(images), self.threads * (1 if len(images) <= 8 * self.threads else 2)))
        return np.concatenate(list(self._pool.map(lambda piece: self._logits(piece, views=views, threads=1), pieces)))

    def _logits(self, images: NDArray[np.uint8], *, views: str, threads: int) -> NDArray[np.float32]:
        if views == self.views[0]:
            return self._run(LOGITS, images, views=views, threads=threads)
        # One, two or four of the graph's views, which count the same.
        found = self._run(VIEW_LOGITS, images, views=views, threads=threads)
        averaged: NDArray[np.float32] = found.reshape(_count(views), len(images), self._classes).mean(axis=0)
        return averaged

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [B, size, size, 3] -> float32 [B, K]: the graph's own output, for its own views and temperature."""
        return self._run(PROBABILITIES, images, views=self.views[0], threads=self.threads)

    def _run(self, output: str, images: NDArray[np.uint8], *, views: str, threads: int) -> NDArray[np.float32]:
        rows = len(images) * (_count(views) if output == VIEW_LOGITS else 1)
        if not rows:
            return np.zeros((0, self._classes), dtype=np.float32)
        session = self._session(output, views, threads)
        try:
            found: NDArray[np.float32] = session.run(None, {INPUTS[self.preprocessing]: self.prepare(images)})[0]
        except Exception as error:  # the runtime's errors have no common base below Exception
            raise _damaged(first_line(error)) from error
        if found.shape != (rows, self._classes) or found.dtype != np.float32:
            raise _damaged(f"it gave {found.dtype} {list(found.shape)}, not float32 {[rows, self._classes]}")
        return found

    def _session(self, output: str, views: str, threads: int) -> onnxruntime.InferenceSession:
        """The session that gives `output` from `views` alone: what the graph holds beside them is not computed."""
        with self._lock:
            if (output, views, threads) not in self._sessions:
                content = cut_graph(self._model, output=output, views=None if views == self.views[0] else PLACES[views])
                self._sessions[output, views, threads] = open_session(content, threads=threads)
            return self._sessions[output, views, threads]

    def _check_input(self) -> bool:
        """Whether pixels as stored are the graph's input; raises BundleError where it fits neither."""
        import onnx

        initial = {each.name for each in self._model.graph.initializer}
        inputs = [each for each in self._model.graph.input if each.name not in initial]
        if len(inputs) != 1 or inputs[0].name not in INPUTS.values():
            raise _damaged(f"its inputs must be one of {', '.join(INPUTS.values())}, not {[each.name for each in inputs][:5]}")
        self._given = inputs[0]
        stored: bool = self._given.name == INPUTS[True]
        kind = self._given.type.tensor_type
        expected = onnx.TensorProto.UINT8 if stored else onnx.TensorProto.FLOAT
        size = self._description["input"]["size"]
        sides = [each.dim_value for each in kind.shape.dim]
        if kind.elem_type != expected or len(sides) != 4 or sides[0] or (stored and sides[1:] != [size, size, 3]):
            raise _damaged(f"its input {self._given.name} has not the type and shape of this bundle's images ({size} px)")
        names = {each.name for each in self._model.graph.output}
        if missing := {PROBABILITIES, LOGITS} - names:
            raise _damaged(f"it has no output {', '.join(sorted(missing))}")
        return stored


def read_graph(content: bytes) -> onnx.ModelProto:
    """An ONNX model from its bytes, refused (BundleError) where it is damaged or could reach beyond itself.

    Refused: data in other files, operators outside the standard, functions, branches and loops, and, by the shapes
    that follow from its own, results too large for one image. A network of this project needs none of them.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
        problem = next(_problems(model), None)
        if problem is None:
            onnx.checker.check_model(model)
            problem = _too_large(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True))
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(first_line(error)) from error
    if problem:
        raise _damaged(problem)
    return model


def _problems(model: onnx.ModelProto) -> Iterator[str]:
    import onnx

    kinds = onnx.AttributeProto
    plain = (kinds.FLOAT, kinds.INT, kinds.STRING, kinds.TENSOR, kinds.FLOATS, kinds.INTS, kinds.STRINGS)
    graph = model.graph
    if not graph.node:
        yield "it holds no network"
    if model.functions or model.training_info or graph.sparse_initializer:
        yield "it holds functions, training steps or sparse data, which no network of this project needs"
    tensors = list(graph.initializer)
    for node in graph.node:
        if node.domain not in STANDARD:
            yield f"operator {node.op_type!r} is of the domain {node.domain!r}; only standard ONNX operators are allowed"
        for attribute in node.attribute:
            if attribute.type not in plain or attribute.ref_attr_name:
                yield f"operator {node.op_type!r} has a branch, loop or other part that no network of this project needs"
            tensors.append(attribute.t)
    for tensor in tensors:
        if tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data:
            yield f"{tensor.name[:80]!r} lies in another file; a bundle's ONNX file holds everything itself"


def _too_large(model: onnx.ModelProto) -> str | None:
    """What is wrong with the size of an intermediate result, or None. Open dimensions, such as the batch, count as 1."""
    for value in (*model.graph.value_info, *model.graph.output, *model.graph.input):
        sides = [max(1, each.dim_value) for each in value.type.tensor_type.shape.dim]
        if math.prod(sides) > MOST_VALUES:
            return f"{value.name[:80]!r} would have {sides} values"
    return None


def cut_graph(model: onnx.ModelProto, *, output: str, views: slice | None = None) -> bytes:
    """`model` with the one value `output` as its output and, with `views`, with those of its views alone.

    Nodes that do not lead to it are left out: the runtime would compute them all the same. Raises BundleError where the graph
    has no such places.
    """
    import onnx

    chosen = onnx.ModelProto()
    chosen.CopyFrom(model)
    if views is not None:
        joined = [node for node in chosen.graph.node if node.op_type == "Concat" and VIEW_PIXELS in node.output]
        if len(joined) != 1 or len(joined[0].input) < views.stop:
            raise _damaged("its views are not where this project puts them")
        joined[0].input[:] = list(joined[0].input)[views]
    kept: list[onnx.NodeProto] = []
    needed = {output}
    for node in reversed(chosen.graph.node):  # each after what it needs
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    if not kept:
        raise _damaged(f"nothing in it computes {output}")
    del chosen.graph.node[:], chosen.graph.output[:], chosen.graph.value_info[:]
    chosen.graph.node.extend(reversed(kept))
    chosen.graph.output.append(onnx.ValueInfoProto(name=output, type=model.graph.output[0].type))
    return bytes(chosen.SerializeToString())


def open_session(content: bytes, *, threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU that computes the same way every time and sends nothing anywhere; raises BundleError."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # official builds for Windows have it on
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong comes as an exception
    # Threads that wait without sleeping would take the processor from whatever else runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common base below Exception
        raise _damaged(first_line(error)) from error


def require_onnx(purpose: str) -> None:
    """Raise MissingDependencyError, which names the install line, where onnx or onnxruntime is missing."""
    for module in ("onnx", "onnxruntime"):
        if find_spec(module) is None:
            raise MissingDependencyError(module, extra="onnx", purpose=purpose)


def _outside(description: Mapping[str, Any]) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    """The bundle's preprocessing by PyTorch, for a graph without it: uint8 [N, S, S, 3] -> float32 [N, 3, s, s]."""
    import torch

    from cifarlab.restore import restore_preprocess

    preprocess = restore_preprocess(description)

    def prepare(images: NDArray[np.uint8]) -> NDArray[Any]:
        with torch.no_grad():
            prepared: NDArray[Any] = preprocess(torch.from_numpy(images)).contiguous().numpy()
        return prepared

    return prepare


def _count(views: str) -> int:
    return PLACES[views].stop - PLACES[views].start


def _as_is(images: NDArray[np.uint8]) -> NDArray[Any]:
    return np.ascontiguousarray(images)


def _threads() -> int:
    """PyTorch's number of threads, which --threads sets; where it is not loaded, the cores that this process may use."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _damaged(problem: str) -> BundleError:
    return BundleError(f"the ONNX model is damaged or not of this project: {problem}")


def first_line(error: BaseException) -> str:
    """The beginning of what an error says, without colours, or its kind where it says nothing."""
    return re.sub(r"\x1b\[[0-9;]*m", "", (str(error).strip() or type(error).__name__).splitlines()[0][:300])
