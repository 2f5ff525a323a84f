"""The registry, speednet and lab-base; what every network keeps is in test_contract.py."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.errors import UsageError
from cifarlab.models import create_model, measure_model, register


def random_images(count: int, size: int, *, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


# -- registry -------------------------------------------------------------------------------------------------


def test_an_unknown_name_gets_the_nearest_and_the_remedy() -> None:
    with pytest.raises(UsageError, match=r"unknown model 'spednet'; did you mean 'speednet'\?; allowed: .*cifarlab models"):
        create_model("spednet")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'speednet' is registered already"):
        register("speednet")(nn.Linear)


@pytest.mark.parametrize("widths", ["abc", 16, [16.5, 32, 64]])
def test_widths_of_the_wrong_type_are_named(widths: object) -> None:
    with pytest.raises(UsageError, match=r"model speednet: argument widths: .*given: "):
        create_model("speednet", arguments={"widths": widths})


@pytest.mark.parametrize("widths", [[16, 32], [4, 8, 8], [2**40, 2**40, 8]])
def test_speednet_refuses_widths_it_cannot_be_built_with(widths: object) -> None:
    with pytest.raises(UsageError, match="model speednet cannot be built with"):
        create_model("speednet", arguments={"widths": widths})


# -- lab-base -------------------------------------------------------------------------------------------------------


def test_lab_base_has_the_published_parameters_layer_by_layer() -> None:
    layers = [m for m in create_model("lab-base").modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [sum(p.numel() for p in layer.parameters()) for layer in layers] == [448, 2320, 4640, 9248, 8010]
    assert measure_model(create_model("lab-base")).parameters == 24_666


def test_lab_base_starts_as_keras_does() -> None:
    # Keras: kernels uniform within sqrt(6 / (fan_in + fan_out)), fans times the 9 places of a 3x3 kernel; biases zero.
    torch.manual_seed(0)
    model = create_model("lab-base")
    bounds = {"conv1": 6 / (27 + 144), "conv2": 6 / (144 + 144), "conv3": 6 / (144 + 288), "conv4": 6 / (288 + 288), "dense": 6 / 810}
    for name, squared in bounds.items():
        layer = model.get_submodule(name)
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        assert weight.abs().max() <= math.sqrt(squared)
        assert weight.abs().max() > 0.95 * math.sqrt(squared)
        assert weight.var().item() == pytest.approx(squared / 3, rel=0.2)  # of a uniform distribution
        assert not bias.any()


# -- speednet ----------------------------------------------------------------------------------------------------------


def correlated_images(count: int, size: int) -> Tensor:
    """Standardized images whose neighbouring pixels and channels go together, as in photographs."""
    noise = random_images(count, size + 2)
    smooth = F.avg_pool2d(noise, 3, stride=1) * 2 + 0.4 * noise[:, :, 1:-1, 1:-1]
    mixed = torch.einsum("dc,nchw->ndhw", torch.tensor([[1.0, 0.3, 0.1], [0.3, 1.0, 0.3], [0.1, 0.3, 1.0]]), smooth)
    return (mixed - mixed.mean((0, 2, 3), keepdim=True)) / mixed.std((0, 2, 3), keepdim=True)


def test_whitening_decorrelates_the_patches_to_unit_variance() -> None:
    images = correlated_images(300, 20)
    patches = F.unfold(images, 2).transpose(1, 2).reshape(-1, 12)
    before = torch.corrcoef(patches.T)
    assert (before - torch.eye(12)).abs().max() > 0.5  # the images are worth whitening
    model = create_model("speednet", image_size=20)
    model.fit_to_data(images)
    outputs = model.whiten(images).detach().transpose(0, 1).reshape(24, -1)
    covariance = torch.cov(outputs[:12])
    # The regularizing epsilon of 5e-4 takes eigenvalue / (eigenvalue + epsilon) off each variance; the smallest here is 0.02.
    assert torch.linalg.eigvalsh(torch.cov(patches.T)).min() > 0.02
    torch.testing.assert_close(covariance, torch.eye(12), atol=0.03, rtol=0)


def test_the_second_half_of_the_whitening_filters_is_the_negative_of_the_first() -> None:
    model = create_model("speednet")
    model.fit_to_data(correlated_images(20, 32))
    assert torch.equal(model.whiten.weight[12:], -model.whiten.weight[:12])


def test_whitening_weights_are_frozen_and_its_bias_is_trained() -> None:
    model = create_model("speednet")
    assert not model.whiten.weight.requires_grad
    assert model.whiten.bias.requires_grad
    model.fit_to_data(correlated_images(20, 32))
    assert not model.whiten.weight.requires_grad


def test_the_first_filters_of_each_convolution_pass_their_input_on() -> None:
    model = create_model("speednet", arguments={"widths": [32, 40, 24]})
    for group, channels_in in ((model.group1, 24), (model.group2, 32), (model.group3, 40)):
        for conv, given in ((group.conv1, channels_in), (group.conv2, group.conv2.in_channels)):
            x = torch.randn(2, given, 9, 9)
            shared = min(given, conv.out_channels)
            torch.testing.assert_close(conv(x)[:, :shared], x[:, :shared])


@pytest.mark.parametrize("size", [16, 17, 24, 31, 48, 64])
def test_speednet_takes_any_size_whatever_it_was_built_for(size: int) -> None:
    model = create_model("speednet", image_size=32, arguments={"widths": [8, 8, 8]}).eval()
    assert model(random_images(2, size)).shape == (2, 10)


def test_batch_norm_scales_are_fixed_at_one() -> None:
    norms = [m for m in create_model("speednet").modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 6
    assert all((norm.weight == 1).all() and not norm.weight.requires_grad and norm.bias.requires_grad for norm in norms)


# -- size ---------------------------------------------------------------------------------------------------------------


def test_measured_size_equals_hand_arithmetic() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=4), nn.Flatten(), nn.Linear(1352, 5))
    model[4].weight.requires_grad_(False)
    size = measure_model(model, image_size=32)
    # 32 -> 15 -> 13 px; 8*3*9 weights at 225 places, 8*2*9 (four groups) at 169, and 5*1352.
    assert size.multiply_adds == 216 * 225 + 144 * 169 + 6760
    assert size.depth == 3
    assert size.trainable == (216 + 8) + 16 + (144 + 8) + 5
    assert size.frozen == 6760 + 16  # with running mean and variance
    assert size.parameters == size.trainable + size.frozen


def test_lab_base_multiply_adds_equal_hand_arithmetic() -> None:
    size = measure_model(create_model("lab-base"))
    assert size.multiply_adds == 432 * 900 + 2304 * 784 + 4608 * 144 + 9216 * 100 + 8000
    assert size.depth == 5


def test_measuring_leaves_the_network_as_it_was() -> None:
    model = create_model("speednet", arguments={"widths": [8, 8, 8]}).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    measure_model(model)
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
