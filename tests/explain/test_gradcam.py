"""explain.gradcam: equations 1 and 2 by hand, against captum, and over the picture."""

from __future__ import annotations

import threading

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cifarlab.data.preprocess import Preprocess
from cifarlab.errors import UsageError
from cifarlab.explain import TracedNetwork, default_layer, grad_cam
from cifarlab.models import create_model

PREPROCESS = Preprocess(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def picture(size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def network(name: str, preprocess: Preprocess = PREPROCESS, **given) -> tuple[nn.Module, TracedNetwork]:
    """A network whose classes differ at once."""
    torch.manual_seed(0)
    model = create_model(name, **given).eval()
    last = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    nn.init.normal_(last.weight)
    return model, TracedNetwork(model, preprocess, size=32)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("speednet", "group3.conv2"),
        ("speednet", "group2.conv1"),
        ("resnet20", "stage3_block3.conv2"),
        ("resnet20", "stage1_block1.conv1"),
        ("mobilenetv2", None),
        ("densenet-bc-100-12", None),
    ],
)
@pytest.mark.parametrize("target", [1, 7])
def test_the_map_is_captums(name, layer, target):
    model, traced = network(name)
    found = grad_cam(traced, picture(), target=target, layer=layer)
    assert not traced.row(found.layer).activation, "captum looks at a module's own output"
    inputs = PREPROCESS(torch.from_numpy(picture()[None]))
    reference = captum.attr.LayerGradCam(model, model.get_submodule(found.layer)).attribute(inputs, target, relu_attributions=True)
    expected = reference[0, 0].detach().numpy()
    assert expected.max() > 0
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5 * expected.max())
    with torch.no_grad():
        np.testing.assert_allclose(found.logits, model(inputs)[0].numpy(), rtol=1e-4, atol=1e-5)


def test_the_activation_of_a_layers_row_belongs_to_it():
    model, traced = network("lab-base")
    assert traced.row("conv4").type.endswith("ReLU")
    found = grad_cam(traced, picture(), target=2, layer="conv4")

    class Rest(nn.Module):
        """The network with the ReLU after conv4 as a module, which captum can look at."""

        def __init__(self):
            super().__init__()
            self.model, self.relu, self.calls = model, nn.ReLU(), 0

        def forward(self, x):
            original = F.relu

            def counted(x, inplace=False):
                self.calls += 1
                return self.relu(x) if self.calls == 4 else original(x)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(F, "relu", counted)
                return self.model(x)

    rest = Rest()
    # nn.ReLU itself calls F.relu; the reference's own must not be counted.
    rest.relu.forward = lambda x: x.clamp(min=0)
    reference = captum.attr.LayerGradCam(rest, rest.relu)
    inputs = PREPROCESS(torch.from_numpy(picture()[None]))
    expected = reference.attribute(inputs, 2, relu_attributions=True)[0, 0].detach().numpy()
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-6)


def test_equations_1_and_2_by_hand():
    """One convolution of two channels, 1x1, that a dense layer weighs: every number can be followed."""
    model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.Flatten(), nn.Linear(8, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[:, :, None, None])  # red; green
        model[2].weight.copy_(torch.tensor([[1.0, 2, 3, 6, -1, -1, -1, -1], [-1.0, -1, -1, -1, 0, 0, 0, 0]]))
    plain = Preprocess(mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255))  # the network sees 0..255
    traced = TracedNetwork(model, plain, size=2)
    image = np.array([[[10, 0, 0], [0, 20, 0]], [[1, 4, 9], [2, 2, 2]]], dtype=np.uint8)
    # Class 0: alpha is (1 + 2 + 3 + 6) / 4 = 3 for red and -1 for green.
    found = grad_cam(traced, image, target=0, layer="0")
    np.testing.assert_allclose(found.values, [[30, 0], [0, 4]], rtol=1e-6)
    # Class 1: -1 for red and 0 for green: nothing speaks for it.
    np.testing.assert_array_equal(grad_cam(traced, image, target=1).values, np.zeros((2, 2)))


def test_the_map_is_laid_over_the_part_of_the_picture_that_the_network_sees():
    _, traced = network("speednet", Preprocess(mean=(0.5,) * 3, std=(0.2,) * 3, crop=24, size=48), image_size=48)
    found = grad_cam(traced, picture(), target=3, layer="group1.norm2")
    assert found.resized.shape == (32, 32)
    assert found.resized.dtype == np.float32
    assert not found.resized[:4].any()
    assert not found.resized[:, 28:].any()
    expected = F.interpolate(torch.from_numpy(found.values)[None, None], size=(24, 24), mode="bilinear")[0, 0]
    np.testing.assert_allclose(found.resized[4:28, 4:28], expected.numpy())


def test_the_default_is_the_last_convolution_with_several_positions():
    assert default_layer(network("speednet")[1]) == "group3.conv2"
    assert default_layer(network("lab-base")[1]) == "conv4"
    only_one_position = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.Conv2d(4, 4, 32), nn.Flatten(), nn.Linear(4, 2))
    assert default_layer(TracedNetwork(only_one_position, PREPROCESS, size=32)) == "0"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layer": "group3.conv3"}, "unknown layer 'group3.conv3'; did you mean"),
        ({"layer": "head"}, "'head' has one position only.*such as 'group3.conv2'"),
        ({"target": 10}, "class 10: the network has the classes 0 to 9"),
        ({"target": -1}, "class -1"),
    ],
)
def test_a_wrong_argument_is_told(given, said):
    _, traced = network("speednet")
    with pytest.raises(UsageError, match=said):
        grad_cam(traced, picture(), **{"target": 0, **given})


def test_a_layer_that_the_logits_do_not_depend_on_is_told():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.spare, self.head = nn.Conv2d(3, 2, 3), nn.Linear(3, 2)

        def forward(self, x):
            self.spare(x)
            return self.head(x.mean(dim=(2, 3)))

    with pytest.raises(UsageError, match="do not depend on this layer"):
        grad_cam(TracedNetwork(Spare(), PREPROCESS, size=32), picture(), target=0)


def test_no_convolution_is_told():
    dense = TracedNetwork(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), PREPROCESS, size=32)
    with pytest.raises(UsageError, match="no convolution"):
        grad_cam(dense, picture(), target=0)


def test_explaining_leaves_no_gradients_behind():
    model, traced = network("speednet")
    grad_cam(traced, picture(), target=0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_others_can_compute_while_a_network_is_traced():
    """PyTorch's tracer replaces the call of every module meanwhile."""
    model, _ = network("speednet")
    inputs = PREPROCESS(torch.from_numpy(picture()[None]))
    with torch.no_grad():
        expected = model(inputs)
    stop, problems, answers = threading.Event(), [], []

    def compute():
        with torch.no_grad():
            while not stop.is_set():
                try:
                    answers.append(torch.equal(model(inputs), expected))
                except Exception as error:
                    problems.append(error)
                    return

    thread = threading.Thread(target=compute)
    thread.start()
    others = [threading.Thread(target=TracedNetwork, args=(model, PREPROCESS), kwargs={"size": 32}) for _ in range(6)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    stop.set()
    thread.join()
    assert not problems
    assert len(answers) > 2
    assert all(answers)
    assert "wrapper" not in nn.Module.__call__.__qualname__
