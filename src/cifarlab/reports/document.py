"""A document as a list of blocks in plain text, written as HTML and as Markdown, so that both say the same."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from cifarlab.reports import markup
from cifarlab.reports.page import page

_WIDTH: Final = 110  # characters of a Markdown line of prose
_SPECIAL: Final = "\\`*<|"  # what Markdown would read as its own inside the texts of a report


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Notice:
    """What a reader must not miss."""

    text: str


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Entries:
    """A list whose items begin with a few words that stand out."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Columns and rows; the first column names the row. A line break inside a cell is kept in HTML.

    kind: what its cells hold: "" numbers, "text" sentences, "lines" several short lines each.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    footer: tuple[tuple[str, ...], ...] = ()
    caption: str = ""
    kind: Literal["", "text", "lines"] = ""


@dataclass(frozen=True)
class Picture:
    png: Path
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Pictures with captions: in HTML PNG files inside the page; in Markdown links to files, where it has a folder, or left out."""

    items: tuple[Picture, ...]


@dataclass(frozen=True)
class PerFormat:
    """The same content laid out differently: wide cells in HTML, narrow tables in Markdown."""

    html: tuple[Table, ...]
    markdown: tuple[Table, ...]


Block = Paragraph | Notice | Bullets | Entries | Table | Pictures | PerFormat


@dataclass(frozen=True)
class Section:
    """`anchor` is what a link inside the page names, `link` its text (default: the heading); without blocks a section is left out."""

    anchor: str
    heading: str
    blocks: tuple[Block, ...]
    link: str = ""


def to_html(title: str, lead: str, sections: Iterable[Section], *, footer: str) -> str:
    """One self-contained page. Raises RunError where a picture cannot be read."""
    kept = [section for section in sections if section.blocks]
    content = [markup.section(section.anchor, section.heading, *map(_html, section.blocks)) for section in kept]
    return page(title, lead, links={section.anchor: section.link or section.heading for section in kept}, content=content, footer=footer)


def to_markdown(title: str, lead: str, sections: Iterable[Section], *, footer: str, folder: Path | None = None) -> str:
    """Plain Markdown whose tables are aligned with spaces, so that they can be read in a terminal too.

    folder: where it will lie, so that its pictures can be named from there; without it they are left out.
    """
    parts = [f"# {_escape(title)}", _prose(lead)]
    for section in sections:
        blocks = [text for block in section.blocks if (text := _markdown(block, folder))]
        if blocks:
            parts += [f"## {_escape(section.heading)}", *blocks]
    return "\n\n".join([*parts, _prose(footer)]) + "\n"


def _html(block: Block) -> str:
    if isinstance(block, Paragraph):
        return markup.paragraph(block.text)
    if isinstance(block, Notice):
        return markup.warning(block.text)
    if isinstance(block, Bullets):
        return markup.bullets(block.items)
    if isinstance(block, Entries):
        return markup.entries(block.items)
    if isinstance(block, Pictures):
        shown = "".join(markup.picture(item.png, item.caption) for item in block.items)
        return f'<div class="figures">{shown}</div>' if shown else ""
    if isinstance(block, PerFormat):
        return "".join(map(_html, block.html))
    return markup.table(block.head, block.rows, footer=block.footer, caption=block.caption, kind=block.kind)


def _markdown(block: Block, folder: Path | None) -> str:
    if isinstance(block, Paragraph):
        return _prose(block.text)
    if isinstance(block, Notice):
        return _prose(block.text, first="> ", rest="> ")
    if isinstance(block, Bullets):
        return "\n".join(_prose(item, first="- ", rest="  ") for item in block.items)
    if isinstance(block, Entries):
        return "\n".join(_fill(f"**{_escape(lead)}** {_escape(text)}", first="- ", rest="  ") for lead, text in block.items)
    if isinstance(block, Pictures):
        return "" if folder is None else "\n\n".join(_link(item, folder) for item in block.items)
    if isinstance(block, PerFormat):
        return "\n\n".join(_markdown(table, folder) for table in block.markdown)
    caption = f"{_prose(block.caption)}\n\n" if block.caption else ""
    return caption + _table(block.head, [*block.rows, *block.footer])


def _link(item: Picture, folder: Path) -> str:
    name = quote(Path(os.path.relpath(item.png, folder)).as_posix())
    return f"![{_escape(item.caption).replace('[', '(').replace(']', ')')}]({name})\n\n{_prose(item.caption)}"


def _prose(text: str, *, first: str = "", rest: str = "") -> str:
    return _fill(_escape(text), first=first, rest=rest)


def _fill(text: str, *, first: str, rest: str) -> str:
    return textwrap.fill(text, width=_WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[_escape(", ".join(cell.split("\n"))) for cell in row] for row in (head, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(head))]
    # Text stands left, numbers right: a column is numeric where most of its cells begin like a number.
    right = [column > 0 and _is_numeric([row[column] for row in cells[1:]]) for column in range(len(head))]
    lines = [_line(row, widths, right) for row in cells]
    rule = (
        "|"
        + "|".join(f"{'-' * (width + 1)}:" if to_right else "-" * (width + 2) for width, to_right in zip(widths, right, strict=True))
        + "|"
    )
    return "\n".join([lines[0], rule, *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(cells, widths, right, strict=True))
    return f"| {' | '.join(padded)} |"


def _is_numeric(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell not in ("", "-")]
    return bool(filled) and 2 * sum(cell[0].isdigit() or cell[0] in "+\u2212" for cell in filled) > len(filled)


def _escape(text: str) -> str:
    return "".join(f"\\{c}" if c in _SPECIAL else c for c in text)
