"""What the commands print with: data to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def note(message: str, *, style: str = "") -> None:
    """One message to stderr; coloured (`style`, of rich) only on a terminal, its first word alone."""
    with contextlib.suppress(OSError):  # a terminal that was closed must not end the work that reports to it
        _write_note(message, style)


def _write_note(message: str, style: str) -> None:
    if sys.stderr.isatty() and style:
        from rich.text import Text

        head, colon, rest = message.partition(": ")
        stderr_console().print(Text(head + colon, style=style) + Text(rest), soft_wrap=True)
    else:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()


def stderr_console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def write_json_out(value: object) -> None:
    """`value` as indented JSON to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None, right: Sequence[str] = ()) -> None:
    """A table to stdout; the columns named in `right` are right-aligned (numbers)."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    if sys.stdout.isatty():
        Console(highlight=False).print(table)
        return
    # Into a pipe or file the table keeps its natural width, without the blanks that fill lines on a terminal.
    text = io.StringIO()
    Console(file=text, highlight=False, width=400).print(table)
    sys.stdout.write("\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip("\n") + "\n\n")
