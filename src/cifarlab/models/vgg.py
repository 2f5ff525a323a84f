"""VGG: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv 1409.1556), table 1."""

from __future__ import annotations

from torch import nn

from cifarlab.models.dropout import Dropout
from cifarlab.models.initialization import he_normal
from cifarlab.models.limits import require_dropout, require_image_size, require_positive
from cifarlab.models.registry import register

CHANNELS = (64, 128, 256, 512, 512)  # of the five stages
CONVOLUTIONS = {  # of each stage; columns A, B, D and E of table 1
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


@register("vgg11")
def vgg11(*, num_classes: int = 10, image_size: int = 32, batch_norm: bool = True, hidden: int = 512, dropout: float = 0.5) -> nn.Module:
    """VGG-11, column A: eight 3x3 convolutions and three dense layers; 9 753 674 parameters trained at 32 px, 10 classes.

    float [N, 3, S, S], standardized, S >= 32 -> logits [N, K]. Arguments and departures: see `VGG`.
    """
    return VGG("vgg11", num_classes=num_classes, image_size=image_size, batch_norm=batch_norm, hidden=hidden, dropout=dropout)


@register("vgg13")
def vgg13(*, num_classes: int = 10, image_size: int = 32, batch_norm: bool = True, hidden: int = 512, dropout: float = 0.5) -> nn.Module:
    """VGG-13, column B: ten 3x3 convolutions and three dense layers; 9 938 378 parameters trained at 32 px, 10 classes.

    float [N, 3, S, S], standardized, S >= 32 -> logits [N, K]. Arguments and departures: see `VGG`.
    """
    return VGG("vgg13", num_classes=num_classes, image_size=image_size, batch_norm=batch_norm, hidden=hidden, dropout=dropout)


@register("vgg16")
def vgg16(*, num_classes: int = 10, image_size: int = 32, batch_norm: bool = True, hidden: int = 512, dropout: float = 0.5) -> nn.Module:
    """VGG-16, column D: thirteen 3x3 convolutions and three dense layers; 15 249 354 parameters trained at 32 px, 10 classes.

    float [N, 3, S, S], standardized, S >= 32 -> logits [N, K]. Arguments and departures: see `VGG`.
    """
    return VGG("vgg16", num_classes=num_classes, image_size=image_size, batch_norm=batch_norm, hidden=hidden, dropout=dropout)


@register("vgg19")
def vgg19(*, num_classes: int = 10, image_size: int = 32, batch_norm: bool = True, hidden: int = 512, dropout: float = 0.5) -> nn.Module:
    """VGG-19, column E: sixteen 3x3 convolutions and three dense layers; 20 560 330 parameters trained at 32 px, 10 classes.

    float [N, 3, S, S], standardized, S >= 32 -> logits [N, K]. Arguments and departures: see `VGG`.
    """
    return VGG("vgg19", num_classes=num_classes, image_size=image_size, batch_norm=batch_norm, hidden=hidden, dropout=dropout)


class VGG(nn.Sequential):
    """Five stages of padded 3x3 convolutions, each ended by a 2x2 max pool, then dense `hidden`, dense `hidden`, dense K.

    float [N, 3, S, S] -> logits [N, K]. At S = 32 the stages give (16,16,64), (8,8,128), (4,4,256), (2,2,512), (1,1,512).
    With `image_size=224`, `num_classes=1000`, `hidden=4096` and `batch_norm=False` it is the network of the paper.

    Departures from the paper: dense layers of 512 units instead of 4 096; batch norm after each convolution, which then has
    no bias of its own (`batch_norm=False` gives the paper's layers); weights start as in He et al. 2015 (arXiv 1502.01852),
    which trains all depths directly, where the paper starts the deep ones from a trained shallow one (section 3.1).
    `dropout` follows the first two dense layers, as in the paper, which has no CIFAR-10 result.

    Raises ValueError for images under 32 px, which five pools would reduce to nothing.
    """

    def __init__(self, name: str, *, num_classes: int, image_size: int, batch_norm: bool, hidden: int, dropout: float) -> None:
        require_image_size(image_size, least=32)
        require_positive(hidden=hidden)
        require_dropout(dropout)
        super().__init__()
        channels_in = 3
        for stage, (channels, convolutions) in enumerate(zip(CHANNELS, CONVOLUTIONS[name], strict=True), 1):
            for number in range(1, convolutions + 1):
                self.add_module(f"conv{stage}_{number}", nn.Conv2d(channels_in, channels, 3, padding=1, bias=not batch_norm))
                if batch_norm:
                    self.add_module(f"norm{stage}_{number}", nn.BatchNorm2d(channels))
                self.add_module(f"relu{stage}_{number}", nn.ReLU())
                channels_in = channels
            self.add_module(f"pool{stage}", nn.MaxPool2d(2))  # [N, C, H, W] -> [N, C, H//2, W//2]
        side = image_size // 32
        self.flatten = nn.Flatten()  # 32 px: [N, 512, 1, 1] -> [N, 512]
        self.dense1 = nn.Linear(512 * side * side, hidden)
        self.relu6 = nn.ReLU()
        self.dropout1 = Dropout(dropout)
        self.dense2 = nn.Linear(hidden, hidden)
        self.relu7 = nn.ReLU()
        self.dropout2 = Dropout(dropout)
        self.head = nn.Linear(hidden, num_classes)  # -> [N, K]
        he_normal(self, head=self.head)
