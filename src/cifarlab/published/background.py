"""What the reports tell beside their systems: tables of known networks, LeNet-5, accuracies of others, a worked convolution."""

from __future__ import annotations

from typing import Final

from cifarlab.published.facts import AccuracyRange, ConvolutionExample, PretrainedNetwork, PublishedLayer, Slip

# R1: networks pretrained on ImageNet. Depth counts layers with weights.
PRETRAINED_NETWORKS: Final = (
    PretrainedNetwork("alexnet", 8, 227, 61.0, 227),
    PretrainedNetwork("vgg16", 16, 515, 138, 224),
    PretrainedNetwork("vgg19", 19, 535, 144, 224),
    PretrainedNetwork("squeezenet", 18, 4.6, 1.24, 227),
    PretrainedNetwork("googlenet", 22, 27, 7.0, 224),
    PretrainedNetwork("inceptionv3", 48, 89, 23.9, 299),
    PretrainedNetwork("densenet201", 201, 77, 20.0, 224),
    PretrainedNetwork("mobilenetv2", 53, 13, 3.5, 224),
    PretrainedNetwork("resnet18", 18, 44, 11.7, 224),
    PretrainedNetwork("resnet50", 50, 96, 25.6, 224),
    PretrainedNetwork("resnet101", 101, 167, 44.6, 224),
    PretrainedNetwork("xception", 71, 85, 22.9, 299),
    PretrainedNetwork("shufflenet", 50, 6.3, 1.4, 224),
    PretrainedNetwork("nasnetmobile", None, 20, 5.3, 224),
    PretrainedNetwork("nasnetlarge", None, 360, 88.9, 331),
)

# R1: LeNet-5 on gray 32 x 32 images. The printed 416 and 924 are put right here and stand in LENET5_SLIPS.
LENET5_LAYERS: Final = (
    PublishedLayer("conv", (28, 28, 6), 156),
    PublishedLayer("subsampling", (14, 14, 6), 12),
    PublishedLayer("conv", (10, 10, 16), 2_416),
    PublishedLayer("subsampling", (5, 5, 16), 32),
    PublishedLayer("conv", (1, 1, 120)),
    PublishedLayer("dense", (84,), 10_164),
    PublishedLayer("dense", (10,), 850),
)
LENET5_SLIPS: Final = (
    Slip(
        where="second convolution, parameters",
        printed="416",
        right="2 416",
        why="5*5*16 + 16 forgets the input depth of 6: 5*5*6*16 + 16 = 2 416, every map connected to every input map",
        layer="c3",
    ),
    Slip(
        where="last dense layer, parameters",
        printed="924",
        right="850",
        why="924 = 84*(10 + 1); a dense layer has one bias for each output, not one for each input: 84*10 + 10 = 850",
        layer="head",
    ),
)

# R3: context for a comparison table.
PUBLISHED_ACCURACIES: Final = AccuracyRange(count=29, lowest=0.905, highest=0.9653)

# R2: a 6 x 6 matrix under a filter that finds vertical edges.
VERTICAL_EDGES: Final = ConvolutionExample(
    matrix=(
        (3, 0, 1, 2, 7, 4),
        (1, 5, 8, 9, 3, 1),
        (2, 7, 2, 5, 1, 3),
        (0, 1, 3, 1, 7, 8),
        (4, 2, 1, 6, 2, 8),
        (2, 4, 5, 2, 3, 9),
    ),
    kernel=((1, 0, -1), (1, 0, -1), (1, 0, -1)),
    result=((-5, -4, 0, 8), (-10, -2, 2, 3), (0, -2, -4, -7), (-3, -2, -3, -16)),
)
