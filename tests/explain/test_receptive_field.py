"""explain.receptive_field: the very pixels of the picture that have a gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cifarlab.data.preprocess import Preprocess
from cifarlab.errors import UsageError
from cifarlab.explain import ReceptiveField, TracedNetwork, receptive_field_of, receptive_fields_of
from cifarlab.models import create_model

PLAIN = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}


def all_positive(model: nn.Module) -> nn.Module:
    """Weights that let no path cancel, and average for max pools, which have one path only."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.5, 1.5).div_(parameter[0].numel())
    return model.double().eval()


def touched(model: nn.Module, preprocess: Preprocess, layer: str, row: int, column: int, size: int) -> ReceptiveField:
    """Rows and columns of the picture with a gradient of one position of a module's output."""
    seen: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.append(output))
    picture = (255 * torch.rand(1, size, size, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
    model(preprocess(picture).double())
    handle.remove()
    (gradient,) = torch.autograd.grad(seen[0][0, :, row, column].sum(), picture)
    pixels = gradient[0].sum(dim=2).nonzero()
    first, last = pixels.min(dim=0).values.tolist(), pixels.max(dim=0).values.tolist()
    return ReceptiveField(first[0], first[1], last[0] - first[0] + 1, last[1] - first[1] + 1)


@pytest.mark.parametrize(
    ("name", "size", "given", "layers"),
    [
        ("lab-base", 32, {}, ["conv1", "conv2", "pool1", "conv4"]),
        ("resnet20", 32, {}, ["stage1_block1.conv2", "stage2_block1.shortcut", "stage3_block1.conv1"]),
        ("googlenet", 24, {}, ["inception3a.branch5", "pool4"]),
        ("lab-base", 32, {"crop": 26}, ["conv2", "pool1"]),
        ("lab-base", 32, {"size": 48}, ["conv2", "pool1", "conv3"]),
        ("lab-base", 32, {"crop": 30, "size": 20}, ["conv1", "conv2", "pool1"]),
    ],
)
def test_it_is_where_the_gradient_is(name, size, given, layers):
    torch.manual_seed(0)
    preprocess = Preprocess(**PLAIN, **given)
    model = create_model(name, image_size=preprocess.output_size(size))
    network = TracedNetwork(model, preprocess, size=size)
    positive = all_positive(model)
    checked = 0
    for layer in layers:
        found = next(each for each in reversed(network.rows) if each == layer or each.startswith(f"{layer}."))
        height, width = network.row(found).output_shape[:2]
        for row, column in [(0, 0), (height // 2, width // 2), (height - 1, 1), (0, width - 1)]:
            field = receptive_field_of(network, layer=found, row=row, column=column)
            crop = given.get("crop", size)
            expected = touched(positive, preprocess, layer, row, column, size)
            before = (size - crop) // 2
            inside = ReceptiveField(field.top - before, field.left - before, field.height, field.width).inside(crop)
            assert ReceptiveField(inside.top + before, inside.left + before, inside.height, inside.width) == expected, (layer, row, column)
            checked += 1
    assert checked == 4 * len(layers)


def test_its_size_is_the_one_that_is_listed():
    network = TracedNetwork(create_model("speednet"), Preprocess(**PLAIN), size=32)
    for name in network.spatial:
        field = receptive_field_of(network, layer=name, row=1, column=2)
        assert field.height == field.width == network.row(name).receptive_field
        rows, columns = receptive_fields_of(network, layer=name)
        assert (len(rows), len(columns)) == network.row(name).output_shape[:2]
        assert rows[1][0] - rows[0][0] == network.row(name).step


def test_what_is_outside_the_field_changes_nothing():
    torch.manual_seed(0)
    model = create_model("lab-base").eval()
    network = TracedNetwork(model, Preprocess(**PLAIN), size=32)
    field = receptive_field_of(network, layer="conv3", row=2, column=3).inside(32)
    picture = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8)
    changed = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8)
    rows, columns = slice(field.top, field.top + field.height), slice(field.left, field.left + field.width)
    changed[rows, columns] = picture[rows, columns]
    values = [network.run(each[None].numpy(), layer="conv3")[0][0, :, 2, 3] for each in (picture, changed)]
    torch.testing.assert_close(values[0], values[1])
    changed[field.top, columns] ^= 255
    assert not torch.equal(network.run(changed[None].numpy(), layer="conv3")[0][0, :, 2, 3], values[0])


def test_a_layer_without_positions_sees_the_whole_picture():
    network = TracedNetwork(create_model("speednet"), Preprocess(**PLAIN, crop=24), size=32)
    assert receptive_field_of(network, layer="head") == ReceptiveField(4, 4, 24, 24)
    assert receptive_fields_of(network, layer="amax") == ([(4, 24)], [(4, 24)])


def test_a_layer_that_cannot_be_followed_has_none():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(F.relu(self.conv(x.flip(3))).mean(dim=(2, 3)))

    assert receptive_field_of(TracedNetwork(Turned(), Preprocess(**PLAIN), size=8), layer="conv") is None


def test_a_field_beyond_the_border_is_cut_to_the_picture():
    assert ReceptiveField(-3, 30, 7, 7).inside(32) == ReceptiveField(0, 30, 4, 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layer": "whitten"}, "unknown layer 'whitten'; did you mean 'whiten'"),
        ({"layer": "whiten", "row": 31}, r"position \(31, 0\): layer 'whiten' has rows 0 to 30 and columns 0 to 30"),
        ({"layer": "head", "column": 1}, "rows 0 to 0"),
        ({"layer": "whiten", "row": -1}, "position"),
    ],
)
def test_a_wrong_position_is_told(given, said):
    network = TracedNetwork(create_model("speednet"), Preprocess(**PLAIN), size=32)
    with pytest.raises(UsageError, match=said):
        receptive_field_of(network, **given)
