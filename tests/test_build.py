"""From a recipe to what trains: step counts, phases, checks, devices, and the description that restores a network."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cifarlab.build import Plan, arrange, build_plan, check_recipe, choose_device, describe, resolve_precision, restore
from cifarlab.config import Recipe, override
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.errors import BundleError, UsageError
from cifarlab.recipes import get_recipe, recipe_names

CPU = torch.device("cpu")


def make_dataset(count: int, size: int = 16, *, height: int | None = None) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (count, height or size, size, 3)).astype(np.uint8)
    labels = np.arange(count, dtype=np.int64) % 4
    ids = np.array([str(number) for number in range(count)])
    return Dataset(name="made", images=images, labels=labels, class_names=("a", "b", "c", "d"), sample_ids=ids)


def make_recipe(**changes: object) -> Recipe:
    recipe = Recipe.model_validate(
        {
            "model": {"name": "speednet", "arguments": {"widths": [8, 8, 8]}},
            "optim": {"name": "muon", "lr": 0.1, "arguments": {}},
            "train": {"duration": "9ep", "batch_size": 10, "precision": "fp32"},
        }
    )
    return override(recipe, {key.replace("__", "."): value for key, value in changes.items()})


def make_plan(*, size: int = 16, **changes: object) -> Plan:
    """100 training images: 10 steps an epoch at batch 10."""
    splits = Splits(train=make_dataset(100, size), test=make_dataset(8, size))
    recipe = make_recipe(**{"data__validation": 0, "train__select": "last", **changes})
    return build_plan(recipe, arrange(recipe, splits), device=CPU)


# -- steps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "batch_size", "steps", "epochs"),
    [("9ep", 10, 90, 9), ("1.5ep", 10, 15, 2), ("7st", 10, 7, 1), ("3ep", 7, 45, 3), ("2ep", 512, 2, 2), ("0.01ep", 10, 1, 1)],
)
def test_the_length_of_training(duration: str, batch_size: int, steps: int, epochs: int) -> None:
    plan = make_plan(train__duration=duration, train__batch_size=batch_size)
    assert (plan.total_steps, plan.epochs) == (steps, epochs)


def test_warm_up_and_rate_refer_to_the_whole_run() -> None:
    plan = make_plan(schedule__name="linear", schedule__warmup="10%", schedule__final=0.1)
    assert plan.warmup_steps == 9
    assert plan.rate_factor(0) == pytest.approx(1 / 9)
    assert plan.rate_factor(9) == pytest.approx(1)
    assert plan.rate_factor(90) == pytest.approx(0.1)
    assert plan.rate_factor(9 + 27) == pytest.approx(0.1 + 0.9 * (1 - 27 / 81))


@pytest.mark.parametrize(
    ("resolution", "duration", "expected"),
    [
        ([16, 20, 24], "9ep", [16] * 3 + [20] * 3 + [24] * 3),
        ([16, 20], "5ep", [16, 16, 16, 20, 20]),
        ([16, 20, 24], "2ep", [16, 20]),
        ([20], "2ep", [20, 20]),
        ([], "2ep", [None, None]),
    ],
)
def test_phases_of_resolution_share_the_epochs(resolution: list[int], duration: str, expected: list[int | None]) -> None:
    plan = make_plan(train__resolution=resolution, train__duration=duration)
    assert [plan.image_size(epoch) for epoch in range(plan.epochs)] == expected


@pytest.mark.parametrize("resolution", [[], [16, 32]])
@pytest.mark.parametrize("duration", ["1st", "3.5ep", "4ep"])
def test_the_share_done_climbs_from_zero_to_one(resolution: list[int], duration: str) -> None:
    plan = make_plan(train__resolution=resolution, train__duration=duration)
    shares = [plan.share_done(step) for step in range(plan.total_steps + 1)]
    assert (shares[0], shares[-1]) == (0, 1)
    assert all(a < b for a, b in itertools.pairwise(shares))


def test_small_images_count_by_their_area() -> None:
    plan = make_plan(train__resolution=[16, 32], train__duration="2ep")
    assert plan.share_done(10) == pytest.approx(1 / 5)  # 1 part of 1 + 4


def test_parameters_freeze_at_their_time() -> None:
    plan = make_plan(train__freeze=[{"parameters": "whiten.*", "after": "3ep"}, {"parameters": "group1.*", "after": "50%"}])
    assert plan.freeze == (("whiten.*", 30), ("group1.*", 45))
    model: Any = plan.model
    for step, whiten, group1, head in ((29, True, True, True), (30, False, True, True), (45, False, False, True)):
        plan.freeze_parameters(step)
        trained = [model.whiten.bias, model.group1.conv1.weight, model.head.weight]
        assert [parameter.requires_grad for parameter in trained] == [whiten, group1, head]


def test_the_seed_of_the_recipe_decides_the_first_weights() -> None:
    states = [make_plan(seed=seed).model.state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])


def test_standardization_is_measured_on_the_training_images() -> None:
    plan = make_plan()
    pixels = make_dataset(100).images.astype(np.float64) / 255
    assert plan.preprocess.mean.tolist() == pytest.approx(pixels.mean((0, 1, 2)), rel=1e-6)
    assert plan.preprocess.std.tolist() == pytest.approx(pixels.std((0, 1, 2)), rel=1e-6)
    rescaled = make_plan(input__normalization="rescale").preprocess
    assert (rescaled.mean.tolist(), rescaled.std.tolist()) == ([0, 0, 0], [1, 1, 1])


def test_a_channel_without_variation_is_not_divided_by_zero() -> None:
    data = make_dataset(100)
    data.images[..., 2] = 90
    recipe = make_recipe(data__validation=0, train__select="last")
    plan = build_plan(recipe, arrange(recipe, Splits(data, data)), device=CPU)
    assert torch.isfinite(plan.preprocess(torch.from_numpy(data.images))).all()


# -- checks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_passes(name: str) -> None:
    check_recipe(get_recipe(name))


def test_every_problem_is_reported_at_once() -> None:
    recipe = make_recipe(
        model__arguments={"wdths": [8, 8, 8]},
        optim__arguments={"momentun": 0.9},
        train__freeze=[{"parameters": "whitten.*", "after": "1ep"}],
    )
    with pytest.raises(UsageError, match=r"(?s)unknown argument 'wdths'; did you mean 'widths'.*unknown argument 'momentun'"):
        check_recipe(recipe)
    with pytest.raises(
        UsageError, match=r"(?s)unknown argument 'momentun'.*train\.freeze: no parameter matches; unknown pattern 'whitten\.\*'"
    ):
        check_recipe(override(recipe, {"model.arguments": {}}))


def test_checking_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    check_recipe(make_recipe())
    assert torch.equal(torch.get_rng_state(), before)


def test_images_that_are_not_square_are_refused() -> None:
    splits = Splits(make_dataset(40, height=20), make_dataset(8, height=20))
    recipe = make_recipe()
    with pytest.raises(UsageError, match="made: images must be square, not 20 x 16"):
        build_plan(recipe, arrange(recipe, splits), device=CPU)


def test_a_translation_as_wide_as_the_images_is_refused() -> None:
    with pytest.raises(UsageError, match=r"augment\.translate=16: allowed is 0 to 15 for images of 16 px"):
        make_plan(augment__translate=16)


@pytest.mark.parametrize(("model", "sizes"), [("speednet", [8, 16]), ("lab-base", [16, 24])])
def test_a_resolution_that_the_network_cannot_take_is_refused(model: str, sizes: list[int]) -> None:
    with pytest.raises(UsageError, match=rf"train\.resolution=.*: {model} built for 16 px cannot take (8|24) px"):
        make_plan(model__name=model, model__arguments={}, train__resolution=sizes)


def test_trying_the_resolutions_leaves_no_trace() -> None:
    plain, tried = make_plan(), make_plan(train__resolution=[16, 24])
    assert tried.model.training
    assert all(torch.equal(value, tried.model.state_dict()[key]) for key, value in plain.model.state_dict().items())


# -- device and precision ------------------------------------------------------------------------------------------------


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(UsageError, match=r"unknown device 'cdua'; did you mean 'cuda'\?; allowed: auto, cpu, cuda, mps"):
        choose_device("cdua")
    with pytest.raises(UsageError, match=r"device 'cuda' is not available to PyTorch .*; available: cpu\. Use --device auto"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx512_f": True, "avx512_bf16": False}, "fp32"), ({}, "fp32")],
)
def test_auto_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"


# -- description and restoring --------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> tuple[dict[str, Any], Path, Plan]:
    """A description, its weights on disk, and the plan whose network they are of."""
    recipe = make_recipe()
    arranged = arrange(recipe, Splits(make_dataset(100), make_dataset(8)))
    plan = build_plan(recipe, arranged, device=CPU)
    weights = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in plan.model.state_dict().items()}, weights)
    return describe(recipe, arranged, plan), weights, plan


def test_a_described_network_is_restored_with_equal_logits(saved: tuple[dict[str, Any], Path, Plan]) -> None:
    description, weights, plan = saved
    model, preprocess = restore(description, weights)
    images = torch.from_numpy(make_dataset(12).images)
    assert not model.training
    with torch.no_grad():
        assert torch.equal(model(preprocess(images)), plan.model.eval()(plan.preprocess(images)))


def without(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda description: description.pop(key)


def into(section: str, key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda description: description[section].update({key: value})


@pytest.mark.parametrize(
    "damage",
    [
        without("bundle_version"),
        without("model"),
        without("classes"),
        without("input"),
        lambda description: description.update(bundle_version=99),
        lambda description: description.update(model="speednet"),
        lambda description: description.update(classes=4),
        lambda description: description.update(classes=["a", "b"]),
        into("model", "name", "spednet"),
        into("model", "arguments", {"widths": [8, 8, 16]}),
        into("model", "arguments", {"depth": 3}),
        into("model", "arguments", "none"),
        into("model", "arguments", {"widths": [2**40, 2**40, 8]}),
        into("input", "size", "large"),
        into("input", "size", 4),
        into("input", "mean", [0.5]),
        into("input", "mean", None),
        into("input", "mean", [0.1, float("nan"), 0.1]),
        into("input", "std", [0.2, 0, 0.2]),
        into("input", "std", []),
    ],
)
def test_a_damaged_description_is_a_bundle_error(
    saved: tuple[dict[str, Any], Path, Plan], damage: Callable[[dict[str, Any]], object]
) -> None:
    description, weights, _ = saved
    damaged = copy.deepcopy(description)
    damage(damaged)
    with pytest.raises(BundleError, match=r"model description|is damaged or of another network"):
        restore(damaged, weights)


def test_missing_weights_say_how_to_get_them(saved: tuple[dict[str, Any], Path, Plan], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"gone\.safetensors does not exist: .*--resume"):
        restore(saved[0], tmp_path / "gone.safetensors")


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", None])
def test_damaged_weights_are_a_bundle_error(saved: tuple[dict[str, Any], Path, Plan], content: bytes | None) -> None:
    description, weights, _ = saved
    weights.write_bytes(weights.read_bytes()[:-100] if content is None else content)
    with pytest.raises(BundleError, match="is damaged or of another network"):
        restore(description, weights)
