"""What a trained network does with an image: arrays that figures draw."""

from cifarlab.explain.activations import dense_activations, first_filters, layer_activations, layer_names
from cifarlab.explain.convolution import (
    ConvolutionExample,
    PoolingExample,
    convolve,
    filter_examples,
    pooling_examples,
    volume_examples,
    window_examples,
)
from cifarlab.explain.gradcam import GradCam, default_layer, grad_cam
from cifarlab.explain.occlusion import Occlusion, occlusion_map
from cifarlab.explain.receptive_field import ReceptiveField, receptive_field_of, receptive_fields_of
from cifarlab.explain.traced import TracedNetwork, row_activations

__all__ = [
    "ConvolutionExample",
    "GradCam",
    "Occlusion",
    "PoolingExample",
    "ReceptiveField",
    "TracedNetwork",
    "convolve",
    "default_layer",
    "dense_activations",
    "filter_examples",
    "first_filters",
    "grad_cam",
    "layer_activations",
    "layer_names",
    "occlusion_map",
    "pooling_examples",
    "receptive_field_of",
    "receptive_fields_of",
    "row_activations",
    "volume_examples",
    "window_examples",
]
