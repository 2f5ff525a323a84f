"""Errors: exit codes, and the words that help."""

from __future__ import annotations

import pytest

from cifarlab import errors
from cifarlab.errors import CifarlabError, ConfigError, MissingDependencyError, UsageError, nearest, unknown


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("UsageError", 2),
        ("DataError", 1),
        ("DownloadError", 1),
        ("ImageError", 1),
        ("RunError", 1),
        ("BundleError", 1),
        ("TrainingError", 1),
    ],
)
def test_exit_code_tells_usage_from_failure(kind: str, code: int) -> None:
    error = getattr(errors, kind)("what happened")
    assert isinstance(error, CifarlabError)
    assert error.exit_code == code
    assert str(error) == "what happened"


def test_usage_errors_are_value_errors() -> None:
    assert issubclass(UsageError, ValueError)


@pytest.mark.parametrize(
    ("problems", "text"),
    [(["a is bad"], "my.yaml: 1 problem\n  - a is bad"), (["a is bad", "b too"], "my.yaml: 2 problems\n  - a is bad\n  - b too")],
)
def test_config_error_lists_every_problem(problems: list[str], text: str) -> None:
    error = ConfigError(problems, source="my.yaml")
    assert str(error) == text
    assert error.problems == problems
    assert error.exit_code == 2


def test_missing_dependency_names_the_install_line() -> None:
    error = MissingDependencyError("onnx", extra="export", purpose="ONNX export")
    assert isinstance(error, ImportError)
    assert "'onnx'" in str(error)
    assert "pip install 'cifarlab[export]'" in str(error)


@pytest.mark.parametrize(("given", "expected"), [("speednt", "speednet"), ("SPEEDNET", "speednet"), ("xyzzy", None), ("", None)])
def test_nearest_finds_a_slip_and_nothing_else(given: str, expected: str | None) -> None:
    assert nearest(given, iter(["lab-base", "speednet"])) == expected


def test_nearest_among_nothing_is_nothing() -> None:
    assert nearest("a", []) is None


def test_unknown_says_given_nearest_allowed_and_remedy() -> None:
    text = unknown("model", "speednt", ["lab-base", "speednet"], remedy="list them")
    assert text == "unknown model 'speednt'; did you mean 'speednet'?; allowed: lab-base, speednet; list them"


def test_unknown_without_a_near_name_only_lists() -> None:
    assert unknown("model", "zzz", []) == "unknown model 'zzz'; allowed: (none)"
