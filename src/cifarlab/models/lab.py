"""A first CNN and its improvement: the two networks of a published lab report."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from cifarlab.models.activations import create_activation
from cifarlab.models.dropout import Dropout
from cifarlab.models.keras_layers import batch_norm, conv3x3, dense_norm, glorot_uniform, require_dropouts
from cifarlab.models.limits import require_image_size
from cifarlab.models.registry import register

FINAL_CHANNELS = (32, 64, 128)


@register("lab-base")
def lab_base(*, num_classes: int = 10, image_size: int = 32, activation: str = "relu") -> nn.Module:
    """Four unpadded 3x3 convolutions in two stages and one dense layer: 24 666 parameters at 32 px, 10 classes.

    float [N, 3, S, S] in 0..1, S >= 16 -> logits [N, K]. Layers and shapes at S = 32 (height, width, channels):
    conv 16 (30,30,16), conv 16 (28,28,16), max pool (14,14,16), conv 32 (12,12,32), conv 32 (10,10,32),
    max pool (5,5,32), flatten 800, dense K. `activation` follows each convolution. Kernels start Glorot-uniform
    (Glorot and Bengio 2010, eq. 16) and biases at zero, as in Keras.
    """
    require_image_size(image_size, least=16)
    side = ((image_size - 4) // 2 - 4) // 2
    model = nn.Sequential(
        OrderedDict(
            conv1=conv3x3(3, 16, padding="valid"),  # [N, 3, S, S] -> [N, 16, S-2, S-2]
            activation1=create_activation(activation),
            conv2=conv3x3(16, 16, padding="valid"),
            activation2=create_activation(activation),
            pool1=nn.MaxPool2d(2),
            conv3=conv3x3(16, 32, padding="valid"),
            activation3=create_activation(activation),
            conv4=conv3x3(32, 32, padding="valid"),
            activation4=create_activation(activation),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),  # 32 px: [N, 32, 5, 5] -> [N, 800]
            dense=nn.Linear(32 * side * side, num_classes),  # -> [N, K]
        )
    )
    return glorot_uniform(model)


@register("lab-final")
def lab_final(
    *, num_classes: int = 10, image_size: int = 32, dropout: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5), activation: str = "relu"
) -> nn.Module:
    """Six 3x3 convolutions with batch norm in three blocks and two dense layers: 552 874 parameters at 32 px, 10 classes.

    float [N, 3, S, S] in 0..1, S >= 8 -> logits [N, K]. Three blocks of (conv 3x3 same -> activation -> batch norm) x 2 -> max pool ->
    dropout. Blocks, shapes at S = 32 (height, width, channels) and parameters: 32 (16,16,32) 896 + 128 + 9 248 + 128,
    64 (8,8,64) 18 496 + 256 + 36 928 + 256, 128 (4,4,128) 73 856 + 512 + 147 584 + 512; flatten 2048, dense 128 262 272,
    activation, batch norm 512, dropout, dense K 1 290. 1 152 of the parameters are running means and variances, which are not
    trained.

    Not stated in the report: the rates of `dropout`, of the three blocks and the dense layer; the activation. It names none between
    a layer and its batch norm, which is how Keras code reads that writes it into the layer (`Conv2D(..., activation="relu")`), so it
    stands there.
    """
    require_image_size(image_size, least=8)
    require_dropouts(dropout, layers=len(FINAL_CHANNELS) + 1)
    model = nn.Sequential()
    channels_in = 3
    for block, channels in enumerate(FINAL_CHANNELS, start=1):
        for number in (1, 2):
            model.add_module(f"conv{block}_{number}", conv3x3(channels_in, channels))
            model.add_module(f"activation{block}_{number}", create_activation(activation))
            model.add_module(f"norm{block}_{number}", batch_norm(channels))
            channels_in = channels
        model.add_module(f"pool{block}", nn.MaxPool2d(2))  # [N, C, H, W] -> [N, C, H//2, W//2]
        model.add_module(f"dropout{block}", Dropout(dropout[block - 1]))
    side = image_size // 8
    model.add_module("flatten", nn.Flatten())  # 32 px: [N, 128, 4, 4] -> [N, 2048]
    model.add_module("dense1", nn.Linear(128 * side * side, 128))
    model.add_module("activation4", create_activation(activation))
    model.add_module("norm4", dense_norm(128))
    model.add_module("dropout4", Dropout(dropout[3]))
    model.add_module("head", nn.Linear(128, num_classes))  # -> [N, K]
    return glorot_uniform(model)
