"""A trained model on disk, and what it says of images."""

from cifarlab.bundle.engines import Engine
from cifarlab.bundle.manifest import read_description, read_verified, update_description
from cifarlab.bundle.predictor import Predicted, Predictor, load_predictor

__all__ = ["Engine", "Predicted", "Predictor", "load_predictor", "read_description", "read_verified", "update_description"]
