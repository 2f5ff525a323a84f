"""reports.run_report: one self-contained page that says what the files say."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from page_reader import Page
from PIL import Image

from cifarlab.errors import RunError
from cifarlab.reports import ReportImages, write_run_report
from cifarlab.reports.run_report import duration
from cifarlab.runs import Predictions

CHARTS = {"right_wrong", "reliability", "confusion_matrix", "confusion_matrix_normalized", "accuracy", "loss", "class_counts"}
GRIDS = {"samples", "predictions", "mistakes"}


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_is_self_contained(reported_run):
    path = reported_run.report_file
    page = read(path)
    loaded = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action", "data", "poster")]
    assert loaded
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in loaded)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert "@import" not in path.read_text()
    assert "url(" not in path.read_text()


def test_every_link_in_the_page_has_its_anchor(reported_run):
    page = read(reported_run.report_file)
    anchors = {value for name, value in page.attributes if name == "id"}
    links = {value[1:] for name, value in page.attributes if name == "href"}
    assert links == anchors
    assert {"protocol", "results", "classes", "training", "images", "data", "recipe", "command", "environment"} == anchors


def test_every_figure_is_in_the_folder_and_in_the_page(reported_run):
    page = read(reported_run.report_file)
    files = {file.name for file in reported_run.figures.iterdir()}
    assert files == {f"{name}.png" for name in CHARTS | GRIDS} | {f"{name}.svg" for name in CHARTS}
    embedded = [base64.b64decode(value.partition(",")[2]) for name, value in page.attributes if name == "src"]
    assert sorted(embedded) == sorted(file.read_bytes() for file in reported_run.figures.glob("*.png"))
    for content in embedded:
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
    assert all(value for name, value in page.attributes if name == "alt")


def test_its_numbers_are_those_of_metrics_json(reported_run):
    text = read(reported_run.report_file).text
    score = json.loads((reported_run.path / "metrics.json").read_text())["test"]
    accuracy, single = score["accuracy"], score["single_view"]["accuracy"]
    assert accuracy["value"] != single["value"]
    for share in (accuracy, single):
        assert f"{100 * share['value']:.2f} %" in text
        assert f"95 % interval {100 * share['low']:.2f} to {100 * share['high']:.2f} %" in text
    assert f"Cross-entropy {score['cross_entropy']:.4f}" in text.replace("  ", " ")
    assert f"Mean squared error {score['mse']:.5f}" in text
    assert f"Calibration error {100 * score['calibration_error']:.2f} %" in text
    assert f"Errors {score['errors']}" in text
    assert "n = 60" in text
    for row in score["per_class"]:
        assert f"{row['name']} {row['precision']:.4f} {row['recall']:.4f} {row['f1']:.4f} {row['support']}" in text


def test_the_headline_names_recipe_dataset_time_and_parameters(reported_run):
    text = read(reported_run.report_file).text
    assert text.strip().startswith("fast on cifar10:")
    assert "Training time 13 min 27 s 8 epochs" in text
    assert "Parameters 24 666" in text
    assert "test-time augmentation: flip, 2 views" in text


def test_the_protocol_is_stated(reported_run):
    text = read(reported_run.report_file).text
    assert "Test split read 1 time." in text
    assert "Validation: 30 images carved from the training split; none of them is in the test split." in text
    assert "not finished" not in text


def test_several_test_reads_are_stated_with_a_caution(make_run):
    run = make_run()
    run.count_test_read()
    text = read(write_run_report(run)).text
    assert "Test split read 2 times." in text
    assert "more than once" in text


def test_validation_that_is_the_test_split_is_called_out(make_run):
    run = make_run()
    test = Predictions.load(run.predictions_file("test"))
    test.save(run.predictions_file("validation"))
    text = read(write_run_report(run)).text
    assert "Validation shares 60 of its 60 images with the test split" in text
    assert "carved" not in text


def test_before_test_is_read_the_page_is_about_validation_and_says_so(make_run, report_images):
    text = read(write_run_report(make_run(splits=("validation",)), images=report_images)).text
    assert "Test split read 0 times." in text
    assert "Validation accuracy" in text
    assert "Test accuracy" not in text
    assert "The test split was not evaluated" in text
    assert "24 images of the validation split" in text


def test_recipe_command_and_environment_are_shown(reported_run):
    text = read(reported_run.report_file).text
    assert "name: fast optim: lr: 0.1" in text
    assert "cifarlab train fast --seed 0" in text
    assert "threads 2" in text
    assert "git revision not recorded" in text


def test_a_command_given_as_words_is_quoted_for_the_shell(make_run):
    text = read(write_run_report(make_run(env={"command": ["cifarlab", "train", "my recipe.yaml"]}))).text
    assert "cifarlab train 'my recipe.yaml'" in text


def test_markup_in_names_comes_out_as_text(make_run, report_images):
    evil = "<script>alert('x')</script>"
    run = make_run(
        names=(evil, 'a" onload="b', "$title & ${nav}"),
        recipe_yaml=f'name: "{evil}"\nnote: </code></pre>{evil}\n',
        env={"dataset": f"<b>{evil}", evil: "<img src=x>", "command": evil},
    )
    path = write_run_report(run, images=report_images)
    page = read(path)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(evil) >= 5  # heading, class table, recipe twice, command, environment
    assert "$title & ${nav}" in page.text


def test_a_bare_run_still_gives_a_page(make_run):
    run = make_run(splits=("test",), env={}, epochs=0, tta=False, recipe_yaml="a: [unclosed")
    (run.path / "env.json").unlink()
    (run.path / "status.json").write_text('{"schema": 1, "state": "preempted"}')
    page = read(write_run_report(run))
    assert "Test split read 0 times." in page.text
    assert "not finished: its state is 'preempted'" in page.text
    assert "the same: the recipe uses none" in page.text
    assert {"training", "images", "data", "environment", "command"}.isdisjoint({value for name, value in page.attributes if name == "id"})


def test_the_same_files_give_the_same_page(reported_run, make_run, report_images):
    first = reported_run.report_file.read_bytes()
    assert write_run_report(make_run(), images=report_images).read_bytes() == first


def test_images_of_another_number_than_the_predictions_are_refused(make_run):
    images = ReportImages(evaluated={"test": np.zeros((3, 8, 8, 3), dtype=np.uint8)})
    with pytest.raises(ValueError, match="3 images were given for the 60 predictions"):
        write_run_report(make_run(), images=images)


def test_without_predictions_there_is_no_report(make_run):
    run = make_run(splits=())
    with pytest.raises(RunError, match="cifarlab evaluate"):
        write_run_report(run)
    assert not run.report_file.exists()


@pytest.mark.parametrize(("seconds", "text"), [(8.31, "8.3 s"), (59.97, "1 min 00 s"), (807.2, "13 min 27 s"), (7500, "2 h 05 min")])
def test_durations_carry_their_unit(seconds, text):
    assert duration(seconds) == text


def test_the_protocol_says_which_weights_were_evaluated(make_run):
    run = make_run()
    assert "Evaluated weights: those of the epoch that was best on validation: best validation epoch 8." in read(write_run_report(run)).text
    run.update_status(selected="last")
    assert (
        "Evaluated weights: the last ones of training; validation chose nothing (its best validation epoch 8)."
        in read(write_run_report(run)).text
    )


@pytest.mark.parametrize(("selected", "said"), [("best", True), ("last", False)])
def test_validation_is_said_to_have_chosen_the_weights_only_where_it_did(selected, said, make_run):
    run = make_run(splits=("validation",))
    run.update_status(selected=selected)
    text = read(write_run_report(run)).text
    assert "The test split was not evaluated" in text
    assert ("validation split, which chose the weights." in text) is said
    assert "may have chosen" not in text


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ({"validation": 0}, "No validation split: all training images were trained on."),
        ({"validation": 500}, "Validation: 500 images carved from the training split."),
        (None, "The size of the validation split is not recorded with this run."),
    ],
)
def test_the_size_of_validation_is_the_recorded_one(sizes, text, make_run):
    assert text in read(write_run_report(make_run(splits=("test",), env={"sizes": sizes}))).text


def test_one_epoch_is_one(make_run):
    run = make_run(epochs=1)
    run.update_status(epochs=1)
    text = read(write_run_report(run)).text
    assert "13 min 27 s 1 epoch " in text
    assert "1 epochs" not in text


def test_where_the_data_lay_is_not_shown(make_run):
    path = write_run_report(make_run(env={"python": "3.11.9", "found_in": "/home/somebody/secret"}))
    assert "secret" not in path.read_text()
    assert "found" not in read(path).text.partition("Environment")[2]


def test_the_loss_curve_says_what_is_drawn(reported_run):
    assert "Cross-entropy per epoch in nats, without label smoothing" in read(reported_run.report_file).text
