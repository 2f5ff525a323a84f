"""Four CNNs from overfitting to 86 %: the networks of a published presentation.

Its random left-right flip is augmentation here and no layer. What the slides leave open in all four: the activation (`activation`,
behind every convolution and every dense layer but the last).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from cifarlab.models.activations import create_activation
from cifarlab.models.dropout import Dropout
from cifarlab.models.keras_layers import batch_norm, conv3x3, glorot_uniform, require_dropouts
from cifarlab.models.limits import require_dropout, require_image_size
from cifarlab.models.registry import register

FINAL_CHANNELS = (64, 128, 256, 512)


@register("slides-m1")
def slides_m1(*, num_classes: int = 10, image_size: int = 32, activation: str = "relu") -> nn.Module:
    """Three unpadded 3x3 convolutions and two dense layers, the one that overfits: 122 570 parameters at 32 px, 10 classes.

    float [N, 3, S, S] in 0..1, S >= 18 -> logits [N, K]. Layers, shapes (height, width, channels) and parameters at S = 32:
    conv 32 (30,30,32) 896, max pool (15,15,32), conv 64 (13,13,64) 18 496, max pool (6,6,64), conv 64 (4,4,64) 36 928,
    flatten 1024, dense 64 65 600, dense K 650. Not stated on the slides: the activation.
    """
    return _three_convolutions(num_classes=num_classes, image_size=image_size, activation=activation, dropout=None)


@register("slides-m2")
def slides_m2(*, num_classes: int = 10, image_size: int = 32, dropout: float = 0.5, activation: str = "relu") -> nn.Module:
    """slides-m1 with dropout behind its first dense layer: 122 570 parameters at 32 px, 10 classes.

    float [N, 3, S, S] in 0..1, S >= 18 -> logits [N, K]. Layers as in slides-m1. The slide prints 367 712 parameters, which is
    3 x 122 570 + 2: the weights, Adam's two moments of each, and two more numbers of its state. Not stated on the slides: the rate
    of `dropout`, the activation.
    """
    require_dropout(dropout)
    return _three_convolutions(num_classes=num_classes, image_size=image_size, activation=activation, dropout=dropout)


def _three_convolutions(*, num_classes: int, image_size: int, activation: str, dropout: float | None) -> nn.Module:
    """slides-m1, or slides-m2 with a rate of `dropout`."""
    require_image_size(image_size, least=18)
    side = ((image_size - 2) // 2 - 2) // 2 - 2
    model = nn.Sequential(
        OrderedDict(
            conv1=conv3x3(3, 32, padding="valid"),  # [N, 3, S, S] -> [N, 32, S-2, S-2]
            activation1=create_activation(activation),
            pool1=nn.MaxPool2d(2),  # 32 px: -> [N, 32, 15, 15]
            conv2=conv3x3(32, 64, padding="valid"),  # -> [N, 64, 13, 13]
            activation2=create_activation(activation),
            pool2=nn.MaxPool2d(2),  # -> [N, 64, 6, 6]
            conv3=conv3x3(64, 64, padding="valid"),  # -> [N, 64, 4, 4]
            activation3=create_activation(activation),
            flatten=nn.Flatten(),  # -> [N, 1024]
            dense1=nn.Linear(64 * side * side, 64),  # -> [N, 64]
            activation4=create_activation(activation),
        )
    )
    if dropout is not None:
        model.add_module("dropout", Dropout(dropout))
    model.add_module("head", nn.Linear(64, num_classes))  # -> [N, K]
    return glorot_uniform(model)


@register("slides-m3")
def slides_m3(*, num_classes: int = 10, image_size: int = 32, activation: str = "relu") -> nn.Module:
    """Four padded 3x3 convolutions and three dense layers: 1 494 218 parameters at 32 px, 10 classes.

    float [N, 3, S, S] in 0..1, S >= 8 -> logits [N, K]. Layers, shapes (height, width, channels) and parameters at S = 32:
    conv 64 (32,32,64) 1 792, max pool (16,16,64), conv 128 (16,16,128) 73 856, max pool (8,8,128), conv 256 (8,8,256) 295 168,
    max pool (4,4,256), conv 256 (4,4,256) 590 080, flatten 4096, dense 128 524 416, dense 64 8 256, dense K 650.
    Not stated on the slides: the activation. Their L2 penalty of 0.001 is a matter of training.
    """
    require_image_size(image_size, least=8)
    side = image_size // 8
    model = nn.Sequential(
        OrderedDict(
            conv1=conv3x3(3, 64),  # [N, 3, S, S] -> [N, 64, S, S]
            activation1=create_activation(activation),
            pool1=nn.MaxPool2d(2),  # 32 px: -> [N, 64, 16, 16]
            conv2=conv3x3(64, 128),  # -> [N, 128, 16, 16]
            activation2=create_activation(activation),
            pool2=nn.MaxPool2d(2),  # -> [N, 128, 8, 8]
            conv3=conv3x3(128, 256),  # -> [N, 256, 8, 8]
            activation3=create_activation(activation),
            pool3=nn.MaxPool2d(2),  # -> [N, 256, 4, 4]
            conv4=conv3x3(256, 256),
            activation4=create_activation(activation),
            flatten=nn.Flatten(),  # -> [N, 4096]
            dense1=nn.Linear(256 * side * side, 128),  # -> [N, 128]
            activation5=create_activation(activation),
            dense2=nn.Linear(128, 64),  # -> [N, 64]
            activation6=create_activation(activation),
            head=nn.Linear(64, num_classes),  # -> [N, K]
        )
    )
    return glorot_uniform(model)


@register("slides-final")
def slides_final(
    *, num_classes: int = 10, image_size: int = 32, dropout: tuple[float, ...] = (0.2, 0.2, 0.2, 0.5), activation: str = "relu"
) -> nn.Module:
    """Four 3x3 convolutions with batch norm and dropout and three dense layers: 1 825 994 parameters at 32 px, 10 classes.

    float [N, 3, S, S] in 0..1, S >= 16 -> logits [N, K]. Four blocks of conv 3x3 same -> activation -> batch norm -> max pool ->
    dropout. Blocks, shapes at S = 32 (height, width, channels) and parameters: 64 (16,16,64) 1 792 + 256,
    128 (8,8,128) 73 856 + 512, 256 (4,4,256) 295 168 + 1 024, 512 (2,2,512) 1 180 160 + 2 048; flatten 2048,
    dense 128 262 272, dense 64 8 256, dense K 650. 1 920 of the parameters are running means and variances, which are not trained.

    Not stated on the slides: the activation. They name none between convolution and batch norm, which is how Keras code reads that
    writes it into the layer (`Conv2D(..., activation="relu")`), so it stands there. "0.2 on the first blocks" is read as the first three.
    """
    require_image_size(image_size, least=16)
    require_dropouts(dropout, layers=len(FINAL_CHANNELS))
    model = nn.Sequential()
    channels_in = 3
    for block, (channels, rate) in enumerate(zip(FINAL_CHANNELS, dropout, strict=True), start=1):
        model.add_module(f"conv{block}", conv3x3(channels_in, channels))
        model.add_module(f"activation{block}", create_activation(activation))
        model.add_module(f"norm{block}", batch_norm(channels))
        model.add_module(f"pool{block}", nn.MaxPool2d(2))  # [N, C, H, W] -> [N, C, H//2, W//2]
        model.add_module(f"dropout{block}", Dropout(rate))
        channels_in = channels
    side = image_size // 16
    model.add_module("flatten", nn.Flatten())  # 32 px: [N, 512, 2, 2] -> [N, 2048]
    model.add_module("dense1", nn.Linear(512 * side * side, 128))
    model.add_module("activation5", create_activation(activation))
    model.add_module("dense2", nn.Linear(128, 64))
    model.add_module("activation6", create_activation(activation))
    model.add_module("head", nn.Linear(64, num_classes))  # -> [N, K]
    return glorot_uniform(model)
