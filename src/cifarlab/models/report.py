"""A ten-convolution CNN: the network of a published project report."""

from __future__ import annotations

from torch import nn

from cifarlab.models.activations import create_activation
from cifarlab.models.dropout import Dropout
from cifarlab.models.keras_layers import batch_norm, conv3x3, glorot_uniform, require_dropouts
from cifarlab.models.limits import require_image_size
from cifarlab.models.registry import register

BLOCKS = ((32, 2), (64, 2), (128, 3), (256, 3))  # channels, convolutions


@register("report10")
def report10(
    *, num_classes: int = 10, image_size: int = 32, dropout: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5), activation: str = "relu"
) -> nn.Module:
    """Ten 3x3 convolutions with batch norm in four blocks and three dense layers: 2 253 906 parameters at 32 px, 10 classes.

    float [N, 3, S, S] in 0..1, S >= 16 -> logits [N, K]. Each convolution is conv 3x3 same -> activation -> batch norm; a block
    ends with a 2x2 max pool and dropout. Blocks and shapes at S = 32 (height, width, channels): two of 32 (16,16,32),
    two of 64 (8,8,64), three of 128 (4,4,128), three of 256 (2,2,256); flatten 1024, dense 300 (307 500 parameters),
    dense 100 (30 100), dense K (1 010). The dense layers have no activation, as in the report: the three of them together are
    one linear map. 2 688 of the parameters are running means and variances, which are not trained.

    Everything about the network is stated in the report; start, batch norm's momentum and epsilon are Keras' defaults.
    """
    require_image_size(image_size, least=16)
    require_dropouts(dropout, layers=len(BLOCKS))
    model = nn.Sequential()
    channels_in = 3
    for block, ((channels, convolutions), rate) in enumerate(zip(BLOCKS, dropout, strict=True), start=1):
        for number in range(1, convolutions + 1):
            model.add_module(f"conv{block}_{number}", conv3x3(channels_in, channels))
            model.add_module(f"activation{block}_{number}", create_activation(activation))
            model.add_module(f"norm{block}_{number}", batch_norm(channels))
            channels_in = channels
        model.add_module(f"pool{block}", nn.MaxPool2d(2))  # [N, C, H, W] -> [N, C, H//2, W//2]
        model.add_module(f"dropout{block}", Dropout(rate))
    side = image_size // 16
    model.add_module("flatten", nn.Flatten())  # 32 px: [N, 256, 2, 2] -> [N, 1024]
    model.add_module("dense1", nn.Linear(256 * side * side, 300))
    model.add_module("dense2", nn.Linear(300, 100))
    model.add_module("head", nn.Linear(100, num_classes))  # -> [N, K]
    return glorot_uniform(model)
