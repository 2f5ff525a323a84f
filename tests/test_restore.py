"""The description that a run keeps, and the network that it restores."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from cifarlab.build import arrange, build_plan, describe
from cifarlab.data.dataset import Splits
from cifarlab.errors import BundleError
from cifarlab.models import create_model, model_names
from cifarlab.plan import Plan
from cifarlab.restore import restore
from small_plans import CPU, make_dataset, make_recipe


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


@pytest.mark.parametrize("given", [{"crop": 12}, {"size": 24}, {"color": "gray"}, {"crop": 14, "size": 20, "normalization": "rescale"}])
def test_a_restored_network_sees_the_input_that_it_was_trained_on(tmp_path: Path, given: dict[str, Any]) -> None:
    recipe = make_recipe(model={"name": "slides-m3", "arguments": {}}, input=given)
    arranged = arrange(recipe, Splits(make_dataset(100), make_dataset(8)))
    plan = build_plan(recipe, arranged, device=CPU)
    save_file({key: value.contiguous() for key, value in plan.model.state_dict().items()}, tmp_path / "w.safetensors")
    description = json.loads(json.dumps(describe(recipe, arranged, plan)))
    model, preprocess = restore(description, tmp_path / "w.safetensors")
    images = torch.from_numpy(make_dataset(6).images)
    assert torch.equal(preprocess(images), plan.preprocess(images))
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
        into("input", "center_crop", 17),
        into("input", "center_crop", "half"),
        into("input", "network_size", 0),
        into("input", "network_size", 4),
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


@pytest.mark.parametrize("name", model_names())
def test_a_network_that_its_file_cannot_hold_is_not_built(name: str, tmp_path: Path) -> None:
    model = create_model(name)
    content = save({key: value.contiguous() for key, value in model.state_dict().items()})
    source = {"size": 32, "mean": [0.5] * 3, "std": [0.2] * 3, "center_crop": None, "network_size": None, "color": "rgb"}
    description = {"bundle_version": 2, "model": {"name": name, "arguments": {}}, "classes": ["x"] * 10, "input": source}
    values = sum(parameter.numel() for parameter in model.parameters())
    with pytest.raises(BundleError, match=f"has {values:,} weights, which cannot be in a file of {values - 1:,} bytes"):
        restore(description, tmp_path / "w", content=content[: values - 1])
    restored, _ = restore(description, tmp_path / "w", content=content)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in restored.state_dict().items())


def test_missing_weights_say_how_to_get_them(saved: tuple[dict[str, Any], Path, Plan], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"gone\.safetensors does not exist: .*--resume"):
        restore(saved[0], tmp_path / "gone.safetensors")


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", None])
def test_damaged_weights_are_a_bundle_error(saved: tuple[dict[str, Any], Path, Plan], content: bytes | None) -> None:
    description, weights, _ = saved
    weights.write_bytes(weights.read_bytes()[:-100] if content is None else content)
    with pytest.raises(BundleError, match="is damaged or of another network"):
        restore(description, weights)
