"""Networks with packed convolutions answer as before, whatever their convolutions are like, and the network given is not changed."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from untrained_bundles import SPEEDNET, pictures, vary, write_untrained

import cifarlab
from cifarlab.bundle.packed import PackedConvolution, can_pack, packed
from cifarlab.bundle.torch_engine import TorchEngine
from cifarlab.models import create_model

needs_packing = pytest.mark.skipif(not can_pack(), reason="this PyTorch has no oneDNN")


@needs_packing
@pytest.mark.parametrize("name", ["speednet", "alexnet", "mobilenetv2", "resnet20", "lab-final", "densenet-bc-100-12"])
@torch.no_grad()
def test_answers_are_the_same(name: str) -> None:
    network = create_model(name, num_classes=3, arguments=SPEEDNET["arguments"] if name == "speednet" else None).eval()
    vary(network)
    before = copy.deepcopy(network.state_dict())
    fast = packed(network)
    assert any(isinstance(module, PackedConvolution) for module in fast.modules())
    assert not any(isinstance(module, PackedConvolution) for module in network.modules())
    for count in (1, 2, 7):
        images = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(count)).contiguous(memory_format=torch.channels_last)
        expected = network(images)
        torch.testing.assert_close(fast(images), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_what_cannot_be_packed_stays() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")).eval()
    assert not any(isinstance(module, PackedConvolution) for module in packed(network).modules())


def test_without_such_kernels_the_network_itself_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifarlab.bundle.packed.can_pack", lambda: False)
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert packed(network) is network


def test_a_servers_engine_answers_as_before_and_keeps_its_gradients(tmp_path: Path) -> None:
    folder = write_untrained(tmp_path / "b")
    engine = cifarlab.load(folder, device="cpu").engine
    assert isinstance(engine, TorchEngine)
    expected = [engine.logits(pictures(count), views="flip") for count in (1, 5)]
    engine.split_over(1)
    for count, wanted in zip((1, 5), expected, strict=True):
        np.testing.assert_allclose(engine.logits(pictures(count), views="flip"), wanted, atol=1e-4)
    engine.model(torch.zeros(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in engine.model.parameters() if parameter.requires_grad)
