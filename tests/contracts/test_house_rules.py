"""Rules of the house that ruff does not know: sizes, names, depth, and calls that have no place in a library."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "cifarlab"

MAX_FILE = 400
MAX_FUNCTION = 60
MAX_FUNCTION_IN = {"training/loop.py": 100}  # the training loop is one function on one screen
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def size_violations(root: Path) -> list[str]:
    """Files and functions that are too long, modules that lie too deep or have a name that says nothing."""
    found = []
    for file in sorted(root.rglob("*.py")):
        inside = file.relative_to(root)
        text = file.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > MAX_FILE:
            found.append(f"{inside}:1: {lines} lines; at most {MAX_FILE}: split the file")
        if len(inside.parts) > 2:
            found.append(f"{inside}:1: lies {len(inside.parts)} levels deep; at most 2 (package/module)")
        if vague := VAGUE_NAMES.intersection(inside.with_suffix("").parts):
            found.append(f"{inside}:1: {vague.pop()!r} says nothing about what is in it; name it after that")
        limit = MAX_FUNCTION_IN.get(inside.as_posix(), MAX_FUNCTION)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if (lines := node.end_lineno - node.lineno + 1) > limit:
                    found.append(f"{inside}:{node.lineno}: {node.name} has {lines} lines; at most {limit}: split it")
    return found


def call_violations(root: Path) -> list[str]:
    """Calls that could run code out of a data file, and printing or leaving from inside the library."""
    found = []
    for file in sorted(root.rglob("*.py")):
        inside = file.relative_to(root)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (why := _objection(node, in_cli=inside.parts[0] == "cli")):
                found.append(f"{inside}:{node.lineno}: {why}")
    return found


def _objection(call: ast.Call, *, in_cli: bool) -> str | None:
    name = ast.unparse(call.func)
    if name in ("pickle.load", "pickle.loads", "cPickle.load", "joblib.load", "pickle.Unpickler"):
        return f"{name} can run code out of a file; subclass pickle.Unpickler with a find_class that allows only what is needed"
    for keyword in call.keywords:
        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if (keyword.arg, value) in (("weights_only", False), ("allow_pickle", True)):
            return f"{keyword.arg}={value} can run code out of a file"
    if name == "torch.load" and "weights_only" not in {keyword.arg for keyword in call.keywords}:
        return "torch.load must say weights_only=True, whatever PyTorch's default is"
    if name in ("quit", "exit") or (name == "print" and not in_cli):
        return f"{name}() in the library: return a value, raise an error of cifarlab.errors, or report through a callback"
    return None


def test_sizes_names_and_depth() -> None:
    assert not (found := size_violations(PACKAGE)), "\n" + "\n".join(found)


def test_no_call_that_has_no_place_in_a_library() -> None:
    assert not (found := call_violations(PACKAGE)), "\n" + "\n".join(found)


def test_test_files_are_short_too() -> None:
    files = list((ROOT / "tests").rglob("*.py"))
    assert files
    long = [
        f"{file.relative_to(ROOT)}: {n} lines" for file in files if (n := len(file.read_text(encoding="utf-8").splitlines())) > MAX_FILE
    ]
    assert not long, f"at most {MAX_FILE}: " + "; ".join(long)


# -- the checkers can fail --------------------------------------------------------------------------------------


def lay(root: Path, name: str, text: str) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return root


def function_of(lines: int) -> str:
    return "x = 1\n\n\ndef long():\n" + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", "x = 1\n" * 401, "a.py:1: 401 lines"),
        ("a/b/c.py", "", "a/b/c.py:1: lies 3 levels deep"),
        ("data/utils.py", "", "data/utils.py:1: 'utils'"),
        ("common/a.py", "", "common/a.py:1: 'common'"),
        ("data/a.py", function_of(61), "data/a.py:4: long has 61 lines; at most 60"),
        ("training/loop.py", function_of(101), "training/loop.py:4: long has 101 lines; at most 100"),
    ],
)
def test_what_is_too_large_or_misnamed_is_found(tmp_path: Path, name: str, text: str, expected: str) -> None:
    found = size_violations(lay(tmp_path, name, text))
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(("name", "lines"), [("data/a.py", 60), ("training/loop.py", 100)])
def test_functions_at_the_limit_pass(tmp_path: Path, name: str, lines: int) -> None:
    assert size_violations(lay(tmp_path, name, function_of(lines))) == []


@pytest.mark.parametrize(
    "call",
    [
        "pickle.load(file)",
        "pickle.loads(data)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "print('hello')",
        "quit()",
    ],
)
def test_a_forbidden_call_is_found_with_its_line(tmp_path: Path, call: str) -> None:
    found = call_violations(lay(tmp_path, "data/a.py", f"import x\n{call}\n"))
    assert len(found) == 1
    assert found[0].startswith("data/a.py:2: ")


def test_allowed_calls_pass(tmp_path: Path) -> None:
    lay(tmp_path, "cli/a.py", "print('to the user')")
    lay(tmp_path, "data/a.py", "torch.load(f, weights_only=True)\nnp.load(f, allow_pickle=False)\nconsole.print(x)\nRestricted(f).load()")
    assert call_violations(tmp_path) == []
