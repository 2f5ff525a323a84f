"""The moving average of weights against its recurrence and against PyTorch's AveragedModel."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cifarlab.optim import WeightAverage


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))


def move(model: nn.Module, seed: int) -> None:
    """As a training step would: other weights, other batch-norm statistics, a count one higher."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
        model.train()(torch.randn(4, 3, 8, 8, generator=generator))


def test_the_warm_up_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, decay=0.15)
    nn.init.ones_(model.weight)
    average.update()  # decay min(0.15, 1/10): 0.1 * 0 + 0.9 * 1
    assert average.module.weight.item() == pytest.approx(0.9)
    nn.init.constant_(model.weight, 2.0)
    average.update()  # decay min(0.15, 2/11): 0.15 * 0.9 + 0.85 * 2
    assert average.module.weight.item() == pytest.approx(1.835)


def test_after_the_warm_up_it_is_the_average_of_torch() -> None:
    model = network()
    average = WeightAverage(model, decay=0.9)
    for seed in range(81):  # (1 + t) / (10 + t) reaches 0.9 at t = 80
        move(model, seed)
        average.update()
    reference = AveragedModel(average.module, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    reference.n_averaged.fill_(1)  # its first update would only copy
    for seed in range(100, 110):
        move(model, seed)
        average.update()
        reference.update_parameters(model)
    expected = {name: tensor for name, tensor in reference.module.state_dict().items() if tensor.is_floating_point()}
    assert len(expected) == 8  # PyTorch averages the count of batches too, rounded
    for name in expected:
        tensor = average.module.state_dict()[name]
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)


def test_batch_norm_statistics_are_averaged_and_counts_copied() -> None:
    model = network()
    average = WeightAverage(model, decay=0.05)
    before = model[1].running_var.clone()
    move(model, 0)
    average.update()
    torch.testing.assert_close(average.module[1].running_var, 0.05 * before + 0.95 * model[1].running_var)
    assert average.module[1].num_batches_tracked == model[1].num_batches_tracked == 1


def test_a_restored_average_goes_on_bit_for_bit() -> None:
    model = network()
    average = WeightAverage(model, decay=0.9)
    for seed in range(3):
        move(model, seed)
        average.update()
    other = network()
    restored = WeightAverage(other, decay=0.9)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    restored.load_state_dict(copy.deepcopy(average.state_dict()))
    for seed in range(3, 6):
        for each, mean in ((model, average), (other, restored)):
            move(each, seed)
            mean.update()
    expected = average.module.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in restored.module.state_dict().items())


def test_the_averaged_network_is_apart_from_the_model_and_ready_to_evaluate() -> None:
    model = network()
    average = WeightAverage(model)
    before = average.module[0].weight.clone()
    move(model, 0)
    assert torch.equal(average.module[0].weight, before)
    assert not average.module.training
    assert all(not parameter.requires_grad for parameter in average.module.parameters())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan, True, "0.9"])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay must be"):
        WeightAverage(network(), decay=decay)
