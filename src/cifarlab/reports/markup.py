"""Small pieces of HTML. Every function takes plain text and escapes it; what it returns is safe to put into a page."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from cifarlab.errors import RunError

_WIDE = 750  # CSS pixels; a picture wider than this is not shrunk to a phone's width but scrolls


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def warning(text: str) -> str:
    """A paragraph that stands out."""
    return f'<div class="warning">{paragraph(text)}</div>'


def bullets(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def entries(items: Iterable[tuple[str, str]]) -> str:
    """A list whose items begin with a few words in bold."""
    return "<ul>" + "".join(f"<li><strong>{escape(lead)}</strong> {escape(text)}</li>" for lead, text in items) + "</ul>"


def code_block(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def tile(label: str, value: str, note: str = "", *, main: bool = False) -> str:
    """One headline figure with its name and an optional line under it."""
    small = f'<span class="note">{escape(note)}</span>' if note else ""
    kind = "tile main" if main else "tile"
    return f'<div class="{kind}"><span class="label">{escape(label)}</span><span class="value">{escape(value)}</span>{small}</div>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, footer: Iterable[Sequence[str]] = (), caption: str = "", kind: str = ""
) -> str:
    """A table whose first column holds row headings; wide ones scroll inside their own box. Line breaks in a cell are kept.

    kind: what its cells hold: "" numbers, "text" sentences, "lines" several short lines each.
    """
    heading = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(_row(row) for row in rows)
    foot = "".join(_row(row) for row in footer)
    end = f"<tfoot>{foot}</tfoot>" if foot else ""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    style = f' class="{escape(kind)}"' if kind else ""
    return f'<div class="scroll"><table{style}>{title}<thead><tr>{heading}</tr></thead><tbody>{body}</tbody>{end}</table></div>'


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """A two-column table of names and values."""
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f'<div class="scroll"><table class="pairs"><tbody>{body}</tbody></table></div>'


def picture(png: Path, caption: str) -> str:
    """A PNG file put into the page itself, at 96 CSS pixels per inch. Raises RunError where it cannot be read."""
    try:
        content = png.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {png}: {error.strerror or error}") from error
    width, height = (round(int.from_bytes(content[at : at + 4], "big") * 96 / 150) for at in (16, 20))  # IHDR; figures have 150 dpi
    data = base64.b64encode(content).decode("ascii")
    kind = ' class="wide"' if width > _WIDE else ""
    image = f'<img alt="{escape(caption)}" width="{width}" height="{height}" src="data:image/png;base64,{data}">'
    return f'<figure{kind} style="width:{width}px"><div class="scroll">{image}</div><figcaption>{escape(caption)}</figcaption></figure>'


def section(anchor: str, heading: str, *content: str) -> str:
    return f'<section id="{escape(anchor)}"><h2>{escape(heading)}</h2>{"".join(content)}</section>'


def _row(cells: Sequence[str]) -> str:
    first, *others = (escape(cell).replace("\n", "<br>") for cell in cells)
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'
