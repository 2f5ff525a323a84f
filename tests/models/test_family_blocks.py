"""Blocks of the textbook families against plain PyTorch and formulas, and the weights that they start from."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.models import create_model
from cifarlab.models.alexnet import ResponseNorm
from cifarlab.models.convolution import conv_norm_relu
from cifarlab.models.densenet import DenseLayer
from cifarlab.models.googlenet import Inception
from cifarlab.models.initialization import he_normal
from cifarlab.models.lenet import FOUR_MAPS, THREE_MAPS, ScaledTanh, Subsampling, TableConv
from cifarlab.models.mobilenet import InvertedResidual
from cifarlab.models.squeezenet import Fire
from cifarlab.models.wideresnet import WideBlock


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def redraw_(model: nn.Module) -> None:
    """Give every parameter of `model` a random value, batch norm's scales and shifts too, so that none is without effect."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))


# -- layers and blocks --------------------------------------------------------------------------------------------------


def test_subsampling_is_a_trained_multiple_of_the_sum_and_a_trained_bias() -> None:
    layer = Subsampling(2)
    redraw_(layer)
    x = numbers(1, 2, 5, 4)  # the fifth row has no partner
    for channel in range(2):
        for row in range(2):
            for column in range(2):
                square = x[0, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                expected = square.sum() * layer.coefficient[channel] + layer.bias[channel]
                torch.testing.assert_close(layer(x)[0, channel, row, column], expected)
    assert layer(x).shape == (1, 2, 2, 2)


def test_the_scaled_tanh_maps_one_to_one() -> None:
    torch.testing.assert_close(
        ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 50.0])), torch.tensor([-1.0, 0.0, 1.0, 1.7159]), atol=1e-4, rtol=0
    )


def test_the_table_convolution_is_a_convolution_with_60_of_its_96_connections() -> None:
    layer = TableConv()
    redraw_(layer)
    weight = torch.zeros(16, 6, 5, 5)
    for row, maps in enumerate(THREE_MAPS + FOUR_MAPS + (tuple(range(6)),)):
        part, first = (layer.three, 0) if row < 6 else (layer.four, 6) if row < 15 else (layer.six, 15)
        weight[row, list(maps)] = part.weight.detach()[row - first]
    bias = torch.cat([part.bias.detach() for part in (layer.three, layer.four, layer.six)])  # type: ignore[misc]
    used = weight.abs().sum(dim=(2, 3)) > 0
    assert used.sum() == 60
    assert (used.sum(dim=0) == 10).all()  # each map of S2 feeds ten maps of C3
    x = numbers(2, 6, 9, 9)
    torch.testing.assert_close(layer(x), F.conv2d(x, weight, bias), atol=1e-4, rtol=1e-4)


def test_alexnet_normalizes_as_its_formula_says() -> None:
    # Section 3.3: b_i = a_i / (k + alpha * sum over 5 neighbouring channels of a_j^2)^beta, k = 2, alpha = 1e-4, beta = 0.75.
    a = numbers(1, 8, 2, 2).double() * 100
    expected = torch.empty_like(a)
    for i in range(8):
        near = a[0, max(0, i - 2) : i + 3]
        expected[0, i] = a[0, i] / (2 + 1e-4 * near.square().sum(dim=0)) ** 0.75
    torch.testing.assert_close(ResponseNorm()(a), expected)
    reference = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)  # PyTorch divides alpha by the number of channels
    torch.testing.assert_close(ResponseNorm()(a), reference(a))


def test_inception_puts_its_four_branches_side_by_side() -> None:
    block = Inception(6, (3, 2, 4, 2, 5, 1), batch_norm=False)
    x = numbers(1, 6, 7, 7)
    one, reduce3, three, reduce5, five, pool = (m for m in block.modules() if isinstance(m, nn.Conv2d))
    expected = [
        F.relu(one(x)),
        F.relu(F.conv2d(F.relu(reduce3(x)), three.weight, three.bias, padding=1)),
        F.relu(F.conv2d(F.relu(reduce5(x)), five.weight, five.bias, padding=2)),
        F.relu(pool(F.max_pool2d(x, 3, stride=1, padding=1))),
    ]
    assert block.channels == 3 + 4 + 5 + 1
    torch.testing.assert_close(block(x), torch.cat(expected, dim=1))


def test_fire_squeezes_once_and_expands_twice() -> None:
    block = Fire(6, (2, 3, 4), batch_norm=False)
    x = numbers(1, 6, 5, 5)
    squeeze, expand1, expand3 = (m for m in block.modules() if isinstance(m, nn.Conv2d))
    squeezed = F.relu(squeeze(x))
    expected = [F.relu(expand1(squeezed)), F.relu(F.conv2d(squeezed, expand3.weight, expand3.bias, padding=1))]
    torch.testing.assert_close(block(x), torch.cat(expected, dim=1))


def test_a_wide_block_adds_its_convolutions_to_its_input() -> None:
    block = WideBlock(4, 4, stride=1, dropout=0.0).eval()
    redraw_(block)
    x = numbers(2, 4, 6, 6)
    y = F.conv2d(F.relu(block.norm1(x)), block.conv1.weight, padding=1)
    y = F.conv2d(F.relu(block.norm2(y)), block.conv2.weight, padding=1)
    assert block.shortcut is None
    torch.testing.assert_close(block(x), x + y)


def test_a_wide_block_of_another_shape_projects_the_activated_input() -> None:
    block = WideBlock(4, 6, stride=2, dropout=0.0).eval()
    redraw_(block)
    nn.init.zeros_(block.conv2.weight)
    assert block.shortcut is not None
    x = numbers(2, 4, 7, 7)
    torch.testing.assert_close(block(x), F.conv2d(F.relu(block.norm1(x)), block.shortcut.weight, stride=2))


def test_a_dense_layer_keeps_its_input_and_adds_its_growth() -> None:
    layer = DenseLayer(5, 3, dropout=0.0).eval()
    redraw_(layer)
    x = numbers(1, 5, 4, 4)
    new = F.conv2d(F.relu(layer.norm1(x)), layer.conv1.weight)
    assert new.shape[1] == 4 * 3
    new = F.conv2d(F.relu(layer.norm2(new)), layer.conv2.weight, padding=1)
    torch.testing.assert_close(layer(x), torch.cat([x, new], dim=1))


@pytest.mark.parametrize(("channels_out", "stride", "residual"), [(4, 1, True), (6, 1, False), (4, 2, False)])
def test_an_inverted_residual_adds_its_input_only_where_shapes_agree(channels_out: int, stride: int, residual: bool) -> None:
    block = InvertedResidual(4, channels_out, expansion=6, stride=stride).eval()
    redraw_(block)
    expand, filters, project = (m for m in block.modules() if isinstance(m, nn.Conv2d))
    assert (expand.out_channels, filters.groups, project.in_channels) == (24, 24, 24)
    norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    x = numbers(1, 4, 6, 6)
    y = F.relu6(norms[0](expand(x)))
    y = F.relu6(norms[1](F.conv2d(y, filters.weight, stride=stride, padding=1, groups=24)))
    y = norms[2](project(y))  # a linear bottleneck: no activation
    torch.testing.assert_close(block(x), x + y if residual else y)


# -- weights to start from ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "mode", "fan"),
    [
        (nn.Conv2d(32, 64, 3), "fan_in", 9 * 32),
        (nn.Conv2d(32, 64, 3), "fan_out", 9 * 64),
        (nn.Conv2d(64, 256, 3, groups=4), "fan_in", 9 * 16),
        (nn.Conv2d(64, 256, 3, groups=4), "fan_out", 9 * 64),
        (nn.Conv2d(512, 512, 3, groups=512), "fan_out", 9),
        (nn.Linear(200, 300), "fan_out", 200),
    ],
)
def test_he_normal_has_variance_2_over_the_fan(layer: nn.Module, mode: Any, fan: int) -> None:
    torch.manual_seed(0)
    head = nn.Linear(500, 10)
    he_normal(nn.Sequential(layer, head), head=head, mode=mode)
    weight = layer.get_parameter("weight")
    assert weight.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.05)  # at least 4 608 values
    assert abs(weight.mean().item()) < 4 * math.sqrt(2 / fan / weight.numel())
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not layer.get_parameter("bias").any()
    assert not head.bias.any()


@pytest.mark.parametrize("name", ["alexnet", "densenet-bc-100-12", "googlenet", "mobilenetv2", "squeezenet", "vgg11", "wrn-16-4"])
def test_the_first_loss_is_near_that_of_guessing(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, arguments={"dropout": 0.0}).train()
    with torch.no_grad():
        loss = F.cross_entropy(model(numbers(10, 3, 32, 32)), torch.arange(10))
    assert loss.item() == pytest.approx(math.log(10), abs=0.5)


def test_lenet5_starts_with_variance_1_over_fan_in_and_keeps_the_signal() -> None:
    torch.manual_seed(0)
    model = create_model("lenet5")
    for key, fan_in in (("c1", 75), ("c3", 150), ("c5", 400), ("f6", 120)):
        weight = model.get_submodule(key).get_parameter("weight")
        assert weight.abs().max().item() <= math.sqrt(3 / fan_in)
        assert weight.std().item() == pytest.approx(1 / math.sqrt(fan_in), rel=0.1)
    logits = model(numbers(64, 3, 32, 32)).detach()
    assert 0.2 < logits.std(dim=0).mean().item() < 2


def test_conv_norm_relu_keeps_the_size_at_stride_1_and_halves_it_at_stride_2() -> None:
    x = numbers(1, 4, 9, 9)
    for kernel in (1, 3, 5):
        assert conv_norm_relu(4, 6, kernel)(x).shape == (1, 6, 9, 9)
        assert conv_norm_relu(4, 6, kernel, stride=2)(x).shape == (1, 6, 5, 5)
