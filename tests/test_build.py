"""From a recipe to what trains: step counts, phases, losses, checks and devices."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from cifarlab.augment import Mixing
from cifarlab.build import arrange, build_plan, check_recipe, resolve_precision, unknown_names
from cifarlab.config import override
from cifarlab.data.dataset import Dataset, Splits
from cifarlab.errors import UsageError
from cifarlab.plan import Phase, Plan
from cifarlab.recipes import get_recipe, recipe_names
from cifarlab.restore import choose_device
from small_plans import CPU, make_dataset, make_plan, make_recipe

# -- steps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "batch_size", "steps", "epochs"),
    [("9ep", 10, 90, 9), ("1.5ep", 10, 15, 2), ("7st", 10, 7, 1), ("3ep", 7, 45, 3), ("2ep", 512, 2, 2), ("0.01ep", 10, 1, 1)],
)
def test_the_length_of_training(duration: str, batch_size: int, steps: int, epochs: int) -> None:
    plan = make_plan(train__duration=duration, train__batch_size=batch_size)
    assert (plan.total_steps, plan.epochs) == (steps, epochs)


def factor(plan: Plan, step: int) -> float:
    return plan.schedule.at(step, [], higher_is_better=True)


def test_warm_up_and_rate_refer_to_the_whole_run() -> None:
    plan = make_plan(schedule__name="linear", schedule__warmup="10%", schedule__final=0.1)
    assert plan.schedule.warmup_steps == 9
    assert factor(plan, 0) == pytest.approx(1 / 9)
    assert factor(plan, 9) == pytest.approx(1)
    assert factor(plan, 90) == pytest.approx(0.1)
    assert factor(plan, 9 + 27) == pytest.approx(0.1 + 0.9 * (1 - 27 / 81))


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


def test_the_statistics_are_those_of_the_cropped_gray_image() -> None:
    plan = make_plan(input={"crop": 8, "color": "gray", "size": 20})
    luma = make_dataset(100).images[:, 4:12, 4:12] @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    levels = np.round(luma) / 255
    assert plan.preprocess.mean.tolist() == pytest.approx([levels.mean()] * 3, abs=1e-5)
    assert plan.preprocess.std.tolist() == pytest.approx([levels.std()] * 3, abs=1e-5)
    assert plan.preprocess(torch.from_numpy(make_dataset(2).images)).shape == (2, 3, 20, 20)


def test_mixing_penalty_and_average_are_there_where_they_are_asked_for() -> None:
    plain = make_plan()
    assert (plain.mixing, plain.penalty, plain.average) == (None, None, None)
    plan = make_plan(augment__cutmix=0.5, optim__l2=1e-3, optim__ema=0.99)
    assert plan.mixing == Mixing(mixup=0.0, cutmix=0.5)
    assert plan.penalty is not None
    assert plan.penalty.strength == 1e-3
    assert plan.average is not None
    assert (plan.average.decay, plan.judged) == (0.99, plan.average.module)


@pytest.mark.parametrize("on", ["kernels", "convolutions"])
def test_the_penalty_counts_the_layers_that_it_is_on(on: str) -> None:
    plan = make_plan(model__name="lab-base", model__arguments={}, optim__l2=1e-3, optim__l2_on=on)
    assert plan.penalty is not None
    names = ["conv1", "conv2", "conv3", "conv4"] + (["dense"] if on == "kernels" else [])
    weights = plan.model.state_dict()
    expected = 1e-3 * sum(float(weights[f"{name}.weight"].double().square().sum()) for name in names)
    assert float(plan.penalty.value()) == pytest.approx(expected, rel=1e-5)


def test_phases_are_counted_in_steps_from_the_start() -> None:
    plan = make_plan(train__phases=[{"until": "3ep"}, {"until": "60%", "sparsity": 0.3}, {"until": "9ep", "threshold": 0.1, "rate": 0.5}])
    assert plan.phases == (Phase(0, 30, 0.0, 0.0, 1.0), Phase(30, 54, 0.3, 0.0, 1.0), Phase(54, 90, 0.0, 0.1, 0.5))
    assert [phase.sparse for phase in plan.phases] == [False, True, True]


def test_milestones_and_cycles_are_counted_in_steps() -> None:
    schedule = make_plan(schedule={"name": "steps", "milestones": ["2ep", "33st", "50%"], "factors": [0.3, 0.2, 0.1]}).schedule
    assert (schedule.milestones, schedule.factors) == ((20, 33, 45), (0.3, 0.2, 0.1))
    assert make_plan(schedule={"name": "triangular", "cycle": "3ep"}).schedule.cycle_steps == 30
    assert make_plan(schedule={"name": "triangular"}).schedule.cycle_steps == 90


# -- loss ------------------------------------------------------------------------------------------------------------------

LOGITS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 4


def unbalanced_plan(**changes: object) -> Plan:
    """Classes of 40, 30, 20 and 10 images."""
    data = make_dataset(100)
    labels = np.repeat(np.arange(4), [40, 30, 20, 10])
    data = Dataset(name="made", images=data.images, labels=labels, class_names=data.class_names, sample_ids=data.sample_ids)
    recipe = make_recipe(**{"data__validation": 0, "train__select": "last", **changes})
    return build_plan(recipe, arrange(recipe, Splits(data, data)), device=CPU)


def test_balanced_class_weights_are_inverse_to_the_training_images() -> None:
    weights = torch.tensor(compute_class_weight("balanced", classes=np.arange(4), y=np.repeat(np.arange(4), [40, 30, 20, 10]))).float()
    loss = unbalanced_plan(loss__class_weights="balanced").loss(LOGITS, LABELS)
    assert float(loss) == pytest.approx(float(F.cross_entropy(LOGITS, LABELS, weight=weights)), rel=1e-5)


def test_given_class_weights_and_label_smoothing_reach_the_loss() -> None:
    loss = unbalanced_plan(loss__class_weights=[1, 2, 3, 4]).loss(LOGITS, LABELS)
    assert float(loss) == pytest.approx(float(F.cross_entropy(LOGITS, LABELS, weight=torch.tensor([1.0, 2, 3, 4]))), rel=1e-5)
    smooth = unbalanced_plan(loss__label_smoothing=0.2).loss(LOGITS, LABELS)
    assert float(smooth) == pytest.approx(float(F.cross_entropy(LOGITS, LABELS, label_smoothing=0.2)), rel=1e-5)


def test_balanced_weights_are_of_the_images_that_are_trained_on() -> None:
    plan = unbalanced_plan(loss__class_weights="balanced", data__classes=["b", "a"], data__train_size=60)
    weights = torch.tensor(compute_class_weight("balanced", classes=np.arange(2), y=plan.loader.labels.numpy())).float()
    expected = F.cross_entropy(LOGITS[:, :2], LABELS % 2, weight=weights)
    assert float(plan.loss(LOGITS[:, :2], LABELS % 2)) == pytest.approx(float(expected), rel=1e-5)


# -- splits ------------------------------------------------------------------------------------------------------------------


def test_validation_on_test_leaves_the_training_split_whole() -> None:
    splits = Splits(train=make_dataset(100), test=make_dataset(8))
    arranged = arrange(make_recipe(data__validation=0, data__validate_on="test"), splits)
    assert arranged.validation is arranged.test
    assert (arranged.train is splits.train, arranged.test is splits.test) == (True, True)
    carved = arrange(make_recipe(data__validation=0.2), splits)
    assert carved.validation is not None
    assert sorted([*carved.train.sample_ids, *carved.validation.sample_ids]) == sorted(splits.train.sample_ids)


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


def test_every_unknown_name_is_reported_at_once() -> None:
    recipe = make_recipe(model={"name": "resnet2000", "arguments": {}}, loss__name="mze", optim__name="adamz")
    problems = unknown_names(recipe)
    assert [problem.partition(";")[0] for problem in problems] == [
        "unknown model 'resnet2000'",
        "unknown optimizer 'adamz'",
        "unknown loss 'mze'",
    ]
    with pytest.raises(UsageError) as caught:
        check_recipe(recipe)
    assert str(caught.value) == "\n".join(problems)


def test_checking_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    check_recipe(make_recipe())
    assert torch.equal(torch.get_rng_state(), before)


def test_images_that_are_not_square_are_refused() -> None:
    splits = Splits(make_dataset(40, height=20), make_dataset(8, height=20))
    recipe = make_recipe()
    with pytest.raises(UsageError, match="made: images must be square, not 20 x 16"):
        build_plan(recipe, arrange(recipe, splits), device=CPU)


def test_a_crop_wider_than_the_images_is_refused() -> None:
    with pytest.raises(UsageError, match=r"input\.crop=17: allowed is 8 to 16 for images of 16 px"):
        make_plan(input__crop=17)
    assert make_plan(input__crop=16).preprocess.output_size(16) == 16


@pytest.mark.parametrize("given", [{"size": 8}, {"crop": 8}, {"crop": 16, "size": 15}])
def test_a_network_too_large_for_its_input_is_refused(given: dict[str, int]) -> None:
    side = given.get("size", given.get("crop"))
    with pytest.raises(
        UsageError, match=rf"model lab-base cannot be built with .* for {side} px and 4 classes: image_size must be at least 16"
    ):
        make_plan(model__name="lab-base", model__arguments={}, input=given)


@pytest.mark.parametrize("ends", [["2ep", "1ep"], ["1ep", "10st"], ["0ep"], ["0.01ep", "1ep"]])
def test_a_phase_without_a_step_is_refused(ends: list[str]) -> None:
    with pytest.raises(UsageError, match=r"train\.phases: each must end after the one before"):
        make_plan(train__phases=[{"until": end} for end in ends])


@pytest.mark.parametrize(("after", "epoch"), [("0ep", 1), ("3ep", 4), ("31st", 5)])
def test_freezing_everything_before_the_end_is_refused(after: str, epoch: int) -> None:
    patterns = [{"parameters": pattern, "after": after} for pattern in ("whiten.*", "group*", "head.*")]
    with pytest.raises(UsageError, match=rf"train\.freeze leaves nothing to train from epoch {epoch} on"):
        make_plan(train__freeze=patterns)
    assert len(make_plan(train__freeze=patterns[:2]).freeze) == 2


def test_freezing_everything_at_the_end_is_no_matter() -> None:
    assert make_plan(train__freeze=[{"parameters": "*", "after": "9ep"}]).freeze == (("*", 90),)
    assert make_plan(train__freeze=[{"parameters": "*", "after": "81st"}]).freeze == (("*", 81),)  # in the middle of the last epoch


def test_milestones_that_do_not_rise_are_refused() -> None:
    with pytest.raises(UsageError, match=r"milestones must rise, from 0 or more, not \[20, 10\]"):
        make_plan(schedule={"name": "steps", "milestones": ["2ep", "1ep"], "factors": [0.1, 0.01]})


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


def test_a_phase_that_outlasts_the_training_is_refused() -> None:
    with pytest.raises(UsageError, match=r"train\.phases: the last ends after 100 steps, but the training has 90"):
        make_plan(train__duration="9ep", train__phases=[{"until": "10ep", "sparsity": 0.5}])
