"""The contract that every registered network keeps."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, fx, nn

from cifarlab.errors import UsageError
from cifarlab.models import create_model, model_arguments, model_names, model_summary

# Networks that differ from a lighter one in depth and width alone: they are built, run and refused like all others, and the
# dearer tests see the code that they share in the lighter one.
SAME_CODE_AS = {
    "resnet32": "resnet20",
    "resnet44": "resnet20",
    "resnet56": "resnet20",
    "resnet110": "resnet20",
    "resnet34": "resnet18",
    "vgg13": "vgg11",
    "vgg16": "vgg11",
    "vgg19": "vgg11",
    "wrn-28-10": "wrn-16-4",
}
LIGHT = [name for name in model_names() if name not in SAME_CODE_AS]


def random_images(count: int, *, size: int = 32, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0))


IMAGES = random_images(2)


@dataclass(frozen=True)
class Built:
    name: str
    model: nn.Module  # for ten classes and 32 px, in evaluation mode; shared between tests: copy it before changing it
    logits: Tensor  # of IMAGES


def built(name: str, *, seed: int = 0) -> Built:
    torch.manual_seed(seed)
    model = create_model(name).eval()
    return Built(name, model, logits_of(model, IMAGES))


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    result = model(images)
    assert isinstance(result, Tensor)
    return result


@pytest.fixture(scope="module", params=model_names())
def network(request: pytest.FixtureRequest) -> Built:
    """Every registered network, one after the other, built once."""
    return built(request.param)


@pytest.fixture(scope="module", params=LIGHT)
def light(request: pytest.FixtureRequest) -> Built:
    """The same without the deeper variants."""
    return built(request.param)


def assert_near(given: Tensor, expected: Tensor, *, share: float) -> None:
    """Equal within `share` of the largest value: logits of an untrained deep network may be of any size."""
    torch.testing.assert_close(given, expected, rtol=0, atol=share * expected.abs().max().item())


def test_the_registry_holds_networks_and_each_that_is_spared_has_its_lighter_one() -> None:
    assert LIGHT
    assert set(model_names()) >= set(SAME_CODE_AS)
    assert set(LIGHT) >= set(SAME_CODE_AS.values())


# -- every network ------------------------------------------------------------------------------------------------


def test_logits_are_finite_one_row_of_k_for_each_image(network: Built) -> None:
    assert network.logits.shape == (2, 10)
    assert network.logits.dtype == torch.float32
    assert torch.isfinite(network.logits).all()
    assert not torch.equal(network.logits[0], network.logits[1])  # they depend on the image


@pytest.mark.parametrize("name", model_names())
def test_it_can_be_built_for_two_classes(name: str) -> None:
    logits = logits_of(create_model(name, num_classes=2).eval(), random_images(1))
    assert logits.shape == (1, 2)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", model_names())
def test_images_of_one_pixel_are_refused_with_the_least_size(name: str) -> None:
    with pytest.raises(UsageError, match=rf"model {re.escape(name)} cannot be built .*image_size must be at least \d+, not 1$"):
        create_model(name, image_size=1)


@pytest.mark.parametrize("name", model_names())
def test_an_unknown_argument_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=rf"model {re.escape(name)}: unknown argument 'depht'; .*allowed: "):
        create_model(name, arguments={"depht": 3})


@pytest.mark.parametrize("name", model_names())
def test_its_docstring_says_in_one_line_what_it_is(name: str) -> None:
    summary = model_summary(name)
    assert summary.endswith(".")
    assert len(summary) > 20


def test_images_with_another_number_of_channels_are_refused_by_a_message_about_channels(network: Built) -> None:
    with pytest.raises((RuntimeError, ValueError), match="channels"):
        network.model(random_images(1, channels=1))


# -- every network but the deeper variants------------------------------------------------------------------------------


def test_it_can_be_built_from_the_defaults_that_it_states(light: Built) -> None:
    arguments = model_arguments(light.name)
    assert not {"num_classes", "image_size"} & set(arguments)
    torch.manual_seed(0)
    again = create_model(light.name, arguments=arguments).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in light.model.state_dict().items())


def test_gradients_reach_every_trainable_parameter(light: Built) -> None:
    model = copy.deepcopy(light.model).train()
    torch.manual_seed(0)
    F.cross_entropy(model(random_images(3)), torch.tensor([0, 3, 9])).backward()
    trainable = {key: parameter for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable
    assert [key for key, parameter in trainable.items() if parameter.grad is None or not torch.isfinite(parameter.grad).all()] == []
    # Batch norm takes away the bias before it: that gradient is zero but for rounding.
    weights = {key: parameter.grad for key, parameter in trainable.items() if not key.endswith("bias")}
    assert [key for key, gradient in weights.items() if gradient is None or not gradient.any()] == []


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(light: Built) -> None:
    state = light.model.state_dict()
    for seed, same in ((0, True), (1, False)):
        torch.manual_seed(seed)
        again = create_model(light.name).state_dict()
        assert all(torch.equal(value, again[key]) for key, value in state.items()) is same


def test_logits_of_an_image_do_not_depend_on_its_batch(light: Built) -> None:
    assert_near(logits_of(light.model, IMAGES[1:]), light.logits[1:], share=1e-4)


def test_it_can_be_traced_symbolically(light: Built) -> None:
    assert torch.equal(logits_of(fx.symbolic_trace(light.model), IMAGES), light.logits)


def test_the_state_survives_safetensors_bit_for_bit(light: Built, tmp_path: Path) -> None:
    save_file({key: value.contiguous() for key, value in light.model.state_dict().items()}, tmp_path / "weights.safetensors")
    other = built(light.name, seed=1)
    assert not torch.equal(other.logits, light.logits)
    other.model.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=True)
    assert torch.equal(logits_of(other.model, IMAGES), light.logits)


def test_channels_last_weights_and_images_give_the_same_logits(light: Built) -> None:
    model = copy.deepcopy(light.model).to(memory_format=torch.channels_last)
    logits = logits_of(model, IMAGES.contiguous(memory_format=torch.channels_last))
    assert_near(logits, light.logits, share=1e-3)


def test_autocast_to_bfloat16_stays_finite(light: Built) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = logits_of(light.model, IMAGES)
    assert logits.shape == (2, 10)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("size", [5, 47])
def test_images_of_another_size_are_taken_or_refused_by_a_message_about_size(light: Built, size: int) -> None:
    try:
        logits = logits_of(light.model, random_images(1, size=size))
    except (RuntimeError, ValueError) as error:
        assert re.search("size|shape", str(error))  # noqa: PT017 - either outcome keeps the contract
    else:
        assert logits.shape == (1, 10)
        assert torch.isfinite(logits).all()
