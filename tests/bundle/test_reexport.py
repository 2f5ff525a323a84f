"""A bundle exported again: its weights unchanged, more formats beside them, compared on images that are what the record says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from untrained_bundles import Change

import cifarlab
from cifarlab.bundle import read_description
from cifarlab.bundle.hub import verify
from cifarlab.bundle.reexport import PICTURES, drawn_images, find_bundle, validation_images
from cifarlab.data import load_splits
from cifarlab.errors import BundleError, DataError, UsageError
from cifarlab.runs import Predictions


def elsewhere(content: dict[str, Any]) -> None:
    """As if the model had been trained on other images of that name."""
    content["dataset"]["checksums"]["validation"] = "0" * 64


def test_onnx_is_added_and_compared_on_the_bundles_own_validation_images(small_bundle: Path, tmp_path: Path) -> None:
    folder = cifarlab.export(small_bundle, tmp_path / "new", to="onnx")
    before, after = read_description(small_bundle), verify(folder)
    parity = after["onnx"]["model.onnx"]["parity"]
    assert (parity["n"], parity["images"], parity["labels_that_differ"]) == (144, "validation", 0)
    assert after["files"].keys() == {"model.safetensors", "model.onnx"}
    assert (folder / "model.safetensors").read_bytes() == (small_bundle / "model.safetensors").read_bytes()
    same = ("calibration", "metrics", "classes", "recipe", "license", "parity", "precision", "tta", "test_reads")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert after["name"] == "new"
    assert "`model.onnx`: opset" in (folder / "README.md").read_text()


def test_the_validation_images_are_those_of_the_run(small_run: Path, small_bundle: Path) -> None:
    stored = Predictions.load(small_run / "predictions" / "validation.npz")
    found = validation_images(read_description(small_bundle))
    np.testing.assert_array_equal(found.sample_ids, stored.sample_ids)
    np.testing.assert_array_equal(found.labels, stored.labels)
    test = validation_images(read_description(small_bundle), split="test")
    np.testing.assert_array_equal(test.images, load_splits("digits").test.images)


def test_without_its_data_it_is_compared_on_drawn_pictures_and_says_so(change: Change, tmp_path: Path) -> None:
    notes: list[str] = []
    folder = cifarlab.export(change(elsewhere), tmp_path / "new", to="onnx", note=notes.append)
    parity = read_description(folder)["onnx"]["model.onnx"]["parity"]
    assert (parity["n"], parity["images"]) == (PICTURES, "drawn and noise")
    assert "their checksum differs" in notes[0]
    assert notes[1:] == [
        "writing the model as ONNX and comparing it with PyTorch: this takes a minute or two",
        f"comparing ONNX Runtime with PyTorch on {PICTURES} images",
    ]
    assert f"against PyTorch on {PICTURES} drawn and noise images" in (folder / "README.md").read_text()


def test_int8_needs_the_validation_images(change: Change, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"int8 takes ranges and accuracy from the validation images .* --data-dir or CIFARLAB_DATA"):
        cifarlab.export(change(elsewhere), tmp_path / "new", to="int8")
    assert not (tmp_path / "new").exists()


def test_data_that_is_named_and_not_there_is_an_error(change: Change, tmp_path: Path) -> None:
    folder = change(lambda content: content["recipe"]["data"].update(name="cifar10"))
    with pytest.raises(DataError, match="holds no CIFAR-10"):
        cifarlab.export(folder, tmp_path / "new", to="onnx", data_dir=tmp_path)


def test_a_damaged_bundle_is_not_copied(bundle_copy: Path, tmp_path: Path) -> None:
    content = bytearray((bundle_copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (bundle_copy / "model.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match="its SHA-256 begins with"):
        cifarlab.export(bundle_copy, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_halved_weights_cannot_be_made_whole(small_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds its weights in half precision already"):
        cifarlab.export(small_bundle, tmp_path / "new", half=False)


def test_it_can_take_its_own_place(bundle_copy: Path) -> None:
    with pytest.raises(UsageError, match="is not empty"):
        cifarlab.export(bundle_copy, bundle_copy)
    before = (bundle_copy / "model.safetensors").read_bytes()
    cifarlab.export(bundle_copy, bundle_copy, force=True, license="mit")
    assert json.loads((bundle_copy / "bundle.json").read_text())["license"] == "mit"
    assert (bundle_copy / "model.safetensors").read_bytes() == before


def test_what_is_a_bundle(small_bundle: Path, small_run: Path, tmp_path: Path) -> None:
    assert find_bundle(small_bundle) == small_bundle
    assert find_bundle("cifar10-fast") is not None
    assert [find_bundle(each) for each in (small_run, tmp_path, "nope")] == [None] * 3


def test_drawn_images_are_the_same_every_time_and_differ_from_each_other() -> None:
    first, again = (drawn_images(24, classes=["a", "b"]) for _ in range(2))
    np.testing.assert_array_equal(first.images, again.images)
    assert first.images.shape == (PICTURES, 24, 24, 3)
    assert len({image.tobytes() for image in first.images}) == PICTURES


@pytest.mark.parametrize(
    "odd", [{"dataset": None}, {"dataset": [1]}, {"dataset": {"a": 1}}, {"metrics": [1]}, {"metrics": {"test": {}}}, {"recipe": 7}]
)
def test_records_that_are_missing_or_odd_are_told(change: Change, tmp_path: Path, odd: dict[str, Any]) -> None:
    """What was recorded beside the model is not looked at when it is loaded, and a bundle comes from anywhere."""
    folder = change(lambda content: content.update(odd))
    with pytest.raises(BundleError, match=r"bundle\.json is damaged or incomplete"):
        cifarlab.export(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()
