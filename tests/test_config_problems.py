"""What a recipe refuses: every problem at once, with what is allowed and the nearest match."""

from __future__ import annotations

from pathlib import Path

import pytest

import cifarlab
from cifarlab.config import Duration, ModelConfig, Recipe, RecipeError, override, parse_recipe
from cifarlab.errors import ConfigError
from cifarlab.recipes import get_recipe


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(model=ModelConfig(name="speednet"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optim.lr", float("nan")),
        ("optim.lr", float("inf")),
        ("optim.lr", 0),
        ("optim.lr", [1]),
        ("optim.lr", None),
        ("optim.lr", True),
        ("seed", True),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", 1.5),
        ("train.batch_size", 0),
        ("train.resolution", 32),
        ("train.resolution", [4]),
        ("data.validation", 1),
        ("data.validation", -0.1),
        ("data.train_size", 1),
        ("data.name", ""),
        ("data.classes", "deer"),
        ("augment.translate", 2.5),
        ("augment.rotate", 181),
        ("augment.scale", 1),
        ("augment.shift", -0.1),
        ("augment.fill", "mirror"),
        ("augment.policy", "auto"),
        ("augment.policy_operations", 0),
        ("augment.policy_magnitude", 31),
        ("augment.erase", 1.1),
        ("augment.mixup", -1),
        ("augment.cutmix", float("inf")),
        ("input.crop", 7),
        ("input.size", 513),
        ("input.size", True),
        ("input.color", "grey"),
        ("input.normalization", "none"),
        ("data.validate_on", "tset"),
        ("loss.name", 3),
        ("loss.label_smoothing", 1),
        ("loss.class_weights", "balancd"),
        ("loss.class_weights", [1, 0]),
        ("loss.class_weights", [1, "x"]),
        ("loss.class_weights", [True, 2]),
        ("loss.class_weights", {"deer": 2}),
        ("optim.l2", -1e-4),
        ("optim.l2_on", "dense"),
        ("optim.ema", 1),
        ("schedule.name", "step"),
        ("schedule.milestones", "80ep"),
        ("schedule.cycle", "1 round"),
        ("schedule.patience", 0),
        ("schedule.factor", 1),
        ("schedule.final", 1.5),
        ("train.phases", [{"until": "1ep", "sparsity": 1}]),
        ("train.phases", [{"until": "1ep", "rate": 0}]),
        ("train.phases", [{"until": "1ep", "threshold": True}]),
        ("train.phases", [{"sparsity": 0.5}]),
        ("train.phases", [{"until": "1ep", "sparsity": 0.5, "threshold": 0.1}]),
        ("train.select", "first"),
        ("train.monitor", "mse"),
        ("train.patience", 0),
        ("train.patience", True),
        ("name", 3),
    ],
)
def test_wrong_values_name_their_key(recipe: Recipe, key: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        override(recipe, {key: value})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(key)


def test_selection_by_validation_needs_validation(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match=r"train\.select=best needs a validation split"):
        override(recipe, {"data.validation": 0, "train.select": "best"})
    assert override(recipe, {"data.validation": 0, "train.select": "last"}).data.validation == 0


def test_everything_that_needs_validation_is_named_with_its_remedy(recipe: Recipe) -> None:
    without: dict[str, object] = {"data.validation": 0, "train.select": "last"}
    for change, name, remedy in (
        ({"train.patience": 3}, "train.patience", "train.patience=null"),
        ({"schedule.name": "plateau"}, "schedule.name=plateau", "another schedule"),
    ):
        with pytest.raises(ConfigError, match=f"{name} needs a validation split: set data.validation above 0, or choose {remedy}"):
            override(recipe, {**without, **change})
        assert override(recipe, {**without, **change, "data.validate_on": "test"}).data.validation == 0
    with pytest.raises(ConfigError) as caught:
        override(recipe, {"data.validation": 0, "train.patience": 3, "schedule.name": "plateau"})
    assert "train.select=best and train.patience and schedule.name=plateau need a validation split" in caught.value.problems[0]


def test_validation_on_test_carves_nothing_from_train(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match=r"validate_on=test trains on the whole training split: set data\.validation=0 with it"):
        override(recipe, {"data.validate_on": "test", "data.validation": 0.1})
    changed = override(recipe, {"data.validate_on": "test", "data.validation": 0, "train.select": "best", "train.patience": 4})
    assert changed.data.validate_on == "test"


@pytest.mark.parametrize(
    "schedule",
    [{"name": "steps"}, {"name": "steps", "milestones": ["1ep"]}, {"name": "cosine", "milestones": ["1ep", "2ep"], "factors": [0.5]}],
)
def test_each_milestone_has_a_factor(recipe: Recipe, schedule: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="needs milestones and as many factors, for example"):
        override(recipe, {"schedule": schedule})


def test_a_triangle_takes_no_warm_up(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match=r"schedule: the schedule 'triangular' climbs by itself: set warmup=0% with it, not '2ep'"):
        override(recipe, {"schedule": {"name": "triangular", "warmup": "2ep"}})
    assert override(recipe, {"schedule": {"name": "triangular", "cycle": "2ep"}}).schedule.cycle == Duration(2, "ep")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schedule.name", "step", "; did you mean 'steps'?"),
        ("input.color", "grey", "should be 'rgb' or 'gray' (given: 'grey'); did you mean 'gray'?"),
        ("loss.class_weights", "balancd", "or a list with one weight for each class (given: 'balancd'); did you mean 'balanced'?"),
        ("loss.class_weights", [1, 0], "loss.class_weights.1: Input should be greater than 0 (given: 0)"),
        ("schedule.milestones", "80ep", "should be a list (given: '80ep')"),
        ("train.phases", [{"until": "1ep", "sparsty": 0.5}], "did you mean 'train.phases.0.sparsity'?; allowed: train.phases.0.until"),
        ("train.freeze", [{"parameters": "a", "after": "1ep", "afer": 1}], "did you mean 'train.freeze.0.after'?"),
    ],
)
def test_a_wrong_word_comes_with_what_is_allowed_and_the_nearest(recipe: Recipe, key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(recipe, {key: value})
    assert message in caught.value.problems[0]


# -- names, which are looked up elsewhere, beside wrong values ---------------------------------------------------------------

WRONG = """
model: {name: resnet2000, arguments: {depth: 3}}
loss: {name: mze, label_smoothing: 2}
optim: {name: adamz, lr: -1, arguments: {momentun: 0.9}}
schedule: {name: stepz}
train: {batch_size: 0, freeze: [{parameters: 'conv9*', after: 1ep}]}
"""


def test_unknown_names_and_wrong_values_are_reported_together(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(WRONG)
    with pytest.raises(ConfigError) as caught:
        cifarlab.train(file, runs=tmp_path / "runs")
    assert str(caught.value).startswith(f"{file}: 7 problems\n")
    begins = ("loss.label_smoothing", "optim.lr", "schedule.name", "train.batch_size", "unknown model", "unknown optimizer", "unknown loss")
    assert all(problem.startswith(begin) for problem, begin in zip(caught.value.problems, begins, strict=True))
    assert "did you mean 'adam'?" in str(caught.value)
    assert list(tmp_path.iterdir()) == [file]


def test_overrides_too_are_reported_together_with_unknown_names() -> None:
    changes = {"optim.lr": 0, "optim.name": "adamz", "model.arguments.widths": [8], "los.name": "mse"}
    with pytest.raises(ConfigError) as caught:
        cifarlab.train("digits", overrides=changes)
    problems = caught.value.problems
    assert [problem.partition(":")[0].partition(";")[0] for problem in problems[:2]] == ["unknown option 'los.name'", "optim.lr"]
    assert "widths must be three numbers" in problems[2]
    assert problems[3].startswith("unknown optimizer 'adamz'")
    assert len(problems) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {name: lab-base}\noptim: {lr: -1, weight_decay: 0.5}", ("lab-base", {}, "adam", 0.5)),
        ("model: {name: lab-base, arguments: [1]}\noptim: 3", ("lab-base", {}, "adam", 0.0)),
        # Arguments of a name that is none would be held against another's.
        ("model: {name: lab-base, arguments: {a: 1}}\noptim: {name: [x], arguments: {nesterov: 1}}", ("lab-base", {"a": 1}, "adam", 0.0)),
        ("model: {name: lab-base}\nseed: -1\ncolour: blue", ("lab-base", {}, "adam", 0.0)),
    ],
)
def test_what_is_left_of_a_wrong_recipe(text: str, expected: tuple[str, dict[str, object], str, float]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text)
    rest = caught.value.rest
    assert rest is not None
    assert (rest.model.name, rest.model.arguments, rest.optim.name, rest.optim.weight_decay) == expected
    assert rest.optim.arguments == {}


@pytest.mark.parametrize("text", ["seed: 1", "model: 3", "model: {name: [a]}", "model: {name: m, arguments: &x {a: *x}}"])
def test_nothing_is_left_of_a_recipe_without_a_network(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text)
    assert caught.value.rest is None


def test_an_average_of_weights_does_not_go_with_a_sparse_phase() -> None:
    phases = [{"until": "1ep"}, {"until": "2ep", "sparsity": 0.5}]
    with pytest.raises(ConfigError, match=r"optim\.ema does not go with a sparse phase of train\.phases"):
        override(get_recipe("lab-base"), {"optim.ema": 0.9, "train.phases": phases})
    assert override(get_recipe("lab-base"), {"optim.ema": 0.9, "train.phases": phases[:1]}).optim.ema == 0.9
