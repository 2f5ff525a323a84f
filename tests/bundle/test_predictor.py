"""The predictor: what it says of image files equals the evaluation, and what damaged models do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cifarlab
from cifarlab.bundle import Predictor
from cifarlab.data import load_splits
from cifarlab.errors import BundleError, ImageError, UsageError
from cifarlab.metrics import softmax
from cifarlab.runs import Predictions

SETTINGS = {
    "model.name": "lab-base",
    "model.arguments": {},
    "optim.name": "adam",
    "optim.arguments": {},
    "optim.lr": 3e-3,
    "train.duration": "1ep",
    "data.train_size": 200,
    "evaluate.tta": "six",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run with predictions of the test split."""
    trained = cifarlab.train("digits", overrides=SETTINGS, name="tiny", runs=tmp_path_factory.mktemp("runs"), device="cpu", report=False)
    cifarlab.evaluate(trained, split="test", device="cpu", report=False)
    return trained.path


@pytest.fixture(scope="module")
def model(run: Path) -> Predictor:
    return cifarlab.load(run, device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The first images of the test split as PNG files."""
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{index}.png" for index in range(12)]
    for path, image in zip(paths, load_splits("digits").test.images, strict=False):
        Image.fromarray(image).save(path)
    return paths


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "tiny"))


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """`folder` with its bundle.json edited."""
    content = json.loads((folder / "bundle.json").read_text())
    edit(content)
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


# -- what it says ---------------------------------------------------------------------------------------------------


def test_probabilities_of_files_equal_the_evaluation(run: Path, model: Predictor, files: list[Path]) -> None:
    stored = Predictions.load(run / "predictions" / "test.npz")
    predicted = model.predict(files)
    np.testing.assert_allclose(predicted.probabilities, softmax(stored.final_logits[: len(files)]), atol=1e-5)
    assert predicted.labels == [stored.class_names[k] for k in stored.final_logits[: len(files)].argmax(1)]


def test_one_view_equals_the_evaluation_of_one_view(run: Path, model: Predictor, files: list[Path]) -> None:
    stored = Predictions.load(run / "predictions" / "test.npz")
    np.testing.assert_allclose(model.predict(files, tta="none").probabilities, softmax(stored.logits[: len(files)]), atol=1e-5)
    assert np.abs(stored.logits - stored.final_logits).max() > 1e-3  # the two do differ


def test_probabilities_sum_to_one(model: Predictor, files: list[Path]) -> None:
    probabilities = model.predict(files).probabilities
    assert probabilities.shape == (len(files), 10)
    assert probabilities.dtype == np.float64
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_an_answer_does_not_depend_on_the_batch(model: Predictor, files: list[Path], batch_size: int) -> None:
    expected = model.predict(files).probabilities
    np.testing.assert_allclose(model.predict(files, batch_size=batch_size).probabilities, expected, atol=1e-5)


def test_every_kind_of_source_gives_the_same_answer(model: Predictor, files: list[Path]) -> None:
    file = files[0]
    with file.open("rb") as stream, Image.open(file) as image:
        sources = [file, str(file), file.read_bytes(), stream, np.asarray(image)]
        probabilities = model.predict(sources).probabilities  # type: ignore[arg-type]
    np.testing.assert_allclose(probabilities, np.repeat(probabilities[:1], 5, axis=0), atol=1e-6)


def test_no_images_give_no_rows(model: Predictor) -> None:
    labels, probabilities = model.predict([])
    assert labels == []
    assert probabilities.shape == (0, 10)


def test_any_size_is_brought_to_the_networks(model: Predictor) -> None:
    assert model.read(np.zeros((50, 400, 3), dtype=np.uint8)).shape == (32, 32, 3)


@pytest.mark.parametrize("given", ["cat.jpg", Path("cat.jpg"), b"\x89PNG"])
def test_one_image_in_place_of_a_list_is_refused(model: Predictor, given: Any) -> None:
    with pytest.raises(UsageError, match="takes a list of images"):
        model.predict(given)


def test_an_unknown_view_is_refused(model: Predictor, files: list[Path]) -> None:
    with pytest.raises(UsageError, match="unknown views 'sixx'; did you mean 'six'"):
        model.predict(files, tta="sixx")


def test_an_unreadable_image_is_an_error(model: Predictor, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nope\.png: there is no such file"):
        model.predict([tmp_path / "nope.png"])


def test_pillow_images_and_one_array_are_taken(model: Predictor, files: list[Path]) -> None:
    expected = model.predict(files).probabilities
    opened = [Image.open(path) for path in files]
    np.testing.assert_array_equal(model.predict(opened).probabilities, expected)
    np.testing.assert_array_equal(model.predict(np.stack([np.asarray(image) for image in opened])).probabilities, expected)


@pytest.mark.parametrize("one", [Image.new("RGB", (8, 8)), np.zeros((8, 8, 3), dtype=np.uint8)])
def test_one_image_without_a_list_is_refused(model: Predictor, one: Any) -> None:
    with pytest.raises(UsageError, match="takes a list of images"):
        model.predict(one)


def test_a_printed_model_says_what_it_is(model: Predictor, run: Path) -> None:
    assert repr(model) == f"<Predictor: lab-base, 10 classes, {model.size} px, torch on cpu, from {run}>"


def test_what_is_no_path_is_no_model() -> None:
    with pytest.raises(UsageError, match=r"a model is a path or a name, such as .* not NoneType"):
        cifarlab.load(None)  # type: ignore[arg-type]


# -- damaged models -------------------------------------------------------------------------------------------------


def test_a_model_needs_nothing_else_of_its_run(copy: Path, run: Path, files: list[Path]) -> None:
    for path in copy.iterdir():
        if path.is_file() and path.name != "bundle.json":
            path.unlink()
    np.testing.assert_array_equal(
        cifarlab.load(copy, device="cpu").predict(files).probabilities, cifarlab.load(run, device="cpu").predict(files).probabilities
    )


def test_a_folder_that_is_no_model_comes_with_the_nearest(copy: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a trained model: there is no such folder\. Did you mean .*tiny\?"):
        cifarlab.load(copy.parent / "tinny")


def test_a_folder_without_description_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"it has no bundle\.json"):
        cifarlab.load(tmp_path)


def test_a_file_is_no_model(copy: Path) -> None:
    with pytest.raises(UsageError, match="it is a file, not a folder"):
        cifarlab.load(copy / "bundle.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"3", b'{"bundle_version": 1}'])
def test_a_damaged_description_is_refused(copy: Path, content: bytes) -> None:
    (copy / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.json is damaged"):
        cifarlab.load(copy)


@pytest.mark.parametrize("version", [1, 0, None, "2"])
def test_another_version_is_refused(copy: Path, version: object) -> None:
    change(copy, lambda content: content.update(bundle_version=version))
    with pytest.raises(BundleError, match=f"has version {version!r}; this cifarlab reads version 2"):
        cifarlab.load(copy)


@pytest.mark.parametrize("key", ["model", "classes", "input", "tta"])
def test_a_description_without_a_part_is_refused(copy: Path, key: str) -> None:
    change(copy, lambda content: content.pop(key))
    with pytest.raises(BundleError, match="damaged"):
        cifarlab.load(copy)


@pytest.mark.parametrize(
    "part",
    [
        {"model": {"name": "speednt", "arguments": {}}},
        {"model": {"name": "lab-base", "arguments": {"depth": 3}}},
        {"model": []},
        {"model": "lab-base"},
        {"classes": 10},
        {"classes": []},
        {"input": {"size": "32", "mean": [0, 0, 0], "std": [1, 1, 1], "resize": "crop"}},
        {"input": {"size": 2, "mean": [0, 0, 0], "std": [1, 1, 1], "resize": "crop"}},
        {"input": {"size": 32, "mean": "x", "std": [1, 1, 1], "resize": "crop"}},
        {"input": {"size": 32, "mean": [0, 0, 0], "std": [1, 1, 1]}},
        {"input": {"size": 32, "mean": [0, 0, 0], "std": [1, 1, 1], "resize": "stretch"}},
        {"tta": "seven"},
    ],
)
def test_a_description_with_a_wrong_part_is_refused(copy: Path, part: dict[str, Any]) -> None:
    change(copy, lambda content: content.update(part))
    with pytest.raises(BundleError):
        cifarlab.load(copy)


@pytest.mark.parametrize("weights", ["../other/model.safetensors", "/etc/passwd", "weights/../../x", 3, None, ""])
def test_weights_outside_the_folder_are_refused(copy: Path, weights: object) -> None:
    change(copy, lambda content: content.update(weights=weights))
    with pytest.raises(BundleError):
        cifarlab.load(copy)


def test_weights_linked_to_outside_are_refused(copy: Path) -> None:
    file = next((copy / "weights").glob("*.safetensors"))
    outside = copy.parent / "outside.safetensors"
    shutil.move(file, outside)
    file.symlink_to(outside)
    change(copy, lambda content: content.update(weights=f"weights/{file.name}"))
    with pytest.raises(BundleError, match="must be a file inside"):
        cifarlab.load(copy)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:100],
        lambda whole: whole[:-100],
        lambda whole: b"\xff" * 64,
        lambda whole: b"PK\x03\x04" + whole,
    ],
    ids=["empty", "header cut", "end cut", "noise", "zip"],
)
def test_damaged_weights_are_refused(copy: Path, damage: Callable[[bytes], bytes]) -> None:
    for file in (copy / "weights").glob("*.safetensors"):
        file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(BundleError, match="is damaged or of another network"):
        cifarlab.load(copy)


def test_missing_weights_say_what_to_do(copy: Path) -> None:
    shutil.rmtree(copy / "weights")
    with pytest.raises(BundleError, match="does not exist: the training has not come to its end"):
        cifarlab.load(copy)


def test_weights_of_another_network_are_refused(copy: Path) -> None:
    change(copy, lambda content: content.update(model={"name": "speednet", "arguments": {"widths": [8, 8, 8]}}))
    with pytest.raises(BundleError, match="of another network"):
        cifarlab.load(copy)


def test_fewer_classes_than_weights_are_refused(copy: Path) -> None:
    change(copy, lambda content: content.update(classes=["a", "b"]))
    with pytest.raises(BundleError, match="of another network"):
        cifarlab.load(copy)
