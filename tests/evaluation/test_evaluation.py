"""Evaluation: logits against direct computation, the predictions file, and the count of test reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import CPU, make_recipe, make_splits, train
from torch import Tensor

from cifarlab.augment import predict_views
from cifarlab.build import arrange
from cifarlab.data.splits import ArrangedSplits
from cifarlab.errors import BundleError, RunError, UsageError
from cifarlab.evaluation import evaluate_run, predict_logits, predict_with_views
from cifarlab.evaluation import run as evaluation_run
from cifarlab.restore import restore
from cifarlab.runs import Predictions, RunDirectory


def arranged_splits(**changes: Any) -> ArrangedSplits:
    return arrange(make_recipe(**changes), make_splits())


def restored(run: RunDirectory) -> tuple[Any, Any, Tensor]:
    model, preprocess = restore(run.read_json("bundle.json"), run.weights_file("best"))
    return model, preprocess, torch.from_numpy(make_splits().test.images)


@pytest.mark.parametrize("views", ["none", "flip", "six"])
def test_logits_equal_direct_computation(run: RunDirectory, views: str) -> None:
    model, preprocess, images = restored(run)
    plain, averaged = predict_with_views(model, preprocess, images, views=views, batch_size=40)
    with torch.no_grad():
        expected_plain, expected = predict_views(model, preprocess(images), views=views)
    assert plain.dtype == averaged.dtype == np.float32
    np.testing.assert_array_equal(plain, expected_plain.numpy())
    np.testing.assert_array_equal(averaged, expected.numpy())
    np.testing.assert_array_equal(predict_logits(model, preprocess, images, batch_size=40), plain)


@pytest.mark.parametrize("batch_size", [1, 7, 39, 1000])
def test_an_answer_does_not_depend_on_its_batch(run: RunDirectory, batch_size: int) -> None:
    model, preprocess, images = restored(run)
    whole = predict_with_views(model, preprocess, images, views="six", batch_size=40)
    parts = predict_with_views(model, preprocess, images, views="six", batch_size=batch_size)
    for found, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_predicting_uses_evaluation_mode_and_changes_nothing(run: RunDirectory) -> None:
    model, preprocess, images = restored(run)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    expected = predict_logits(model, preprocess, images)
    model.train()
    np.testing.assert_array_equal(predict_logits(model, preprocess, images), expected)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_progress_counts_the_images(run: RunDirectory) -> None:
    model, preprocess, images = restored(run)
    heard: list[tuple[int, int]] = []
    predict_with_views(model, preprocess, images, views="none", batch_size=15, progress=lambda *both: heard.append(both))
    assert heard == [(15, 40), (30, 40), (40, 40)]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_predictions_file_holds_the_split_and_its_logits(run: RunDirectory, split: str) -> None:
    arranged = arranged_splits()
    data = arranged._asdict()[split]
    evaluate_run(run, arranged, split, device=CPU)
    read = Predictions.load(run.predictions_file(split))
    model, preprocess, _ = restored(run)
    plain, averaged = predict_with_views(model, preprocess, torch.from_numpy(data.images), views="flip", batch_size=16)
    assert (read.split, read.tta, read.class_names, read.checksum) == (split, "flip", data.class_names, data.checksum)
    np.testing.assert_array_equal(read.sample_ids, data.sample_ids)
    np.testing.assert_array_equal(read.labels, data.labels)
    np.testing.assert_array_equal(read.logits, plain)
    assert read.logits_tta is not None
    np.testing.assert_array_equal(read.logits_tta, averaged)


def test_without_views_there_is_one_set_of_logits(tmp_path: Path) -> None:
    plain = train(tmp_path, "plain", make_recipe(evaluate__tta="none"))
    read = evaluate_run(plain, arranged_splits(), "test", device=CPU)
    assert read.logits_tta is None
    assert read.final_logits is read.logits


def test_only_readings_of_the_test_split_are_counted(run: RunDirectory) -> None:
    for split, reads in (("train", 0), ("validation", 0), ("test", 1), ("test", 2)):
        evaluate_run(run, arranged_splits(), split, device=CPU)
        assert run.status()["test_reads"] == reads


def test_a_reading_is_counted_before_it_happens(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(evaluation_run, "predict_with_views", broken)
    with pytest.raises(MemoryError):
        evaluate_run(run, arranged_splits(), "test", device=CPU)
    assert run.status()["test_reads"] == 1


def test_other_data_are_refused_before_a_reading_is_counted(run: RunDirectory) -> None:
    arranged = arranged_splits()
    arranged.test.images[0, 0, 0, 0] ^= 1
    with pytest.raises(RunError, match=r"the test split is not the one that .* was set up with .*--data-dir"):
        evaluate_run(run, arranged, "test", device=CPU)
    assert run.status()["test_reads"] == 0
    assert not run.predictions_file("test").exists()


def test_missing_weights_are_a_bundle_error_and_no_reading(run: RunDirectory) -> None:
    run.weights_file("best").unlink()
    with pytest.raises(BundleError, match="does not exist: the training has not come to its end"):
        evaluate_run(run, arranged_splits(), "test", device=CPU)
    assert run.status()["test_reads"] == 0


@pytest.mark.parametrize("weights", [None, 3, "../other.safetensors", "/etc/hostname"])
def test_a_description_without_weights_inside_the_run_is_a_bundle_error(run: RunDirectory, weights: object) -> None:
    file = run.path / "bundle.json"
    description = json.loads(file.read_text())
    file.write_text(json.dumps({**description, "weights": weights}))
    with pytest.raises(BundleError, match="its weights must be a file inside"):
        evaluate_run(run, arranged_splits(), "validation", device=CPU)


def test_an_unknown_split_gets_the_nearest(run: RunDirectory) -> None:
    with pytest.raises(UsageError, match=r"unknown split 'validaton'; did you mean 'validation'\?"):
        evaluate_run(run, arranged_splits(), "validaton", device=CPU)


def test_a_run_without_validation_says_so(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"data__validation": 0, "train__select": "last"}
    run = train(tmp_path, "whole", make_recipe(**changes))
    with pytest.raises(UsageError, match="no validation split"):
        evaluate_run(run, arranged_splits(**changes), "validation", device=CPU)
