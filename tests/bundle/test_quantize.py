"""Int8: the middle of the network in whole numbers, the same answers almost always, and the record of what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from untrained_bundles import pictures, write_untrained

import cifarlab
from cifarlab.bundle import read_description, update_description
from cifarlab.bundle.calibration import fit_temperature, unlikeness
from cifarlab.bundle.card import model_card
from cifarlab.bundle.manifest import int8_warning
from cifarlab.bundle.onnx_engine import read_graph
from cifarlab.bundle.quantize import kept_in_float, write_int8
from cifarlab.errors import UsageError
from cifarlab.metrics import expected_calibration_error

INT8 = "model.int8.onnx"


def test_layers_between_the_first_and_the_last_are_stored_in_eight_bits(onnx_bundle: Path) -> None:
    model = onnx.load(onnx_bundle / INT8)
    given = {output: node for node in model.graph.node for output in node.output}
    kinds = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            source = given.get(node.input[1])
            kinds.append((node.op_type, source is not None and source.op_type == "DequantizeLinear"))
    assert kinds == [("Conv", False), *[("Conv", True)] * 6, ("Gemm", False)]
    kernels = [each for each in model.graph.initializer if each.data_type == TensorProto.INT8 and len(each.dims) == 4]
    assert len(kernels) == 6
    largest = max(int(np.abs(onnx.numpy_helper.to_array(each).astype(int)).max()) for each in kernels)
    assert 60 <= largest <= 64  # 7 bits: sums of two products stay within 16 bits


def test_every_output_channel_has_a_scale_of_its_own(onnx_bundle: Path) -> None:
    model = onnx.load(onnx_bundle / INT8)
    scales = {each.name: each.dims for each in model.graph.initializer}
    kernels = {each.name for each in model.graph.initializer if each.data_type == TensorProto.INT8 and len(each.dims) == 4}
    found = [list(scales[node.input[1]]) for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in kernels]
    assert found == [[8]] * 6


def test_input_output_and_notes_are_those_of_the_float_file(onnx_bundle: Path) -> None:
    described = []
    for name in ("model.onnx", INT8):
        session = onnxruntime.InferenceSession(onnx_bundle / name, providers=["CPUExecutionProvider"])
        values = [*session.get_inputs(), *session.get_outputs()]
        described.append(([(each.name, each.type, each.shape[1:]) for each in values], session.get_modelmeta().custom_metadata_map))
    assert described[0] == described[1]


@pytest.mark.parametrize("views", ["none", "six"])
def test_probabilities_are_near_those_of_the_float_file(onnx_bundle: Path, views: str) -> None:
    images = list(pictures(20, seed=9))
    float32, int8 = (cifarlab.load(onnx_bundle, engine=engine).predict_arrays(images, tta=views) for engine in ("onnx", "onnx-int8"))
    difference = np.abs(float32.probabilities - int8.probabilities)
    assert 0 < difference.max() < 0.1
    assert difference.max() < 0.3 * np.ptp(float32.probabilities, axis=0).max()  # far less than images differ


def test_the_record_tells_accuracy_before_and_after(onnx_bundle: Path) -> None:
    record = read_description(onnx_bundle)["onnx"][INT8]
    assert record["calibration"] == {"n": 16, "images": "validation", "method": "min-max"}
    labels = np.arange(30) % 3
    for when, engine in (("before", "onnx"), ("after", "onnx-int8")):
        model = cifarlab.load(onnx_bundle, engine=engine)
        answers = model.engine.logits(pictures(30), views="six").argmax(1)
        assert record["accuracy"][when] == (answers == labels).mean()
    accuracy = record["accuracy"]
    assert accuracy["n"] == 30
    assert accuracy["won"] - accuracy["lost"] == round(30 * (accuracy["after"] - accuracy["before"]))
    models = [cifarlab.load(onnx_bundle, engine=engine) for engine in ("onnx", "onnx-int8")]
    found = [[model.predict_arrays(list(pictures(30)), tta=views).probabilities for views in ("six", "flip", "none")] for model in models]
    assert record["difference"]["n"] == 30
    assert record["difference"]["max_abs_probability_difference"] == pytest.approx(np.abs(np.subtract(*found)).max(), abs=1e-5)


def test_it_needs_the_float_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no model\.onnx, which --engine onnx needs"):
        write_int8(write_untrained(tmp_path / "b"), calibration=pictures(2), images=pictures(2), labels=np.zeros(2, dtype=np.int64))


@pytest.mark.parametrize("part", ["calibration", "images"])
def test_it_needs_images(onnx_copy: Path, part: str) -> None:
    given = {"calibration": pictures(2), "images": pictures(2), part: pictures(0)}
    with pytest.raises(UsageError, match="needs images to take ranges from"):
        write_int8(onnx_copy, labels=np.zeros(len(given["images"]), dtype=np.int64), **given)


def test_the_first_and_last_layers_of_every_branch_stay_in_float() -> None:
    def conv(name: str, source: str) -> onnx.NodeProto:
        return helper.make_node("Conv", [source, "w"], [name], name=name, kernel_shape=[1, 1])

    nodes = [
        conv("left1", "x"),
        conv("right1", "x"),
        helper.make_node("Relu", ["left1"], ["relu"], name="relu"),
        conv("left2", "relu"),
        conv("left3", "left2"),
        helper.make_node("Add", ["left3", "right1"], ["sum"], name="sum"),
        conv("out", "sum"),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])
    weight = onnx.numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w")
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 2, 4, 4])
    model = helper.make_model(helper.make_graph(nodes, "g", [value], [out], [weight]), opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    assert kept_in_float(read_graph(model.SerializeToString())) == ["left1", "out", "right1"]


def test_the_record_and_the_card_tell_how_far_int8_lies_from_float32(onnx_bundle: Path, small_bundle: Path) -> None:
    description = read_description(onnx_bundle)
    record = description["onnx"][INT8]
    labels = np.arange(30) % 3
    before, after = (cifarlab.load(onnx_bundle, engine=each).predict_arrays(list(pictures(30))) for each in ("onnx", "onnx-int8"))
    same = sum([one == other for one, other in zip(before.labels, after.labels, strict=True)])
    assert record["agreement"]["labels_equal"] == same
    largest = np.abs(before.probabilities - after.probabilities).max()
    assert record["agreement"]["max_abs_probability_difference"] == pytest.approx(largest, abs=1e-6)
    errors = record["calibration_error"]
    assert errors["before"] == pytest.approx(expected_calibration_error(before.probabilities, labels), abs=1e-6)
    assert errors["after"] == pytest.approx(expected_calibration_error(after.probabilities, labels), abs=1e-6)
    card = model_card({**read_description(small_bundle), "onnx": description["onnx"]})
    assert f"the same label as `model.onnx` for {100 * same / 30:.2f} %" in card
    assert f"largest difference of a probability {largest:.2g}, calibration error {errors['before']:.4f} before" in card


def test_without_calibration_no_calibration_error_is_told(onnx_copy: Path) -> None:
    update_description(onnx_copy, {"calibration": None})
    record = write_int8(onnx_copy, calibration=pictures(4), images=pictures(6), labels=np.arange(6) % 3)
    assert record["calibration_error"] is None
    assert record["agreement"]["n"] == 6


@pytest.mark.parametrize(("lost", "won", "warned"), [(3, 0, False), (9, 6, False), (4, 0, True), (12, 5, True), (0, 9, False)])
def test_more_than_three_tenths_of_a_point_lost_is_warned_of(lost: int, won: int, warned: bool) -> None:
    right = {"n": 1000, "images": "validation", "before": 0.95, "after": 0.95 - (lost - won) / 1000, "lost": lost, "won": won}
    told = int8_warning({"onnx": {INT8: {"accuracy": right}}})
    assert (told is not None) == warned
    assert told is None or f"int8 loses {(lost - won) / 10:.2f} points of accuracy on 1000 validation images" in told


def test_without_int8_nothing_is_warned_of(small_bundle: Path) -> None:
    assert int8_warning(read_description(small_bundle)) is None


def test_the_record_tells_what_would_be_fitted_to_int8_itself(onnx_bundle: Path) -> None:
    own = read_description(onnx_bundle)["onnx"][INT8]["own"]
    logits = cifarlab.load(onnx_bundle, engine="onnx-int8").engine.logits(pictures(30), views="six")
    assert own["temperature"] == pytest.approx(fit_temperature(logits, np.arange(30) % 3), rel=1e-4)
    assert own["flagged"] == (unlikeness("energy", logits) > 0).sum()
