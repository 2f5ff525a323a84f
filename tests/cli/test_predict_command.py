"""`cifarlab predict`: files, folders, lists; what cannot be read is told and stops nothing."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_run import Command

from cifarlab.metrics import softmax
from cifarlab.runs import Predictions


@pytest.fixture
def images(run: Path) -> list[Path]:
    """Three images in a folder, one of them below, and one that is none."""
    generator = np.random.default_rng(0)
    paths = [Path("in/a.png"), Path("in/b b.jpg"), Path("in/sub/ü.bmp")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    return paths


def test_json_holds_labels_with_probabilities(command: Command, run: Path, images: list[Path]) -> None:
    outcome = command("predict", run, *images, "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    shown = json.loads(outcome.out)
    assert shown["model"] == "runs/tiny"
    assert shown["views"] == "none"
    assert [image["file"] for image in shown["images"]] == [str(path) for path in images]
    for image in shown["images"]:
        probabilities = [each["probability"] for each in image["predictions"]]
        assert len(probabilities) == 3
        assert probabilities == sorted(probabilities, reverse=True)
        assert {each["label"] for each in image["predictions"]} <= set("0123456789")


def test_a_run_says_what_only_a_bundle_has(command: Command, run: Path, images: list[Path]) -> None:
    told = "probabilities of a run are not calibrated and unlike pictures are not marked; cifarlab export does both"
    outcome = command("predict", run, images[0])
    assert outcome.code == 0
    assert " ".join(outcome.err.split()).count(told) == 1
    assert "calibrated" not in outcome.out


def test_files_of_another_type_in_a_folder_are_counted(command: Command, run: Path, images: list[Path]) -> None:
    for name in ("in/notes.txt", "in/sub/scan.tiff", "in/.hidden"):
        Path(name).write_text("none")
    outcome = command("predict", run, "in")
    assert outcome.code == 0
    assert "2 files of another type skipped" in outcome.err


def test_all_classes_sum_to_one(command: Command, run: Path, images: list[Path]) -> None:
    for count in (10, 99):
        shown = json.loads(command("predict", run, images[0], "--top-k", count, "--json").out)
        predictions = shown["images"][0]["predictions"]
        assert sorted(each["label"] for each in predictions) == list("0123456789")
        assert sum(each["probability"] for each in predictions) == pytest.approx(1, abs=1e-9)


def test_the_table_shows_each_file_on_stdout(command: Command, run: Path, images: list[Path]) -> None:
    outcome = command("predict", run, *images, "-k", "1")
    assert outcome.code == 0
    assert outcome.err.startswith("probabilities of a run are not calibrated")
    for path in images:
        assert str(path) in outcome.out


def test_a_folder_stands_for_its_images(command: Command, run: Path, images: list[Path]) -> None:
    Path("in/notes.txt").write_text("no image")
    shown = json.loads(command("predict", run, "in", "--json").out)
    assert [image["file"] for image in shown["images"]] == [str(path) for path in images]


def test_a_list_is_read_from_stdin(command: Command, run: Path, images: list[Path]) -> None:
    outcome = command("predict", run, "-", "--json", stdin="".join(f"{path}\n" for path in images[:2]))
    assert [image["file"] for image in json.loads(outcome.out)["images"]] == [str(path) for path in images[:2]]


def test_a_list_of_find_print0_is_read_from_stdin(command: Command, run: Path, images: list[Path]) -> None:
    outcome = command("predict", run, "-", "--json", stdin="".join(f"{path}\0" for path in images))
    assert [image["file"] for image in json.loads(outcome.out)["images"]] == [str(path) for path in images]


def test_a_file_that_may_not_be_looked_at_does_not_stop_the_others(
    command: Command, run: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = os.stat

    def refusing(path: Any, *rest: Any, **named: Any) -> Any:
        if str(path).startswith("shut"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return genuine(path, *rest, **named)

    monkeypatch.setattr(os, "stat", refusing)
    outcome = command("predict", run, "shut/a.png", images[0], "--json")
    assert outcome.code == 1
    assert "Permission denied" in outcome.err
    assert ["error" in image for image in json.loads(outcome.out)["images"]] == [True, False]


def test_one_bad_file_does_not_stop_the_others(command: Command, run: Path, images: list[Path]) -> None:
    Path("empty.png").touch()
    Path("text.jpg").write_text("hello")
    Path("cut.png").write_bytes(images[0].read_bytes()[:200])
    bad = ["empty.png", "text.jpg", "cut.png", "nope.png"]
    outcome = command("predict", run, images[0], *bad, images[1], "--json")
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    shown = json.loads(outcome.out)["images"]
    assert ["error" in image for image in shown] == [False, True, True, True, True, False]
    allowed = "Allowed: JPEG, PNG, WebP, BMP, GIF"
    assert shown[1]["error"] == f"empty.png: the file is empty (0 bytes). {allowed}; fetch or save it again"
    assert shown[2]["error"].endswith(f"{allowed}; convert it to one of these, for example PNG")
    assert [line for line in outcome.err.splitlines() if line.startswith("error: ")] == [f"error: {image['error']}" for image in shown[1:5]]
    assert outcome.err.endswith("4 of 6 files could not be read\n")


def test_only_bad_files_still_give_an_answer(command: Command, run: Path) -> None:
    outcome = command("predict", run, "nope.png")
    assert outcome.code == 1
    assert "not readable" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        ([""], "", "an image's path is empty"),
        (["-"], "", "standard input holds no paths"),
        (["-"], "\n  \n", "standard input holds no paths"),
        (["bare"], "", "the directory holds no images"),
        (["a.png", "--top-k", "0"], "", "--top-k"),
        (["a.png", "--device", "gpu"], "", "unknown device 'gpu'"),
    ],
)
def test_nothing_to_predict_is_a_usage_error(command: Command, run: Path, arguments: list[str], stdin: str, message: str) -> None:
    Path("bare").mkdir()
    outcome = command("predict", run, *arguments, stdin=stdin)
    assert outcome.code == 2
    assert outcome.out == ""
    assert message in outcome.err


def test_a_name_without_text_is_printed_all_the_same(command: Command, run: Path, images: list[Path]) -> None:
    odd = Path("\udcff.png")
    try:
        odd.write_bytes(images[0].read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this file system takes text names only")
    outcome = command("predict", run, odd, "--json")
    assert outcome.code == 0, outcome
    assert len(json.loads(outcome.out)["images"]) == 1


def test_views_are_those_of_the_model_or_one(command: Command, run: Path, images: list[Path]) -> None:
    description = json.loads((run / "bundle.json").read_text())
    (run / "bundle.json").write_text(json.dumps({**description, "tta": "six"}))
    several = json.loads(command("predict", run, images[0], "-k", "10", "--json").out)
    single = json.loads(command("predict", run, images[0], "-k", "10", "--json", "--views", "none").out)
    assert (several["views"], single["views"]) == ("six", "none")
    assert several["images"] != single["images"]


def test_a_prediction_equals_the_evaluation(command: Command, run: Path) -> None:
    from cifarlab.data import load_splits

    assert command("evaluate", run, "--no-report").code == 0
    Image.fromarray(load_splits("digits").test.images[7]).save("seven.png")
    shown = json.loads(command("predict", run, "seven.png", "-k", "10", "--json").out)["images"][0]["predictions"]
    stored = Predictions.load(run / "predictions" / "test.npz")
    expected = dict(zip(stored.class_names, softmax(stored.final_logits)[7], strict=True))
    assert {each["label"]: each["probability"] for each in shown} == pytest.approx(expected, abs=1e-5)


# -- which model ----------------------------------------------------------------------------------------------------


def test_without_a_model_the_shipped_one_answers(command: Command, run: Path, images: list[Path]) -> None:
    outcome = command("predict", *images)
    assert outcome.code == 0
    assert outcome.err.splitlines()[-1].startswith("model: cifar10-fast, which ships with cifarlab: airplane, automobile")
    shown = json.loads(command("predict", *images, "--json").out)
    assert shown["model"] == "cifar10-fast"
    assert shown["calibration"]["score"] == "energy"
    assert "validation" in shown["calibration"]["fitted_on"]


def test_a_folder_called_like_the_shipped_model_does_not_answer_for_it(command: Command, run: Path, images: list[Path]) -> None:
    expected = json.loads(command("predict", *images, "--json").out)
    run.rename("cifar10-fast")
    try:
        assert json.loads(command("predict", *images, "--json").out) == expected
    finally:
        Path("cifar10-fast").rename(run)


def test_noise_is_marked_in_table_and_json(command: Command, run: Path, images: list[Path]) -> None:
    outcome = command("predict", "cifar10-fast", "in")
    shown = json.loads(command("predict", "cifar10-fast", "in", "--json").out)
    assert outcome.out.splitlines()[0].split() == ["file", "prediction", "then", "note"]
    marked = [image["unlike"] for image in shown["images"]]
    assert any(marked)
    assert [line.endswith("unlike") for line in outcome.out.splitlines() if line.lstrip().startswith("in/")] == marked
    assert outcome.err.startswith("unlike: the energy score lies beyond that of 95 % of the validation images")
    assert all(image["unlike"] == (image["score"] > shown["calibration"]["threshold"]) for image in shown["images"])


def test_the_model_may_be_an_option(command: Command, run: Path, images: list[Path]) -> None:
    for given in (["--model", run], ["-m", run]):
        assert json.loads(command("predict", *given, images[0], "--json").out) == json.loads(
            command("predict", run, images[0], "--json").out
        )


def test_an_image_without_a_model_that_is_not_there_is_an_image(command: Command, run: Path, images: list[Path]) -> None:
    outcome = command("predict", "nope.png", images[0], "--json")
    assert outcome.code == 1
    assert ["error" in image for image in json.loads(outcome.out)["images"]] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar10-fats", "in"], "Did you mean cifar10-fast? "),
        (["runs/tinny", "in"], "Did you mean runs/tiny? "),
        (["holiday", "in"], "An image needs no model before it: cifarlab predict photo.jpg"),
        (["cifar10-fast"], "no images given beside the model cifar10-fast"),
        (
            ["in/a.png", "runs/tiny"],
            "runs/tiny is a model, not an image, and there is one already (cifar10-fast): name it first or with --model",
        ),
        (["-m", "runs/tiny", "cifar10-fast", "in"], "cifar10-fast is a model, not an image, and there is one already (runs/tiny)"),
        (["-m", "", "in"], "--model is empty"),
        (["-m", "in", "in"], "in is not a trained model: it has no bundle.json"),
        (["in", "--views", "flap"], "unknown views 'flap'; did you mean 'flip'?"),
        (["runs/tiny", "in", "--views", "selective"], "no confidence at which two views suffice"),
        (["in", "--engine", "onx"], "unknown engine 'onx'; did you mean 'onnx'?"),
    ],
)
def test_a_mistake_in_the_model_is_told(command: Command, run: Path, images: list[Path], arguments: list[str], message: str) -> None:
    outcome = command("predict", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_run_that_has_not_begun_is_told_and_no_folder_of_images(command: Command, run: Path, images: list[Path]) -> None:
    (run / "bundle.json").unlink()
    outcome = command("predict", run, "in")
    assert outcome.code == 2
    assert "it has no bundle.json" in outcome.err
