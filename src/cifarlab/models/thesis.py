"""An 18-layer CNN: the network of a published master's thesis."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from cifarlab.models.activations import create_activation
from cifarlab.models.dropout import Dropout
from cifarlab.models.keras_layers import batch_norm, conv3x3, dense_norm, glorot_uniform, require_dropouts
from cifarlab.models.limits import require_image_size
from cifarlab.models.registry import register


@register("thesis18")
def thesis18(
    *, num_classes: int = 10, image_size: int = 32, dropout: tuple[float, ...] = (0.25, 0.5), activation: str = "relu"
) -> nn.Module:
    """Six 3x3 convolutions in three stages and two dense layers: 551 978 parameters at 32 px, 10 classes.

    float [N, 3, S, S] in 0..1, S >= 8 -> logits [N, K]. Layers, shapes (height, width, channels) and parameters at S = 32:
    conv 32 (32,32,32) 896, batch norm 128, conv 32 (32,32,32) 9 248, max pool (16,16,32), conv 64 (16,16,64) 18 496,
    conv 64 (16,16,64) 36 928, batch norm 256, max pool (8,8,64), conv 128 (8,8,128) 73 856, conv 128 (8,8,128) 147 584,
    batch norm 512, max pool (4,4,128), dropout, flatten 2048, dense 128 262 272, batch norm 512, dropout, dense K 1 290.
    The thesis prints (4,4,128) for the sixth convolution, a misprint: the layer after it has (8,8,128). 704 of the parameters
    are running means and variances, which are not trained.

    Not stated in the thesis: the two rates of `dropout`; the activation, which is no row of its table. Keras writes it into the
    layer (`Conv2D(..., activation="relu")`), so it stands between a convolution or the first dense layer and its batch norm.
    """
    require_image_size(image_size, least=8)
    require_dropouts(dropout, layers=2)
    side = image_size // 8
    model = nn.Sequential(
        OrderedDict(
            conv1=conv3x3(3, 32),  # [N, 3, S, S] -> [N, 32, S, S]
            activation1=create_activation(activation),
            norm1=batch_norm(32),
            conv2=conv3x3(32, 32),
            activation2=create_activation(activation),
            pool1=nn.MaxPool2d(2),  # 32 px: -> [N, 32, 16, 16]
            conv3=conv3x3(32, 64),  # -> [N, 64, 16, 16]
            activation3=create_activation(activation),
            conv4=conv3x3(64, 64),
            activation4=create_activation(activation),
            norm2=batch_norm(64),
            pool2=nn.MaxPool2d(2),  # -> [N, 64, 8, 8]
            conv5=conv3x3(64, 128),  # -> [N, 128, 8, 8]
            activation5=create_activation(activation),
            conv6=conv3x3(128, 128),
            activation6=create_activation(activation),
            norm3=batch_norm(128),
            pool3=nn.MaxPool2d(2),  # -> [N, 128, 4, 4]
            dropout1=Dropout(dropout[0]),
            flatten=nn.Flatten(),  # -> [N, 2048]
            dense1=nn.Linear(128 * side * side, 128),  # -> [N, 128]
            activation7=create_activation(activation),
            norm4=dense_norm(128),
            dropout2=Dropout(dropout[1]),
            head=nn.Linear(128, num_classes),  # -> [N, K]
        )
    )
    return glorot_uniform(model)
