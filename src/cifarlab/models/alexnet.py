"""AlexNet: Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (NIPS 2012), section 3."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.models.dropout import Dropout
from cifarlab.models.initialization import he_normal
from cifarlab.models.limits import require_dropout, require_image_size, require_positive
from cifarlab.models.registry import register


@register("alexnet")
def alexnet(*, num_classes: int = 10, image_size: int = 32, hidden: int = 1024, dropout: float = 0.5) -> nn.Module:
    """AlexNet with a small stem, its channels, groups and response normalization kept: 5 726 602 parameters at 32 px, 10 classes.

    float [N, 3, S, S], standardized, S >= 16 -> logits [N, K]. Krizhevsky et al. 2012, section 3.5 and figure 2. Layers at
    S = 32 (height, width, channels): conv 5x5 (32,32,96), normalization, max pool 3x3/2 (15,15,96), conv 5x5 (15,15,256),
    normalization, max pool (7,7,256), conv 3x3 (7,7,384) twice, conv 3x3 (7,7,256), max pool (3,3,256), dense `hidden` twice
    with `dropout` before each, dense K. Convolutions 2, 4 and 5 have two groups, which were the two GPUs.

    Departures from the paper: conv1 is 5x5 with stride 1 instead of 11x11 with stride 4; the dense layers have 1 024 units
    instead of 4 096; weights start as in He et al. 2015 and biases at zero, not at 0.01 and 1 (section 5). For CIFAR-10 the paper
    gives 13 % test error, and 11 % with response normalization, of a four-layer network of its own (section 3.3).
    """
    require_image_size(image_size, least=16)
    require_positive(hidden=hidden)
    require_dropout(dropout)
    side = image_size
    for _ in range(3):
        side = (side - 3) // 2 + 1
    head = nn.Linear(hidden, num_classes)
    model = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 96, 5, padding=2),  # 32 px: [N, 3, 32, 32] -> [N, 96, 32, 32]
            relu1=nn.ReLU(),
            norm1=ResponseNorm(),
            pool1=nn.MaxPool2d(3, stride=2),  # overlapping (section 3.4): -> [N, 96, 15, 15]
            conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2),
            relu2=nn.ReLU(),
            norm2=ResponseNorm(),
            pool2=nn.MaxPool2d(3, stride=2),  # -> [N, 256, 7, 7]
            conv3=nn.Conv2d(256, 384, 3, padding=1),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2),
            relu5=nn.ReLU(),
            pool5=nn.MaxPool2d(3, stride=2),  # -> [N, 256, 3, 3]
            flatten=nn.Flatten(),  # -> [N, 2304]
            dropout6=Dropout(dropout),
            dense6=nn.Linear(256 * side * side, hidden),
            relu6=nn.ReLU(),
            dropout7=Dropout(dropout),
            dense7=nn.Linear(hidden, hidden),
            relu7=nn.ReLU(),
            head=head,  # [N, hidden] -> [N, K]
        )
    )
    he_normal(model, head=head, mode="fan_in")
    return model


class ResponseNorm(nn.Module):
    """x / (2 + 1e-4 * sum of squares over 5 neighbouring channels)^0.75, elementwise: section 3.3 with its constants.

    float [N, C, H, W] -> [N, C, H, W]. The sum runs over the two channels on each side, as far as there are any.
    """

    def forward(self, x: Tensor) -> Tensor:
        # Five shifted views take a third of the time of nn.LocalResponseNorm, which pools over a fifth dimension and takes a power.
        channels = x.shape[1]
        squares = F.pad(x.square(), (0, 0, 0, 0, 2, 2))  # [N, C, H, W] -> [N, C+4, H, W]
        total = squares[:, :channels]
        for shift in range(1, 5):
            total = total + squares[:, shift : shift + channels]
        scale = 2 + 1e-4 * total
        return x * torch.rsqrt(scale * scale.sqrt())  # scale^(-1/2 * 3/2)
