"""`--engine onnx`: it answers as PyTorch does, and takes no file that is damaged or reaches beyond itself."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from untrained_bundles import pictures, write_untrained

import cifarlab
from cifarlab.bundle import update_description
from cifarlab.bundle.manifest import ONNX
from cifarlab.bundle.onnx_engine import COUNTS, OnnxEngine, read_graph
from cifarlab.errors import BundleError, MissingDependencyError, UsageError

Change = Callable[[onnx.ModelProto], object]


def forge(folder: Path, content: bytes) -> Path:
    """`folder` with another model.onnx and its right hash: whoever forges the one forges the other."""
    (folder / ONNX).write_bytes(content)
    update_description(folder, {}, files=[ONNX])
    return folder


def changed(folder: Path, change: Change) -> Path:
    model = onnx.load(folder / ONNX)
    change(model)
    return forge(folder, model.SerializeToString())


# -- what it says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("views", ["none", "flip", "six"])
def test_it_gives_pytorchs_probabilities_for_every_view_in_the_file(onnx_bundle: Path, views: str) -> None:
    images = list(pictures(7, seed=3))
    torch_model = cifarlab.load(onnx_bundle, device="cpu")
    expected = torch_model.predict_arrays(images, tta=views)
    found = cifarlab.load(onnx_bundle, engine="onnx").predict_arrays(images, tta=views)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    assert found.labels == expected.labels
    others = [torch_model.predict_arrays(images, tta=other).probabilities for other in COUNTS if other != views]
    assert min(np.abs(other - expected.probabilities).max() for other in others) > 1e-3  # the views do differ


def test_views_that_the_file_does_not_hold_are_refused(onnx_bundle: Path) -> None:
    model = onnx.load(onnx_bundle / ONNX)
    next(note for note in model.metadata_props if note.key == "views").value = "flip"
    engine = OnnxEngine(model.SerializeToString(), cifarlab.load(onnx_bundle, device="cpu").description)
    assert engine.views == ("flip", "none")
    with pytest.raises(UsageError, match=r"holds flip and none as views, not 'six'\. Use --engine torch"):
        engine.logits(pictures(1), views="six")


@pytest.mark.parametrize("engine", ["onnx", "onnx-int8"])
def test_no_images_give_no_rows(onnx_bundle: Path, engine: str) -> None:
    model = cifarlab.load(onnx_bundle, engine=engine)
    for views in COUNTS:
        assert model.engine.logits(pictures(0), views=views).shape == (0, 3)
    assert model.predict([]).probabilities.shape == (0, 3)


def test_an_answer_does_not_depend_on_the_batch_and_is_the_same_again(onnx_bundle: Path) -> None:
    engine = OnnxEngine.open("onnx", onnx_bundle, cifarlab.load(onnx_bundle, device="cpu").description)
    images = pictures(9, seed=4)
    whole = engine.logits(images, views="six")
    np.testing.assert_array_equal(engine.logits(images, views="six"), whole)
    np.testing.assert_allclose(np.concatenate([engine.logits(images[i : i + 1], views="six") for i in range(9)]), whole, atol=1e-4)


def test_several_threads_may_ask_at_once(onnx_bundle: Path) -> None:
    engine = cifarlab.load(onnx_bundle, engine="onnx").engine
    images = pictures(6, seed=4)
    expected = {views: engine.logits(images, views=views) for views in COUNTS}
    wrong: list[str] = []

    def ask(views: str) -> None:
        for _ in range(5):
            if not np.array_equal(engine.logits(images, views=views), expected[views]):
                wrong.append(views)

    threads = [threading.Thread(target=ask, args=(views,)) for views in COUNTS for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_sharing_a_batch_out_changes_no_answer(onnx_bundle: Path, count: int) -> None:
    plain, shared = (cifarlab.load(onnx_bundle, engine="onnx").engine for _ in range(2))
    assert isinstance(shared, OnnxEngine)
    shared.threads = 2
    shared.split_over(2)
    first = set(shared._sessions)  # made when the engine was opened, with this machine's number of threads
    for views in ("none", "six", "moved"):
        found = shared.logits(pictures(count), views=views)
        np.testing.assert_allclose(found, plain.logits(pictures(count), views=views), atol=1e-5)
    assert {threads for _, _, threads in set(shared._sessions) - first} == ({1} if count > 1 else {2})


def test_it_uses_the_threads_that_pytorch_would(onnx_bundle: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        engine = cifarlab.load(onnx_bundle, engine="onnx").engine
    finally:
        torch.set_num_threads(before)
    assert isinstance(engine, OnnxEngine)
    assert engine.threads == 3
    (session,) = engine._sessions.values()
    assert session.get_session_options().intra_op_num_threads == 3


# -- what cannot be opened ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "option"), [("onnx", "--to onnx"), ("onnx-int8", "--to int8")])
def test_a_bundle_without_the_file_says_how_to_write_it(tmp_path: Path, engine: str, option: str) -> None:
    with pytest.raises(
        UsageError, match=rf"has no model\.\S*onnx, which --engine {engine} needs.*cifarlab export .*b -o my-model {option}\nthen give"
    ):
        cifarlab.load(write_untrained(tmp_path / "b"), engine=engine)


def test_a_run_directory_says_the_same(small_run: Path) -> None:
    with pytest.raises(UsageError, match=r"has no model\.onnx, which --engine onnx needs"):
        cifarlab.load(small_run, engine="onnx")


def test_another_device_than_the_cpu_is_refused(onnx_bundle: Path) -> None:
    with pytest.raises(UsageError, match="--engine onnx computes on the CPU, not on 'cuda'"):
        cifarlab.load(onnx_bundle, engine="onnx", device="cuda")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_comes_with_its_install_line(onnx_bundle: Path, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifarlab.bundle.onnx_engine.find_spec", lambda name: None if name == missing else object())
    with pytest.raises(MissingDependencyError, match=rf"--engine onnx needs the package '{missing}'.*pip install 'cifarlab\[onnx\]'"):
        cifarlab.load(onnx_bundle, engine="onnx")


def test_a_file_of_another_hash_is_refused(onnx_copy: Path) -> None:
    content = bytearray((onnx_copy / ONNX).read_bytes())
    content[len(content) // 2] ^= 1
    (onnx_copy / ONNX).write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx is damaged: its SHA-256"):
        cifarlab.load(onnx_copy, engine="onnx")


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:100],
        lambda whole: whole[:-1000],
        lambda whole: b"\xff" * 64,
        lambda whole: b"PK\x03\x04" + whole,
        lambda whole: b"\x08\x0a",  # a model without a graph
    ],
    ids=["empty", "beginning", "end cut", "noise", "zip", "no graph"],
)
def test_damaged_bytes_are_refused(onnx_copy: Path, damage: Callable[[bytes], bytes]) -> None:
    forge(onnx_copy, damage((onnx_copy / ONNX).read_bytes()))
    with pytest.raises(BundleError, match=r"model\.onnx is refused: the ONNX model is damaged or not of this project"):
        cifarlab.load(onnx_copy, engine="onnx")


# -- files that are well formed and hostile -------------------------------------------------------------------------


def outside(location: str) -> Change:
    """The first weight in another file."""

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


def constant_outside(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=tensor))


def custom_operator(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="evil.example", version=1)
    model.graph.node.append(helper.make_node("Run", ["logits"], ["x"], domain="evil.example"))


def contributed_operator(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)
    model.graph.node.append(helper.make_node("Gelu", ["logits"], ["x"], domain="com.microsoft"))


def function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Relu", ["a"], ["b"])
    model.functions.append(helper.make_function("f", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 20)]))


def endless_loop(model: onnx.ModelProto) -> None:
    inside = [helper.make_node("Identity", ["going"], ["on"])]
    values = [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("going", TensorProto.BOOL, [])]
    body = helper.make_graph(inside, "body", values, [helper.make_tensor_value_info("on", TensorProto.BOOL, [])])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
    model.graph.node.append(helper.make_node("Loop", ["", "true"], [], body=body))


def bomb(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "many"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["many"], ["huge"]))


def cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]


def short_weight(model: onnx.ModelProto) -> None:
    max(model.graph.initializer, key=lambda each: len(each.raw_data)).raw_data = b"\0" * 8


def long_weight(model: onnx.ModelProto) -> None:
    tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    tensor.dims[:] = [1 << 40, 1 << 20]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (outside("/etc/passwd"), "lies in another file"),
        (outside("*/_ORT_MEM_ADDR_/*"), "lies in another file"),
        (constant_outside, "lies in another file"),
        (custom_operator, "'Run' is of the domain 'evil.example'; only standard"),
        (contributed_operator, "'Gelu' is of the domain 'com.microsoft'"),
        (function, "it holds functions"),
        (endless_loop, "'Loop' has a branch, loop"),
        (bomb, "'huge' would have"),
        (cycle, "damaged"),
        (short_weight, "damaged"),
        (long_weight, "damaged"),
        (lambda model: model.graph.ClearField("node"), "it holds no network"),
        (lambda model: model.ClearField("opset_import"), "damaged"),
        (lambda model: model.metadata_props[0].ClearField("value"), "unknown views"),
        (lambda model: model.ClearField("metadata_props"), "unknown views"),
        (lambda model: model.graph.input.add(name="more"), "damaged"),
        (lambda model: model.graph.output.pop(0), "it has no output probabilities"),
        (lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 64), "damaged"),
        (lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", TensorProto.FLOAT), "damaged"),
    ],
)
def test_a_hostile_file_is_refused(onnx_copy: Path, change: Change, reason: str) -> None:
    changed(onnx_copy, change)
    with pytest.raises(BundleError, match=r"model\.onnx is refused: the ONNX model is damaged or not of this project: ") as caught:
        cifarlab.load(onnx_copy, engine="onnx")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unchanged_file_is_taken(onnx_copy: Path) -> None:
    changed(onnx_copy, lambda model: None)
    assert len(cifarlab.load(onnx_copy, engine="onnx").predict_arrays(list(pictures(2))).labels) == 2


def test_a_file_for_other_classes_is_refused(onnx_copy: Path) -> None:
    update_description(onnx_copy, {"classes": ["a", "b", "c", "d"]})
    with pytest.raises(BundleError, match=r"gives 3 classes and the bundle has 4"):
        cifarlab.load(onnx_copy, engine="onnx")


def test_a_file_for_other_images_is_refused(onnx_copy: Path) -> None:
    update_description(onnx_copy, {"input": {"size": 48}})
    with pytest.raises(BundleError, match=r"input images has not the type and shape of this bundle's images \(48 px\)"):
        cifarlab.load(onnx_copy, engine="onnx")


def test_weights_that_are_not_finite_are_told(onnx_copy: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == "network.head.weight")
        tensor.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(tensor), np.nan), tensor.name))

    changed(onnx_copy, spoil)
    with pytest.raises(BundleError, match="values that are not finite"):
        cifarlab.load(onnx_copy, engine="onnx").predict_arrays(list(pictures(1)))


def test_views_moved_elsewhere_are_told_and_the_files_own_still_work(onnx_copy: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.input[:] = ["moved" if name == "views" else name for name in node.input]
            node.output[:] = ["moved" if name == "views" else name for name in node.output]

    changed(onnx_copy, rename)
    model = cifarlab.load(onnx_copy, engine="onnx")
    assert len(model.predict_arrays(list(pictures(2))).labels) == 2
    with pytest.raises(BundleError, match="its views are not where this project puts them"):
        model.predict_arrays(list(pictures(2)), tta="none")


def test_a_file_that_says_it_is_larger_than_onnx_allows_is_not_read(onnx_copy: Path) -> None:
    description = cifarlab.load(onnx_copy, device="cpu").description
    description["files"][ONNX]["bytes"] = 1 << 31
    with pytest.raises(BundleError, match="an ONNX file has at most 2147483647 bytes"):
        OnnxEngine.open("onnx", onnx_copy, description)


def test_reading_opens_no_other_file(onnx_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # onnx.load with a path would follow external data; bytes have no folder to follow it from.
    monkeypatch.setattr(onnx, "load", lambda *args, **options: pytest.fail("onnx.load was called"))
    assert read_graph((onnx_copy / ONNX).read_bytes()).graph.node


def test_it_does_not_load_pytorch(onnx_bundle: Path) -> None:
    # Which takes longer to load than a picture takes to be predicted.
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from cifarlab.bundle import load_predictor\n"
        "model = load_predictor(Path(sys.argv[1]), engine='onnx')\n"
        "model.predict_arrays([np.zeros((32, 32, 3), dtype=np.uint8)])\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(onnx_bundle)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
