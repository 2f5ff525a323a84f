"""Networks for small images: one family per file, built by `create_model`."""

from cifarlab.models import lab, speednet  # registers the networks
from cifarlab.models.count import ModelSize, measure_model
from cifarlab.models.registry import create_model, model_arguments, model_names, model_summary, register

__all__ = ["ModelSize", "create_model", "measure_model", "model_arguments", "model_names", "model_summary", "register"]

del lab, speednet
