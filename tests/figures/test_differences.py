"""figures.differences: forest plots, agreement, overlaid curves; and the grid of disagreements."""

from __future__ import annotations

import numpy as np
import pytest

from cifarlab.figures.differences import DifferenceRow, has_curves, plot_agreement, plot_curves, plot_differences
from cifarlab.figures.grids import plot_disagreements


def row(value: float, *, half: float = 0.01, label: str = "a − b", shown: bool = False) -> DifferenceRow:
    return DifferenceRow(label, value, value - half, value + half, shown)


def test_differences_stand_at_their_values_with_their_intervals(tmp_path, written, assert_picture):
    rows = [row(0.02, shown=True), row(-0.005)]
    assert_picture(plot_differences(rows, tmp_path / "d.png", title="Difference", axis="Points"), width=900, height=300)
    zero, *lines = written[0].axes[0].lines
    assert list(zero.get_xdata()) == [0, 0]
    assert list(lines[0].get_xdata()) == pytest.approx([1.0, 3.0])
    assert list(lines[1].get_xdata()) == pytest.approx([2.0])
    assert list(lines[3].get_xdata()) == pytest.approx([-0.5])
    assert lines[1].get_markerfacecolor() != "white"
    assert lines[3].get_markerfacecolor() == "white"
    assert [text.get_text() for text in written[0].legends[0].get_texts()] == ["difference shown", "no difference shown"]


@pytest.mark.parametrize("count", [1, 10, 45])
def test_names_of_any_length_stay_inside(count, class_names, tmp_path, written):
    rows = [row(0.001 * i, label=f"{class_names[i % 10]} − {class_names[(i + 1) % 10]}") for i in range(count)]
    plot_differences(rows, tmp_path / "d.png", title=class_names[0] * 3, axis="Points")
    assert not written[0].spilled


@pytest.mark.parametrize("half", [0.0, 1e-7, 1.0])
def test_any_size_of_difference_can_be_drawn(half, tmp_path, written, assert_picture):
    assert_picture(plot_differences([row(0.0, half=half)], tmp_path / "d.png", title="D", axis="P"), width=600, height=200)
    assert not written[0].spilled


@pytest.mark.parametrize("rows", [[], [row(float("nan"))], [row(0.0, half=float("inf"))]])
def test_differences_that_cannot_be_drawn_are_refused(rows, tmp_path):
    with pytest.raises(ValueError, match="differences need"):
        plot_differences(rows, tmp_path / "d.png", title="", axis="")


def test_agreement_is_written_in_percent(tmp_path, written, assert_picture):
    matrix = np.array([[1.0, 0.753], [0.753, 1.0]])
    assert_picture(plot_agreement(matrix, ["a", "b"], tmp_path / "a.png"), width=200, height=200)
    assert [text.get_text() for text in written[0].axes[0].texts] == ["100", "75.3", "75.3", "100"]


def test_agreement_of_many_runs_with_long_names_stays_inside(class_names, tmp_path, written):
    matrix = np.eye(10) * 0.5 + 0.5
    plot_agreement(matrix, class_names, tmp_path / "a.png")
    assert not written[0].spilled


def test_runs_that_always_agree_can_be_drawn(tmp_path, assert_picture):
    assert_picture(plot_agreement(np.ones((2, 2)), ["a", "b"], tmp_path / "a.png"), width=200, height=200)


@pytest.mark.parametrize("matrix", [np.eye(3), np.full((2, 2), 1.5)])
def test_agreement_that_does_not_fit_is_refused(matrix, tmp_path):
    with pytest.raises(ValueError, match="agreement"):
        plot_agreement(matrix, ["a", "b"], tmp_path / "a.png")


def test_curves_lie_over_one_another_and_differ_by_more_than_colour(tmp_path, written, assert_picture):
    series = {
        "one": [{"epoch": i, "validation_accuracy": 0.1 * i} for i in (1, 2, 3)],
        "two": [{"epoch": i, "validation_accuracy": 0.2 * i} for i in (1, 2)],
        "none": [{"epoch": 1, "validation_accuracy": None}],
    }
    assert_picture(plot_curves(series, "accuracy", tmp_path / "c.png"), width=900, height=500)
    one, two = written[0].axes[0].lines
    assert list(one.get_ydata()) == pytest.approx([10, 20, 30])
    assert list(two.get_xdata()) == [1, 2]
    assert one.get_linestyle() != two.get_linestyle()
    assert one.get_marker() != two.get_marker()
    assert [text.get_text() for text in written[0].legends[0].get_texts()] == ["one", "two"]


def test_a_dozen_curves_with_long_names_stay_inside(class_names, tmp_path, written):
    series = {f"{name}{i}": [{"epoch": e, "validation_loss": 1 / e} for e in range(1, 60)] for i, name in enumerate(class_names)}
    plot_curves(series, "loss", tmp_path / "c.png")
    assert not written[0].spilled


def test_runs_without_curves_are_known_and_refused(tmp_path):
    series = {"a": [{"epoch": 1, "train_loss": 2.0}], "b": []}
    assert not has_curves(series, "loss")
    with pytest.raises(ValueError, match="no run holds validation_loss"):
        plot_curves(series, "loss", tmp_path / "c.png")


def test_disagreements_give_what_both_models_say(images, tmp_path, written, assert_picture):
    right, wrong = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([[0.2, 0.8], [0.6, 0.4]])
    assert_picture(plot_disagreements(images[:2], right, wrong, ("cat", "dog"), tmp_path / "g.png", title="A and B"), width=300, height=200)
    captions = [axes.get_title() for axes in written[0].axes if axes.images]
    assert captions == ["✓ cat 90 %\n✗ dog 80 %", "✓ dog 70 %\n✗ cat 60 %"]
    assert not written[0].spilled


def test_disagreements_need_probabilities_of_both(images, tmp_path):
    with pytest.raises(ValueError, match="probabilities"):
        plot_disagreements(images[:2], np.eye(2), np.eye(3)[:2], ("cat", "dog"), tmp_path / "g.png")
