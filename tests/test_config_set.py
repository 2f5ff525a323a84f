"""--set KEY=VALUE, and YAML that trips over the parser."""

from __future__ import annotations

from pathlib import Path

import pytest

from cifarlab.config import describe_options, option_keys, override, parse_assignments, parse_recipe
from cifarlab.errors import ConfigError
from cifarlab.recipes import get_recipe


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("0.1", 0.1),
        ("[1e-3, 2]", [0.001, 2]),
        ("[deer, dog]", ["deer", "dog"]),
        ("null", None),
        ("8ep", "8ep"),
        ("a=b", "a=b"),
        ("", None),
    ],
)
def test_assignments_are_read_as_yaml(text: str, value: object) -> None:
    assert parse_assignments([f" some.key ={text}"]) == {"some.key": value}


def test_every_bad_assignment_is_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_assignments(["=", "optim.lr", "=3", "optim.lr=: :", "fine=1"])
    assert len(caught.value.problems) == 4
    assert caught.value.problems[0] == "'=': write KEY=VALUE, for example optim.lr=0.1"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("2024-13-45", "the value is not YAML (month must be in 1..12); quote it"),
        ("[" * 2_000, "the value is not YAML (it is nested too deeply); quote it"),
        ("&x [*x]", "the value is nested too deeply"),
        ("9" * 5000, "the value is not YAML (Exceeds the limit"),
        ("!!bool maybe", "the value is not YAML ('maybe'); quote it"),
        ("!!timestamp x", "the value is not YAML ("),
    ],
)
def test_what_the_yaml_parser_trips_over_is_told_in_one_short_line(value: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_assignments([f"name={value}"])
    (problem,) = caught.value.problems
    assert reason in problem
    assert len(problem) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: 2024-13-45", "not YAML: month must be in 1..12"),
        ("name: " + "[" * 2_000, "not YAML: it is nested too deeply"),
        ("model: {name: m, arguments: &x {a: *x}}", "nested too deeply"),
        ("model: {name: m, arguments: {1: 2}}", "model.arguments: the names of arguments are text (given: 1)"),
    ],
)
def test_a_recipe_file_that_the_parser_trips_over(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_recipe(text, source="r.yaml")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_assignments_run_no_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not YAML"):
        parse_assignments([f"a=!!python/object/apply:os.mkdir ['{tmp_path / 'canary'}']"])
    assert list(tmp_path.iterdir()) == []


def test_every_option_is_described_with_its_default_and_its_choices() -> None:
    described = {key: (default, meaning) for key, default, meaning in describe_options()}
    assert tuple(described) == option_keys()
    assert all(meaning for _, meaning in described.values())
    assert described["optim.lr"][0] == "0.001"
    assert described["model.name"][0] == ""
    assert described["train.patience"][0] == "none"
    assert described["schedule.name"][1].endswith("(constant | linear | cosine | steps | triangular | plateau)")


@pytest.mark.parametrize("changes", [{"optim.name": "sgd"}, {"optim": {"name": "sgd"}}])
def test_a_new_optimizer_comes_without_the_old_ones_arguments(changes: dict[str, object]) -> None:
    assert get_recipe("fast").optim.arguments["momentum"] == 0.6
    assert override(get_recipe("fast"), changes).optim.arguments == {}


def test_arguments_given_with_the_new_name_are_kept() -> None:
    changed = override(get_recipe("fast"), {"optim.arguments": {"nesterov": True}, "optim.name": "sgd"})
    assert changed.optim.arguments == {"nesterov": True}


def test_the_same_name_keeps_its_arguments() -> None:
    assert override(get_recipe("fast"), {"optim.name": "muon"}).optim.arguments == get_recipe("fast").optim.arguments
