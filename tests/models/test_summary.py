"""Summaries against the networks themselves: hooks for shapes, measure_model for counts, gradients for receptive fields."""

from __future__ import annotations

import ast
import math
import operator
import re
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.errors import UsageError
from cifarlab.models import ModelSize, create_model, measure_model, model_names
from cifarlab.models.arithmetic import explain_layer
from cifarlab.models.summary import LayerRow, blank_model, summarize_model

Shapes = dict[str, tuple[int, ...]]
BY_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


@cache
def looked_at(name: str) -> tuple[list[LayerRow], ModelSize, Shapes]:
    """Rows of a registered network, its measured size, and what forward hooks saw each module give: (height, width, channels)."""
    model = blank_model(name)
    shapes: Shapes = {}

    def hook_for(path: str) -> object:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            channels, *sides = output.shape[1:]
            shapes[path] = (*sides, channels)

        return hook

    handles = [module.register_forward_hook(hook_for(path)) for path, module in model.named_modules()]
    size = measure_model(model)
    for handle in handles:
        handle.remove()
    return summarize_model(model), size, shapes


def worth(text: str) -> float:
    """The value of "(32 - 3 + 2*1)/1 + 1"."""

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp):
            return BY_ARITHMETIC[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.Call):
            return max(map(value, node.args))
        assert isinstance(node, ast.Constant)
        return float(node.value)

    return value(ast.parse(text, mode="eval").body)


# -- contract over the whole registry -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", model_names())
def test_rows_add_up_to_the_measured_size(name: str) -> None:
    rows, size, _ = looked_at(name)
    assert sum(row.trainable for row in rows) == size.trainable
    assert sum(row.frozen for row in rows) == size.frozen
    assert sum(row.multiply_adds for row in rows) == size.multiply_adds
    assert sum(row.multiply_adds > 0 for row in rows) == size.depth


@pytest.mark.parametrize("name", model_names())
def test_shapes_are_those_that_forward_hooks_see(name: str) -> None:
    rows, _, seen = looked_at(name)
    checked = 0
    for row in rows:
        if row.name in seen:
            squeezed = row.kind.startswith("global") and len(row.output_shape) == 1  # its flatten has no row
            assert row.output_shape == (seen[row.name][-1:] if squeezed else seen[row.name]), row.name
            checked += 1
    assert checked >= len(rows) / 2
    assert rows[-1].output_shape == (10,)


@pytest.mark.parametrize("name", model_names())
def test_every_receptive_field_is_known_and_the_last_one_is_the_image(name: str) -> None:
    rows, _, _ = looked_at(name)
    assert "unknown" not in {row.receptive_field for row in rows}
    assert rows[-1].receptive_field == "image"


@pytest.mark.parametrize("name", model_names())
def test_the_arithmetic_of_each_layer_gives_its_figures(name: str) -> None:
    rows, _, _ = looked_at(name)
    for row in rows:
        assert sum(map(math.prod, row.terms)) == row.parameters
        for what, text in explain_layer(row).items():
            left, _, right = text.partition(" = ")
            number = re.match(r"[\d ]+(\.\d+)?", right)
            assert number is not None
            value = float(number[0].replace(" ", ""))
            assert worth(left) == pytest.approx(value, rel=1e-3), text
            if what == "output":
                value = float(re.findall(r"rounded \w+: (\d+)", text)[-1]) if "rounded" in text else value
            expected = {
                "output": row.output_shape[-1] if row.kind in ("flatten", "concat") else row.output_shape[0],
                "parameters": row.parameters,
                "multiply-adds": row.multiply_adds,
                "receptive field": row.receptive_field,
            }
            assert value == expected[what], (row.name, text)
        assert ("parameters" in explain_layer(row)) == (row.parameters > 0)


# -- receptive fields against gradients ---------------------------------------------------------------------------


def all_positive(model: nn.Module) -> nn.Module:
    """`model` in double precision with weights that let no path cancel or saturate, and average for max pools, which have one path only."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.5, 1.5).div_(parameter[0].numel())  # by its fan-in
    return model


def fields_by_gradient(model: nn.Module, names: list[str], size: int) -> dict[str, int]:
    """Side of the input region with a gradient, from the middle position of each named module's output."""
    seen: dict[str, Tensor] = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output}))
    images = torch.rand(1, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    model(images)
    fields = {}
    for name in names:
        output = seen[name]
        middle = output[0, :, output.shape[2] // 2, output.shape[3] // 2].sum()
        (gradient,) = torch.autograd.grad(middle, images, retain_graph=True)
        touched = gradient[0].sum(dim=0).nonzero()  # rows and columns
        heights, widths = (int(touched[:, axis].max() - touched[:, axis].min()) + 1 for axis in (0, 1))
        assert heights == widths < size, f"{name}: the image must be larger than the field"
        fields[name] = heights
    return fields


@pytest.mark.parametrize(
    ("network", "size", "layers"),
    [
        ("lab-base", 32, ["conv1", "conv2", "pool1", "conv3", "conv4", "pool2"]),
        ("thesis18", 48, ["conv1", "pool1", "conv4", "pool2", "conv6", "pool3"]),
        (
            "resnet20",
            96,
            ["stage1_block3.conv2", "stage2_block1.shortcut", "stage2_block1.conv1", "stage3_block1.shortcut", "stage3_block3.conv2"],
        ),
        ("googlenet", 24, ["inception3a.branch1", "inception3a.branch5", "inception3a", "inception3b.branch_pool", "inception3b", "pool4"]),
        ("lenet5", 48, ["c1", "s2", "c3", "s4", "c5"]),
    ],
)
def test_receptive_fields_are_where_the_gradient_is(network: str, size: int, layers: list[str]) -> None:
    model = create_model(network, image_size=size)
    rows = summarize_model(model, image_size=size)
    # A block's field is that of its last layer.
    expected = {name: next(row for row in reversed(rows) if row.name == name or row.name.startswith(f"{name}.")) for name in layers}
    assert fields_by_gradient(all_positive(model), layers, size) == {name: row.receptive_field for name, row in expected.items()}


def test_functional_pools_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_model("speednet", image_size=64, arguments={"widths": [8, 8, 8]})
    rows = {row.name: row for row in summarize_model(model, image_size=64)}
    assert rows["group1.max_pool2d"].type == "max pool 2x2"
    monkeypatch.setattr(F, "max_pool2d", F.avg_pool2d)
    layers = ["group1.conv1", "group1.conv2", "group2.conv2", "group3.conv1", "group3.conv2"]
    fields = fields_by_gradient(all_positive(model), layers, 64)
    assert fields == {name: rows[name].receptive_field for name in layers}


class Beside(nn.Module):
    """Branches that see different, not nested, parts: 2i..2i+2 and 2i-1..2i+1."""

    def __init__(self) -> None:
        super().__init__()
        self.right = nn.Conv2d(3, 4, 3, stride=2)
        self.left = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.joined = nn.Identity()
        self.after = nn.Conv2d(8, 4, 3, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        right = self.right(x)
        left = self.left(x)[:, :, : right.shape[2], : right.shape[3]]
        return self.after(self.joined(torch.cat([right, left], dim=1)))  # type: ignore[no-any-return]


class PaddedBehind(nn.Module):
    """A 2x2 convolution padded below and to the right, a subsampling that begins at 1, a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.block = nn.Sequential(nn.Conv2d(4, 4, 4), nn.MaxPool2d(3, 2, ceil_mode=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.pad(x, (0, 1, 0, 1)))
        return self.block(self.scale * x[:, :, 1::2, 1::2])  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "layers", "fields"),
    [
        (Beside(), {"joined": "cat", "after": "after"}, [4, 4 + 4 * 2]),
        (PaddedBehind(), {"conv": "conv", "block.0": "block.0", "block.1": "block.1"}, [2, 2 + 3 * 2, 8 + 2 * 2]),
    ],
    ids=["beside", "padded behind"],
)
def test_shifted_branches_and_uneven_padding(model: nn.Module, layers: dict[str, str], fields: list[int]) -> None:
    rows = {row.name: row.receptive_field for row in summarize_model(model, image_size=40)}
    assert [rows[name] for name in layers.values()] == fields
    assert list(fields_by_gradient(all_positive(model), list(layers), 40).values()) == fields


# -- rows ---------------------------------------------------------------------------------------------------------


def rows_of(*layers: nn.Module, size: int = 32) -> list[LayerRow]:
    return summarize_model(nn.Sequential(*layers), image_size=size)


def test_an_activation_belongs_to_the_layer_before_it() -> None:
    assert [row.type for row in rows_of(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(8), nn.GELU())] == [
        "conv 3x3 same, ReLU",
        "batch norm, GELU",
    ]


def test_an_activation_of_a_layer_that_is_used_twice_stands_alone() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return y + torch.tanh(y)  # type: ignore[no-any-return]

    assert [row.type for row in summarize_model(Twice())] == ["conv 1x1", "activation tanh", "add"]


def test_a_module_of_its_own_is_one_row_with_its_parameters() -> None:
    rows = {row.name: row for row in looked_at("lenet5")[0]}
    assert rows["s2"].type == "subsampling, scaled tanh"
    assert (rows["s2"].parameters, rows["s2"].output_shape, rows["s2"].receptive_field) == (12, (14, 14, 6), 6)


def test_a_layer_used_twice_is_counted_once_and_computed_twice() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x))  # type: ignore[no-any-return]

    rows = summarize_model(Shared())
    assert [row.parameters for row in rows] == [84, 0]
    assert [row.receptive_field for row in rows] == [3, 5]
    assert sum(row.multiply_adds for row in rows) == measure_model(Shared()).multiply_adds


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    ("layer", "size", "text"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), 32, "(32 - 3 + 2*1)/1 + 1 = 32"),
        (nn.Conv2d(3, 8, 5), 32, "(32 - 5 + 2*0)/1 + 1 = 28"),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), 32, "(32 - 3 + 2*1)/2 + 1 = 16.5, rounded down: 16"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), 32, "(32 - 3 + 2*0)/2 + 1 = 15.5, rounded up: 16"),
        (
            nn.MaxPool2d(1, 3, ceil_mode=True),
            17,
            "(17 - 1 + 2*0)/3 + 1 = 6.333, rounded up: 7, without the window that begins in the padding: 6",
        ),
        (nn.Conv2d(3, 8, 2, padding="same"), 32, "(32 - 2 + 1)/1 + 1 = 32"),
        (nn.Conv2d(3, 8, 3, dilation=2), 32, "(32 - 5 + 2*0)/1 + 1 = 28, with F = 2*(3 - 1) + 1 = 5"),
        (nn.Conv2d(3, 8, (1, 3)), 32, "height (32 - 1 + 2*0)/1 + 1 = 32; width (32 - 3 + 2*0)/1 + 1 = 30"),
        (nn.AdaptiveAvgPool2d(8), 32, "(32 - 4 + 2*0)/4 + 1 = 8"),
    ],
)
def test_the_size_formula_with_the_numbers_in_place(layer: nn.Module, size: int, text: str) -> None:
    (row,) = rows_of(nn.Sequential(layer, nn.Conv2d(layer(torch.zeros(1, 3, size, size)).shape[1], 1, 1)), size=size)[:1]
    assert explain_layer(row)["output"] == text


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.Conv2d(3, 32, 3), "3*3*3*32 + 32 = 896"),
        (nn.Conv2d(3, 6, 3, groups=3, bias=False), "3*3*1*6 = 54"),
        (nn.BatchNorm2d(3), "4*3 = 12 (scale, shift, running mean, running variance), 6 not trained"),
        (nn.BatchNorm2d(3, affine=False), "2*3 = 6, 6 not trained"),
    ],
)
def test_the_parameters_with_the_numbers_in_place(layer: nn.Module, text: str) -> None:
    row = rows_of(layer, nn.Conv2d(layer(torch.zeros(1, 3, 9, 9)).shape[1], 1, 1))[0]
    assert explain_layer(row)["parameters"] == text


def test_an_operation_that_is_not_understood_is_marked() -> None:
    class Rolls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(torch.roll(x, 1, 2))  # type: ignore[no-any-return]

    assert [row.receptive_field for row in summarize_model(Rolls())] == ["unknown", "unknown"]


def test_a_network_that_looks_at_its_values_is_refused() -> None:
    class Undecided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match="Undecided has no fixed sequence of layers"):
        summarize_model(Undecided())


def test_looking_leaves_the_network_as_it_was() -> None:
    model = create_model("resnet20").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    summarize_model(model)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# -- blank networks -----------------------------------------------------------------------------------------------


def test_a_blank_network_has_the_shape_of_the_real_one_and_draws_nothing() -> None:
    torch.manual_seed(0)
    real = create_model("lab-final")
    torch.manual_seed(0)
    before = torch.get_rng_state()
    blank = blank_model("lab-final")
    assert torch.equal(torch.get_rng_state(), before)
    assert {key: value.shape for key, value in blank.state_dict().items()} == {key: value.shape for key, value in real.state_dict().items()}
    assert not any(value.any() for key, value in blank.state_dict().items() if key.endswith("conv1_1.weight"))


def test_a_blank_network_is_refused_as_the_real_one_is() -> None:
    with pytest.raises(UsageError, match="unknown model 'lab-bse'; did you mean 'lab-base'"):
        blank_model("lab-bse")
