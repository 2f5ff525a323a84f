"""explain.activations: layers by their rows in `models show`, after their activation, and the filters of convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cifarlab.data.preprocess import Preprocess
from cifarlab.errors import UsageError
from cifarlab.explain import first_filters, layer_activations, row_activations
from cifarlab.models import create_model
from cifarlab.models.summary import summarize_model

PREPROCESS = Preprocess(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(2, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("lab-base").eval()


def test_a_row_is_given_after_its_activation(network, images):
    after, row = row_activations(network, PREPROCESS, images, layer="conv1")
    assert row is not None
    assert row.type == "conv 3x3 valid, ReLU"
    before = layer_activations(network, PREPROCESS, images, layer="conv1")
    assert before.min() < 0
    np.testing.assert_allclose(after, F.relu(torch.from_numpy(before)).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lab-final", "resnet20", "speednet", "densenet-bc-100-12", "mobilenetv2"])
def test_every_row_has_the_shape_that_is_listed(name, images):
    torch.manual_seed(0)
    model = create_model(name).eval()
    for row in summarize_model(model)[::7]:
        values, found = row_activations(model, PREPROCESS, images, layer=row.name)
        assert found is not None
        shape = values.shape[1:]
        # Without parentheses: height, width, channels; a global pool's one position may be flattened by the operation after it.
        assert (*shape[1:], shape[0]) == row.output_shape or shape == row.output_shape


def test_a_sum_of_branches_has_a_row_of_its_own(images):
    torch.manual_seed(0)
    model = create_model("resnet20").eval()
    values, row = row_activations(model, PREPROCESS, images, layer="stage1_block1.add")
    assert row is not None
    expected = layer_activations(model, PREPROCESS, images, layer="stage1_block1")
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_a_group_of_layers_gives_its_output_without_a_row(images):
    torch.manual_seed(0)
    model = create_model("speednet").eval()
    values, row = row_activations(model, PREPROCESS, images, layer="group1")
    assert row is None
    np.testing.assert_array_equal(values, layer_activations(model, PREPROCESS, images, layer="group1"))


def test_an_unknown_layer_is_refused_with_the_nearest(network, images):
    with pytest.raises(UsageError, match=r"unknown layer 'convv1'; did you mean 'conv1'\?.*cifarlab models show"):
        row_activations(network, PREPROCESS, images, layer="convv1")


def test_the_model_is_as_it_was(network, images):
    network.train()
    row_activations(network, PREPROCESS, images, layer="conv2")
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    network.eval()


def test_filters_are_the_weights_of_the_first_convolution(network):
    name, weights = first_filters(network)
    assert name == "conv1"
    np.testing.assert_array_equal(weights, network.conv1.weight.detach().numpy())
    assert first_filters(network, layer="conv3")[1].shape == (32, 16, 3, 3)


def test_what_is_no_convolution_has_no_filters(network):
    with pytest.raises(UsageError, match="unknown convolution 'head'"):
        first_filters(network, layer="head")
    with pytest.raises(UsageError, match="no convolution"):
        first_filters(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)))
