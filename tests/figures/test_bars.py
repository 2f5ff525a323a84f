"""figures.bars and figures.calibration: bars carry their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from cifarlab.figures import plot_class_counts, plot_reliability, plot_right_wrong
from cifarlab.metrics import expected_calibration_error, reliability_bins


def test_class_counts_have_a_panel_per_split_and_a_number_per_bar(class_names, tmp_path, written, assert_picture):
    counts = {"train": np.arange(4500, 4510), "validation": np.full(10, 500), "test": np.full(10, 1000)}
    assert_picture(plot_class_counts(counts, class_names, tmp_path / "counts.png"), width=1300, height=500)
    figure = written[0]
    assert [axes.get_title() for axes in figure.axes] == ["train: 45 045", "validation: 5 000", "test: 10 000"]
    assert [text.get_text() for text in figure.axes[0].texts] == [f"4 50{i}" for i in range(10)]
    assert [bar.get_width() for bar in figure.axes[0].patches] == list(range(4500, 4510))
    assert not figure.spilled


def test_class_counts_stand_beside_their_names_first_on_top(tmp_path, written):
    plot_class_counts({"train": np.array([1, 2])}, ("cat", "dog"), tmp_path / "counts.png")
    axes = written[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert axes.yaxis_inverted()


def test_class_counts_of_many_classes_and_empty_splits(tmp_path, written, assert_picture):
    names = [f"a rather long class name, the {i}th" for i in range(200)]
    assert_picture(plot_class_counts({"train": np.zeros(200, dtype=np.int64)}, names, tmp_path / "counts.png"), width=500, height=3000)
    assert not written[0].spilled


@pytest.mark.parametrize("counts", [{}, {"train": np.zeros(3, dtype=np.int64)}])
def test_class_counts_of_another_length_are_refused(counts, tmp_path):
    with pytest.raises(ValueError, match="2 numbers"):
        plot_class_counts(counts, ("cat", "dog"), tmp_path / "counts.png")


def test_right_wrong_shows_counts_shares_and_the_interval(tmp_path, written, assert_picture):
    assert_picture(plot_right_wrong(9404, 596, tmp_path / "bars.png"), width=700, height=500)
    axes = written[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["9 404  (94.04 %)", "596  (5.96 %)"]
    assert axes.get_title() == "Accuracy 94.04 % (95 %: 93.56 to 94.49)"
    assert axes.patches[1].get_hatch()  # not by colour alone
    assert not written[0].spilled


@pytest.mark.parametrize(("correct", "wrong"), [(5, 0), (0, 5), (1, 1)])
def test_right_wrong_at_the_ends(correct, wrong, tmp_path, written, assert_picture):
    assert_picture(plot_right_wrong(correct, wrong, tmp_path / "bars.png"), width=700, height=500)
    assert not written[0].spilled


@pytest.mark.parametrize(("correct", "wrong"), [(0, 0), (-1, 2), (3, -1)])
def test_right_wrong_refuses_impossible_counts(correct, wrong, tmp_path):
    with pytest.raises(ValueError, match="at least"):
        plot_right_wrong(correct, wrong, tmp_path / "bars.png")


def test_reliability_draws_the_bins_of_metrics(tmp_path, written, assert_picture):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), size=500)
    labels = rng.integers(0, 4, size=500)
    assert_picture(plot_reliability(probabilities, labels, tmp_path / "reliability.png"), width=800, height=800)
    grouped = reliability_bins(probabilities, labels)
    upper, lower = written[0].axes
    heights = [bar.get_height() for bar in upper.containers[0]]
    assert heights == pytest.approx(list(grouped.accuracy[grouped.counts > 0]))
    assert [bar.get_height() for bar in lower.patches] == pytest.approx(list(grouped.counts / 500))
    assert upper.get_title() == f"Calibration error {100 * expected_calibration_error(probabilities, labels):.2f} % (15 bins)"
    assert not written[0].spilled
