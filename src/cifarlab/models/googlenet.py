"""GoogLeNet: Szegedy et al., "Going Deeper with Convolutions" (arXiv 1409.4842), section 5 and table 1."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from cifarlab.models.convolution import conv_norm_relu
from cifarlab.models.dropout import Dropout
from cifarlab.models.initialization import he_normal
from cifarlab.models.limits import require_dropout, require_image_size
from cifarlab.models.registry import register

# Table 1, a column each: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
WIDTHS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


@register("googlenet")
def googlenet(*, num_classes: int = 10, image_size: int = 32, batch_norm: bool = True, dropout: float = 0.4) -> nn.Module:
    """GoogLeNet: nine inception blocks with 1x1 reductions and a small stem; 5 871 914 parameters trained at 10 classes.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Szegedy et al. 2014, table 1. At S = 32 (height, width,
    channels): conv 3x3 (32,32,192), inception 3a and 3b (32,32,480), max pool 3x3/2 (16,16,480), 4a to 4e (16,16,832),
    max pool (8,8,832), 5a and 5b (8,8,1024), global average pool, `dropout`, dense K.

    Departures from the paper: one 3x3 convolution with the 192 channels that 3a expects takes the place of the stem that
    divides the size by eight; no auxiliary classifiers; batch norm after each convolution, which then has no bias
    (Ioffe and Szegedy 2015, arXiv 1502.03167; `batch_norm=False` gives the paper's layers); He initialization. The 5x5
    convolutions are kept, where later versions and many CIFAR editions put two 3x3. The paper has no CIFAR-10 result.
    """
    require_image_size(image_size, least=16)
    require_dropout(dropout)
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=conv_norm_relu(3, 192, 3, batch_norm=batch_norm))
    channels = 192
    for name, widths in WIDTHS.items():
        if name in ("4a", "5a"):
            layers[f"pool{name[0]}"] = nn.MaxPool2d(3, stride=2, padding=1)  # [N, C, H, W] -> [N, C, ceil(H/2), ceil(W/2)]
        layers[f"inception{name}"] = block = Inception(channels, widths, batch_norm=batch_norm)
        channels = block.channels
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()  # [N, 1024, 1, 1] -> [N, 1024]
    layers["dropout"] = Dropout(dropout)
    layers["head"] = head = nn.Linear(channels, num_classes)  # -> [N, K]
    model = nn.Sequential(layers)
    he_normal(model, head=head)
    return model


class Inception(nn.Module):
    """Four branches side by side, figure 2(b): 1x1; 1x1 then 3x3; 1x1 then 5x5; 3x3 max pool then 1x1.

    float [N, C, H, W] -> [N, D, H, W] with D the sum of the branches' channels. `widths` is a column of table 1.
    """

    def __init__(self, channels_in: int, widths: tuple[int, int, int, int, int, int], *, batch_norm: bool) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, projection = widths
        self.channels = one + three + five + projection
        self.branch1 = conv_norm_relu(channels_in, one, 1, batch_norm=batch_norm)
        self.branch3 = nn.Sequential(
            conv_norm_relu(channels_in, reduce3, 1, batch_norm=batch_norm), conv_norm_relu(reduce3, three, 3, batch_norm=batch_norm)
        )
        self.branch5 = nn.Sequential(
            conv_norm_relu(channels_in, reduce5, 1, batch_norm=batch_norm), conv_norm_relu(reduce5, five, 5, batch_norm=batch_norm)
        )
        self.branch_pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), conv_norm_relu(channels_in, projection, 1, batch_norm=batch_norm)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch3(x), self.branch5(x), self.branch_pool(x)], dim=1)
