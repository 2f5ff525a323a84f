"""constraints.txt pins, exactly and once, at least what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> list[tuple[str, str]]:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.]*)", line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if match is None]
    return [(normal(match[1]), match[2]) for match in found if match is not None]


def test_every_line_pins_one_package_once() -> None:
    names = [name for name, _ in pinned()]
    assert len(names) > 20
    assert len(names) == len(set(names))


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)]
    names = {normal(re.split(r"[\[<>=!~; ]", item, maxsplit=1)[0]) for item in asked} - {"cifarlab"}
    assert names
    assert not names - {name for name, _ in pinned()}
