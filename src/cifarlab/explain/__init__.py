"""What a trained network does with an image: arrays that figures draw."""

from cifarlab.explain.activations import dense_activations, first_filters, layer_activations, layer_names, row_activations
from cifarlab.explain.convolution import (
    ConvolutionExample,
    PoolingExample,
    convolve,
    filter_examples,
    pooling_examples,
    volume_examples,
    window_examples,
)

__all__ = [
    "ConvolutionExample",
    "PoolingExample",
    "convolve",
    "dense_activations",
    "filter_examples",
    "first_filters",
    "layer_activations",
    "layer_names",
    "pooling_examples",
    "row_activations",
    "volume_examples",
    "window_examples",
]
