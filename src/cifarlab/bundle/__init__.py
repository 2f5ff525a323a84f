"""A trained model on disk, and what it says of images."""

from cifarlab.bundle.predictor import Predicted, Predictor, load_predictor

__all__ = ["Predicted", "Predictor", "load_predictor"]
