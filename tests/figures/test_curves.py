"""figures.curves: what is drawn from the epoch log, however little of it there is."""

from __future__ import annotations

import pytest

from cifarlab.figures import plot_curve

ROWS = [
    {"epoch": 1, "train_accuracy": 0.4, "validation_accuracy": 0.5, "train_loss": 2.0, "validation_loss": 1.5, "train_mse": 0.09},
    {"epoch": 2, "train_accuracy": 0.6, "validation_accuracy": 0.7, "train_loss": 1.0, "validation_loss": 1.2, "train_mse": 0.05},
    {"epoch": 3, "train_accuracy": 0.8, "validation_accuracy": 0.6, "train_loss": 0.5, "validation_loss": 1.3, "train_mse": None},
]


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize(
    ("quantity", "best"),
    [
        ("accuracy", "Best validation: 70.00 % (epoch 2)"),
        ("loss", "Best validation: 1.2 (epoch 2)"),
        ("mse", "Best train: 0.05 (epoch 2)"),
    ],
)
def test_the_best_epoch_is_named(quantity, best, tmp_path, written, assert_picture):
    path = plot_curve(ROWS, quantity, tmp_path / "curve.png")
    assert path == tmp_path / "curve.png"
    assert_picture(path, width=900, height=500)
    assert labels(written[0])[-1] == best
    assert not written[0].spilled


def test_train_and_validation_are_drawn_in_percent_and_told_apart_without_colour(tmp_path, written):
    plot_curve(ROWS, "accuracy", tmp_path / "curve.png")
    train, validation, _ = written[0].axes[0].get_lines()
    assert list(train.get_ydata()) == pytest.approx([40, 60, 80])
    assert list(validation.get_ydata()) == pytest.approx([50, 70, 60])
    assert train.get_linestyle() != validation.get_linestyle()
    assert train.get_marker() != validation.get_marker()


def test_one_epoch_without_validation(tmp_path, written, assert_picture):
    rows = [{"epoch": 1, "train_accuracy": 0.4, "validation_accuracy": None}]
    assert_picture(plot_curve(rows, "accuracy", tmp_path / "curve.png"), width=900, height=500)
    assert labels(written[0]) == ["Train", "Best train: 40.00 % (epoch 1)"]
    low, high = written[0].axes[0].get_xlim()
    assert [tick for tick in written[0].axes[0].get_xticks() if low <= tick <= high] == [1]


def test_five_hundred_epochs_have_whole_numbers_below(tmp_path, written):
    rows = [{"epoch": i, "train_loss": 1.0 / i} for i in range(1, 501)]
    plot_curve(rows, "loss", tmp_path / "curve.png")
    assert all(float(tick).is_integer() for tick in written[0].axes[0].get_xticks())


@pytest.mark.parametrize("rows", [[], [{"epoch": 1}], [{"epoch": 1, "train_loss": None}]])
def test_nothing_recorded_is_an_error(rows, tmp_path):
    with pytest.raises(ValueError, match="no epoch holds train_loss"):
        plot_curve(rows, "loss", tmp_path / "curve.png")
    assert not list(tmp_path.iterdir())


def test_another_quantity_is_refused(tmp_path):
    with pytest.raises(ValueError, match="accuracy, loss, mse"):
        plot_curve(ROWS, "speed", tmp_path / "curve.png")
