"""The ONNX file answers as PyTorch does, to a program that knows nothing of this project."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from untrained_bundles import CLASSES, SPEEDNET, TEMPERATURES, pictures, vary, write_untrained

import cifarlab
from cifarlab.bundle import onnx_export, read_description, update_description
from cifarlab.bundle.onnx_engine import OnnxEngine
from cifarlab.bundle.onnx_export import export_graph, write_onnx
from cifarlab.data.preprocess import Preprocess
from cifarlab.errors import BundleError, MissingDependencyError, UsageError
from cifarlab.models import create_model, model_names

PREPROCESS = Preprocess(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))

# One of each kind of part: whitening and global max pool; groups and LRN; channel-wise groups; sparse tables; concatenation; adaptive and
# strided pools; residual sums; Keras-like ones. The others are made of the same parts.
TRIED = ("speednet", "alexnet", "lenet5", "squeezenet", "resnet20", "lab-final")
EVERY = "CIFARLAB_EVERY_NETWORK"


def foreign(file: Path | bytes, values: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """All outputs of an ONNX file, by ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: values}), strict=True))


# -- the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_another_program_gets_the_probabilities_of_pytorch(onnx_bundle: Path, batch: int) -> None:
    images = pictures(batch, seed=5)
    expected = cifarlab.load(onnx_bundle, device="cpu").predict_arrays(list(images)).probabilities
    outputs = foreign(onnx_bundle / "model.onnx", images)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    assert np.ptp(expected[:, 0]) > 1e-3 or batch == 1  # the pictures do differ
    scaled = np.exp(outputs["logits"].astype(np.float64) / TEMPERATURES["six"])
    np.testing.assert_allclose(scaled / scaled.sum(1, keepdims=True), expected, atol=1e-5)


def test_the_file_says_what_goes_in_and_what_comes_out(onnx_bundle: Path) -> None:
    session = onnxruntime.InferenceSession(onnx_bundle / "model.onnx", providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 32, 32, 3])
    found = [(each.name, each.type, each.shape[-1]) for each in session.get_outputs()]
    assert found == [("probabilities", "tensor(float)", 3), ("logits", "tensor(float)", 3)]
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["classes"]) == CLASSES
    assert (notes["views"], float(notes["temperature"])) == ("six", TEMPERATURES["six"])


def test_it_is_one_file_of_standard_operators_that_holds_the_network_once(onnx_bundle: Path) -> None:
    model = onnx.load(onnx_bundle / "model.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [each.domain for each in model.opset_import] == [""]
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 7  # six views, and speednet has seven convolutions


def test_it_tells_nothing_of_the_machine_that_wrote_it(onnx_bundle: Path) -> None:
    for name in ("model.onnx", "model.int8.onnx"):
        content = (onnx_bundle / name).read_bytes()
        for trace in (b".py", b"site-packages", str(Path.home()).encode() + b"/", b"torch.onnx"):
            assert trace not in content


def test_the_record_tells_input_output_and_parity(onnx_bundle: Path) -> None:
    record = read_description(onnx_bundle)["onnx"]["model.onnx"]
    assert record["input"] == {"name": "images", "dtype": "uint8", "shape": ["batch", 32, 32, 3]}
    assert (record["output"], record["preprocessing"], record["views"]) == ("probabilities", True, "six")
    assert record["opset"] == onnx.load(onnx_bundle / "model.onnx").opset_import[0].version
    parity = record["parity"]
    assert (parity["n"], parity["images"], parity["views"], parity["labels_that_differ"]) == (
        16,
        "validation",
        ["six", "flip", "none", "moved"],
        0,
    )
    model = cifarlab.load(onnx_bundle, device="cpu")
    found = foreign(onnx_bundle / "model.onnx", pictures(16))["probabilities"]
    largest = np.abs(found - model.predict_arrays(list(pictures(16))).probabilities).max()
    assert largest <= parity["max_abs_probability_difference"] + 1e-6 <= 1e-4


def test_a_difference_beyond_the_tolerance_is_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_untrained(tmp_path / "b", model={"name": "lab-base", "arguments": {}}, views="none")
    before = (folder / "bundle.json").read_bytes()

    class Bent(OnnxEngine):
        def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return super().probabilities(images) + np.float32(2e-4)

    monkeypatch.setattr(onnx_export, "OnnxEngine", Bent)
    with pytest.raises(BundleError, match=r"differ from PyTorch's by 0\.0002"):
        write_onnx(folder, images=pictures(4))
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "model.safetensors"]
    assert (folder / "bundle.json").read_bytes() == before


def test_without_images_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs images to compare"):
        write_onnx(write_untrained(tmp_path / "b"), images=pictures(0))


def test_values_that_overflow_are_refused_and_no_parity(tmp_path: Path) -> None:
    folder = write_untrained(tmp_path / "b", model={"name": "lab-base", "arguments": {}}, views="none")
    huge = {name: torch.full_like(value, 1e30) for name, value in load_file(folder / "model.safetensors").items()}
    save_file(huge, folder / "model.safetensors")
    update_description(folder, {}, files=["model.safetensors"])
    with pytest.raises(BundleError, match="values that are not finite"):
        write_onnx(folder, images=pictures(4))
    assert not (folder / "model.onnx").exists()


# -- kinds of preprocessing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("views", "changes"),
    [
        ("flip", {"center_crop": 29, "color": "gray", "network_size": 20}),  # smaller: with antialiasing
        ("six", {"center_crop": 24, "network_size": 36}),
    ],
)
def test_crop_grayscale_and_resizing_are_in_the_file(tmp_path: Path, views: str, changes: dict[str, Any]) -> None:
    folder = write_untrained(tmp_path / "b", views=views, **changes)
    write_onnx(folder, images=pictures(4))
    images = pictures(5, seed=7)
    expected = cifarlab.load(folder, device="cpu").predict_arrays(list(images)).probabilities
    np.testing.assert_allclose(foreign(folder / "model.onnx", images)["probabilities"], expected, atol=1e-4)


def test_without_preprocessing_the_networks_own_input_goes_in(tmp_path: Path) -> None:
    folder = write_untrained(tmp_path / "b", views="flip", center_crop=28)
    record = write_onnx(folder, images=pictures(4), preprocessing=False)
    assert record["input"] == {"name": "pixels", "dtype": "float32", "shape": ["batch", 3, 28, 28]}
    assert record["preprocessing"] is False
    images = pictures(5, seed=7)
    expected = cifarlab.load(folder, device="cpu").predict_arrays(list(images)).probabilities
    prepared = (images[:, 2:30, 2:30].astype(np.float32) / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.3]  # [N, 28, 28, 3]
    values = prepared.transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(foreign(folder / "model.onnx", values)["probabilities"], expected, atol=1e-4)
    np.testing.assert_allclose(cifarlab.load(folder, engine="onnx").predict_arrays(list(images)).probabilities, expected, atol=1e-4)


# -- networks -------------------------------------------------------------------------------------------------------


def _named(name: str) -> Any:
    spared = name not in TRIED and EVERY not in os.environ
    return pytest.param(name, marks=pytest.mark.skipif(spared, reason=f"made of parts that others have; tried where {EVERY} is set"))


@pytest.mark.parametrize("name", [_named(name) for name in model_names()])
def test_every_network_can_be_exported_and_agrees(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=3, arguments=SPEEDNET["arguments"] if name == "speednet" else None).eval()
    vary(network)
    images = pictures(3, seed=2)
    model = export_graph(network, PREPROCESS, size=32)
    with torch.no_grad():
        expected = network(PREPROCESS(torch.from_numpy(images))).numpy()
    engine = OnnxEngine(model.SerializeToString(), {"classes": CLASSES, "input": {"size": 32}})
    found = engine.logits(images, views="none")
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_what_is_tried_is_registered() -> None:
    assert set(TRIED) <= set(model_names())


def test_exporting_changes_nothing_about_the_network() -> None:
    network = create_model("lab-base").to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    before = copy.deepcopy(network.state_dict())
    export_graph(network, PREPROCESS, size=32)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert next(network.parameters()).is_contiguous(memory_format=torch.channels_last)


def test_exporting_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    export_graph(create_model("lab-base").eval(), PREPROCESS, size=32)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


class Undecided(nn.Module):
    """What it does depends on the values of the images: no graph can hold it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


def test_a_network_that_cannot_be_exported_is_an_error_of_one_line() -> None:
    with pytest.raises(BundleError, match=r"^PyTorch [\w.+]+ cannot export this network to ONNX: [^\n\x1b]*data-dependent[^\n\x1b]*$"):
        export_graph(Undecided(), PREPROCESS, size=32)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_comes_with_its_install_line(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    for module in ("cifarlab.bundle.onnx_engine", "cifarlab.bundle.onnx_export"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(MissingDependencyError, match=rf"needs the package '{missing}'.*pip install 'cifarlab\[onnx\]'"):
        export_graph(create_model("lab-base"), PREPROCESS, size=32)
