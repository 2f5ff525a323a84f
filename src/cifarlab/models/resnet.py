"""Residual networks: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016, arXiv 1512.03385)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.errors import unknown
from cifarlab.models.activations import create_activation
from cifarlab.models.initialization import he_normal
from cifarlab.models.limits import require_image_size
from cifarlab.models.registry import register

Shortcut = Literal["identity", "projection"]
CIFAR_CHANNELS: Final = (16, 32, 64)  # section 4.2
IMAGENET_CHANNELS: Final = (64, 128, 256, 512)  # table 1


@register("resnet20")
def resnet20(*, num_classes: int = 10, image_size: int = 32, shortcut: Shortcut = "identity", activation: str = "relu") -> nn.Module:
    """ResNet-20 of section 4.2, three stages of three blocks: 269 722 parameters trained at 10 classes; 8.75 % error in the paper.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Layers and arguments: see `residual_network`.
    """
    return _for_cifar(3, num_classes=num_classes, image_size=image_size, shortcut=shortcut, activation=activation)


@register("resnet32")
def resnet32(*, num_classes: int = 10, image_size: int = 32, shortcut: Shortcut = "identity", activation: str = "relu") -> nn.Module:
    """ResNet-32 of section 4.2, three stages of five blocks: 464 154 parameters trained at 10 classes; 7.51 % error in the paper.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Layers and arguments: see `residual_network`.
    """
    return _for_cifar(5, num_classes=num_classes, image_size=image_size, shortcut=shortcut, activation=activation)


@register("resnet44")
def resnet44(*, num_classes: int = 10, image_size: int = 32, shortcut: Shortcut = "identity", activation: str = "relu") -> nn.Module:
    """ResNet-44 of section 4.2, three stages of seven blocks: 658 586 parameters trained at 10 classes; 7.17 % error in the paper.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Layers and arguments: see `residual_network`.
    """
    return _for_cifar(7, num_classes=num_classes, image_size=image_size, shortcut=shortcut, activation=activation)


@register("resnet56")
def resnet56(*, num_classes: int = 10, image_size: int = 32, shortcut: Shortcut = "identity", activation: str = "relu") -> nn.Module:
    """ResNet-56 of section 4.2, three stages of nine blocks: 853 018 parameters trained at 10 classes; 6.97 % error in the paper.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Layers and arguments: see `residual_network`.
    """
    return _for_cifar(9, num_classes=num_classes, image_size=image_size, shortcut=shortcut, activation=activation)


@register("resnet110")
def resnet110(*, num_classes: int = 10, image_size: int = 32, shortcut: Shortcut = "identity", activation: str = "relu") -> nn.Module:
    """ResNet-110 of section 4.2, three stages of eighteen blocks: 1 727 962 parameters trained at 10 classes; 6.43 % error in the paper.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Layers and arguments: see `residual_network`. The paper
    trains it at a rate of 0.01 until the training error is below 80 %, and goes on at 0.1.
    """
    return _for_cifar(18, num_classes=num_classes, image_size=image_size, shortcut=shortcut, activation=activation)


@register("resnet18")
def resnet18(*, num_classes: int = 10, image_size: int = 32, shortcut: Shortcut = "projection", activation: str = "relu") -> nn.Module:
    """ResNet-18 of table 1 in CIFAR size, four stages of two blocks: 11 173 962 parameters trained at 10 classes.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Layers and arguments: see `residual_network`. The paper's 7x7
    convolution of stride 2 and the 3x3 pool behind it, made for 224 px, are replaced by one 3x3 convolution of stride 1; the paper
    has no CIFAR-10 result of it.
    """
    return residual_network(
        IMAGENET_CHANNELS, (2, 2, 2, 2), num_classes=num_classes, image_size=image_size, shortcut=shortcut, activation=activation
    )


@register("resnet34")
def resnet34(*, num_classes: int = 10, image_size: int = 32, shortcut: Shortcut = "projection", activation: str = "relu") -> nn.Module:
    """ResNet-34 of table 1 in CIFAR size, stages of 3, 4, 6 and 3 blocks: 21 282 122 parameters trained at 10 classes.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Layers and arguments: see `residual_network`; departures: see `resnet18`.
    """
    return residual_network(
        IMAGENET_CHANNELS, (3, 4, 6, 3), num_classes=num_classes, image_size=image_size, shortcut=shortcut, activation=activation
    )


def _for_cifar(blocks: int, *, num_classes: int, image_size: int, shortcut: Shortcut, activation: str) -> nn.Module:
    """Section 4.2 with n = `blocks` blocks a stage: 6 n + 2 layers with weights."""
    return residual_network(
        CIFAR_CHANNELS, (blocks,) * 3, num_classes=num_classes, image_size=image_size, shortcut=shortcut, activation=activation
    )


def residual_network(
    channels: tuple[int, ...],
    blocks: tuple[int, ...],
    *,
    num_classes: int,
    image_size: int,
    shortcut: Shortcut,
    activation: str,
) -> nn.Sequential:
    """conv 3x3, stages of basic blocks with `channels` and `blocks` each, global average pool, dense K.

    float [N, 3, S, S] -> logits [N, K]. The first block of each stage but the first halves the image. At S = 32 the stages of section 4.2
    give (32,32,16), (16,16,32), (8,8,64), those of table 1 (32,32,64), (16,16,128), (8,8,256), (4,4,512): (height, width, channels).
    Convolutions have no bias; each is followed by batch norm with PyTorch's defaults (momentum 0.1, epsilon 1e-5; the paper states
    none). Weights start as in He et al. 2015 (arXiv 1502.01852, eq. 10), which the paper follows; the dense layer starts smaller.

    `shortcut` is what a block adds where channels and size change: "identity" (option A of section 3.3: every second pixel, missing
    channels zero, no parameters; section 4.2 uses it throughout) or "projection" (option B: a 1x1 convolution with batch norm).
    `activation` is ReLU in the paper. Raises ValueError for other names, and for images under 16 px.
    """
    require_image_size(image_size, least=16)
    if shortcut not in get_args(Shortcut):
        raise ValueError(unknown("shortcut", shortcut, get_args(Shortcut)))
    width = channels[0]
    model = nn.Sequential()
    model.add_module("conv", _conv3x3(3, width, stride=1))  # [N, 3, S, S] -> [N, C, S, S]
    model.add_module("norm", nn.BatchNorm2d(width))
    model.add_module("activation", create_activation(activation))
    for stage, (stage_width, count) in enumerate(zip(channels, blocks, strict=True), start=1):
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            basic = BasicBlock(width, stage_width, stride=stride, shortcut=shortcut, activation=activation)
            model.add_module(f"stage{stage}_block{block}", basic)
            width = stage_width
    head = nn.Linear(width, num_classes)
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())  # [N, C, 1, 1] -> [N, C]
    model.add_module("head", head)  # -> [N, K]
    he_normal(model, head=head, mode="fan_in")
    return model


class BasicBlock(nn.Module):
    """conv 3x3, batch norm, activation, conv 3x3, batch norm, plus the input, activation (figure 2; eq. 1 and 2).

    float [N, C, H, W] -> [N, D, ceil(H/stride), ceil(W/stride)].
    """

    def __init__(self, channels_in: int, channels_out: int, *, stride: int, shortcut: Shortcut, activation: str) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels_in, channels_out, stride=stride)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.activation1 = create_activation(activation)
        self.conv2 = _conv3x3(channels_out, channels_out, stride=1)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels_in != channels_out:
            kind = PaddedShortcut if shortcut == "identity" else _projection
            self.shortcut = kind(channels_in, channels_out, stride=stride)
        self.activation2 = create_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        passed = x if self.shortcut is None else self.shortcut(x)
        y = self.activation1(self.norm1(self.conv1(x)))  # [N, C, H, W] -> [N, D, H/stride, W/stride]
        y = self.norm2(self.conv2(y))
        y += passed  # in place: batch norm does not need its output again
        return self.activation2(y)  # type: ignore[no-any-return]


class PaddedShortcut(nn.Module):
    """Option A: every `stride`-th pixel, and zeros for the channels that the input lacks.

    float [N, C, H, W] -> [N, D, ceil(H/stride), ceil(W/stride)]. The paper does not say where the zeros go; here they come last.
    """

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.missing = channels_out - channels_in

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.missing))


def _projection(channels_in: int, channels_out: int, *, stride: int) -> nn.Module:
    """Option B: a 1x1 convolution with batch norm: float [N, C, H, W] -> [N, D, ceil(H/stride), ceil(W/stride)]."""
    conv = nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(channels_out)))


def _conv3x3(channels_in: int, channels_out: int, *, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
