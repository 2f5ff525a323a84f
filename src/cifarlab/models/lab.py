"""A first CNN: the baseline network of a published lab report."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from cifarlab.models.registry import register


@register("lab-base")
def lab_base(*, num_classes: int = 10, image_size: int = 32) -> nn.Module:
    """Four unpadded 3x3 convolutions in two stages and one dense layer: 24 666 parameters at 32 px, 10 classes.

    float [N, 3, S, S] in 0..1 -> logits [N, K]. Layers and shapes at S = 32 (height, width, channels):
    conv 16 (30,30,16), conv 16 (28,28,16), max pool (14,14,16), conv 32 (12,12,32), conv 32 (10,10,32),
    max pool (5,5,32), flatten 800, dense K. ReLU after each convolution. Kernels start Glorot-uniform
    (Glorot and Bengio 2010, eq. 16) and biases at zero, as in Keras.
    """
    side = ((image_size - 4) // 2 - 4) // 2
    if side < 1:
        raise ValueError(f"image_size must be at least 16, not {image_size}")
    model = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 16, 3),  # [N, 3, S, S] -> [N, 16, S-2, S-2]
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(16, 16, 3),
            relu2=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv3=nn.Conv2d(16, 32, 3),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(32, 32, 3),
            relu4=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),  # [N, 32, 5, 5] -> [N, 800]
            dense=nn.Linear(32 * side * side, num_classes),  # -> [N, K]
        )
    )
    for module in model:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return model
