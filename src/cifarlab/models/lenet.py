"""LeNet-5: LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition" (1998), section II.B."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.models.limits import require_image_size
from cifarlab.models.registry import register

# Table I: the maps of S2 that each of the 16 maps of C3 is connected to.
THREE_MAPS = ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5))
FOUR_MAPS = (
    (0, 1, 2, 3),
    (1, 2, 3, 4),
    (2, 3, 4, 5),
    (0, 3, 4, 5),
    (0, 1, 4, 5),
    (0, 1, 2, 5),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
)


@register("lenet5")
def lenet5(*, num_classes: int = 10, image_size: int = 32, sparse: bool = False) -> nn.Module:
    """LeNet-5 with trainable subsampling, for colour images: 62 050 parameters at 32 px, 10 classes.

    float [N, 3, S, S], standardized, S >= 32 -> logits [N, K]. LeCun et al. 1998, section II.B. Layers at S = 32 as
    (height, width, maps), with the parameters of the paper's grayscale network where they differ:
    C1 conv 5x5 (28,28,6) 456 (156); S2 subsampling (14,14,6) 12; C3 conv 5x5 (10,10,16) 2 416; S4 subsampling (5,5,16) 32;
    C5 conv 5x5 (1,1,120) 48 120; F6 dense 84 10 164; dense K 850. Scaled tanh after each of them but the last.

    C3 connects each of its maps to all six of S2, 16 * (5*5*6 + 1) = 2 416 parameters, as a convolution is understood today.
    `sparse=True` takes the paper's table I instead: 60 connections of 25 weights and 16 biases, 1 516 parameters.
    (Figures of 416 that are in circulation forget the depth of the input: 16 * (5*5*1 + 1).)

    Departures from the paper: three input channels; a dense layer gives the logits instead of distances to fixed
    bitmaps of characters; weights start uniform with variance 1 / fan-in (LeCun et al. 1998, "Efficient BackProp", eq. 16),
    since the paper's +-2.4 / fan-in lets the signal shrink from layer to layer. The paper has no CIFAR-10 result.
    """
    require_image_size(image_size, least=32)
    side = ((image_size - 4) // 2 - 4) // 2 - 4
    model = nn.Sequential(
        OrderedDict(
            c1=nn.Conv2d(3, 6, 5),  # 32 px: [N, 3, 32, 32] -> [N, 6, 28, 28]
            tanh1=ScaledTanh(),
            s2=Subsampling(6),  # -> [N, 6, 14, 14]
            tanh2=ScaledTanh(),
            c3=TableConv() if sparse else nn.Conv2d(6, 16, 5),  # -> [N, 16, 10, 10]
            tanh3=ScaledTanh(),
            s4=Subsampling(16),  # -> [N, 16, 5, 5]
            tanh4=ScaledTanh(),
            c5=nn.Conv2d(16, 120, 5),  # -> [N, 120, 1, 1]
            tanh5=ScaledTanh(),
            flatten=nn.Flatten(),
            f6=nn.Linear(120 * side * side, 84),  # [N, 120] -> [N, 84]
            tanh6=ScaledTanh(),
            head=nn.Linear(84, num_classes),  # -> [N, K]
        )
    )
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = math.sqrt(3 / module.weight[0].numel())  # a uniform distribution within +-b has variance b^2 / 3
            nn.init.uniform_(module.weight, -bound, bound)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return model


class Subsampling(nn.Module):
    """The sum of each 2x2 square times a trained coefficient plus a trained bias, one pair a map (layer S2).

    float [N, C, H, W] -> [N, C, H//2, W//2]. Coefficients start at 1/2: the sum of four independent values keeps its variance.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((channels,), 0.5))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        total = 4 * F.avg_pool2d(x, 2)
        return total * self.coefficient[:, None, None] + self.bias[:, None, None]


class ScaledTanh(nn.Module):
    """1.7159 tanh(2 x / 3), elementwise (appendix A): it maps 1 to 1 and -1 to -1."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class TableConv(nn.Module):
    """C3 with the connections of table I: float [N, 6, H, W] -> [N, 16, H-4, W-4].

    Grouped convolutions over gathered maps, so that connections which are not there have no weights either.
    """

    maps3: Tensor
    maps4: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.three = nn.Conv2d(3 * len(THREE_MAPS), len(THREE_MAPS), 5, groups=len(THREE_MAPS))
        self.four = nn.Conv2d(4 * len(FOUR_MAPS), len(FOUR_MAPS), 5, groups=len(FOUR_MAPS))
        self.six = nn.Conv2d(6, 1, 5)
        self.register_buffer("maps3", torch.tensor(THREE_MAPS).flatten(), persistent=False)
        self.register_buffer("maps4", torch.tensor(FOUR_MAPS).flatten(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        three = self.three(torch.index_select(x, 1, self.maps3))  # [N, 6, H, W] -> [N, 18, H, W] -> [N, 6, H-4, W-4]
        four = self.four(torch.index_select(x, 1, self.maps4))  # -> [N, 36, H, W] -> [N, 9, H-4, W-4]
        return torch.cat([three, four, self.six(x)], dim=1)
