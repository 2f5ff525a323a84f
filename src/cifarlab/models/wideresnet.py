"""Wide residual networks: Zagoruyko and Komodakis, "Wide Residual Networks" (arXiv 1605.07146), section 2 and table 1."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.models.dropout import Dropout
from cifarlab.models.initialization import he_normal
from cifarlab.models.limits import require_dropout, require_image_size, require_positive
from cifarlab.models.registry import register


@register("wrn-28-10")
def wrn_28_10(*, num_classes: int = 10, image_size: int = 32, depth: int = 28, width: int = 10, dropout: float = 0.0) -> nn.Module:
    """WRN-28-10, the wide residual network of the paper's best table: 36 479 194 parameters trained at 10 classes.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Arguments: see `WideResNet`. The paper gives 4.00 % test error
    on CIFAR-10, and 3.89 % with dropout 0.3 (tables 5 and 6; flips and shifts, median of 5 runs).
    """
    return WideResNet(num_classes=num_classes, image_size=image_size, depth=depth, width=width, dropout=dropout)


@register("wrn-16-4")
def wrn_16_4(*, num_classes: int = 10, image_size: int = 32, depth: int = 16, width: int = 4, dropout: float = 0.0) -> nn.Module:
    """WRN-16-4, a small wide residual network: 2 748 890 parameters trained at 10 classes.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Arguments: see `WideResNet`. The paper gives 5.02 % test error
    on CIFAR-10, and 5.24 % with dropout (table 6; flips and shifts, median of 5 runs).
    """
    return WideResNet(num_classes=num_classes, image_size=image_size, depth=depth, width=width, dropout=dropout)


class WideResNet(nn.Sequential):
    """conv 3x3 of 16 channels, three groups of (depth - 4) / 6 blocks, batch norm, ReLU, global average pool, dense K.

    float [N, 3, S, S] -> logits [N, K]. At S = 32 and width k the groups give (32,32,16k), (16,16,32k), (8,8,64k): table 1, as it
    stands, since the network is made for 32 px. `width` is the paper's k, `dropout` the rate between the two convolutions of
    a block (section 2.4). Convolutions start as in He et al. 2015 with fan-out, as in the authors' code.

    Raises ValueError unless depth = 6 n + 4 with n >= 1.
    """

    def __init__(self, *, num_classes: int, image_size: int, depth: int, width: int, dropout: float) -> None:
        require_image_size(image_size, least=16)
        require_positive(width=width)
        require_dropout(dropout)
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth must be 6 n + 4 (10, 16, 22, 28, 40, ...), not {depth}")
        super().__init__()
        blocks = (depth - 4) // 6
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)  # [N, 3, S, S] -> [N, 16, S, S]
        channels = 16
        for group, stride in enumerate((1, 2, 2)):
            for block in range(blocks):
                channels_out = 16 * 2**group * width
                wide = WideBlock(channels, channels_out, stride=stride if block == 0 else 1, dropout=dropout)
                self.add_module(f"group{group + 1}_block{block + 1}", wide)
                channels = channels_out
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()  # [N, 64 k, 1, 1] -> [N, 64 k]
        self.head = nn.Linear(channels, num_classes)  # -> [N, K]
        he_normal(self, head=self.head)


class WideBlock(nn.Module):
    """Batch norm, ReLU, conv 3x3, batch norm, ReLU, dropout, conv 3x3, added to the input (figure 1d).

    float [N, C, H, W] -> [N, D, ceil(H/stride), ceil(W/stride)]. Where channels or size change, a 1x1 convolution of the
    activated input takes the place of the input.
    """

    def __init__(self, channels_in: int, channels_out: int, *, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.dropout = Dropout(dropout)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        same = stride == 1 and channels_in == channels_out
        self.shortcut = None if same else nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        passed = x if self.shortcut is None else self.shortcut(active)
        y = self.conv1(active)  # [N, C, H, W] -> [N, D, H/stride, W/stride]
        y = self.conv2(self.dropout(F.relu(self.norm2(y))))
        return passed + y  # type: ignore[no-any-return]
