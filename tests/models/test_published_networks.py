"""The networks of the published reports: their tables layer by layer, their Keras details, their limits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.errors import UsageError
from cifarlab.models import activation_names, create_activation, create_model, measure_model
from cifarlab.models.keras_layers import batch_norm, conv3x3, dense_norm, glorot_uniform

# Trainable and not: batch norm of C channels has 2 C of each, which is where the reports' sums come from.
COUNTS = {
    "thesis18": (551_274, 2 * (32 + 64 + 128 + 128)),
    "report10": (2_251_218, 2 * (2 * 32 + 2 * 64 + 3 * 128 + 3 * 256)),
    "slides-m1": (122_570, 0),
    "slides-m2": (122_570, 0),
    "slides-m3": (1_494_218, 0),
    "slides-final": (1_825_994 - 1_920, 2 * (64 + 128 + 256 + 512)),
    "lab-base": (24_666, 0),
    "lab-final": (551_722, 2 * (2 * 32 + 2 * 64 + 2 * 128 + 128)),
}
TOTALS = {
    "thesis18": 551_978,
    "report10": 2_253_906,
    "slides-m1": 122_570,
    "slides-m2": 122_570,
    "slides-m3": 1_494_218,
    "slides-final": 1_825_994,
    "lab-base": 24_666,
    "lab-final": 552_874,
}
# Smallest images: every pool must find two pixels a side, every unpadded convolution three.
LEAST = {
    "thesis18": 8,
    "report10": 16,
    "slides-m1": 18,
    "slides-m2": 18,
    "slides-m3": 8,
    "slides-final": 16,
    "lab-base": 16,
    "lab-final": 8,
}
NORMALIZED = ("lab-final", "report10", "slides-final", "thesis18")
DROPOUTS = {
    "thesis18": (0.25, 0.5),
    "report10": (0.2, 0.3, 0.4, 0.5),
    "slides-final": (0.2, 0.2, 0.2, 0.5),
    "lab-final": (0.2, 0.3, 0.4, 0.5),
}
# Rows as the reports print them: kind, output as height x width x channels, parameters. Activations are no rows there.
THREE_CONVOLUTIONS = """
    conv 30,30,32 896 | pool 15,15,32 0 | conv 13,13,64 18496 | pool 6,6,64 0 | conv 4,4,64 36928 | flatten 1024 0 | dense 64 65600"""
TABLES = {
    "thesis18": """
        conv 32,32,32 896 | norm 32,32,32 128 | conv 32,32,32 9248 | pool 16,16,32 0 | conv 16,16,64 18496 | conv 16,16,64 36928 |
        norm 16,16,64 256 | pool 8,8,64 0 | conv 8,8,128 73856 | conv 8,8,128 147584 | norm 8,8,128 512 | pool 4,4,128 0 |
        dropout 4,4,128 0 | flatten 2048 0 | dense 128 262272 | norm 128 512 | dropout 128 0 | dense 10 1290""",
    "report10": """
        conv 32,32,32 896 | norm 32,32,32 128 | conv 32,32,32 9248 | norm 32,32,32 128 | pool 16,16,32 0 | dropout 16,16,32 0 |
        conv 16,16,64 18496 | norm 16,16,64 256 | conv 16,16,64 36928 | norm 16,16,64 256 | pool 8,8,64 0 | dropout 8,8,64 0 |
        conv 8,8,128 73856 | norm 8,8,128 512 | conv 8,8,128 147584 | norm 8,8,128 512 | conv 8,8,128 147584 | norm 8,8,128 512 |
        pool 4,4,128 0 | dropout 4,4,128 0 |
        conv 4,4,256 295168 | norm 4,4,256 1024 | conv 4,4,256 590080 | norm 4,4,256 1024 | conv 4,4,256 590080 | norm 4,4,256 1024 |
        pool 2,2,256 0 | dropout 2,2,256 0 | flatten 1024 0 | dense 300 307500 | dense 100 30100 | dense 10 1010""",
    "slides-m1": f"{THREE_CONVOLUTIONS} | dense 10 650",
    "slides-m2": f"{THREE_CONVOLUTIONS} | dropout 64 0 | dense 10 650",
    "slides-m3": """
        conv 32,32,64 1792 | pool 16,16,64 0 | conv 16,16,128 73856 | pool 8,8,128 0 | conv 8,8,256 295168 | pool 4,4,256 0 |
        conv 4,4,256 590080 | flatten 4096 0 | dense 128 524416 | dense 64 8256 | dense 10 650""",
    "slides-final": """
        conv 32,32,64 1792 | norm 32,32,64 256 | pool 16,16,64 0 | dropout 16,16,64 0 |
        conv 16,16,128 73856 | norm 16,16,128 512 | pool 8,8,128 0 | dropout 8,8,128 0 |
        conv 8,8,256 295168 | norm 8,8,256 1024 | pool 4,4,256 0 | dropout 4,4,256 0 |
        conv 4,4,512 1180160 | norm 4,4,512 2048 | pool 2,2,512 0 | dropout 2,2,512 0 |
        flatten 2048 0 | dense 128 262272 | dense 64 8256 | dense 10 650""",
    "lab-base": """
        conv 30,30,16 448 | conv 28,28,16 2320 | pool 14,14,16 0 | conv 12,12,32 4640 | conv 10,10,32 9248 | pool 5,5,32 0 |
        flatten 800 0 | dense 10 8010""",
    "lab-final": """
        conv 32,32,32 896 | norm 32,32,32 128 | conv 32,32,32 9248 | norm 32,32,32 128 | pool 16,16,32 0 | dropout 16,16,32 0 |
        conv 16,16,64 18496 | norm 16,16,64 256 | conv 16,16,64 36928 | norm 16,16,64 256 | pool 8,8,64 0 | dropout 8,8,64 0 |
        conv 8,8,128 73856 | norm 8,8,128 512 | conv 8,8,128 147584 | norm 8,8,128 512 | pool 4,4,128 0 | dropout 4,4,128 0 |
        flatten 2048 0 | dense 128 262272 | norm 128 512 | dropout 128 0 | dense 10 1290""",
}
KINDS: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.Conv2d, "conv"),
    (nn.BatchNorm1d, "norm"),
    (nn.BatchNorm2d, "norm"),
    (nn.MaxPool2d, "pool"),
    (nn.Dropout, "dropout"),
    (nn.Flatten, "flatten"),
    (nn.Linear, "dense"),
    (nn.ReLU, "relu"),
)


def random_images(count: int, size: int = 32, *, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def kind_of(layer: nn.Module) -> str:
    return next(kind for known, kind in KINDS if isinstance(layer, known))


def rows_of(model: nn.Sequential) -> list[str]:
    """What the reports' tables print of each layer that is not an activation, with running statistics as parameters."""
    rows = []
    x = random_images(2)
    for layer in model.eval():
        x = layer(x)
        shape = x.permute(0, 2, 3, 1).shape if x.ndim == 4 else x.shape  # [N, C, H, W] -> height, width, channels
        weights = [*layer.parameters(), *(buffer for buffer in layer.buffers() if buffer.is_floating_point())]
        rows.append(f"{kind_of(layer)} {','.join(str(side) for side in shape[1:])} {sum(weight.numel() for weight in weights)}")
    return [row for row in rows if not row.startswith("relu")]


# -- tables and counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_layers_are_those_of_the_report_row_by_row(name: str) -> None:
    published = [" ".join(row.split()) for row in TABLES[name].split("|")]
    assert rows_of(create_model(name)) == published
    assert sum(int(row.split()[-1]) for row in published) == TOTALS[name]  # the table itself adds up


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    size = measure_model(create_model(name))
    assert (size.trainable, size.frozen) == COUNTS[name]
    assert size.parameters == TOTALS[name]


@pytest.mark.parametrize("name", TABLES)
def test_an_activation_directly_follows_every_convolution_and_hidden_dense_layer(name: str) -> None:
    kinds = [kind_of(layer) for layer in create_model(name)]
    for here, after in zip(kinds, [*kinds[1:], "end"], strict=True):
        if here == "conv" or (here == "dense" and name != "report10" and after != "end"):
            assert after == "relu"
    assert kinds[-1] == "dense"  # logits: softmax belongs to the loss


def test_the_dense_layers_of_report10_are_one_linear_map() -> None:
    assert [kind_of(layer) for layer in create_model("report10")][-4:] == ["flatten", "dense", "dense", "dense"]


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropout_rates_are_the_published_ones_or_those_given(name: str) -> None:
    count = len(DROPOUTS[name])
    given = tuple(0.1 * number for number in range(count))
    for model, rates in ((create_model(name), DROPOUTS[name]), (create_model(name, arguments={"dropout": given}), given)):
        assert tuple(layer.p for layer in model if isinstance(layer, nn.Dropout)) == rates


def test_slides_m2_is_slides_m1_but_for_dropout_in_training() -> None:
    torch.manual_seed(0)
    plain = create_model("slides-m1")
    torch.manual_seed(0)
    dropping = create_model("slides-m2", arguments={"dropout": 0.25})
    images = random_images(8)
    assert torch.equal(plain.eval()(images), dropping.eval()(images))
    hidden = plain[:-1](images)
    dropped = dropping.train()[:-1](images)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], hidden[kept] / 0.75)
    assert 0.15 < 1 - kept[hidden != 0].float().mean() < 0.35  # 0.25 of a few hundred values


# -- what the layers do --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_kernels_start_glorot_uniform_and_biases_at_zero(name: str) -> None:
    # Glorot and Bengio 2010, eq. 16; the fans of a convolution count the 9 places of its kernel.
    torch.manual_seed(0)
    layers = [layer for layer in create_model(name).modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert layers
    for layer in layers:
        places = 9 if isinstance(layer, nn.Conv2d) else 1
        bound = math.sqrt(6 / (places * (layer.weight.shape[0] + layer.weight.shape[1])))
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.var().item() == pytest.approx(bound**2 / 3, rel=0.2)  # of a uniform distribution
        assert layer.bias is not None
        assert not layer.bias.any()


def test_lab_base_draws_its_kernels_after_all_layers_were_made() -> None:
    # The order of the draws decides what a seed gives: PyTorch's own for each layer first, then one kernel after the other.
    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 32, 3), nn.Conv2d(32, 32, 3), nn.Linear(800, 10)]
    kernels = [nn.init.xavier_uniform_(layer.weight) for layer in layers]
    torch.manual_seed(3)
    model = create_model("lab-base")
    for name, kernel in zip(("conv1", "conv2", "conv3", "conv4", "dense"), kernels, strict=True):
        assert torch.equal(model.get_parameter(f"{name}.weight"), kernel)


@pytest.mark.parametrize(("norm", "shape"), [(batch_norm(5), (8, 5, 4, 4)), (dense_norm(5), (8, 5))])
def test_batch_norm_is_that_of_keras(norm: nn.Module, shape: tuple[int, ...]) -> None:
    # Keras' defaults: new statistic = 0.99 old + 0.01 batch; y = (x - mean) / sqrt(variance + 0.001).
    x = 3 + 0.05 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    rows = x.transpose(0, 1).flatten(1)  # [N, C, ...] -> [C, N ...]
    mean, variance = rows.mean(1), rows.var(1, correction=0)
    y = norm.train()(x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(y, (rows - mean[:, None]) / torch.sqrt(variance[:, None] + 1e-3), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm.get_buffer("running_mean"), 0.01 * mean)
    torch.testing.assert_close(norm.get_buffer("running_var"), 0.99 + 0.01 * rows.var(1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NORMALIZED)
def test_every_batch_norm_has_keras_momentum_and_epsilon(name: str) -> None:
    norms = [layer for layer in create_model(name) if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        assert norm.momentum == pytest.approx(1 - 0.99)
        assert norm.eps == 1e-3


def test_padding_same_keeps_the_size_and_valid_takes_two() -> None:
    x = random_images(1, 9)
    same, valid = conv3x3(3, 4), conv3x3(3, 4, padding="valid")
    valid.load_state_dict(same.state_dict())
    assert same(x).shape == (1, 4, 9, 9)
    torch.testing.assert_close(same(x)[:, :, 1:-1, 1:-1], valid(x))


def test_glorot_uniform_gives_back_the_network_it_changed() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False))
    assert glorot_uniform(model) is model


# -- activations -----------------------------------------------------------------------------------------------------------

FORMULAS = {
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


@pytest.mark.parametrize("name", activation_names())
def test_activations_are_their_formulas(name: str) -> None:
    values = [-3.0, -0.5, 0.0, 0.1, 2.0]
    expected = torch.tensor([FORMULAS[name](value) for value in values])
    torch.testing.assert_close(create_activation(name)(torch.tensor(values)), expected)


def test_every_activation_has_a_formula_here() -> None:
    assert activation_names() == tuple(sorted(FORMULAS))


def test_an_unknown_activation_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown activation 'rellu'; did you mean 'relu'\?"):
        create_activation("rellu")


@pytest.mark.parametrize("activation", activation_names())
def test_gradients_reach_every_parameter_with_any_activation(activation: str) -> None:
    torch.manual_seed(0)
    for name in ("slides-m3", "lab-final"):
        model = create_model(name, image_size=16, arguments={"activation": activation}).train()
        F.cross_entropy(model(random_images(10, 16)), torch.arange(10)).backward()
        untouched = [key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
        assert untouched == []


@pytest.mark.parametrize("name", TABLES)
def test_the_activation_given_takes_the_place_of_relu(name: str) -> None:
    count = sum(isinstance(layer, nn.ReLU) for layer in create_model(name))
    model = create_model(name, arguments={"activation": "tanh"})
    assert sum(isinstance(layer, nn.Tanh) for layer in model) == count > 0
    assert not any(isinstance(layer, nn.ReLU) for layer in model)


# -- the whole network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TABLES, "resnet20"])
def test_gradients_are_those_without_overwriting(name: str) -> None:
    gradients = []
    for inplace in (True, False):
        torch.manual_seed(0)
        model = create_model(name, image_size=20).train()
        for layer in model.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = inplace
        F.cross_entropy(model(random_images(4, 20)), torch.arange(4)).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(a is not None and b is not None and torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", TABLES)
def test_an_image_is_judged_alone_after_training(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name).train()
    with torch.no_grad():
        model(random_images(16, seed=1))  # running statistics move
        images = random_images(4)
        together = model.eval()(images)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TABLES)
def test_the_network_can_be_traced(name: str) -> None:
    model = create_model(name).eval()
    images = random_images(2)
    assert torch.equal(torch.fx.symbolic_trace(model)(images), model(images))


@pytest.mark.parametrize("name", LEAST)
def test_the_smallest_images_pass_and_smaller_ones_are_refused(name: str) -> None:
    least = LEAST[name]
    assert create_model(name, image_size=least).eval()(random_images(2, least)).shape == (2, 10)
    with pytest.raises(UsageError, match=rf"image_size must be at least {least}, not {least - 1}"):
        create_model(name, image_size=least - 1)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(("size", "classes"), [(27, 2), (48, 100)])
def test_other_sizes_and_classes(name: str, size: int, classes: int) -> None:
    model = create_model(name, image_size=size, num_classes=classes).eval()
    assert model(random_images(2, size)).shape == (2, classes)


@pytest.mark.parametrize("name", DROPOUTS)
@pytest.mark.parametrize(
    ("rates", "problem"), [([0.5], r"dropout must be \d rates, one for each"), (None, r"dropout must be at least 0 and less than 1, not 1")]
)
def test_wrong_dropout_rates_are_refused(name: str, rates: list[float] | None, problem: str) -> None:
    given = rates or [*DROPOUTS[name][:-1], 1.0]
    with pytest.raises(UsageError, match=problem):
        create_model(name, arguments={"dropout": given})


def test_a_wrong_dropout_rate_of_slides_m2_is_refused() -> None:
    with pytest.raises(UsageError, match=r"dropout must be at least 0 and less than 1, not -0\.1"):
        create_model("slides-m2", arguments={"dropout": -0.1})
