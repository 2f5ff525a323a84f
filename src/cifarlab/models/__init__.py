"""Networks for small images: one family per file, built by `create_model`."""

from cifarlab.models import (  # registers the networks
    alexnet,
    densenet,
    googlenet,
    lab,
    lenet,
    mobilenet,
    report,
    resnet,
    slides,
    speednet,
    squeezenet,
    thesis,
    vgg,
    wideresnet,
)
from cifarlab.models.activations import activation_names, create_activation
from cifarlab.models.count import ModelSize, measure_model
from cifarlab.models.registry import create_model, model_arguments, model_names, model_summary, register

__all__ = [
    "ModelSize",
    "activation_names",
    "create_activation",
    "create_model",
    "measure_model",
    "model_arguments",
    "model_names",
    "model_summary",
    "register",
]

del alexnet, densenet, googlenet, lab, lenet, mobilenet, report, resnet, slides, speednet, squeezenet, thesis, vgg, wideresnet
