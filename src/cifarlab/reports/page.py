"""The frame of a report: one HTML file with its style inside, no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #595959; --paper: #ffffff; --card: #f4f5f7; --line: #d5d8dd; --accent: #00568a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #a9adb5; --paper: #14161a; --card: #1f2329; --line: #3a404a; --accent: #7cc4f0; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
.lead { color: var(--soft); margin: 0 0 1rem; overflow-wrap: anywhere; }
.warning { border-left: 4px solid #d55e00; background: var(--card); padding: .6rem .9rem; margin: 1rem 0; }
nav a { display: inline-block; margin: 0 1rem .3rem 0; color: var(--accent); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
.tile.main { border: 2px solid var(--accent); grid-column: span 2; }
.tile.main .value { font-size: 2.1rem; line-height: 1.25; }
.tile span { display: block; }
.label, .note { color: var(--soft); font-size: .85rem; line-height: 1.35; }
.value { font-size: 1.45rem; font-weight: 650; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 1.25rem; align-items: flex-start; }
figure { margin: 0; max-width: min(100%, 34.5rem); }
figure.wide { max-width: 100%; }
img { display: block; max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: .4rem; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .35rem; }
li { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; }
th[scope="row"] { text-align: left; min-width: 7rem; }
thead th { color: var(--soft); font-size: .9rem; }
thead th:first-child { text-align: left; }
tfoot th, tfoot td { font-weight: 650; }
tbody th, tbody td { vertical-align: top; }
.text th, .text td { text-align: left; min-width: 6rem; }
.lines { font-size: .92rem; } .lines th, .lines td { text-align: left; padding-right: .6rem; }
.scroll + .figures, .scroll + .scroll { margin-top: 1rem; }
caption { color: var(--soft); font-size: .9rem; text-align: left; padding-bottom: .3rem; }
.pairs td { text-align: left; overflow-wrap: anywhere; }
.pairs th { color: var(--soft); vertical-align: top; white-space: nowrap; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; overflow-x: auto;
  font: .88rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
footer { color: var(--soft); font-size: .85rem; margin-top: 3rem; }
@media (max-width: 40rem) {
  main { padding: 1rem .8rem 3rem; } h1 { font-size: 1.5rem; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); } .tile.main { grid-column: 1 / -1; } .value { font-size: 1.2rem; }
  th, td { padding-right: .5rem; } th[scope="row"] { min-width: 5rem; } .pairs th { white-space: normal; min-width: 6rem; }
  .wide img { max-width: none; width: 42rem; }
}
@media print {
  :root { --ink: #000; --soft: #333; --paper: #fff; --card: #fff; --line: #bbb; --accent: #000; }
  body { font-size: 10.5pt; } nav { display: none; } main { max-width: none; padding: 0; }
  figure, .tile, tr { break-inside: avoid; } h2 { break-after: avoid; } tfoot { display: table-row-group; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  img, .wide img { max-width: 100%; max-height: 23cm; width: auto; }
  .scroll { overflow: visible; }
}
"""

# The policy lets a browser load nothing but the pictures inside the page, should text ever slip through unescaped.
_PAGE: Final = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<header><h1>$title</h1><p class="lead">$lead</p></header>
$nav
$content
<footer>$footer</footer>
</main>
</body>
</html>
"""
)


def page(title: str, lead: str, *, links: Mapping[str, str], content: Sequence[str], footer: str) -> str:
    """A whole HTML document. `links` maps anchors to headings; `content` is markup, everything else plain text."""
    anchors = "".join(f'<a href="#{escape(anchor)}">{escape(heading)}</a>' for anchor, heading in links.items())
    return _PAGE.substitute(
        title=escape(title),
        style=_STYLE,
        lead=escape(lead),
        nav=f"<nav>{anchors}</nav>",
        content="\n".join(content),
        footer=escape(footer),
    )
