"""What a training costs, what the machine could do at most, and when a target was reached."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_runs import STEPS_PER_EPOCH, make_recipe, train

from cifarlab.cli.train import cost_line, target_line
from cifarlab.training.cost import convolution_peak, time_to_target

CPU = torch.device("cpu")


def speednet_multiply_adds(side: int, widths: tuple[int, int, int]) -> int:
    """By hand: each layer's output positions x kernel x channels in x channels out."""
    side -= 1
    total = side**2 * 24 * 3 * 2 * 2
    channels = 24
    for width in widths:
        total += side**2 * width * channels * 9
        side //= 2
        total += side**2 * width * width * 9
        channels = width
    return total + channels * 4


def test_operations_of_a_run_are_those_counted_by_hand_at_each_resolution(tmp_path: Path) -> None:
    run = train(tmp_path, "a", make_recipe())  # 128 images; epochs at 16, 16 and 20 px
    forward = 2 * speednet_multiply_adds(16, (8, 8, 8)) + speednet_multiply_adds(20, (8, 8, 8))
    assert run.status()["operations"] == 6 * 128 * forward


def test_part_of_an_epoch_costs_its_share(tmp_path: Path) -> None:
    steps = STEPS_PER_EPOCH + 2
    run = train(tmp_path, "a", make_recipe(train__duration=f"{steps}st", train__resolution=[16]))
    assert run.status()["operations"] == 6 * 128 * 1.5 * speednet_multiply_adds(16, (8, 8, 8))


def test_a_short_training_is_not_made_longer_by_measuring_the_peak(tmp_path: Path) -> None:
    assert train(tmp_path, "a", make_recipe()).status()["convolution_peak"] is None


def test_no_convolution_of_that_shape_is_faster_than_the_peak_by_much() -> None:
    peak = convolution_peak(CPU, seconds=0.3)
    again = convolution_peak(CPU, seconds=0.3)
    assert peak > 1e8
    assert again == pytest.approx(peak, rel=0.8)  # other work beside; a wrong count of operations would be off by far more


def test_the_target_is_reached_in_the_first_epoch_that_has_it() -> None:
    rows = [{"epoch": 1, "validation_accuracy": 0.5}, {"epoch": 2, "validation_accuracy": 0.94}, {"epoch": 3, "validation_accuracy": 0.95}]
    row = time_to_target(rows, 0.94)
    assert row is not None
    assert row["epoch"] == 2
    assert time_to_target(rows, 0.96) is None
    assert time_to_target([{"epoch": 1, "validation_accuracy": None}], 0.1) is None


def test_the_end_tells_operations_rate_and_share_of_the_peak() -> None:
    status = {"operations": 3.02e14, "seconds": 600.0, "convolution_peak": 1.08e12}
    assert cost_line(status) == "0.302 PFLOP at 0.503 TFLOP/s, 47 % of the convolution peak measured after it (1.08 TFLOP/s)"
    assert cost_line({"operations": 2e11, "seconds": 2.0, "convolution_peak": None}) == "0.2 TFLOP at 0.1 TFLOP/s"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (0.90, "90 % on validation: reached after 1:00 (epoch 1, one view)"),
        (0.94, "94 % on validation: reached after 2:10 (2 views (flip))"),
        (0.96, "96 % on validation: not reached"),
    ],
)
def test_the_end_tells_when_the_target_was_reached(target: float, words: str) -> None:
    rows = [{"epoch": 1, "validation_accuracy": 0.91, "seconds": 60.0}, {"epoch": 2, "validation_accuracy": 0.93, "seconds": 130.0}]
    assert target_line(target, rows, {"accuracy": {"value": 0.945}, "tta": "flip"}, seconds=130.0) == words
