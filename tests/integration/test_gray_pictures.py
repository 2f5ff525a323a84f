"""Pictures without colour leave whitening directions without variance; training must not blow up on them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import cifarlab


@pytest.mark.parametrize("seed", [0, 1])
def test_the_whitened_network_learns_gray_pictures(tmp_path: Path, seed: int) -> None:
    run = cifarlab.train(
        "digits", seed=seed, name="gray", runs=tmp_path, report=False, overrides={"data.validation": 0.4, "train.duration": "3ep"}
    )

    assert run.history[-1]["validation_accuracy"] > 0.9  # chance is 0.1, where every seed stayed while null directions were kept


def test_whitening_of_gray_pictures_has_no_dead_filter() -> None:
    from cifarlab.models import create_model

    torch.manual_seed(0)
    gray = torch.randn(64, 1, 16, 16).expand(64, 3, 16, 16).contiguous()
    network = create_model("speednet")
    network.fit_to_data(gray)

    outputs = torch.nn.functional.conv2d(gray, network.whiten.weight)  # [64, 24, 15, 15]
    assert outputs.var(dim=(0, 2, 3)).min() > 0.5
