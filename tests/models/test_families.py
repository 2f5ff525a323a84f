"""The textbook families: parameters, shapes and arguments against their papers and hand arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

from cifarlab.errors import UsageError
from cifarlab.models import create_model, measure_model, model_arguments
from cifarlab.models.mobilenet import InvertedResidual

FAMILIES = (
    "alexnet",
    "densenet-bc-100-12",
    "googlenet",
    "lenet5",
    "mobilenetv2",
    "squeezenet",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "wrn-16-4",
    "wrn-28-10",
)


def shaped(name: str, *, num_classes: int = 10, image_size: int = 32, **arguments: Any) -> nn.Module:
    """The network without memory for its weights: shapes and counts only."""
    with torch.device("meta"):
        return create_model(name, num_classes=num_classes, image_size=image_size, arguments=arguments)


def trained(modules: nn.Module | Iterable[nn.Module]) -> int:
    parts = [modules] if isinstance(modules, nn.Module) else modules
    return sum(p.numel() for part in parts for p in part.parameters() if p.requires_grad)


def layers_of(model: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, kinds)]


# -- parameters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),  # Simonyan and Zisserman, table 2: 133, 133, 138 and 144 million
    [("vgg11", 132_863_336), ("vgg13", 133_047_848), ("vgg16", 138_357_544), ("vgg19", 143_667_240)],
)
def test_vgg_for_imagenet_has_the_parameters_of_the_paper(name: str, expected: int) -> None:
    assert trained(shaped(name, num_classes=1000, image_size=224, batch_norm=False, hidden=4096)) == expected


def test_vgg16_has_14_714_688_parameters_in_its_convolutions() -> None:
    pairs = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * 2, (256, 512), *[(512, 512)] * 5]
    assert sum(9 * a * b + b for a, b in pairs) == 14_714_688
    assert trained(layers_of(shaped("vgg16", batch_norm=False), nn.Conv2d)) == 14_714_688


@pytest.mark.parametrize(("name", "depth"), [("alexnet", 8), ("vgg11", 11), ("vgg13", 13), ("vgg16", 16), ("vgg19", 19)])
def test_the_number_of_weight_layers_is_that_of_the_name(name: str, depth: int) -> None:
    assert len(layers_of(shaped(name), nn.Conv2d, nn.Linear)) == depth


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("wrn-28-10", 10, 36_479_194),
        ("densenet-bc-100-12", 10, 769_162),
        ("mobilenetv2", 1000, 3_504_872),
        ("mobilenetv2", 10, 3_504_872 - 1000 * 1281 + 10 * 1281),
    ],
)
def test_exact_published_counts(name: str, classes: int, expected: int) -> None:
    assert trained(shaped(name, num_classes=classes)) == expected


@pytest.mark.parametrize(
    ("depth", "width", "millions"),  # Zagoruyko and Komodakis, table 4
    [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (40, 8, 35.7), (28, 12, 52.5), (22, 8, 17.2), (22, 10, 26.8), (16, 8, 11.0), (16, 10, 17.1)],
)
def test_wide_resnets_of_other_sizes_match_the_paper(depth: int, width: int, millions: float) -> None:
    assert round(trained(shaped("wrn-16-4", depth=depth, width=width)) / 1e6, 1) == millions


@pytest.mark.parametrize(("depth", "growth", "millions"), [(100, 12, 0.8), (250, 24, 15.3), (190, 40, 25.6)])  # Huang et al., table 2
def test_densenets_of_other_sizes_match_the_paper(depth: int, growth: int, millions: float) -> None:
    model = shaped("densenet-bc-100-12", depth=depth, growth_rate=growth)
    assert round(trained(model) / 1e6, 1) == millions
    assert len(layers_of(model, nn.Conv2d, nn.Linear)) == depth


def test_lenet5_layer_by_layer() -> None:
    model = shaped("lenet5")
    layers = [layer for layer in model.children() if list(layer.parameters())]
    # C3: 16 maps of 5*5*6 weights and a bias. 16 * (5*5*1 + 1) = 416 would forget the depth of its input.
    assert [trained(layer) for layer in layers] == [6 * (75 + 1), 2 * 6, 16 * (150 + 1), 2 * 16, 120 * (400 + 1), 84 * 121, 10 * 85]
    assert trained(model) == 62_050


def test_lenet5_with_table_1_has_the_60_000_parameters_of_the_paper() -> None:
    model = shaped("lenet5", sparse=True)
    assert trained(model.get_submodule("c3")) == 1516
    for_two_more_colours = 6 * 2 * 25
    assert trained(model) - trained(model.get_submodule("head")) - for_two_more_colours == 60_000


def test_alexnet_convolutions_2_to_5_have_the_parameters_of_the_original() -> None:
    convolutions = layers_of(shaped("alexnet"), nn.Conv2d)
    # 48 and 192 are half of the 96 and 384 channels before: two groups.
    expected = [256 * (25 * 48 + 1), 384 * (9 * 256 + 1), 384 * (9 * 192 + 1), 256 * (9 * 192 + 1)]
    assert expected == [307_456, 885_120, 663_936, 442_624]
    assert [trained(conv) for conv in convolutions[1:]] == expected


def test_squeezenet_fires_have_the_parameters_of_table_1() -> None:
    model = shaped("squeezenet", num_classes=1000, batch_norm=False)
    fires = [trained(model.get_submodule(f"fire{number}")) for number in range(2, 10)]
    assert fires == [11_920, 12_432, 45_344, 49_440, 104_880, 111_024, 188_992, 197_184]
    assert trained(model.get_submodule("conv10")) == 513_000
    assert trained(model.get_submodule("conv1")) == 96 * (9 * 3 + 1)
    assert trained(model) == sum(fires) + 513_000 + 96 * 28  # and nothing else


# Szegedy et al., table 1: input channels, output channels, the six widths.
INCEPTION = {
    "3a": (192, 256, (64, 96, 128, 16, 32, 32)),
    "3b": (256, 480, (128, 128, 192, 32, 96, 64)),
    "4a": (480, 512, (192, 96, 208, 16, 48, 64)),
    "4b": (512, 512, (160, 112, 224, 24, 64, 64)),
    "4c": (512, 512, (128, 128, 256, 24, 64, 64)),
    "4d": (512, 528, (112, 144, 288, 32, 64, 64)),
    "4e": (528, 832, (256, 160, 320, 32, 128, 128)),
    "5a": (832, 832, (256, 160, 320, 32, 128, 128)),
    "5b": (832, 1024, (384, 192, 384, 48, 128, 128)),
}


@pytest.mark.parametrize("name", INCEPTION)
def test_inception_blocks_have_the_widths_of_table_1(name: str) -> None:
    channels_in, channels_out, (one, reduce3, three, reduce5, five, pool) = INCEPTION[name]
    block = shaped("googlenet").get_submodule(f"inception{name}")
    shapes = [tuple(conv.get_parameter("weight").shape) for conv in layers_of(block, nn.Conv2d)]
    assert shapes == [
        (one, channels_in, 1, 1),
        (reduce3, channels_in, 1, 1),
        (three, reduce3, 3, 3),
        (reduce5, channels_in, 1, 1),
        (five, reduce5, 5, 5),
        (pool, channels_in, 1, 1),
    ]
    assert block(torch.zeros(1, channels_in, 4, 4, device="meta")).shape == (1, channels_out, 4, 4)


@pytest.mark.parametrize(("name", "thousands"), [("3a", 159), ("3b", 380), ("4b", 437)])
def test_inception_blocks_have_the_parameters_of_table_1(name: str, thousands: int) -> None:
    # Its K is 1024. Elsewhere the column differs from what its own widths give, by 7 % at 4c (463 K, 498 K by the widths).
    block = shaped("googlenet", batch_norm=False).get_submodule(f"inception{name}")
    assert abs(trained(block) / 1024 - thousands) < 2


def test_mobilenetv2_has_17_blocks_and_10_shortcuts() -> None:
    blocks = [m for m in shaped("mobilenetv2").modules() if isinstance(m, InvertedResidual)]
    assert len(blocks) == 17
    assert sum(block.residual for block in blocks) == 1 + 2 + 3 + 2 + 2  # one less than its blocks in each stage
    assert len(layers_of(blocks[0], nn.Conv2d)) == 2  # expansion 1 needs no convolution
    assert len(layers_of(shaped("mobilenetv2"), nn.Conv2d, nn.Linear)) == 53


# -- output sizes ---------------------------------------------------------------------------------------------------------

# What each named layer gives at 32 px, (W - F + 2P) / S + 1 rounded down, as (channels, height and width).
SHAPES: dict[str, dict[str, tuple[int, int]]] = {
    # 32-5+1, /2, 14-5+1, /2, 5-5+1
    "lenet5": {"c1": (6, 28), "s2": (6, 14), "c3": (16, 10), "s4": (16, 5), "c5": (120, 1)},
    # (32-3)/2+1 = 15, (15-3)/2+1 = 7, (7-3)/2+1 = 3
    "alexnet": {"conv1": (96, 32), "pool1": (96, 15), "conv2": (256, 15), "pool2": (256, 7), "conv5": (256, 7), "pool5": (256, 3)},
    "vgg11": {"pool1": (64, 16), "pool2": (128, 8), "pool3": (256, 4), "conv4_2": (512, 4), "pool4": (512, 2), "pool5": (512, 1)},
    # (32-3+2)/2+1 = 16, (16-3+2)/2+1 = 8
    "googlenet": {"stem": (192, 32), "inception3b": (480, 32), "pool4": (480, 16), "inception4e": (832, 16), "inception5b": (1024, 8)},
    "wrn-16-4": {"conv": (16, 32), "group1_block2": (64, 32), "group2_block1": (128, 16), "group3_block2": (256, 8)},
    # 24 + 16*12 = 216, 108 + 192 = 300, 150 + 192 = 342
    "densenet-bc-100-12": {"conv": (24, 32), "block1_layer16": (216, 32), "transition1": (108, 16), "block3_layer16": (342, 8)},
    "squeezenet": {"conv1": (96, 32), "fire4": (256, 32), "pool4": (256, 16), "fire8": (512, 16), "pool8": (512, 8), "conv10": (10, 8)},
    "mobilenetv2": {
        "stem": (32, 32),
        "stage2_block2": (24, 32),
        "stage3_block1": (32, 16),
        "stage4_block4": (64, 8),
        "stage5_block3": (96, 8),
        "stage6_block1": (160, 4),
        "stage7_block1": (320, 4),
        "last": (1280, 4),
    },
}


@pytest.mark.parametrize("name", SHAPES)
def test_layers_have_the_output_shapes_of_hand_arithmetic(name: str) -> None:
    model = shaped(name).eval()
    seen: dict[str, tuple[int, ...]] = {}

    def remember(key: str) -> Any:
        return lambda module, inputs, output: seen.update({key: tuple(output.shape)})

    for key in SHAPES[name]:
        model.get_submodule(key).register_forward_hook(remember(key))
    model(torch.zeros(1, 3, 32, 32, device="meta"))
    assert seen == {key: (1, channels, side, side) for key, (channels, side) in SHAPES[name].items()}


@pytest.mark.parametrize("size", [33, 64])
@pytest.mark.parametrize("name", FAMILIES)
def test_any_size_from_32_px_on_can_be_built_and_run(name: str, size: int) -> None:
    model = shaped(name, num_classes=7, image_size=size).eval()
    assert model(torch.zeros(2, 3, size, size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize(("name", "least"), [(name, 32 if name[:3] in ("vgg", "len") else 16) for name in FAMILIES])
def test_the_least_size_runs_and_one_pixel_less_is_refused(name: str, least: int) -> None:
    assert shaped(name, image_size=least).eval()(torch.zeros(1, 3, least, least, device="meta")).shape == (1, 10)
    with pytest.raises(UsageError, match=f"image_size must be at least {least}, not {least - 1}"):
        create_model(name, image_size=least - 1)


def test_multiply_adds_of_wrn_28_10_are_those_of_hand_arithmetic() -> None:
    def group(side: int, before: int, width: int) -> int:
        first = 9 * before * width + 9 * width * width + before * width  # with the 1x1 shortcut
        return side * side * (first + 3 * 18 * width * width)

    by_hand = 32 * 32 * 27 * 16 + group(32, 16, 160) + group(16, 160, 320) + group(8, 320, 640) + 640 * 10
    assert measure_model(create_model("wrn-28-10")).multiply_adds == by_hand


# -- arguments ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "lenet5"])
def test_dropout_sets_every_dropout_layer_and_is_less_than_one(name: str) -> None:
    assert "dropout" in model_arguments(name)
    rates = [layer.p for layer in shaped(name, dropout=0.25).modules() if isinstance(layer, nn.Dropout)]
    assert rates
    assert set(rates) == {0.25}
    for wrong in (1.0, -0.1):
        with pytest.raises(UsageError, match=f"dropout must be at least 0 and less than 1, not {wrong}"):
            create_model(name, arguments={"dropout": wrong})


@pytest.mark.parametrize("name", ["googlenet", "squeezenet", "vgg11"])
def test_convolutions_have_either_batch_norm_or_a_bias(name: str) -> None:
    for batch_norm in (True, False):
        model = shaped(name, batch_norm=batch_norm)
        convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.out_channels != 10]
        assert len(layers_of(model, nn.BatchNorm2d)) == (len(convolutions) if batch_norm else 0)
        assert {conv.bias is None for conv in convolutions} == {batch_norm}


@pytest.mark.parametrize(
    ("name", "argument", "value", "message"),
    [
        ("wrn-28-10", "depth", 27, r"depth must be 6 n \+ 4 .*not 27"),
        ("wrn-16-4", "depth", 4, r"depth must be 6 n \+ 4 .*not 4"),
        ("wrn-16-4", "width", 0, "width must be at least 1, not 0"),
        ("densenet-bc-100-12", "depth", 99, r"depth must be 6 n \+ 4 .*not 99"),
        ("densenet-bc-100-12", "growth_rate", 0, "growth_rate must be at least 1, not 0"),
        ("densenet-bc-100-12", "compression", 0.0, "compression must be more than 0 and at most 1, not 0.0"),
        ("densenet-bc-100-12", "compression", 1.5, "compression must be more than 0 and at most 1, not 1.5"),
        ("vgg16", "hidden", 0, "hidden must be at least 1, not 0"),
        ("alexnet", "hidden", -5, "hidden must be at least 1, not -5"),
    ],
)
def test_arguments_out_of_range_are_refused(name: str, argument: str, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create_model(name, arguments={argument: value})
