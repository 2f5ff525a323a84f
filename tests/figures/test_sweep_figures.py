"""figures.studies for sweeps: means with intervals and single runs, several lines, curves of several seeds."""

from __future__ import annotations

import pytest

from cifarlab.figures import SeedMean, SweepMark, plot_seed_curves, plot_sweep
from cifarlab.figures.studies import MOST_LINES


def mark(place: float, mean: float = 0.9, *, best: bool = False, n: int = 3) -> SweepMark:
    runs = (mean - 0.01, mean, mean + 0.01)[:n]
    low, high = (mean - 0.025, mean + 0.025) if n > 1 else (None, None)
    losses = tuple(1 - run for run in runs)
    return SweepMark(place, SeedMean(mean, low, high, runs), SeedMean(1 - mean, high and 1 - high, low and 1 - low, losses), best)


TICKS = {32.0: "32", 64.0: "64", 128.0: "128"}


def test_bars_dots_and_the_ring_of_the_best_stand_where_they_belong(tmp_path, written, assert_picture):
    line = [mark(32, 0.92, best=True), mark(64), mark(128, 0.88)]
    assert_picture(plot_sweep({"": line}, "Batch size", tmp_path / "a.png", ticks=TICKS, title="T", note="N"), width=1200, height=600)
    left = written[0].axes[0]
    bars = [list(drawn.get_ydata()) for drawn in left.lines if drawn.get_marker() == "_"]
    assert bars[0] == pytest.approx([89.5, 94.5])
    dots = [list(drawn.get_ydata()) for drawn in left.lines if drawn.get_markersize() == 4.5]
    assert dots[0] == pytest.approx([91.0, 92.0, 93.0])
    rings = [(drawn.get_xdata()[0], drawn.get_ydata()[0]) for drawn in left.lines if drawn.get_markersize() == 14]
    assert rings == [(32, pytest.approx(92.0))]
    assert left.get_xscale() == "log"
    assert left.get_ylabel() == "Validation accuracy (%)"
    assert written[0].get_suptitle() == "T"
    assert written[0].get_supxlabel() == "N"
    assert not written[0].spilled


def test_single_runs_have_no_bars(tmp_path, written):
    plot_sweep({"": [mark(32, n=1), mark(64, n=1)]}, "Batch size", tmp_path / "a.png", ticks=TICKS)
    assert not [drawn for drawn in written[0].axes[0].lines if drawn.get_marker() == "_"]


def test_names_are_not_joined_by_a_line_and_stand_apart(tmp_path, written):
    lines = {"lr 0.1": [mark(0), mark(1)], "lr 0.2": [mark(0, 0.8), mark(1, 0.7)]}
    plot_sweep(lines, "name", tmp_path / "a.png", ticks={0.0: "sgd", 1.0: "adam"}, numeric=False, split="test")
    left = written[0].axes[0]
    means = [drawn for drawn in left.lines if drawn.get_markersize() == 6.5]
    assert {drawn.get_linestyle() for drawn in means} == {"None"}
    assert list(means[0].get_xdata()) != list(means[1].get_xdata())
    assert [label.get_text() for label in left.get_xticklabels()] == ["sgd", "adam"]
    assert left.get_ylabel() == "Test accuracy (%)"
    assert [text.get_text() for text in written[0].legends[0].get_texts()] == ["lr 0.1", "lr 0.2"]
    assert not written[0].spilled


def test_long_words_stay_inside(tmp_path, written):
    lines = {f"a very long name of a line, number {n}, that goes on and on and on": [mark(0), mark(1)] for n in range(MOST_LINES)}
    ticks = {0.0: "a value with a very long name " * 3, 1.0: "another one " * 5}
    plot_sweep(lines, "word " * 60, tmp_path / "a.png", ticks=ticks, numeric=False, title="title " * 60, note="note " * 80)
    assert not written[0].spilled


@pytest.mark.parametrize("lines", [{}, {"": []}, {str(n): [mark(1)] for n in range(MOST_LINES + 1)}, {"": [mark(float("nan"))]}])
def test_a_sweep_that_cannot_be_drawn_is_refused(lines, tmp_path):
    with pytest.raises(ValueError, match="sweep"):
        plot_sweep(lines, "Batch size", tmp_path / "a.png", ticks={})


def test_curves_show_each_seed_and_their_mean(tmp_path, written, assert_picture):
    runs = [[{"epoch": e, "train_accuracy": (e + s) / 10, "validation_accuracy": None, "train_loss": 1.0} for e in (1, 2)] for s in (0, 2)]
    assert_picture(plot_seed_curves(runs, tmp_path / "a.png", title="T", note="N"), width=1200, height=600)
    left = written[0].axes[0]
    thin = [list(drawn.get_ydata()) for drawn in left.lines if drawn.get_linewidth() == 0.8 and len(drawn.get_ydata())]
    thick = [list(drawn.get_ydata()) for drawn in left.lines if drawn.get_linewidth() == 1.9 and len(drawn.get_ydata())]
    assert thin == [pytest.approx([10, 20]), pytest.approx([30, 40])]
    assert thick == [pytest.approx([20, 30])]
    assert not written[0].spilled


def test_curves_without_an_epoch_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one epoch"):
        plot_seed_curves([[], []], tmp_path / "a.png")
