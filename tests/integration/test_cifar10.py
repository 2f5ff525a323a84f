"""The main job on real CIFAR-10, cut short: what a first minute of training must reach. Where CIFARLAB_DATA is set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import cifarlab

pytestmark = pytest.mark.skipif("CIFARLAB_DATA" not in os.environ, reason="CIFARLAB_DATA is not set: no real CIFAR-10 to read")


def test_the_fast_recipe_is_far_above_chance_after_forty_steps(tmp_path: Path) -> None:
    # 2 000 images, 16 to 24 px, narrow: 40 steps of 250. Chance is 10 %; asked for are 35 %; seeds 0 and 1 reached 52.9 % and 54.7 %.
    overrides = {
        "data.train_size": 2000,
        "train.batch_size": 250,
        "train.duration": "5ep",
        "train.resolution": [16, 24],
        "train.freeze": [],
        "model.arguments.widths": [32, 64, 64],
        "optim.arguments": {"bias_lr": 13.0, "head_lr": 2.5e-3},
    }
    run = cifarlab.train("fast", data="cifar10", seed=0, runs=tmp_path, overrides=overrides, report=False)
    assert run.history[-1]["validation_accuracy"] > 0.35
    assert run.status["test_reads"] == 0


def test_lab_base_passes_thirty_percent_in_two_epochs_of_5000_images(tmp_path: Path) -> None:
    # Seeds 0 to 2 reached 35.7 %, 36.9 % and 36.9 % (one epoch: 30.1 %, 28.3 %, 32.6 %).
    overrides = {"data.train_size": 5000, "train.duration": "2ep"}
    run = cifarlab.train("lab-base", data="cifar10", seed=0, runs=tmp_path, overrides=overrides, report=False)
    assert run.status["parameters"] == 24_666
    assert run.metrics["validation"]["accuracy"]["value"] > 0.30
