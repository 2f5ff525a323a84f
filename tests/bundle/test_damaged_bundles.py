"""Bundles that are damaged, of another version or made to do harm: one clear error, whatever is in them."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from untrained_bundles import Change

import cifarlab
from cifarlab.bundle import read_description, read_verified, update_description
from cifarlab.errors import BundleError, CifarlabError, UsageError

IMAGE = np.zeros((32, 32, 3), dtype=np.uint8)


def opened(folder: Path) -> Any:
    return cifarlab.load(folder, device="cpu")


# -- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 9, -1])
def test_a_changed_byte_is_found(bundle_copy: Path, place: int) -> None:
    content = bytearray((bundle_copy / "model.safetensors").read_bytes())
    content[place] ^= 1
    (bundle_copy / "model.safetensors").write_bytes(bytes(content))
    with pytest.raises(BundleError, match=r"model\.safetensors is damaged: its SHA-256 begins with"):
        opened(bundle_copy)


def test_a_cut_file_is_found_by_its_size(bundle_copy: Path) -> None:
    file = bundle_copy / "model.safetensors"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match=f"it has {size - 1} bytes, and bundle.json records {size}"):
        opened(bundle_copy)


def test_a_missing_file_is_told(bundle_copy: Path) -> None:
    (bundle_copy / "model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"model\.safetensors is missing, though bundle\.json lists it"):
        opened(bundle_copy)


def test_a_file_that_the_bundle_never_had_is_told(small_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"has no model\.onnx: its bundle\.json lists model\.safetensors"):
        read_verified(small_bundle, read_description(small_bundle), "model.onnx")


@pytest.mark.parametrize("version", [0, 2, "1", None, [1], True, 1.0])
def test_another_version_is_told_before_anything_else(change: Change, version: object) -> None:
    folder = change(lambda content: content.update(format=version, classes=None))
    with pytest.raises(BundleError, match=r"in version .* of the bundle; this cifarlab reads version 1"):
        opened(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_the_weights_does_not_block(bundle_copy: Path) -> None:
    (bundle_copy / "model.safetensors").unlink()
    os.mkfifo(bundle_copy / "model.safetensors")
    with pytest.raises(BundleError, match="it is not a regular file"):
        opened(bundle_copy)


# -- a hostile bundle.json ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "a/b", "..", "", "MODEL.SAFETENSORS", "evil.pkl", "model.safetensors\0"]
)
def test_only_known_names_may_be_listed(change: Change, name: str) -> None:
    record = {"sha256": "0" * 64, "bytes": 1}
    with pytest.raises(BundleError, match="unknown file"):
        opened(change(lambda content: content["files"].update({name: record})))


def test_weights_are_never_read_from_another_place(change: Change, tmp_path: Path) -> None:
    shutil.copy(
        change(lambda content: content.update(weights="../other.safetensors")) / "model.safetensors", tmp_path / "other.safetensors"
    )
    folder = change(lambda content: content.update(weights="../other.safetensors"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"its weights must be model\.safetensors, not '\.\./other\.safetensors'"):
        opened(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"{" + b" " * (5 << 20) + b"}",
        b'{"format": 1, "bundle_version": 1e999}',
        b'{"format": 1, "format": 2}',
        b"9" * 10_000,
        b"\x00" * 100,
        "{}".encode("utf-16"),
    ],
    ids=["lists in lists", "objects in objects", "huge", "infinite", "two formats", "long number", "zeros", "utf-16"],
)
def test_json_made_to_break_a_parser_is_refused(bundle_copy: Path, content: bytes) -> None:
    (bundle_copy / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError):
        opened(bundle_copy)


@pytest.mark.parametrize(
    "how",
    [
        lambda c: c.update(files=None),
        lambda c: c.update(files=[]),
        lambda c: c.update(files={}),
        lambda c: c["files"].update({"model.safetensors": None}),
        lambda c: c["files"]["model.safetensors"].update(bytes=-1),
        lambda c: c["files"]["model.safetensors"].update(bytes=10**30),
        lambda c: c["files"]["model.safetensors"].update(bytes=True),
        lambda c: c["files"]["model.safetensors"].update(sha256=7),
        lambda c: c["input"].update(size=10**9),
        lambda c: c["input"].update(size=True),
        lambda c: c["input"].update(network_size=10**6),
        lambda c: c["input"].update(resize=["crop"]),
        lambda c: c.update(classes=["x"] * 100_000),
        lambda c: c.update(classes=[{"x": 1}]),
        lambda c: c.update(classes=["cat\x1b[2J", *c["classes"][1:]]),
        lambda c: c.update(classes=["\ud800", *c["classes"][1:]]),
        lambda c: c.update(calibration=[]),
        lambda c: c.update(calibration={"views": []}),
        lambda c: c["calibration"].update(score="magic"),
        lambda c: c["calibration"].update(score={}),
        lambda c: c["calibration"]["views"]["six"].update(temperature=0),
        lambda c: c["calibration"]["views"]["six"].update(temperature=float("nan")),
        lambda c: c["calibration"]["views"]["six"].update(temperature="1"),
        lambda c: c["calibration"]["views"]["six"].pop("threshold"),
        lambda c: c["calibration"]["views"]["six"].update(threshold=float("inf")),
        lambda c: c["calibration"]["views"].update({"seven": {}}),
        lambda c: c["model"].update(name="speednet", arguments={"widths": [10**6, 10**6, 10**6]}),
        lambda c: c["model"].update(name="wrn-16-4", arguments={"depth": 6 * 10**9 + 4}),
        lambda c: c["model"].update(name="../../etc/passwd"),
        lambda c: c["model"].update(arguments={"__class__": 1}),
    ],
)
def test_values_that_cannot_be_are_refused(change: Change, how: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(BundleError):
        opened(change(how))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, outermost first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_any_place_is_an_error_of_ours_or_harmless(small_bundle: Path, bundle_copy: Path, data: st.DataObject) -> None:
    content = read_description(small_bundle)
    read_by_a_predictor = {
        key: content[key] for key in ("format", "bundle_version", "model", "classes", "input", "tta", "files", "calibration")
    }
    changed = copy.deepcopy(read_by_a_predictor)
    *way, last = data.draw(st.sampled_from(places(read_by_a_predictor)[1:]))
    target: Any = changed
    for key in way:
        target = target[key]
    target[last] = data.draw(ANY_JSON)
    (bundle_copy / "bundle.json").write_text(json.dumps(changed))
    with contextlib.suppress(CifarlabError):  # any other exception is a fault
        assert opened(bundle_copy).predict([IMAGE]).probabilities.sum() == pytest.approx(1)


# -- hostile weights, whose hash was forged as well -----------------------------------------------------------------


def forge(change: Change, content: bytes) -> Path:
    folder = change(lambda description: None)
    (folder / "model.safetensors").write_bytes(content)
    return change(lambda description: None)


def with_header(header: object, body: bytes = b"\0" * 1_000_000, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


TENSOR = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        with_header({}, length=2**63),
        with_header({}, length=10**9),
        with_header(b"not json"),
        with_header(b"[" * 50_000),
        with_header([1, 2]),
        with_header({"a": {**TENSOR, "data_offsets": [0, 10**12]}}),
        with_header({"a": {**TENSOR, "data_offsets": [16, 0]}}),
        with_header({"a": {**TENSOR, "data_offsets": [-16, 0]}}),
        with_header({"a": {**TENSOR, "shape": [2**62, 4]}}),
        with_header({"a": {**TENSOR, "shape": [-4]}}),
        with_header({"a": {**TENSOR, "dtype": "OBJECT"}}),
        with_header({"a": TENSOR, "b": TENSOR}),
        with_header({"a": TENSOR}),
        with_header({"__metadata__": {"a": 1}}),
        b"\x80\x04\x95pickle",
    ],
    ids=[
        "empty", "short", "header of 8 EiB", "header of 1 GB", "no json", "deep json", "list", "beyond the end", "backwards", "negative",
        "huge shape", "negative shape", "unknown dtype", "overlapping", "other names", "odd metadata", "pickle",
    ],
)  # fmt: skip
def test_a_hostile_header_is_refused(change: Change, content: bytes) -> None:
    with pytest.raises(BundleError, match="cannot be in a file of" if len(content) < 100_000 else "is damaged or of another network"):
        opened(forge(change, content))


def replaced(tensors: dict[str, torch.Tensor], how: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, torch.Tensor]:
    name = max(tensors, key=lambda each: tensors[each].numel())
    return {**tensors, name: how(tensors[name]).contiguous()}


@pytest.mark.parametrize(
    "how",
    [
        lambda value: value[:-1],
        lambda value: value.reshape(-1),
        lambda value: value.to(torch.int8),
        lambda value: value.float().mul(float("nan")),
        lambda value: value.float().fill_(float("inf")),
        lambda value: value.to(torch.complex64),
    ],
    ids=["shape", "flat", "integers", "nan", "infinite", "complex"],
)
def test_weights_of_another_kind_are_refused(change: Change, tmp_path: Path, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
    folder = change(lambda description: None)
    save_file(replaced(load_file(folder / "model.safetensors"), how), tmp_path / "forged")
    with pytest.raises(BundleError, match="is damaged or of another network"):
        opened(forge(change, (tmp_path / "forged").read_bytes()))


def test_a_network_too_large_for_its_file_is_never_built(change: Change) -> None:
    # 14 GB of memory for weights that the file cannot hold.
    with pytest.raises(BundleError, match="cannot be in a file of"):
        opened(change(lambda content: content.update(model={"name": "speednet", "arguments": {"widths": [64, 20_000, 20_000]}})))


def test_weights_that_overflow_are_an_error_and_no_nan(change: Change, tmp_path: Path) -> None:
    folder = change(lambda description: None)
    save_file({name: torch.full_like(value.float(), 3e38) if value.is_floating_point() else value
               for name, value in load_file(folder / "model.safetensors").items()}, tmp_path / "forged")  # fmt: skip
    with pytest.raises(BundleError, match="not finite"):
        opened(forge(change, (tmp_path / "forged").read_bytes())).predict([IMAGE + 200])


# -- what writes a bundle.json --------------------------------------------------------------------------------------


def test_an_update_keeps_what_it_does_not_name(bundle_copy: Path) -> None:
    before = read_description(bundle_copy)
    (bundle_copy / "model.onnx").write_bytes(b"12345")
    update_description(bundle_copy, {"onnx": {"model.onnx": {"opset": 20}}}, files=["model.onnx"])
    after = update_description(bundle_copy, {"onnx": {"model.int8.onnx": {"opset": 21}}})
    assert after == read_description(bundle_copy)
    assert after["onnx"] == {"model.onnx": {"opset": 20}, "model.int8.onnx": {"opset": 21}}
    assert after["files"]["model.onnx"]["bytes"] == 5
    assert read_verified(bundle_copy, after, "model.onnx") == b"12345"
    assert {key: after[key] for key in before if key != "files"} == {key: before[key] for key in before if key != "files"}


def test_an_update_that_could_not_be_read_again_is_not_written(bundle_copy: Path) -> None:
    before = (bundle_copy / "bundle.json").read_bytes()
    with pytest.raises(ValueError, match="unreadable"):
        update_description(bundle_copy, {"tta": "seven"})
    assert (bundle_copy / "bundle.json").read_bytes() == before


def test_a_folder_of_pictures_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"it has no bundle\.json"):
        opened(tmp_path)


# -- what the message names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda content: content.update(weights="model.onnx"),
            r"bundle\.json is damaged: its weights must be model\.safetensors, not 'model\.onnx'",
        ),
        (lambda content: content.pop("weights"), r"its weights must be model\.safetensors, not None"),
        (lambda content: content["input"].update(color="cmyk"), r"bundle\.json is damaged: unknown color 'cmyk'"),
        (lambda content: content.update(classes=["a", "b", *"cdefg", "b", "h", "i"]), "two of its classes have one name: 'b'"),
        (
            lambda content: content.update(classes=content["classes"][:9]),
            r"model\.safetensors is .* size mismatch for .*\[10.*\[9",
        ),
        (
            lambda content: content.update(bundle_version=99),
            r"bundle\.json, .*model\.safetensors, has version 99; .* or export the run again",
        ),
    ],
)
def test_what_does_not_fit_is_named(change: Change, edit: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        opened(change(edit))


@pytest.mark.parametrize("content", [b"", b"\0", b"damaged" * 40_000])
def test_damaged_weights_with_a_fitting_hash_are_named(bundle_copy: Path, change: Change, content: bytes) -> None:
    (bundle_copy / "model.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match=r"damaged or .*model\.safetensors|model\.safetensors is damaged or of another network"):
        opened(change(lambda content: None))


def test_a_folder_in_place_of_the_description_is_told(bundle_copy: Path) -> None:
    (bundle_copy / "bundle.json").unlink()
    (bundle_copy / "bundle.json").mkdir()
    with pytest.raises(BundleError, match=r"bundle\.json is damaged: it is a folder"):
        opened(bundle_copy)
