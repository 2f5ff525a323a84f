"""figures.claims: claimed beside measured, every value at its place."""

from __future__ import annotations

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from cifarlab.figures import AccuracyComparison, plot_claims, plot_error_rates, plot_per_class_comparison
from cifarlab.metrics import Interval

BOTH = AccuracyComparison("report10", 0.8633, {"as published": Interval(0.871, 0.864, 0.878), "corrected": Interval(0.86, 0.85, 0.869)})
ONE = AccuracyComparison("slides-m1", 0.6877, {"as published": Interval(0.69, 0.68, 0.70)})
UNCLAIMED = AccuracyComparison("mine", None, {"corrected": Interval(0.9, 0.894, 0.906)})
UNMEASURED = AccuracyComparison("resnet20", 0.9137)


def bars_of(axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_error_rates_are_bars_of_one_minus_accuracy_with_their_numbers(tmp_path, written, assert_picture):
    assert_picture(plot_error_rates([BOTH, UNCLAIMED, UNMEASURED], tmp_path / "errors.png"), width=1000, height=350)
    axes = written[0].axes[0]
    assert [bar.get_width() for bar in bars_of(axes)] == pytest.approx([13.67, 12.9, 14.0, 10.0, 8.63])
    assert [text.get_text() for text in axes.texts] == ["13.67", "12.90", "14.00", "10.00", "8.63"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["report10", "mine", "resnet20"]
    assert not written[0].spilled


def test_error_rates_have_the_interval_of_the_accuracy_turned_round(tmp_path, written):
    plot_error_rates([ONE], tmp_path / "errors.png")
    (whisker,) = [line for line in written[0].axes[0].lines if len(line.get_xdata()) == 2]
    assert list(whisker.get_xdata()) == pytest.approx([30.0, 32.0])


def test_claimed_and_measured_bars_differ_by_more_than_colour(tmp_path, written):
    plot_error_rates([BOTH], tmp_path / "errors.png")
    hatches = {bar.get_hatch() for bar in bars_of(written[0].axes[0])}
    assert len(hatches) == 3


def test_claims_show_points_intervals_and_open_diamonds(tmp_path, written, assert_picture):
    assert_picture(plot_claims([BOTH, UNCLAIMED, UNMEASURED], tmp_path / "claims.png"), width=1000, height=300)
    axes = written[0].axes[0]
    by_marker = {}
    for line in axes.lines:
        by_marker.setdefault(line.get_marker(), []).append([float(x) for x in line.get_xdata()])
    assert by_marker["D"] == [[pytest.approx(86.33)], [pytest.approx(91.37)]]
    assert sorted(x for xs in (*by_marker["o"], *by_marker["s"]) for x in xs) == pytest.approx([86.0, 87.1, 90.0])
    assert by_marker["|"] == [pytest.approx([86.4, 87.8]), pytest.approx([85.0, 86.9]), pytest.approx([89.4, 90.6])]
    diamond = next(line for line in axes.lines if line.get_marker() == "D")
    assert matplotlib.colors.to_rgba(diamond.get_markerfacecolor())[3] == 0, "a point under it would be hidden"
    assert not written[0].spilled


@pytest.mark.parametrize("plot", [plot_claims, plot_error_rates])
def test_the_legend_names_what_is_drawn_and_nothing_else(plot, tmp_path, written):
    plot([BOTH], tmp_path / "both.png")
    plot([UNCLAIMED], tmp_path / "unclaimed.png")
    names = [[text.get_text() for text in figure.legends[0].get_texts()] for figure in written]
    assert names == [["claimed", "measured, as published", "measured, corrected"], ["measured, corrected"]]


@pytest.mark.parametrize("plot", [plot_claims, plot_error_rates])
def test_long_labels_stay_inside(plot, tmp_path, written):
    plot([AccuracyComparison("W" * 80, 0.5, {"as published": Interval(0.6, 0.5, 1.0)}), UNMEASURED], tmp_path / "long.png")
    assert not written[0].spilled


@pytest.mark.parametrize(
    "claims",
    [
        [],
        [AccuracyComparison("empty", None)],
        [AccuracyComparison("percent", 86.33)],
        [AccuracyComparison("x", 0.5, {"a": Interval(0.5, float("nan"), 0.6)})],
        [AccuracyComparison("x", 0.5, {name: Interval(0.5, 0.4, 0.6) for name in "abcde"})],
    ],
)
@pytest.mark.parametrize("plot", [plot_claims, plot_error_rates])
def test_claims_that_cannot_be_drawn_are_refused(plot, claims, tmp_path):
    with pytest.raises(ValueError, match=r"0\.\.1|at most 4"):
        plot(claims, tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


def scores(names, offset):
    return {name: {"precision": 0.5 + offset, "recall": 0.6 + offset, "f1": 0.55 + offset} for name in names}


def test_scores_per_class_have_a_panel_each(class_names, tmp_path, written, assert_picture):
    path = plot_per_class_comparison(scores(class_names, 0.1), scores(class_names, 0.2), class_names, tmp_path / "classes.png")
    assert_picture(path, width=1000, height=400)
    panels = written[0].axes
    assert [axes.get_title() for axes in panels] == ["Precision", "Recall", "F1"]
    for axes, value in zip(panels, (50, 60, 55), strict=True):
        claimed, measured = axes.lines
        np.testing.assert_allclose(claimed.get_xdata(), value + 10)
        np.testing.assert_allclose(measured.get_xdata(), value + 20)
    assert panels[0].yaxis_inverted()
    assert not written[0].spilled


def test_missing_scores_are_named(tmp_path):
    with pytest.raises(ValueError, match="measured scores need precision, recall, f1 for every class; missing for: dog"):
        plot_per_class_comparison(scores(("cat", "dog"), 0), scores(("cat",), 0), ("cat", "dog"), tmp_path / "classes.png")
