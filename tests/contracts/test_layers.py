"""Imports point down only: every import of every module against the table of the house (docs/ARCHITECTURE.md).

Imports are read from the source, so those inside functions and under TYPE_CHECKING count as well.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "cifarlab"

LAYER_0 = {"errors", "files", "duration", "published"}
LAYER_1 = {"arguments", "sections", "config", "runs", "metrics", "paired"}
LAYER_2 = {"data", "augment", "models", "losses", "optim", "recipes"}
LAYER_3 = {"plan", "restore", "build"}
LAYER_4 = {"baselines", "training", "evaluation", "explain", "bundle"}
LAYER_5 = {"experiments", "figures"}
LAYER_6 = {"reports", "serve", "estimator"}
TOP = {"teaching", "classical", "api", "comparison", "reproduction", "sweeps", "exporting", "__init__", "__main__"}
BELOW_CLI = LAYER_0 | LAYER_1 | LAYER_2 | LAYER_3 | LAYER_4 | LAYER_5 | LAYER_6 | TOP

# What each module or package of cifarlab may import of the others (itself is always allowed).
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "duration": set(),
    "published": {"errors"},
    **dict.fromkeys(LAYER_1, LAYER_0),
    "config": LAYER_0 | {"sections"},
    **dict.fromkeys(LAYER_2 - {"recipes"}, LAYER_0 | LAYER_1),
    "recipes": {"errors", "config"},
    "plan": LAYER_0 | LAYER_1 | LAYER_2,
    "restore": LAYER_0 | LAYER_1 | LAYER_2,
    "build": LAYER_0 | LAYER_1 | LAYER_2 | {"plan", "restore"},
    **dict.fromkeys(LAYER_4, LAYER_0 | LAYER_1 | LAYER_2 | LAYER_3),
    "experiments": LAYER_0 | LAYER_1 | LAYER_2 | LAYER_3 | LAYER_4,
    "figures": {"errors", "files", "runs", "metrics"},
    "reports": {"errors", "files", "published", "runs", "metrics", "paired", "figures"},
    "serve": {"errors", "files", "config", "runs", "metrics", "data", "recipes", "restore", "build", "bundle", "explain"},
    "estimator": LAYER_0 | LAYER_1 | LAYER_2 | LAYER_3 | LAYER_4,
    **dict.fromkeys(TOP, BELOW_CLI),
    "__main__": BELOW_CLI | {"cli"},
    "cli": BELOW_CLI,
}
WITHOUT_TORCH = {"baselines", "duration", "published", "sections", "config", "runs", "metrics", "paired", "recipes", "figures", "reports"}
# A command's file is read for `cifarlab --help`: at module level it may load nothing that is slow.
CLI_AT_MODULE_LEVEL = {"cli", "errors"}
SLOW = {"torch", "numpy", "scipy", "sklearn", "matplotlib", "pydantic", "PIL", "yaml", "safetensors"}


@dataclass(frozen=True)
class Import:
    module: str  # absolute, dotted
    line: int
    at_module_level: bool


def imports_of(file: Path, root: Path) -> Iterator[Import]:
    """Every import in `file`, which belongs to the package `root`, with relative ones made absolute."""
    inside = file.relative_to(root.parent).with_suffix("").parts
    package = inside[:-1]  # of an __init__ as well: its last part is "__init__"

    def visit(node: ast.AST, at_module_level: bool) -> Iterator[Import]:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            names = [f"{source}.{alias.name}" for alias in node.names] if source == root.name else [source]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                names = [node.args[0].value]
        for name in names:
            yield Import(name, node.lineno, at_module_level)
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_module_level and not deferred and not typing_only)

    yield from visit(ast.parse(file.read_text(encoding="utf-8")), True)


def part_of(file: Path, root: Path) -> str:
    """The module or package of the table that a file belongs to."""
    return file.relative_to(root).with_suffix("").parts[0]


def violations(root: Path) -> list[str]:
    """One line for each import that the table does not allow, and for each part that the table does not know."""
    files = sorted(root.rglob("*.py"))
    found = []
    for part in sorted({part_of(file, root) for file in files} - MAY_IMPORT.keys()):
        found.append(f"{root.name}.{part} is not in the table of tests/contracts/test_layers.py: decide its layer and add it")
    for file in files:
        part = part_of(file, root)
        if part in MAY_IMPORT:
            where = file.relative_to(root.parent)
            found += [f"{where}:{line.line}: {why}" for line in imports_of(file, root) if (why := _objection(part, line, root.name))]
    return found


def _objection(part: str, line: Import, package: str) -> str | None:
    first, _, rest = line.module.partition(".")
    if first != package:
        if part == "errors" and first not in sys.stdlib_module_names:
            return f"errors imports {line.module}; it may import the standard library only"
        if part in WITHOUT_TORCH and first in ("torch", "torchvision"):
            return f"{part} imports {line.module}; it must work without PyTorch"
        if part == "cli" and line.at_module_level and first in SLOW:
            return f"cli imports {line.module} at module level, which slows `cifarlab --help`; import it inside the command"
        return None
    target = rest.partition(".")[0]
    if target not in MAY_IMPORT:
        target = "__init__"  # a name of the package itself
    if part == "cli" and line.at_module_level and target not in CLI_AT_MODULE_LEVEL:
        return f"cli imports {line.module} at module level; import it inside the command"
    if target != part and target not in MAY_IMPORT[part]:
        return f"{part} imports {line.module}; it may import only: {', '.join(sorted(MAY_IMPORT[part])) or 'nothing of cifarlab'}"
    return None


def test_every_import_points_down() -> None:
    assert len(list(PACKAGE.rglob("*.py"))) > 10, f"no modules found under {PACKAGE}"
    assert not (found := violations(PACKAGE)), "\n" + "\n".join(found)


def test_the_table_itself_has_no_cycle() -> None:
    # Lower layers first: everything that a part may import must have been placed before it.
    placed: set[str] = set()
    for layer in (
        {"errors"},
        LAYER_0,
        {"sections"},
        LAYER_1,
        LAYER_2,
        {"plan", "restore"},
        LAYER_3,
        LAYER_4,
        {"figures"},
        LAYER_5,
        LAYER_6,
    ):
        for part in layer:
            assert MAY_IMPORT[part] <= placed, part
        placed |= layer


# -- the checker can fail -------------------------------------------------------------------------------------


def tree(tmp_path: Path, **files: str) -> Path:
    root = tmp_path / "cifarlab"
    for name, text in files.items():
        file = root / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("errors", "import numpy"),
        ("errors", "from cifarlab.runs import Run"),
        ("config", "import cifarlab.runs"),
        ("metrics", "\nimport torch.nn"),
        ("data__a", "from cifarlab.models import x"),
        ("data__a", "from ..models import x"),
        ("data__a", "from .. import models"),
        ("data__a", "from cifarlab import models"),
        ("data__a", "import cifarlab"),
        ("data__a", "from cifarlab import training"),
        ("recipes__a", "import cifarlab.metrics"),
        ("models__a", "def f():\n    import cifarlab.optim"),
        ("models__a", "import importlib\nimportlib.import_module('cifarlab.training')"),
        ("optim__a", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from cifarlab.training.loop import x"),
        ("build", "from cifarlab.training.loop import x"),
        ("training__loop", "from cifarlab.evaluation import x"),
        ("bundle__a", "from cifarlab.reports import x"),
        ("figures__a", "try:\n    import torch\nexcept ImportError:\n    pass"),
        ("figures__a", "from cifarlab.data.dataset import Dataset"),
        ("reports__a", "from cifarlab.bundle import x"),
        ("serve__a", "from cifarlab.training import x"),
        ("api", "from cifarlab.cli.main import app"),
        ("cli__a", "import torch"),
        ("cli__a", "if True:\n    from cifarlab.runs import x"),
        ("cli__a", "class A:\n    from cifarlab.api import x"),
    ],
)
def test_a_wrong_import_is_found_with_its_line(tmp_path: Path, name: str, text: str) -> None:
    found = violations(tree(tmp_path, **{name: text}))
    line = next(n for n, words in enumerate(text.splitlines(), 1) if any(word in words for word in ("cifarlab", "..", "numpy", "torch")))
    assert len(found) == 1
    assert found[0].startswith(f"cifarlab/{name.replace('__', '/')}.py:{line}: ")


def test_right_imports_pass(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        errors="import difflib",
        runs="import numpy\nfrom cifarlab.errors import x",
        data__a="import torch\nfrom .b import x\nfrom ..errors import y\nfrom . import b",
        data__b="from cifarlab import metrics, runs\nimport cifarlab.data.a",
        build="from cifarlab.recipes import x\nimport cifarlab.models.a",
        training__loop="from cifarlab.build import x",
        reports__a="from cifarlab.figures import x",
        cli__a="import typer\nfrom cifarlab.errors import x\nfrom . import b\n\ndef f():\n    import torch\n    from cifarlab.api import x",
        cli__b="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy\n    from cifarlab.runs import x",
        api="from cifarlab.experiments import x",
    )
    (root / "__main__.py").write_text("from cifarlab.cli.main import main")
    (root / "__init__.py").write_text("from .api import training")
    assert violations(root) == []


@pytest.mark.parametrize("name", ["transfer", "transfer__a"])
def test_a_new_module_must_be_put_in_the_table(tmp_path: Path, name: str) -> None:
    found = violations(tree(tmp_path, **{name: ""}))
    assert found == ["cifarlab.transfer is not in the table of tests/contracts/test_layers.py: decide its layer and add it"]
