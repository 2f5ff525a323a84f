"""DenseNet: Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks" (arXiv 1608.06993), section 3."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.models.dropout import Dropout
from cifarlab.models.initialization import he_normal
from cifarlab.models.limits import require_dropout, require_image_size, require_positive
from cifarlab.models.registry import register


@register("densenet-bc-100-12")
def densenet_bc_100_12(
    *,
    num_classes: int = 10,
    image_size: int = 32,
    depth: int = 100,
    growth_rate: int = 12,
    compression: float = 0.5,
    dropout: float = 0.0,
) -> nn.Module:
    """DenseNet-BC with 100 layers and growth rate 12: 769 162 parameters trained at 10 classes.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Huang et al. 2017, section 3, "implementation details", whose CIFAR
    network this is: conv 3x3 of 2 k channels, three dense blocks of (depth - 4) / 6 bottleneck layers, between them a
    1x1 convolution to `compression` times the channels and a 2x2 average pool, then global average pool and dense K.
    At S = 32 the blocks give (32,32,216), (16,16,300), (8,8,342).

    `growth_rate` is the paper's k: channels that each layer adds. `dropout` follows each convolution but the first; the
    paper takes 0.2 where there is no augmentation. The paper gives 4.51 % test error on CIFAR-10 with flips and shifts and
    5.92 % without (table 2). Convolutions start as in He et al. 2015.

    Raises ValueError unless depth = 6 n + 4 with n >= 1, and compression in (0, 1].
    """
    require_image_size(image_size, least=16)
    require_positive(growth_rate=growth_rate)
    require_dropout(dropout)
    if depth < 10 or depth % 6 != 4:
        raise ValueError(f"depth must be 6 n + 4 (10, 40, 100, 190, 250, ...), not {depth}")
    if not 0 < compression <= 1:
        raise ValueError(f"compression must be more than 0 and at most 1, not {compression}")
    channels = 2 * growth_rate
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=nn.Conv2d(3, channels, 3, padding=1, bias=False))
    for block in (1, 2, 3):
        if block > 1:
            kept = max(1, int(compression * channels))
            layers[f"transition{block - 1}"] = _transition(channels, kept, dropout=dropout)
            channels = kept
        for layer in range(1, (depth - 4) // 6 + 1):
            layers[f"block{block}_layer{layer}"] = DenseLayer(channels, growth_rate, dropout=dropout)
            channels += growth_rate
    layers["norm"] = nn.BatchNorm2d(channels)
    layers["relu"] = nn.ReLU()
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()  # [N, 342, 1, 1] -> [N, 342]
    layers["head"] = head = nn.Linear(channels, num_classes)  # -> [N, K]
    model = nn.Sequential(layers)
    he_normal(model, head=head)
    return model


class DenseLayer(nn.Module):
    """Batch norm, ReLU, conv 1x1 to 4 k channels, batch norm, ReLU, conv 3x3 to k channels, joined to the input.

    float [N, C, H, W] -> [N, C + k, H, W] with k = `growth_rate`: eq. 2 with the bottleneck of section 3.
    """

    def __init__(self, channels_in: int, growth_rate: int, *, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, 4 * growth_rate, 1, bias=False)
        self.dropout1 = Dropout(dropout)
        self.norm2 = nn.BatchNorm2d(4 * growth_rate)
        self.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, bias=False)
        self.dropout2 = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        new = self.dropout1(self.conv1(F.relu(self.norm1(x))))  # [N, C, H, W] -> [N, 4 k, H, W]
        new = self.dropout2(self.conv2(F.relu(self.norm2(new))))  # -> [N, k, H, W]
        return torch.cat([x, new], dim=1)


def _transition(channels_in: int, channels_out: int, *, dropout: float) -> nn.Sequential:
    """[N, C, H, W] -> [N, D, H//2, W//2]."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(channels_in),
            relu=nn.ReLU(),
            conv=nn.Conv2d(channels_in, channels_out, 1, bias=False),
            dropout=Dropout(dropout),
            pool=nn.AvgPool2d(2),
        )
    )
