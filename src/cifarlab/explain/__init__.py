"""What a trained network does with an image: arrays that figures draw."""

from cifarlab.explain.activations import dense_activations, layer_activations, layer_names

__all__ = ["dense_activations", "layer_activations", "layer_names"]
