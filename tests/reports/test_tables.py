"""reports.tables: the metrics files agree with the predictions file and with each other."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

from cifarlab.errors import RunError
from cifarlab.reports import write_metrics
from cifarlab.runs import Predictions


def test_metrics_json_holds_every_split_and_is_returned(make_run):
    run = make_run()
    returned = write_metrics(run)
    assert json.loads((run.path / "metrics.json").read_text()) == returned
    assert list(returned) == ["test", "validation"]
    for split, score in returned.items():
        made = Predictions.load(run.predictions_file(split))
        assert score["accuracy"]["value"] == accuracy_score(made.labels, made.final_logits.argmax(axis=1))
        assert score["single_view"]["accuracy"]["value"] == accuracy_score(made.labels, made.logits.argmax(axis=1))
        assert score["checksum"] == made.checksum


def test_the_matrix_is_of_the_test_split(make_run):
    run = make_run(names=("cat", "deer, red", 'the "dog"'))
    write_metrics(run)
    with (run.path / "confusion_matrix.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    made = Predictions.load(run.predictions_file("test"))
    assert tuple(head[1:]) == tuple(row[0] for row in rows) == made.class_names
    np.testing.assert_array_equal(
        np.array([row[1:] for row in rows], dtype=np.int64), confusion_matrix(made.labels, made.final_logits.argmax(axis=1))
    )


def test_the_text_report_names_its_split(make_run):
    run = make_run()
    write_metrics(run)
    assert (run.path / "classification_report.txt").read_text().startswith("Split: test, 60 images")


def test_validation_stands_in_as_long_as_test_was_not_read(make_run):
    run = make_run(splits=("validation",))
    assert list(write_metrics(run)) == ["validation"]
    assert (run.path / "classification_report.txt").read_text().startswith("Split: validation, 30 images")
    assert run.status()["test_reads"] == 0


def test_without_predictions_the_error_names_the_remedy(make_run):
    run = make_run(splits=())
    with pytest.raises(RunError, match="cifarlab evaluate"):
        write_metrics(run)
    assert not (run.path / "metrics.json").exists()
