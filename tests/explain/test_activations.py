"""explain.activations: the recorded outputs are those of the layer, and the model is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cifarlab.data.preprocess import Preprocess
from cifarlab.explain import dense_activations, layer_activations, layer_names
from cifarlab.models import create_model


class Small(nn.Module):
    """A convolution, an in-place ReLU, a dense layer used twice, and one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.hidden = nn.Linear(4, 4)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 5))
        self.spare = nn.Linear(4, 2)
        self.pair = Pair()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.conv(x)).mean(dim=(2, 3))  # [N, 3, S, S] -> [N, 4]
        x = self.hidden(self.hidden(x))
        self.pair(x)
        return self.head(x)


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


@pytest.fixture
def model() -> Small:
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def preprocess() -> Preprocess:
    return Preprocess(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(7, 8, 8, 3), dtype=np.uint8)


def network_input(images: np.ndarray) -> torch.Tensor:
    scaled = (torch.from_numpy(images).float() / 255 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.25, 0.3])
    return scaled.permute(0, 3, 1, 2)


def test_the_last_dense_layer_gives_the_logits(model, preprocess, images):
    activations = dense_activations(model, preprocess, images)
    expected = model.eval()(network_input(images))
    assert activations.dtype == np.float32
    assert activations.shape == (7, 5)
    torch.testing.assert_close(torch.from_numpy(activations), expected.detach(), rtol=1e-5, atol=1e-6)


def test_a_named_layer_gives_its_own_output_before_an_in_place_activation(model, preprocess, images):
    activations = layer_activations(model, preprocess, images, layer="conv")
    expected = F.conv2d(network_input(images), model.conv.weight, model.conv.bias, padding=1)
    assert activations.min() < 0, "these are the values after the ReLU"
    torch.testing.assert_close(torch.from_numpy(activations), expected.detach(), rtol=1e-5, atol=1e-6)


def test_a_layer_used_twice_gives_its_last_output(model, preprocess, images):
    activations = layer_activations(model, preprocess, images, layer="hidden")
    pooled = F.relu(F.conv2d(network_input(images), model.conv.weight, model.conv.bias, padding=1)).mean(dim=(2, 3))
    expected = model.hidden(model.hidden(pooled))
    torch.testing.assert_close(torch.from_numpy(activations), expected.detach(), rtol=1e-5, atol=1e-6)


def test_batches_make_no_difference(model, preprocess, images):
    whole = dense_activations(model, preprocess, images)
    np.testing.assert_allclose(dense_activations(model, preprocess, images, batch_size=3), whole, rtol=1e-5, atol=1e-6)


def test_the_model_is_as_it_was(model, preprocess, images):
    model.train()
    model.conv.eval()  # as a frozen part may be while the rest trains
    before = {name: value.clone() for name, value in model.state_dict().items()}
    dense_activations(model, preprocess, images)
    assert [module.training for module in (model, model.conv, model.hidden, model.head[0])] == [True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_hooks_go_even_when_the_network_fails(model, preprocess):
    with pytest.raises(RuntimeError):
        dense_activations(model, Preprocess(mean=(0.0,), std=(1.0,)), np.zeros((2, 8, 8, 1), dtype=np.uint8))
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training


def test_layer_names_are_those_that_can_be_asked_for(model, preprocess, images):
    names = layer_names(model)
    assert names == ("conv", "relu", "hidden", "head", "head.0", "head.1", "spare", "pair")
    for name in set(names) - {"spare", "pair"}:
        assert len(layer_activations(model, preprocess, images, layer=name)) == len(images)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("hiden", "unknown layer 'hiden'; did you mean 'hidden'\\?; allowed: conv, relu, hidden, head, head.0, head.1, spare, pair"),
        ("", "unknown layer ''"),
        ("spare", "does not use this layer"),
        ("pair", "not one tensor"),
    ],
)
def test_a_layer_without_activations_is_refused(model, preprocess, images, layer, message):
    with pytest.raises(ValueError, match=message):
        layer_activations(model, preprocess, images, layer=layer)


@pytest.mark.parametrize(
    ("wrong", "batch_size", "message"),
    [
        (np.zeros((2, 8, 8, 3), dtype=np.float32), 5, "uint8"),
        (np.zeros((8, 8, 3), dtype=np.uint8), 5, r"\[8, 8, 3\]"),
        (np.zeros((0, 8, 8, 3), dtype=np.uint8), 5, "at least 1"),
        (np.zeros((2, 8, 8, 3), dtype=np.uint8), 0, "batch_size"),
    ],
)
def test_wrong_images_are_refused(model, preprocess, wrong, batch_size, message):
    with pytest.raises(ValueError, match=message):
        dense_activations(model, preprocess, wrong, batch_size=batch_size)


def test_a_network_without_a_dense_layer_names_its_layers(preprocess, images):
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match="no dense layer; name one of its layers instead: 0, 1, 2"):
        dense_activations(model, preprocess, images)
    assert layer_activations(model, preprocess, images, layer="2").shape == (7, 5)


def test_a_published_network_ends_in_its_logits():
    torch.manual_seed(0)
    model = create_model("lab-base")
    preprocess = Preprocess(mean=(0.0,) * 3, std=(1.0,) * 3)
    images = np.random.default_rng(1).integers(0, 256, size=(3, 32, 32, 3), dtype=np.uint8)
    expected = model.eval()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    np.testing.assert_allclose(dense_activations(model, preprocess, images), expected.detach().numpy(), rtol=1e-4, atol=1e-5)
