"""What the documents promise exists: the two commands, the subcommands, the make targets, the linked files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|[\s/])cifarlab[ \t]+([a-z][a-z-]*)(?:[ \t]+([a-z][a-z-]*))?")
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")


def code_in(text: str) -> Iterator[str]:
    """The fenced blocks and inline spans, without shell comments."""
    for block in [*FENCED.findall(text), *INLINE.findall(FENCED.sub("", text))]:
        yield re.sub(r"(?:^|(?<=\s))#.*", "", block)


def commands_in(text: str) -> set[tuple[str, str]]:
    """(subcommand, next word or "") of every `cifarlab ...` in code."""
    lines = [line for code in code_in(text) for line in code.splitlines() if "pip install" not in line]
    return {found for line in lines for found in COMMAND.findall(line)}


def unknown_commands(text: str, app: typer.Typer) -> list[str]:
    """The `cifarlab ...` that the application does not know; a group such as `data` is looked into."""
    top = getattr(get_command(app), "commands", {})
    unknown = []
    for name, following in sorted(commands_in(text)):
        inner = getattr(top.get(name), "commands", None)
        if name not in top or (inner is not None and following and following not in inner):
            unknown.append(f"cifarlab {name} {following}".strip())
    return unknown


def broken_links(document: Path) -> list[str]:
    """Relative links of a Markdown file that lead nowhere."""
    text = FENCED.sub("", document.read_text(encoding="utf-8"))
    targets = [(first or second).partition("#")[0] for first, second in LINK.findall(text)]
    return [target for target in targets if target and not re.match(r"[a-z]+:", target) and not (document.parent / target).exists()]


def make_targets() -> dict[str, str]:
    """Target -> its recipe, of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z]+):[^\n]*\n((?:\t[^\n]*\n)+)", text, re.MULTILINE))


def test_the_first_code_block_holds_exactly_the_two_commands() -> None:
    first = FENCED.search(README.read_text(encoding="utf-8"))
    assert first is not None
    lines = [line.partition("#")[0].strip() for line in first[1].splitlines()]
    assert [line for line in lines if line] == ["make demo", "make test"]


@pytest.mark.parametrize("target", ["demo", "test", "check"])
def test_make_calls_the_script_of_the_same_name(target: str) -> None:
    assert make_targets()[target].strip().lstrip("@") == f"scripts/{target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_every_make_target_that_is_mentioned_exists(document: Path) -> None:
    mentioned = {name for code in code_in(document.read_text(encoding="utf-8")) for name in re.findall(r"(?:^|\s)make ([a-z]+)", code)}
    assert mentioned <= make_targets().keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_every_subcommand_in_the_readme_exists() -> None:
    from cifarlab.cli.main import app

    text = README.read_text(encoding="utf-8")
    assert commands_in(text), "the README shows no cifarlab command"
    assert unknown_commands(text, app) == []


def test_the_licence_is_the_whole_apache_licence() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    for part in ("Version 2.0, January 2004", "3. Grant of Patent License.", "9. Accepting Warranty", "END OF TERMS AND CONDITIONS"):
        assert part in text


# -- the checkers can fail --------------------------------------------------------------------------------------


def test_unknown_commands_are_found() -> None:
    app, group = typer.Typer(), typer.Typer()
    app.command("demo")(lambda: None)
    app.command("train")(lambda: None)
    group.command("get")(lambda: None)
    app.add_typer(group, name="data")
    text = """Run `cifarlab demo`, or `.venv/bin/cifarlab tarin fast`. A cifarlab sentence outside code.
```
cifarlab train fast --seed 0  # cifarlab comment
cifarlab data get cifar10
$ cifarlab data fetch
pip install cifarlab numpy
```
"""
    assert unknown_commands(text, app) == ["cifarlab data fetch", "cifarlab tarin fast"]


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").touch()
    document = tmp_path / "a.md"
    document.write_text('[a](there.md#part) [b](gone.md) [c](https://x.org/y) [d](#here) <img src="no.png">\n```\n[e](code.md)\n```\n')
    assert broken_links(document) == ["gone.md", "no.png"]
