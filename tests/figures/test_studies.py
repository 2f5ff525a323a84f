"""figures.studies and the curves of runs that validate on the test split."""

from __future__ import annotations

import pytest

from cifarlab.figures import StudyPoint, plot_curve, plot_study
from cifarlab.metrics import Interval


def point(value: float, accuracy: float = 0.9, loss: float = 0.4) -> StudyPoint:
    return StudyPoint(value, Interval(accuracy, accuracy - 0.01, accuracy + 0.01), loss)


def test_a_study_shows_accuracy_with_interval_and_loss_in_order(tmp_path, written, assert_picture):
    points = [point(128, 0.92, 0.5), point(32, 0.917, 0.3), point(64, 0.91, 0.4)]
    assert_picture(plot_study(points, "Batch size", tmp_path / "study.png"), width=1200, height=500)
    left, right = written[0].axes
    assert list(left.lines[0].get_xdata()) == [32, 64, 128]
    assert list(left.lines[0].get_ydata()) == pytest.approx([91.7, 91.0, 92.0])
    segments = [[tuple(end) for end in segment] for segment in left.collections[0].get_segments()]
    assert segments[0] == [pytest.approx((32, 90.7)), pytest.approx((32, 92.7))]
    assert list(right.lines[0].get_ydata()) == [0.3, 0.4, 0.5]
    assert (left.get_title(), right.get_title()) == ("Best 92.00 % at 128", "Least 0.3000 at 32")
    assert [label.get_text() for label in left.get_xticklabels()] == ["32", "64", "128"]
    assert not written[0].spilled


@pytest.mark.parametrize(("values", "scale"), [((32, 64, 128), "log"), ((30_000, 35_000, 40_000), "linear"), ((1, 2), "linear")])
def test_values_that_double_stand_on_a_logarithmic_axis(values, scale, tmp_path, written):
    plot_study([point(value) for value in values], "Quantity", tmp_path / "study.png")
    assert {axes.get_xscale() for axes in written[0].axes} == {scale}


@pytest.mark.parametrize("points", [[], [point(1), point(1)], [point(1), point(2, loss=float("inf"))], [point(float("nan"))]])
def test_a_study_that_cannot_be_drawn_is_refused(points, tmp_path):
    with pytest.raises(ValueError, match="study"):
        plot_study(points, "Batch size", tmp_path / "study.png")


def test_a_curve_of_the_test_split_says_so(tmp_path, written):
    rows = [{"epoch": i, "train_accuracy": i / 4, "validation_accuracy": i / 5} for i in (1, 2, 3)]
    plot_curve(rows, "accuracy", tmp_path / "apart.png")
    plot_curve(rows, "accuracy", tmp_path / "test.png", validation_is_test=True)
    texts = [[text.get_text() for text in figure.axes[0].get_legend().get_texts()] for figure in written]
    assert texts[0] == ["Train", "Validation", "Best validation: 60.00 % (epoch 3)"]
    assert texts[1] == ["Train", "Test (used as validation)", "Best test: 60.00 % (epoch 3)"]


def test_a_curve_of_hundreds_of_epochs_has_few_ticks_and_no_markers(tmp_path, written, assert_picture):
    rows = [{"epoch": i, "train_loss": 1 / i, "validation_loss": 1 / i + 0.1} for i in range(1, 501)]
    assert_picture(plot_curve(rows, "loss", tmp_path / "long.png"), width=1000, height=600)
    axes = written[0].axes[0]
    assert 4 <= len([tick for tick in axes.get_xticks() if 0 < tick <= 500]) <= 11
    assert all(line.get_markersize() == 0 for line in axes.lines[:2])
    assert not written[0].spilled
