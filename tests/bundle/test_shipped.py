"""The model that ships with cifarlab: it loads without network and data, and says what its card says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cifarlab
from cifarlab.augment import VIEWS
from cifarlab.augment.test_time import MOVED
from cifarlab.bundle import manifest, read_description
from cifarlab.bundle.card import model_card
from cifarlab.bundle.hub import verify
from cifarlab.bundle.selective import FIRST, REST, WHOLE
from cifarlab.bundle.shipped import DEFAULT, find_model, is_model, shipped_names
from cifarlab.data import load_splits
from cifarlab.errors import UsageError

EXAMPLES = Path(__file__).parents[2] / "examples"
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def test_the_default_ships() -> None:
    assert DEFAULT in shipped_names()


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_bundle_is_whole_small_and_open_about_itself(name: str) -> None:
    folder = find_model(name)
    description = verify(folder)
    assert sum(recorded["bytes"] for recorded in description["files"].values()) < 8e6
    assert {entry.name for entry in folder.iterdir()} == {"bundle.json", "README.md", *description["files"]}
    assert description["command"].startswith("cifarlab train ")
    assert description["license"] == "apache-2.0"
    assert description["parity"]["max_abs_probability_difference"] < 1e-3
    assert description["calibration"]["split"] == "validation"
    assert (folder / "README.md").read_text(encoding="utf-8") == model_card(description)


def test_the_default_reaches_94_percent_on_the_test_split() -> None:
    description = read_description(find_model(DEFAULT))
    score = description["metrics"]["test"]
    assert score["n"] == 10_000
    assert score["accuracy"]["value"] >= 0.94
    assert description["test_reads"] == 1
    assert tuple(description["classes"]) == CIFAR10


def test_a_folder_of_the_same_name_goes_before(small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model(DEFAULT).is_absolute()
    (tmp_path / DEFAULT).mkdir()
    assert find_model(DEFAULT) == Path(DEFAULT)


def test_what_is_a_model_among_words(small_bundle: Path, small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    models = [DEFAULT, "hf://someone/model", str(small_bundle), str(small_run)]
    assert [is_model(word) for word in (*models, str(tmp_path), str(tmp_path / "photo.png"), "nope", "-", "")] == [True] * 4 + [False] * 5


@pytest.mark.parametrize(("given", "near"), [("cifar10-fats", "cifar10-fast"), ("cifar-10-fast", "cifar10-fast")])
def test_a_mistyped_shipped_name_comes_with_the_right_one(given: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean {near}\\?"):
        cifarlab.load(given)


def test_views_are_those_of_the_augmentation() -> None:
    assert (*VIEWS, "selective") == manifest.VIEWS  # written out there, because the original needs PyTorch
    assert (*list(VIEWS)[1:], MOVED) == (FIRST, WHOLE, REST)


def test_the_examples_get_the_answers_that_their_readme_tells() -> None:
    model = cifarlab.load(DEFAULT, device="cpu")
    files = sorted(EXAMPLES.glob("*.png"))
    predicted = model.predict(files)
    assert predicted.unlike is not None
    found = dict(zip((file.stem for file in files), zip(predicted.labels, predicted.unlike.tolist(), strict=True), strict=True))
    assert found.pop("teapot")[1] is True
    assert len(found) >= 5
    assert found == {name: (name, False) for name in found}


def test_an_answer_loads_nothing_that_it_does_without() -> None:
    # Each of these takes a second or more to load; the answer is to come within three.
    script = "import sys, cifarlab.bundle as b; b.load_predictor('cifar10-fast', device='cpu').predict([]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "torch" in loaded
    assert not loaded & {"torch._dynamo", "scipy", "sklearn", "matplotlib", "onnx", "onnxruntime", "huggingface_hub", "pydantic"}


def test_noise_is_unlike_the_training_data() -> None:
    noise = list(np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8))
    predicted = cifarlab.load(DEFAULT, device="cpu").predict(noise)
    assert predicted.unlike is not None
    assert predicted.unlike.mean() > 0.5


def test_real_images_get_their_labels_and_probabilities_that_mean_something() -> None:
    if not os.environ.get("CIFARLAB_DATA"):
        pytest.skip("CIFARLAB_DATA is not set: no real CIFAR-10 here")
    train = load_splits("cifar10").train  # these were trained on: the test split is not touched here
    predicted = cifarlab.load(DEFAULT, device="cpu").predict(list(train.images[:100]))
    right = np.array(predicted.labels) == np.array(train.class_names)[train.labels[:100]]
    assert right.mean() >= 0.95
    assert predicted.probabilities.max(1).mean() > 0.9  # at temperature 1, after label smoothing, it is about 0.75
    assert predicted.unlike is not None
    assert predicted.unlike.mean() < 0.15
