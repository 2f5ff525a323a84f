"""MobileNetV2: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381), section 4 and table 2."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from cifarlab.models.convolution import conv_norm_relu
from cifarlab.models.dropout import Dropout
from cifarlab.models.initialization import he_normal
from cifarlab.models.limits import require_dropout, require_image_size
from cifarlab.models.registry import register

# Table 2: expansion, channels, blocks, stride of the first block. The stride of 24 channels is 2 in the paper.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@register("mobilenetv2")
def mobilenetv2(*, num_classes: int = 10, image_size: int = 32, dropout: float = 0.0) -> nn.Module:
    """MobileNetV2 of width 1 with two strides removed: 2 236 682 parameters trained at 10 classes.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Sandler et al. 2018, table 2. At S = 32 (height, width, channels):
    conv 3x3 (32,32,32), inverted residual blocks to (32,32,16), (32,32,24), (16,16,32), (8,8,64), (8,8,96), (4,4,160), (4,4,320),
    conv 1x1 (4,4,1280), global average pool, `dropout`, dense K.

    Departures from the paper: the stem and the stage of 24 channels have stride 1 instead of 2, so that the size is
    divided by 8 and not by 32; He initialization. Parameters are those of the paper's network, 3 504 872 for 1000
    classes; editions with 2 296 922 add 1x1 convolutions to shortcuts and an expansion by 1, which the paper does not have.
    The paper has no CIFAR-10 result.
    """
    require_image_size(image_size, least=16)
    require_dropout(dropout)
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=conv_norm_relu(3, 32, 3, activation=nn.ReLU6))
    channels = 32
    for stage, (expansion, channels_out, blocks, stride) in enumerate(STAGES, 1):
        for block in range(blocks):
            residual = InvertedResidual(channels, channels_out, expansion=expansion, stride=stride if block == 0 else 1)
            layers[f"stage{stage}_block{block + 1}"] = residual
            channels = channels_out
    layers["last"] = conv_norm_relu(channels, 1280, 1, activation=nn.ReLU6)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()  # [N, 1280, 1, 1] -> [N, 1280]
    layers["dropout"] = Dropout(dropout)
    layers["head"] = head = nn.Linear(1280, num_classes)  # -> [N, K]
    model = nn.Sequential(layers)
    he_normal(model, head=head)
    return model


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel by 3x3, project by 1x1 without activation (section 3.3, table 1).

    float [N, C, H, W] -> [N, D, ceil(H/stride), ceil(W/stride)]. The input is added where its shape is that of the output.
    """

    def __init__(self, channels_in: int, channels_out: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = expansion * channels_in
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion > 1:
            layers["expand"] = conv_norm_relu(channels_in, inner, 1, activation=nn.ReLU6)
        layers["filter"] = conv_norm_relu(inner, inner, 3, stride=stride, groups=inner, activation=nn.ReLU6)
        layers["project"] = nn.Conv2d(inner, channels_out, 1, bias=False)
        layers["norm"] = nn.BatchNorm2d(channels_out)
        self.body = nn.Sequential(layers)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y
