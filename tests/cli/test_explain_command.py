"""`cifarlab explain`: the worked example as text and JSON, filters and layers of a run as pictures, mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PUBLISHED = ["    3 0 1 2 7 4", " -5  -4   0   8", "-10  -2   2   3", "  0  -2  -4  -7", " -3  -2  -3 -16"]


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_conv_prints_the_published_matrix_in_80_columns_and_draws(command):
    outcome = command("explain", "conv", "-o", "pictures")
    assert outcome.code == 0
    for line in PUBLISHED:
        assert line in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80
    for words in ("Sobel", "Scharr", "same padding", "stride 2", "6x6x3", "global average", "(6 - 3 + 2*0)/1 + 1 = 4"):
        assert words in outcome.out
    pictures = sorted(Path("pictures").iterdir())
    assert [path.name for path in pictures] == ["filters.png", "padding_and_stride.png", "pooling.png", "volumes.png"]
    assert all(min(size(path)) > 500 for path in pictures)
    assert outcome.err.count("picture: ") == 4


def test_conv_gives_json(command):
    outcome = command("explain", "conv", "--json")
    answer = json.loads(outcome.out)
    assert answer["operation"] == "cross-correlation"
    assert answer["filters"][0]["output"][3] == [-3, -2, -3, -16]
    assert [one["name"] for one in answer["pooling"]][:3] == ["max", "average", "min"]
    assert all(Path(path).exists() for path in answer["pictures"])


def test_filters_of_a_run_go_into_its_figures(command, run):
    outcome = command("explain", "filters", run)
    assert outcome.code == 0, outcome.err
    assert outcome.out.strip() == str(run / "figures" / "filters_conv1.png")
    assert size(run / "figures" / "filters_conv1.png")[0] > 500


def test_filters_as_json(command, run):
    answer = json.loads(command("explain", "filters", run, "--layer", "conv2", "-o", "here", "--json").out)
    assert answer["layer"] == "conv2"
    assert answer["shape"] == [16, 16, 3, 3]
    assert answer["smallest"] < answer["mean"] < answer["largest"]
    assert Path(answer["picture"]).parent == Path("here")


def test_activations_of_image_files(command, run):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size=(40, 50, 3), dtype=np.uint8)).save("one.png")
    outcome = command("explain", "activations", run, "--layer", "conv1", "--images", "one.png", "-o", "out", "--json")
    answer = json.loads(outcome.out)
    assert answer["shape"] == [1, 16, 30, 30]
    assert answer["smallest"] == 0  # after its ReLU, as `models show` lists it
    assert Path("out/activations_conv1.png").exists()


def test_activations_of_the_runs_own_validation_images(command, run):
    answer = json.loads(command("explain", "activations", run, "--layer", "pool1", "--json").out)
    assert answer["shape"][0] == 3
    strips = json.loads(command("explain", "activations", run, "--json").out)
    assert strips["shape"] == [12, 10]
    assert Path(strips["picture"]).exists()


def test_a_layer_without_height_and_width_has_a_picture_of_its_units(command, run):
    answer = json.loads(command("explain", "activations", run, "--layer", "flatten", "--json").out)
    images, units, *place = answer["shape"]
    assert (images, place) == (3, [1, 1])
    assert units > 100
    assert Path(answer["picture"]).stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("activations", "--layer", "conv11"), "did you mean 'conv1'?"),
        (("activations", "--layer", "flattn"), "did you mean 'flatten'?"),
        (("activations", "--images", "one.png"), "name a layer"),
        (("filters", "--layer", "head"), "unknown convolution 'head'"),
    ],
)
def test_mistakes_with_a_run_are_one_message(run, refused, arguments, words):
    first, *rest = arguments
    assert words in refused("explain", first, run, *rest)


def test_every_unreadable_image_is_named(run, refused):
    Path("text.png").write_text("no picture")
    error = refused("explain", "activations", run, "--layer", "conv1", "--images", "text.png", "--images", "gone.png")
    assert "text.png" in error
    assert "gone.png: there is no such file" in error


def test_titles_name_the_layer_first_and_then_the_run(run, command, monkeypatch):
    from cifarlab.figures import activations, filters, style

    made = []

    def heard(title, model, **size):
        made.append(style.heading(title, model, **size))
        return made[-1]

    for module in (activations, filters):
        monkeypatch.setattr(module, "heading", heard)
    for arguments in (("filters",), ("activations", "--layer", "conv1"), ("activations",)):
        assert command("explain", *arguments[:1], run, *arguments[1:]).code == 0
    assert made[0].startswith("Filters of conv1, 3x3 over 3 channels (")
    assert made[1].startswith("Output of conv1 (")
    assert "30x30x16 (" in made[1]
    assert made[2].startswith("Output of the last dense layer, before softmax (tiny")


def test_a_done_run_without_weights_is_not_to_be_resumed(run, command):
    shutil.rmtree(run / "weights")
    for what in ("filters", "activations"):
        outcome = command("explain", what, run)
        assert outcome.code == 1
        assert "its weights file is missing" in outcome.err
        assert "--resume" not in outcome.err


def test_what_is_no_model_is_refused(command, refused):
    Path("empty").mkdir()
    assert "it has no bundle.json" in refused("explain", "filters", "empty")
    assert "there is no such folder" in refused("explain", "activations", "gone")
    Path("file").write_text("")
    assert "-o takes a folder" in refused("explain", "conv", "-o", "file")


def test_a_model_that_is_no_run_needs_images_and_a_place(run, refused):
    shutil.copytree(run, "bundle")
    Path("bundle/status.json").unlink()
    assert "-o DIR" in refused("explain", "filters", "bundle")
    assert "--images" in refused("explain", "activations", "bundle", "--layer", "conv1", "-o", "out")
