"""The public names of cifarlab and its packages are those of public_surface.txt, and each is documented.

After a change made on purpose, write the list anew and let the review see the difference:

    python tests/contracts/test_public_surface.py > tests/contracts/public_surface.txt
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "cifarlab"
LIST = Path(__file__).with_name("public_surface.txt")


def packages() -> list[str]:
    """cifarlab and its packages; the command line is no Python interface and has no public names."""
    inner = sorted(file.parent.name for file in PACKAGE.glob("*/__init__.py"))
    return ["cifarlab", *(f"cifarlab.{name}" for name in inner if name != "cli")]


def surface() -> Iterator[str]:
    """One line for each public name: `package.name`."""
    for name in packages():
        for public in sorted(importlib.import_module(name).__all__):
            yield f"{name}.{public}"


def undocumented(value: object, name: str) -> bool:
    """Whether a class, function or module lacks a docstring of its own; constants and type aliases need none."""
    if not (inspect.isclass(value) or inspect.isroutine(value) or isinstance(value, ModuleType)):
        return False
    text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    # dataclass and NamedTuple put the signature where no docstring is.
    return not text or not text.strip() or text.startswith(f"{name}(")


def test_the_public_names_are_the_listed_ones() -> None:
    listed = LIST.read_text(encoding="utf-8").splitlines()
    found = list(surface())
    added, removed = sorted(set(found) - set(listed)), sorted(set(listed) - set(found))
    assert found == listed, (
        f"the public surface changed; new: {', '.join(added) or 'none'}; gone: {', '.join(removed) or 'none'}. If that is meant, "
        "note it in CHANGELOG.md and run: python tests/contracts/test_public_surface.py > tests/contracts/public_surface.txt"
    )
    assert len(found) > 10


def test_every_package_has_an_explicit_surface_without_repeats() -> None:
    assert len(packages()) > 5
    for name in packages():
        names = getattr(importlib.import_module(name), "__all__", None)
        assert names is not None, f"{name}/__init__.py has no __all__"
        assert len(names) == len(set(names)), f"{name}.__all__ names something twice"


def test_no_public_name_is_hidden_by_a_module_of_the_same_name() -> None:
    # Importing cifarlab.train, were it a module, would replace the function cifarlab.train.
    modules = {file.stem for file in PACKAGE.iterdir() if file.suffix == ".py" or file.is_dir()}
    assert not modules.intersection(importlib.import_module("cifarlab").__all__)


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {file.parent for file in PACKAGE.rglob("*.py")}
    missing = [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]
    assert not missing, f"no __init__.py in {', '.join(missing)}"


def test_every_public_name_exists_and_has_a_docstring() -> None:
    bare = []
    for line in surface():
        package, _, name = line.rpartition(".")
        if undocumented(getattr(importlib.import_module(package), name), name):
            bare.append(line)
    assert not bare, f"public, but without a docstring: {', '.join(bare)}"


def test_a_missing_docstring_is_noticed() -> None:
    from dataclasses import dataclass

    @dataclass
    class Bare:
        a: int

    class InheritingError(Exception):
        pass

    def silent() -> None: ...

    def spoken() -> None:
        """Says something."""

    assert undocumented(Bare, "Bare")
    assert undocumented(InheritingError, "InheritingError")
    assert undocumented(silent, "silent")
    assert not undocumented(spoken, "spoken")
    assert not undocumented(("a", "constant"), "NAMES")


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in surface())
