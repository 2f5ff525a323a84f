"""Residual networks: depth and size of the paper's tables, shortcuts, start."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.errors import UsageError
from cifarlab.models import create_model, measure_model
from cifarlab.models.resnet import BasicBlock, PaddedShortcut, residual_network

# Table 6 of the paper: n blocks a stage, millions of parameters as printed.
CIFAR = {"resnet20": (3, "0.27"), "resnet32": (5, "0.46"), "resnet44": (7, "0.66"), "resnet56": (9, "0.85"), "resnet110": (18, "1.7")}
# Table 1: basic blocks a stage; parameters of the CIFAR-size network with projections, by `trained_wide` below.
WIDE = {"resnet18": ((2, 2, 2, 2), 11_173_962), "resnet34": ((3, 4, 6, 3), 21_282_122)}


def random_images(count: int, size: int = 32, *, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def trained(widths: tuple[int, ...], blocks: tuple[int, ...], *, projection: bool) -> int:
    """Weights of convolutions without bias, 2 of batch norm for each channel behind one, dense 10 with bias."""
    channels, total = widths[0], 27 * widths[0] + 2 * widths[0]
    for width, count in zip(widths, blocks, strict=True):
        total += 9 * channels * width + (2 * count - 1) * 9 * width * width + 2 * count * 2 * width
        if projection and channels != width:
            total += channels * width + 2 * width
        channels = width
    return total + 10 * channels + 10


@pytest.mark.parametrize("name", CIFAR)
def test_depth_is_6n_plus_2_and_size_that_of_the_paper(name: str) -> None:
    n, millions = CIFAR[name]
    size = measure_model(create_model(name))
    assert size.depth == 6 * n + 2 == int(name.removeprefix("resnet"))
    assert size.trainable == trained((16, 32, 64), (n, n, n), projection=False)
    assert f"{size.trainable / 1e6:.{len(millions) - 2}f}" == millions


def test_resnet20_counts_as_published() -> None:
    size = measure_model(create_model("resnet20"))
    assert size.trainable == 269_722
    assert size.frozen == 2 * (7 * 16 + 6 * 32 + 6 * 64)  # running means and variances
    stages = 27 * 16 * 1024 + 6 * 2304 * 1024, (4608 + 5 * 9216) * 256, (18432 + 5 * 36864) * 64
    assert size.multiply_adds == sum(stages) + 640


@pytest.mark.parametrize("name", WIDE)
def test_wide_networks_have_the_known_size(name: str) -> None:
    blocks, known = WIDE[name]
    widths = (64, 128, 256, 512)
    assert measure_model(create_model(name)).trainable == trained(widths, blocks, projection=True) == known
    plain = measure_model(create_model(name, arguments={"shortcut": "identity"}))
    assert plain.trainable == trained(widths, blocks, projection=False)
    assert plain.depth == int(name.removeprefix("resnet"))  # the paper counts no projections


def test_projection_adds_one_convolution_for_each_change_of_width() -> None:
    size = measure_model(create_model("resnet20", arguments={"shortcut": "projection"}))
    assert size.trainable == 269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert size.depth == 22


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet20", [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        ("resnet18", [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]),
    ],
)
def test_stages_give_the_shapes_of_the_paper(name: str, expected: list[tuple[int, int, int]]) -> None:
    model = create_model(name).eval()
    x, shapes = random_images(1), {}
    for layer, module in model.named_children():
        x = module(x)
        if layer.startswith("stage"):
            shapes.setdefault(layer.partition("_")[0], set()).add(tuple(x.shape[1:]))
    assert [shapes[f"stage{number}"] for number in range(1, len(expected) + 1)] == [{shape} for shape in expected]
    assert len(shapes) == len(expected)


def test_a_padded_shortcut_takes_every_second_pixel_and_adds_zero_channels() -> None:
    x = torch.randn(2, 3, 5, 7)
    y = PaddedShortcut(3, 8, stride=2)(x)
    assert y.shape == (2, 8, 3, 4)
    for row in range(3):
        for column in range(4):
            assert torch.equal(y[:, :3, row, column], x[:, :, 2 * row, 2 * column])
    assert not y[:, 3:].any()


def test_a_padded_shortcut_keeps_the_memory_layout() -> None:
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    assert PaddedShortcut(4, 8, stride=2)(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("channels", "stride", "shortcut"), [(4, 1, "identity"), (8, 2, "identity"), (8, 2, "projection")])
def test_a_block_is_equation_2_of_the_paper(channels: int, stride: int, shortcut: str) -> None:
    torch.manual_seed(0)
    block = BasicBlock(4, channels, stride=stride, shortcut=shortcut, activation="relu").train()  # type: ignore[arg-type]
    x = torch.randn(6, 4, 8, 8)

    def normalized(y: Tensor) -> Tensor:
        return (y - y.mean((0, 2, 3), keepdim=True)) / torch.sqrt(y.var((0, 2, 3), keepdim=True, correction=0) + 1e-5)

    passed = x
    if shortcut == "projection":
        passed = normalized(F.conv2d(x, block.get_parameter("shortcut.conv.weight"), stride=stride))
    elif stride == 2:
        passed = torch.cat([x[:, :, ::2, ::2], torch.zeros(6, 4, 4, 4)], dim=1)
    hidden = torch.relu(normalized(F.conv2d(x, block.conv1.weight, stride=stride, padding=1)))
    expected = torch.relu(normalized(F.conv2d(hidden, block.conv2.weight, padding=1)) + passed)
    given = x.clone()
    torch.testing.assert_close(block(given), expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(given, x)  # what a block reads it leaves as it was


def test_kernels_start_he_normal() -> None:
    # He et al. 2015, eq. 10: variance 2 / (9 channels in).
    torch.manual_seed(0)
    convolutions = [layer for layer in create_model("resnet20").modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 19
    for convolution in convolutions:
        assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * convolution.in_channels)), rel=0.12)
        assert convolution.bias is None


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
@pytest.mark.parametrize("name", ["resnet20", "resnet18"])
def test_gradients_reach_every_parameter(name: str, shortcut: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, image_size=16, arguments={"shortcut": shortcut}).train()
    F.cross_entropy(model(random_images(10, 16)), torch.arange(10)).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
@pytest.mark.parametrize("size", [16, 21, 37])
def test_other_sizes_and_classes(size: int, shortcut: str) -> None:
    model = create_model("resnet20", image_size=size, num_classes=7, arguments={"shortcut": shortcut}).eval()
    assert model(random_images(2, size)).shape == (2, 7)


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_an_image_is_judged_alone_and_the_network_can_be_traced(shortcut: str) -> None:
    torch.manual_seed(0)
    model = create_model("resnet20", arguments={"shortcut": shortcut}).eval()
    images = random_images(3)
    with torch.no_grad():
        together = model(images)
        torch.testing.assert_close(together, torch.cat([model(image[None]) for image in images]), atol=1e-5, rtol=1e-4)
        assert torch.equal(torch.fx.symbolic_trace(model)(images), together)


def test_the_activation_given_is_used_everywhere() -> None:
    layers = list(create_model("resnet20", arguments={"activation": "silu"}).modules())
    assert sum(isinstance(layer, nn.SiLU) for layer in layers) == 1 + 2 * 9
    assert not any(isinstance(layer, nn.ReLU) for layer in layers)


def test_layers_can_be_cut_off_for_their_features() -> None:
    assert create_model("resnet20").eval()[:-1](random_images(2)).shape == (2, 64)


def test_other_shortcuts_are_refused() -> None:
    with pytest.raises(UsageError, match=r"model resnet20: argument shortcut: .*'identity' or 'projection'"):
        create_model("resnet20", arguments={"shortcut": "identitty"})
    with pytest.raises(ValueError, match=r"unknown shortcut 'identitty'; did you mean 'identity'\?"):
        residual_network((16,), (1,), num_classes=10, image_size=32, shortcut="identitty", activation="relu")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*CIFAR, *WIDE])
def test_small_images_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="image_size must be at least 16, not 15"):
        create_model(name, image_size=15)
