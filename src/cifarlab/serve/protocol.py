"""The Open Inference Protocol, version 2 (HTTP/REST), and its binary tensor data extension: bytes to arrays and back.

Protocol: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md. Extension: Triton
Inference Server, docs/protocol/extension_binary_data.md: tensors after the JSON, little-endian and row-major; the header
Inference-Header-Content-Length gives the length of the JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from cifarlab.bundle import Predicted
from cifarlab.errors import unknown
from cifarlab.serve.refusal import RefusedError

EXTENSIONS: Final = ("binary_tensor_data",)
HEADER_LENGTH: Final = "inference-header-content-length"
INPUT: Final = "images"
# What a model gives for N images, with the shape of one image's entry; "unlike" only where it can tell.
OUTPUTS: Final = {"probabilities": "FP32", "labels": "BYTES", "unlike": "BOOL"}


class WantedOutput(NamedTuple):
    """An output that a request asks for, as JSON or as binary data."""

    name: str
    binary: bool


class InferenceRequest(NamedTuple):
    """images: uint8 [N, S, S, 3]; identifier: the request's "id", to be given back."""

    images: NDArray[np.uint8]
    outputs: tuple[WantedOutput, ...]
    identifier: str | None


def tensors(*, size: int, classes: int, unlike: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Metadata of a model's inputs and outputs; -1 is the number of images."""
    outputs = [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
        {"name": "labels", "datatype": "BYTES", "shape": [-1]},
    ]
    if unlike:
        outputs.append({"name": "unlike", "datatype": "BOOL", "shape": [-1]})
    return [{"name": INPUT, "datatype": "UINT8", "shape": [-1, size, size, 3]}], outputs


def parse_request(body: bytes, *, header_length: str | None, size: int, outputs: Sequence[str]) -> InferenceRequest:
    """Read an inference request. size: S; outputs: names that the model has. Raises RefusedError (400)."""
    if header_length == "0":  # raw binary request: the body is the only input, a batch of one, and all answers are binary
        images = _pixels(body, shape=[1, size, size, 3])
        return InferenceRequest(images, tuple(WantedOutput(name, True) for name in outputs), None)
    text, binary = _split(body, header_length)
    document = _load(text)
    identifier = document.get("id")
    if identifier is not None and not isinstance(identifier, str):
        _refuse(f"id must be a string, not {_shown(identifier)}")
    parameters = _parameters(document, "the request")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        _refuse(f'inputs must be a list of one tensor, such as {{"name": "{INPUT}", "shape": [1, {size}, {size}, 3], ...}}')
    images = _input(inputs[0], binary, size=size)
    wanted = _outputs(document.get("outputs"), outputs, binary=_flag(parameters, "binary_data_output"))
    return InferenceRequest(images, wanted, identifier)


def _split(body: bytes, header_length: str | None) -> tuple[bytes, bytes | None]:
    """The JSON and the binary data after it, None where the request has no such part."""
    if header_length is None:
        return body, None
    if not (header_length.isascii() and header_length.isdigit()) or len(header_length) > 18 or int(header_length) > len(body):
        _refuse(f"Inference-Header-Content-Length must be a number of bytes up to the body's {len(body)}, not {header_length[:40]!r}")
    return body[: int(header_length)], body[int(header_length) :]


def _load(text: bytes) -> dict[str, Any]:
    def no_number(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON")

    try:
        document = json.loads(text.decode(), parse_constant=no_number)
    except RecursionError:
        _refuse("the request is nested too deeply")
    except ValueError as error:  # not UTF-8, not JSON, an integer of thousands of digits
        _refuse(f"the request is not JSON: {error}")
    if not isinstance(document, dict):
        _refuse("the request must be a JSON object")
    return document


def _input(tensor: Mapping[str, Any], binary: bytes | None, *, size: int) -> NDArray[np.uint8]:
    """The images, uint8 [N, size, size, 3], from JSON data or from the binary data."""
    if tensor.get("name") != INPUT:
        _refuse(unknown("input", tensor.get("name"), [INPUT]))
    if tensor.get("datatype") != "UINT8":
        _refuse(f"input {INPUT!r}: " + unknown("datatype", tensor.get("datatype"), ["UINT8"]))
    shape = _shape(tensor.get("shape"), size=size)
    parameters = _parameters(tensor, f"input {INPUT!r}")
    length = parameters.get("binary_data_size")
    if length is None:
        if binary:
            _refuse(f"{len(binary)} bytes follow the JSON, but no input has the parameter binary_data_size")
        return _json_pixels(tensor, shape)
    if "data" in tensor:
        _refuse(f"input {INPUT!r} has both data and binary_data_size; give one")
    if binary is None:
        _refuse("binary_data_size needs the header Inference-Header-Content-Length with the length of the JSON")
    if isinstance(length, bool) or length != len(binary):
        _refuse(f"input {INPUT!r}: binary_data_size is {_shown(length)}, but {len(binary)} bytes follow the JSON")
    return _pixels(binary, shape=shape)


def _shape(given: object, *, size: int) -> list[int]:
    whole = isinstance(given, list) and len(given) == 4 and all(type(side) is int for side in given)
    if isinstance(given, list) and whole and given[1:] == [size, size, 3] and 1 <= given[0] < 2**31:
        return given
    _refuse(f"input {INPUT!r}: shape must be [N, {size}, {size}, 3] with N of at least 1, not {_shown(given)}")


def _pixels(data: bytes, *, shape: Sequence[int]) -> NDArray[np.uint8]:
    expected = shape[0] * shape[1] * shape[2] * shape[3]
    if len(data) != expected:
        _refuse(f"input {INPUT!r}: {len(data)} bytes, but shape {list(shape)} needs {expected}")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _json_pixels(tensor: Mapping[str, Any], shape: Sequence[int]) -> NDArray[np.uint8]:
    """From numbers in row-major order, nested as the shape or flat."""
    data = tensor.get("data")
    if not isinstance(data, list):
        _refuse(f"input {INPUT!r}: data must be a list of numbers, or binary_data_size must be given")
    # As objects first: NumPy would give each number beside a long string the string's length in memory.
    values = np.array(data, dtype=object)
    kinds = set(map(type, values.ravel().tolist()))
    if list in kinds:
        _refuse(f"input {INPUT!r}: the lists in data are not of equal length, or nested deeper than the shape")
    if kinds != {int}:
        _refuse(f"input {INPUT!r}: data must be whole numbers from 0 to 255")
    if values.size != shape[0] * shape[1] * shape[2] * shape[3] or (values.ndim > 1 and values.shape != tuple(shape)):
        _refuse(f"input {INPUT!r}: data has the shape {list(values.shape)}, not {list(shape)} or the same numbers in one list")
    if values.min() < 0 or values.max() > 255:
        _refuse(f"input {INPUT!r}: data must be from 0 to 255, not {_shown(values.min())} to {_shown(values.max())}")
    return values.astype(np.uint8).reshape(shape)


def _outputs(given: object, known: Sequence[str], *, binary: bool) -> tuple[WantedOutput, ...]:
    if given is None or given == []:
        return tuple(WantedOutput(name, binary) for name in known)
    if not isinstance(given, list) or not all(isinstance(output, dict) for output in given):
        _refuse('outputs must be a list of objects such as {"name": "probabilities"}')
    wanted = []
    for output in given:
        name = output.get("name")
        if name not in known or not isinstance(name, str):
            _refuse(unknown("output", name, known))
        parameters = _parameters(output, f"output {name!r}")
        if "classification" in parameters:
            _refuse(f"output {name!r}: the classification extension is not supported; POST /predict gives the most probable classes")
        wanted.append(WantedOutput(name, _flag(parameters, "binary_data", binary)))
    if len({output.name for output in wanted}) != len(wanted):
        _refuse("outputs names one twice")
    return tuple(wanted)


def _parameters(holder: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        _refuse(f"{what}: parameters must be an object, not {_shown(parameters)}")
    if any(str(key).startswith("shared_memory") for key in parameters):
        _refuse(f"{what}: shared memory is not supported; send the data in the body")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        _refuse(f"parameter {name} must be true or false, not {_shown(value)}")
    return value


def _refuse(message: str) -> NoReturn:
    raise RefusedError(400, message)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def format_response(
    predicted: Predicted, *, model: str, version: str, outputs: Sequence[WantedOutput], identifier: str | None
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the answer to an inference request."""
    values: dict[str, Any] = {
        "probabilities": predicted.probabilities.astype("<f4"),
        "labels": predicted.labels,
        "unlike": predicted.unlike,
    }
    described, tails = [], []
    for output in outputs:
        value = values[output.name]
        shape = list(np.shape(value))
        entry: dict[str, Any] = {"name": output.name, "shape": shape, "datatype": OUTPUTS[output.name]}
        if output.binary:
            tails.append(_bytes(value))
            entry["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            entry["data"] = value if isinstance(value, list) else value.ravel().tolist()
        described.append(entry)
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if identifier is not None:
        answer["id"] = identifier
    answer["outputs"] = described
    head = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
    if not tails:
        return head, {"content-type": "application/json"}
    return b"".join([head, *tails]), {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}


def _bytes(value: Any) -> bytes:
    """A tensor as the extension wants it; strings each after their length in four bytes."""
    if not isinstance(value, list):
        return bytes(value.tobytes())
    return b"".join(struct.pack("<I", len(text)) + text for text in (label.encode() for label in value))
