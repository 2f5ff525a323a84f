"""What a training records: metrics, the best weights, durations, and failures by numbers that are not finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import log_softmax, softmax
from small_runs import STEPS_PER_EPOCH, Watcher, make_recipe, make_splits, outcome, resume, train
from torch import Tensor, nn

from cifarlab.build import arrange
from cifarlab.errors import TrainingError, UsageError
from cifarlab.evaluation import predict_logits
from cifarlab.restore import restore
from cifarlab.runs import RunDirectory
from cifarlab.training import State
from cifarlab.training.loop import epoch_means


class Linear(nn.Module):
    """One dense layer; its answer is NaN at the training step that `poison` names."""

    poison: int | None = None
    gain = 1.0

    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(3 * image_size**2, num_classes)
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        logits = Linear.gain * self.dense(x.flatten(1))
        return logits * float("nan") if self.training and self.steps == Linear.poison else logits


@pytest.fixture
def linear(register_model: Any) -> dict[str, Any]:
    """Changes to the small recipe: a dense layer under plain SGD, no augmentation."""

    def factory(*, num_classes: int, image_size: int) -> nn.Module:
        """One dense layer."""
        return Linear(num_classes, image_size)

    register_model("test-linear", factory)
    sections: dict[str, Any] = {
        "model": {"name": "test-linear", "arguments": {}},
        "optim": {"name": "sgd", "lr": 1e-3, "arguments": {}},
        "augment": {"flip": "none", "translate": 0, "cutout": 0},
        "schedule": {"name": "constant", "warmup": "0%"},
        "train": {"resolution": [], "freeze": [], "select": "last"},
    }
    return sections


# -- metrics ------------------------------------------------------------------------------------------------------------


def test_a_training_learns(tmp_path: Path, linear: dict[str, Any]) -> None:
    run = train(tmp_path, "run", make_recipe(**{**linear, "optim__lr": 0.01, "train__duration": "10ep"}))
    rows = run.epochs()
    assert [row["epoch"] for row in rows] == list(range(1, 11))
    assert [row["step"] for row in rows] == [4 * epoch for epoch in range(1, 11)]
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    assert rows[-1]["validation_accuracy"] > 0.9  # chance is 0.25


def test_train_metrics_equal_an_independent_computation(tmp_path: Path, linear: dict[str, Any]) -> None:
    # So small a rate changes nothing in float32: all batches of the epoch see the same weights, those that are saved.
    recipe = make_recipe(**{**linear, "optim__lr": 1e-30, "loss__label_smoothing": 0.3, "train__duration": "1ep"})
    splits = make_splits()
    run = train(tmp_path, "run", recipe, splits=splits)
    model, preprocess = restore(run.read_json("bundle.json"), run.weights_file("last"))
    arranged = arrange(recipe, splits)
    assert arranged.validation is not None
    for split, data in (("train", arranged.train), ("validation", arranged.validation)):
        with torch.no_grad():
            logits = model(preprocess(torch.from_numpy(data.images))).double().numpy()
        own = np.arange(len(data)), data.labels
        row = run.epochs()[0]
        assert row[f"{split}_loss"] == pytest.approx(-log_softmax(logits, axis=1)[own].mean(), rel=1e-5)
        assert row[f"{split}_accuracy"] == pytest.approx((logits.argmax(1) == data.labels).mean(), abs=1e-9)
        squared = (softmax(logits, axis=1) - np.eye(4)[data.labels]) ** 2
        assert row[f"{split}_mse"] == pytest.approx(squared.mean(), rel=1e-5)


def test_epoch_means_are_sums_over_samples() -> None:
    sums = torch.tensor([30.0, 15.0, 2.0, 20.0], dtype=torch.float64)
    assert epoch_means(State(sums=sums)) == {"train_loss": 1.5, "train_accuracy": 0.75, "train_mse": 0.1}


def test_the_best_weights_are_those_of_the_best_epoch_on_validation(tmp_path: Path) -> None:
    recipe, splits = make_recipe(train__duration="6ep"), make_splits()
    saved: list[bytes] = []
    run = train(
        tmp_path,
        "run",
        recipe,
        watcher=Watcher(at_epoch=lambda row: saved.append((tmp_path / "run/weights/best.safetensors").read_bytes())),
    )
    accuracies = [row["validation_accuracy"] for row in run.epochs()]
    best = int(np.argmax(accuracies))  # the first of equals
    status = run.status()
    assert (status["best_epoch"], status["best_validation_accuracy"]) == (best + 1, accuracies[best])
    assert run.weights_file("best").read_bytes() == saved[best]
    model, preprocess = restore(run.read_json("bundle.json"), run.weights_file("best"))
    validation = arrange(recipe, splits).validation
    assert validation is not None
    logits = predict_logits(model, preprocess, torch.from_numpy(validation.images))
    assert (logits.argmax(1) == validation.labels).mean() == pytest.approx(accuracies[best])


def test_frozen_parameters_stand_still_after_their_time(tmp_path: Path) -> None:
    run = train(tmp_path, "run", make_recipe(train__duration="1ep"))
    longer = train(tmp_path, "longer", make_recipe(train__duration="2ep", schedule__name="constant", train__select="last"))
    constant = train(tmp_path, "constant", make_recipe(train__duration="1ep", schedule__name="constant", train__select="last"))
    biases = [load_file(each.weights_file("last"))["whiten.bias"] for each in (run, longer, constant)]
    assert biases[0].any()  # trained in the first epoch
    assert torch.equal(biases[1], biases[2])  # and not in the second


@pytest.mark.parametrize(("duration", "ends"), [("5st", [4, 5]), ("1.5ep", [4, 6]), ("8st", [4, 8]), ("0.5ep", [2]), ("1st", [1])])
def test_durations_in_steps_and_parts_of_epochs(tmp_path: Path, duration: str, ends: list[int]) -> None:
    run = train(tmp_path, "run", make_recipe(train__duration=duration))
    assert [row["step"] for row in run.epochs()] == ends
    assert run.status()["steps"] == ends[-1]
    assert run.status()["epochs"] == len(ends)


def test_bfloat16_trains_and_repeats_byte_for_byte(tmp_path: Path, unbroken: RunDirectory) -> None:
    recipe = make_recipe(train__precision="bf16")
    first, second = (train(tmp_path, name, recipe) for name in ("first", "second"))
    assert outcome(first) == outcome(second)
    assert outcome(first)[0] != outcome(unbroken)[0]
    assert first.read_json("env.json")["precision"] == "bf16"
    last = load_file(first.weights_file("last"))
    assert {tensor.dtype for tensor in last.values() if tensor.is_floating_point()} == {torch.float32}


def test_without_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    run = train(tmp_path, "run", make_recipe(data__validation=0, train__select="last"))
    assert run.epochs()[-1]["validation_accuracy"] is None
    assert not run.weights_file("best").exists()
    assert run.weights_file("last").exists()
    assert run.status()["best_epoch"] is None


def test_a_name_that_is_taken_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="already exists; nothing was changed"):
        train(tmp_path, "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_recipe_that_cannot_be_built_makes_no_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown model 'spednet'"):
        train(tmp_path, "run", make_recipe(model__name="spednet"))
    assert not (tmp_path / "run").exists()


# -- numbers that are not finite -------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_checkpoint(
    tmp_path: Path, linear: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(**linear)
    whole = outcome(train(tmp_path, "whole", recipe))
    monkeypatch.setattr(Linear, "poison", STEPS_PER_EPOCH + 2)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 6 \(epoch 2\); lower the learning rate \(--lr\)"):
        train(tmp_path, "run", recipe)
    run = RunDirectory.open(tmp_path / "run")
    assert run.status()["state"] == "failed"
    assert "at step 6" in run.status()["error"]
    assert len(run.epochs()) == 1
    monkeypatch.setattr(Linear, "poison", None)
    assert outcome(resume(run.path)) == whole  # the kept checkpoint is whole and good


@pytest.mark.parametrize("validation", [0.2, 0.0])
def test_weights_that_the_last_step_of_an_epoch_ruins_are_not_recorded(
    tmp_path: Path, linear: dict[str, Any], monkeypatch: pytest.MonkeyPatch, validation: float
) -> None:
    # A gradient of order 1000 times 1e38: the weights overflow in the step, after a finite loss.
    monkeypatch.setattr(Linear, "gain", 1e4)
    recipe = make_recipe(**{**linear, "data__validation": validation, "optim__lr": 1e38, "train__duration": "1st"})
    with pytest.raises(TrainingError, match=r"not finite after step 1 \(epoch 1\); lower the learning rate"):
        train(tmp_path, "run", recipe)
    run = RunDirectory.open(tmp_path / "run")
    assert run.status()["state"] == "failed"
    assert run.epochs() == []
    assert not run.weights_file("last").exists()
    content = torch.load(run.checkpoint_file, weights_only=True)
    assert content["step"] == 0
    assert all(torch.isfinite(tensor).all() for tensor in content["model"].values())
