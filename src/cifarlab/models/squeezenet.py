"""SqueezeNet: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters" (arXiv 1602.07360), section 3 and table 1."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from cifarlab.models.convolution import conv_norm_relu
from cifarlab.models.dropout import Dropout
from cifarlab.models.initialization import he_normal
from cifarlab.models.limits import require_dropout, require_image_size
from cifarlab.models.registry import register

# Table 1: squeeze 1x1, expand 1x1, expand 3x3 of fire2 to fire9.
FIRES = {
    2: (16, 64, 64),
    3: (16, 64, 64),
    4: (32, 128, 128),
    5: (32, 128, 128),
    6: (48, 192, 192),
    7: (48, 192, 192),
    8: (64, 256, 256),
    9: (64, 256, 256),
}


@register("squeezenet")
def squeezenet(*, num_classes: int = 10, image_size: int = 32, batch_norm: bool = True, dropout: float = 0.5) -> nn.Module:
    """SqueezeNet 1.0 with a small stem: 732 010 parameters trained at 10 classes.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Iandola et al. 2016, table 1. At S = 32 (height, width, channels):
    conv 3x3 (32,32,96), fire2 and fire3 (32,32,128), fire4 (32,32,256), max pool 3x3/2 (16,16,256), fire5 (16,16,256), fire6 and
    fire7 (16,16,384), fire8 (16,16,512), max pool (8,8,512), fire9 (8,8,512), `dropout`, conv 1x1 (8,8,K), global average pool.

    Departures from the paper: conv1 is 3x3 with stride 1 instead of 7x7 with stride 2, and no pool follows it; batch norm
    after each convolution but the last, which then has no bias (`batch_norm=False` gives the paper's layers); no ReLU
    after the last convolution, since logits need both signs; He initialization. The paper has no CIFAR-10 result.
    """
    require_image_size(image_size, least=16)
    require_dropout(dropout)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=conv_norm_relu(3, 96, 3, batch_norm=batch_norm))
    channels = 96
    for number, widths in FIRES.items():
        layers[f"fire{number}"] = fire = Fire(channels, widths, batch_norm=batch_norm)
        channels = fire.channels
        if number in (4, 8):
            layers[f"pool{number}"] = nn.MaxPool2d(3, stride=2, padding=1)  # [N, C, H, W] -> [N, C, ceil(H/2), ceil(W/2)]
    layers["dropout"] = Dropout(dropout)
    layers["conv10"] = head = nn.Conv2d(channels, num_classes, 1)  # [N, 512, 8, 8] -> [N, K, 8, 8]
    layers["pool10"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()  # [N, K, 1, 1] -> [N, K]
    model = nn.Sequential(layers)
    he_normal(model, head=head)
    return model


class Fire(nn.Module):
    """Squeeze to few channels by 1x1, expand by 1x1 and 3x3 side by side (section 3.2).

    float [N, C, H, W] -> [N, D, H, W] with D the sum of both expansions. `widths`: squeeze, expand 1x1, expand 3x3.
    """

    def __init__(self, channels_in: int, widths: tuple[int, int, int], *, batch_norm: bool) -> None:
        super().__init__()
        squeeze, expand1, expand3 = widths
        self.channels = expand1 + expand3
        self.squeeze = conv_norm_relu(channels_in, squeeze, 1, batch_norm=batch_norm)
        self.expand1 = conv_norm_relu(squeeze, expand1, 1, batch_norm=batch_norm)
        self.expand3 = conv_norm_relu(squeeze, expand3, 3, batch_norm=batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat([self.expand1(x), self.expand3(x)], dim=1)
