"""Every option of a recipe in a real training: it does what it says, and interrupted equals uninterrupted, bit for bit."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.special import softmax
from scripted import Script, Weights, plain_recipe
from small_runs import CPU, STEPS_PER_EPOCH, make_recipe, make_splits, outcome, resume, signal_at, train
from torch import Tensor

from cifarlab.build import arrange, build_plan
from cifarlab.bundle import load_predictor
from cifarlab.config import Recipe, override
from cifarlab.errors import UsageError
from cifarlab.evaluation import evaluate_run
from cifarlab.losses import loss_names
from cifarlab.optim import optimizer_names, prunable_weights
from cifarlab.plan import Plan
from cifarlab.reports import write_run_report
from cifarlab.runs import RunDirectory
from cifarlab.training import PreemptedError, State, fit, resume_run, train_run

ON_TEST: dict[str, Any] = {"data__validation": 0, "data__validate_on": "test"}
DENSE_SPARSE_DENSE = [{"until": "1ep"}, {"until": "2ep", "sparsity": 0.5}, {"until": "3ep", "rate": 0.1}]

# -- interrupted equals uninterrupted -------------------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "moving average": {"optim__ema": 0.9},
    "mixup and CutMix": {"augment__mixup": 0.4, "augment__cutmix": 1.0},
    "TrivialAugment": {"augment__policy": "trivial"},
    "RandAugment": {"augment__policy": "rand"},
    "erasing and affine": {"augment__erase": 0.5, "augment__rotate": 15, "augment__scale": 0.1, "augment__shift": 0.1},
    "penalty": {"optim__l2": 1e-2, "optim__l2_on": "convolutions"},
    "triangular": {"schedule": {"name": "triangular", "cycle": "2ep"}},
    "steps": {"schedule": {"name": "steps", "milestones": ["1ep", "6st"], "factors": [0.5, 0.1]}},
    "cosine": {"schedule": {"name": "cosine", "warmup": "2st"}},
    "plateau": {"schedule": {"name": "plateau", "patience": 1, "factor": 0.3}, "train__monitor": "loss", "optim__lr": 0.02},
    "dense-sparse-dense": {"train__phases": DENSE_SPARSE_DENSE},
    "threshold, freezing": {
        "train__phases": [{"until": "2st"}, {"until": "9st", "threshold": 0.02}],
        "train__freeze": [{"parameters": "conv1.*", "after": "1ep"}],
    },
    "dropout and batch norm": {"model__name": "lab-final"},
    "dropout, average, mixing, penalty": {"model__name": "lab-final", "optim__ema": 0.9, "augment__mixup": 1.0, "optim__l2": 1e-3},
    "bfloat16": {"train__precision": "bf16", "model__name": "lab-final", "augment__cutmix": 1.0, "optim__ema": 0.9},
    "input": {"input": {"crop": 14, "color": "gray", "size": 20}},
    "validation on test": ON_TEST,
    "class weights": {"loss": {"name": "mse", "class_weights": [1, 2, 3, 4], "label_smoothing": 0.1}},
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adagrad": {"lr": 0.01},
    "muon": {"lr": 0.05, "arguments": {"bias_lr": 0.5}},
    "sgd": {"lr": 0.02},
}


def interrupted(runs: Path, name: str, recipe: Recipe, *, steps: Sequence[int]) -> RunDirectory:
    """Stopped after each of `steps`, with the process's random state disturbed in between."""
    with pytest.raises(PreemptedError):
        train(runs, name, recipe, watcher=signal_at(steps[0]))
    for step in steps[1:]:
        torch.rand(7)
        with pytest.raises(PreemptedError):
            resume(runs / name, watcher=signal_at(step))
    torch.rand(7)
    return resume(runs / name)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_interruption_changes_nothing(tmp_path: Path, option: str) -> None:
    recipe = plain_recipe(**OPTIONS[option])
    whole = outcome(train(tmp_path, "whole", recipe))
    assert len(whole[1]) == 3
    assert outcome(interrupted(tmp_path, "run", recipe, steps=[STEPS_PER_EPOCH + 1, 2 * STEPS_PER_EPOCH])) == whole


@pytest.mark.parametrize("name", optimizer_names())
def test_an_interruption_changes_nothing_under_any_optimizer(tmp_path: Path, name: str) -> None:
    recipe = plain_recipe(optim={"name": name, "weight_decay": 1e-3, **OPTIMIZERS.get(name, {})})
    whole = outcome(train(tmp_path, "whole", recipe))
    assert outcome(interrupted(tmp_path, "run", recipe, steps=[STEPS_PER_EPOCH - 1])) == whole


def test_each_option_changes_the_training(tmp_path: Path) -> None:
    every = [{}, *OPTIONS.values()]
    weights = {outcome(train(tmp_path, str(number), plain_recipe(**changes)))[0]["last"] for number, changes in enumerate(every)}
    assert len(weights) == len(every)


# -- learning rate ------------------------------------------------------------------------------------------------------


def rates(run: RunDirectory) -> list[float]:
    """The learning rate of each epoch's last step, as a share of the highest."""
    return [row["learning_rate"] / 1e-3 for row in run.epochs()]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "constant"}, [1, 1, 1]),
        ({"name": "steps", "milestones": ["1ep", "2ep"], "factors": [0.1, 0.01]}, [1, 0.1, 0.01]),
        ({"name": "steps", "milestones": ["3st", "50%"], "factors": [0.5, 0.2]}, [0.5, 0.2, 0.2]),
        # Steps 3, 7 and 11 of cycles of 8: up to step 4, down to step 8.
        ({"name": "triangular", "cycle": "2ep"}, [3 / 4, 1 / 4, 3 / 4]),
        ({"name": "triangular", "cycle": "2ep", "final": 0.5}, [7 / 8, 5 / 8, 7 / 8]),
        ({"name": "linear", "warmup": "1ep", "final": 0.2}, [1, 1 - 0.8 * 3 / 8, 1 - 0.8 * 7 / 8]),
    ],
)
def test_the_rate_that_is_recorded_follows_the_schedule(tmp_path: Path, schedule: dict[str, Any], expected: list[float]) -> None:
    assert rates(train(tmp_path, "run", plain_recipe(schedule=schedule))) == pytest.approx(expected)


PLATEAU: dict[str, Any] = {"schedule": {"name": "plateau", "patience": 2, "factor": 0.5, "final": 0.2}, "train__duration": "10ep"}
ACCURACY = [20, 10, 10, 28, 10, 10, 10, 10, 10, 10]
# Cut after epochs 3, 6, 8 (to the floor of a fifth) and 10.
CUTS = [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]


@pytest.mark.parametrize("monitor", ["accuracy", "loss"])
def test_the_rate_is_cut_on_a_plateau_of_what_is_monitored(tmp_path: Path, monitor: str) -> None:
    # The more right answers of an equal margin, the smaller the loss: both see the same plateaus.
    recipe = plain_recipe(**PLATEAU, train__monitor=monitor)
    run = train_run(recipe, make_splits(), runs=tmp_path, name="run", device=CPU, predict=Script(ACCURACY))
    assert rates(run) == pytest.approx(CUTS)


def test_a_plateau_is_remembered_over_an_interruption(tmp_path: Path) -> None:
    runs = []
    for name, stop in (("whole", None), ("run", 5 * STEPS_PER_EPOCH + 2)):
        script, settings = Script(ACCURACY), {"device": CPU}
        if stop is None:
            runs.append(train_run(plain_recipe(**PLATEAU), make_splits(), runs=tmp_path, name=name, predict=script, **settings))
            continue
        with pytest.raises(PreemptedError):
            train_run(
                plain_recipe(**PLATEAU), make_splits(), runs=tmp_path, name=name, predict=script, listener=signal_at(stop), **settings
            )
        runs.append(resume_run(tmp_path / name, make_splits(), predict=script, **settings))
    assert outcome(runs[0]) == outcome(runs[1])
    assert rates(runs[1]) == pytest.approx(CUTS)


# -- dense, sparse, dense -------------------------------------------------------------------------------------------------


class Kernels:
    """A listener that keeps the prunable weights after every step, from 1 on."""

    def __init__(self) -> None:
        self.after: dict[int, list[Tensor]] = {}

    def step(self, state: State, plan: Plan) -> None:
        self.after[state.step] = [weight.detach().clone() for _, weight in prunable_weights(plan.model)]

    def epoch(self, row: dict[str, Any]) -> None:
        pass


def zeros(weights: list[Tensor]) -> Tensor:
    return torch.cat([(weight == 0).flatten() for weight in weights])


@pytest.mark.parametrize("rule", ["sparsity", "threshold"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_small_weights_stay_zero_in_the_sparse_phase_and_are_free_after_it(tmp_path: Path, rule: str, optimizer: str) -> None:
    share, threshold = 0.5, 0.03
    phases = [{"until": "1ep"}, {"until": "2ep", rule: share if rule == "sparsity" else threshold}, {"until": "3ep", "rate": 0.1}]
    kernels = Kernels()
    run = train_run(
        # tanh: the weights of a ReLU that never answers would stay zero by themselves.
        plain_recipe(train__phases=phases, optim__name=optimizer, model__arguments={"activation": "tanh"}),
        make_splits(),
        runs=tmp_path,
        name="run",
        device=CPU,
        predict=Script([20] * 3),
        listener=kernels,
    )
    dense, sparse = kernels.after[STEPS_PER_EPOCH], [kernels.after[step] for step in range(STEPS_PER_EPOCH + 1, 2 * STEPS_PER_EPOCH + 1)]
    assert not zeros(dense).any()
    for layer, weight in enumerate(dense):
        removed = sparse[0][layer] == 0
        if rule == "threshold":
            assert torch.equal(removed, weight.abs() < threshold)
        else:
            assert int(removed.sum()) == int(share * weight.numel())
            assert weight[removed].abs().max() <= weight[~removed].abs().min()
    assert all(torch.equal(zeros(weights), zeros(sparse[0])) for weights in sparse)
    assert not torch.equal(sparse[0][0], sparse[-1][0])  # what is left is trained
    assert not zeros(kernels.after[2 * STEPS_PER_EPOCH + 1]).any()
    rows = run.epochs()
    assert [row["sparsity"] for row in rows] == pytest.approx([0, zeros(sparse[0]).float().mean().item(), 0])
    assert rows[1]["sparsity"] > 0.2
    assert rates(run) == pytest.approx([1, 1, 0.1])


def test_a_threshold_above_every_weight_fails_with_its_reason_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    recipe = plain_recipe(train__phases=[{"until": "1ep"}, {"until": "2ep", "threshold": 50}])
    with pytest.raises(UsageError, match=r"threshold 50.* would remove all of conv1\.weight"):
        train(tmp_path, "run", recipe)
    run = RunDirectory.open(tmp_path / "run")
    assert run.status()["state"] == "failed"
    assert "would remove all" in run.status()["error"]
    assert torch.load(run.checkpoint_file, weights_only=True)["step"] == STEPS_PER_EPOCH


# -- average, penalty, mixing ------------------------------------------------------------------------------------------


def test_the_average_is_what_is_validated_and_saved(tmp_path: Path) -> None:
    weights: dict[str, Tensor] = {}

    class Averages(Weights):
        def step(self, state: State, plan: Plan) -> None:
            # By hand: a <- d a + (1 - d) w with d = min(0.9, (1 + t) / (10 + t)), from the first weights on.
            new = plan.model.state_dict()["dense.weight"].detach().double()
            decay = min(0.9, state.step / (9 + state.step))
            weights["average"] = decay * weights["average"] + (1 - decay) * new
            weights["last"] = new.clone()

        def epoch(self, row: dict[str, Any]) -> None:
            pass

    recipe, splits = plain_recipe(optim__ema=0.9), make_splits()
    weights["average"] = build_plan(recipe, arrange(recipe, splits), device=CPU).model.state_dict()["dense.weight"].detach().double()
    run = train_run(recipe, splits, runs=tmp_path, name="run", device=CPU, predict=Script([20] * 3), listener=Averages())
    saved = load_file(run.weights_file("last"))["dense.weight"].double()
    assert torch.allclose(saved, weights["average"], atol=1e-6)
    assert not torch.allclose(saved, weights["last"], atol=1e-4)


def test_the_penalty_is_recorded_apart_and_is_no_part_of_the_losses(tmp_path: Path) -> None:
    run = train(tmp_path, "run", plain_recipe(optim__l2=1e-2, optim__lr=1e-30, train__duration="1ep"))
    plain = train(tmp_path, "plain", plain_recipe(optim__lr=1e-30, train__duration="1ep"))
    (row,), (without,) = run.epochs(), plain.epochs()
    kernels = [tensor.double() for name, tensor in load_file(run.weights_file("last")).items() if name.endswith("weight")]
    assert row["l2_penalty"] == pytest.approx(1e-2 * sum(float(kernel.square().sum()) for kernel in kernels), rel=1e-5)
    assert "l2_penalty" not in without
    assert (row["train_loss"], row["validation_loss"]) == (without["train_loss"], without["validation_loss"])


# -- losses and optimizers -----------------------------------------------------------------------------------------------


def losses_around_training(recipe: Recipe) -> tuple[float, float]:
    """The recipe's own loss on all training images before and after training, in memory."""
    arranged = arrange(recipe, make_splits())
    plan = build_plan(recipe, arranged, device=CPU)
    images, labels = plan.loader.images, plan.loader.labels

    def loss() -> float:
        with torch.no_grad():
            return float(plan.loss(plan.model.eval()(plan.preprocess(images)), labels))

    before = loss()
    assert fit(plan, State(), end_epoch=lambda state, epoch: None, listener=Weights())
    return before, loss()


@pytest.mark.parametrize("name", loss_names())
@pytest.mark.parametrize("mixing", [{}, {"augment__mixup": 0.2, "augment__cutmix": 0.2}])
def test_every_loss_trains(name: str, mixing: dict[str, Any]) -> None:
    before, after = losses_around_training(plain_recipe(loss={"name": name, "label_smoothing": 0.05}, **mixing))
    assert after < before


@pytest.mark.parametrize("name", optimizer_names())
def test_every_optimizer_trains(name: str) -> None:
    before, after = losses_around_training(plain_recipe(optim={"name": name, **OPTIMIZERS.get(name, {})}))
    assert after < before


@pytest.mark.parametrize("weights", [[1, 2, 3], [1, 2, 3, 4, 5]])
def test_class_weights_of_the_wrong_number_are_refused_before_a_directory_is_made(tmp_path: Path, weights: list[int]) -> None:
    with pytest.raises(UsageError, match=rf"loss\.class_weights has {len(weights)} values; corners has 4 classes"):
        train(tmp_path, "run", plain_recipe(loss__class_weights=weights))
    assert list(tmp_path.iterdir()) == []


# -- input ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"crop": 12, "size": 16},
        {"color": "gray"},
        {"size": 24},
        {"normalization": "rescale"},
        {"crop": 14, "color": "gray", "size": 20, "normalization": "rescale"},
    ],
)
def test_training_evaluation_and_prediction_see_one_input(tmp_path: Path, given: dict[str, Any]) -> None:
    recipe, splits = plain_recipe(input=given, train__duration="1ep"), make_splits()
    run = train(tmp_path, "run", recipe, splits=splits)
    arranged = arrange(recipe, splits)
    assert arranged.validation is not None
    evaluated = evaluate_run(run, arranged, "validation", device=CPU)
    # What training recorded, of the very same weights.
    right = (evaluated.logits.argmax(1) == evaluated.labels).mean()
    assert run.epochs()[0]["validation_accuracy"] == pytest.approx(right)

    def png(image: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        return file.getvalue()

    predicted = load_predictor(run.path, device=CPU).predict([png(image) for image in arranged.validation.images])
    assert np.allclose(predicted.probabilities, softmax(evaluated.final_logits.astype(np.float64), axis=1), atol=1e-6)


def test_a_network_sees_standardized_input_after_crop_and_gray(tmp_path: Path) -> None:
    recipe = plain_recipe(input={"crop": 12, "color": "gray"}, model__name="slides-m3")
    arranged = arrange(recipe, make_splits())
    plan = build_plan(recipe, arranged, device=CPU)
    seen = plan.preprocess(torch.from_numpy(arranged.train.images))
    assert seen.shape[1:] == (3, 12, 12)
    assert torch.equal(seen[:, 0], seen[:, 1])
    assert (seen.mean().item(), seen.std().item()) == pytest.approx((0, 1), abs=2e-3)  # the statistics are of whole gray values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input__crop": 17}, r"input\.crop=17: allowed is 8 to 16 for images of 16 px"),
        ({"input__size": 8}, r"model lab-base cannot be built with .* for 8 px .*image_size must be at least"),
        ({"input__crop": 8}, r"model lab-base cannot be built with .* for 8 px"),
        ({"data__classes": ["north-west", "nowhere"]}, "nowhere"),
        ({"train__phases": [{"until": "2ep"}, {"until": "1ep"}]}, r"train\.phases: each must end after the one before"),
        ({"train__phases": [{"until": "0ep", "sparsity": 0.5}]}, r"train\.phases: each must end after the one before"),
        ({"schedule": {"name": "steps", "milestones": ["2ep", "1ep"], "factors": [0.1, 0.01]}}, r"milestones must rise"),
        ({"loss__name": "hinge"}, "unknown loss 'hinge'"),
    ],
)
def test_what_cannot_be_built_is_refused_before_a_directory_is_made(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(tmp_path, "run", plain_recipe(**changes))
    assert list(tmp_path.iterdir()) == []


# -- validation on the test split -------------------------------------------------------------------------------------------


def test_validating_on_test_trains_on_all_images_and_counts_every_look(tmp_path: Path) -> None:
    recipe, splits = plain_recipe(**ON_TEST), make_splits()
    arranged = arrange(recipe, splits)
    assert arranged.train is splits.train
    assert arranged.validation is arranged.test is splits.test
    run = train(tmp_path, "run", recipe, splits=splits)
    assert run.status()["test_reads"] == 3
    assert run.read_json("env.json")["sizes"] == {"train": 160, "validation": 40, "test": 40}
    evaluated = evaluate_run(run, arranged, "test", device=CPU)
    assert run.status()["test_reads"] == 4
    best = run.epochs()[run.status()["best_epoch"] - 1]
    assert best["validation_accuracy"] == pytest.approx((evaluated.logits.argmax(1) == splits.test.labels).mean())

    page = write_run_report(run).read_text(encoding="utf-8")
    assert "This run looked at the test split while it trained" in page
    assert "best on the TEST split" in page
    assert "No validation split: as in the protocol it repeats, this run trained on all training images" in page


def test_a_resume_counts_its_looks_on_top(tmp_path: Path) -> None:
    run = interrupted(tmp_path, "run", plain_recipe(**ON_TEST), steps=[STEPS_PER_EPOCH + 1])
    assert run.status()["test_reads"] == 3


def test_validation_on_test_is_no_validation_split_to_evaluate(tmp_path: Path) -> None:
    recipe, splits = plain_recipe(**ON_TEST, train__duration="1st"), make_splits()
    run = train(tmp_path, "run", recipe, splits=splits)
    with pytest.raises(UsageError, match=r"validated on the test split \(data\.validate_on=test\); use --split test"):
        evaluate_run(run, arrange(recipe, splits), "validation", device=CPU)
    assert run.status()["test_reads"] == 1


def test_the_test_split_is_not_looked_at_otherwise(tmp_path: Path) -> None:
    run = train(tmp_path, "run", make_recipe(train__duration="1ep"))
    assert run.status()["test_reads"] == 0
    with pytest.raises(UsageError, match=r"set data\.validation=0"):
        override(make_recipe(), {"data.validate_on": "test"})
