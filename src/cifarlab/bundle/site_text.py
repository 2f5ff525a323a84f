"""The texts that a site brings along: README.md, the licence of its runtime, headers for hosts that read them from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LICENSE: Final = """\
ort.wasm.js and ort.wasm.gz (packed by gzip) are files of {package}, unchanged:
https://github.com/microsoft/onnxruntime

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

# Netlify and Cloudflare Pages read this file. A worker takes its policy from its own response: elsewhere it has none.
HEADERS: Final = """\
/*
  Content-Security-Policy: {policy}
  X-Content-Type-Options: nosniff
  Referrer-Policy: no-referrer
"""

_README: Final = """\
# {name}, in the browser

A page that classifies pictures with the model running in the visitor's browser: no server computes anything, and no picture
leaves the visitor's machine. Written by `cifarlab export --to site`.

- Classes ({count}): {classes}
- Accuracy: {accuracy}
- Runtime: {runtime}, WebAssembly, one thread; its licence is in `runtime/LICENSE.txt`
- Licence of the weights: {license}

## Look at it

```
python -m http.server --bind 127.0.0.1 8000
```

in this folder, then open http://127.0.0.1:8000. Opened as a file (`file://`) it does not work: browsers load no modules from there.

## Put it online

Copy the whole folder to any static host, into the root or any folder below it: GitHub Pages, Cloudflare Pages, Netlify, an
Apache or nginx directory. All addresses in it are relative, no header is needed, nothing is fetched from anywhere else. `index.html` holds
a Content-Security-Policy, and `_headers` the same for hosts that read that file (Netlify, Cloudflare Pages), which then holds in the
worker as well. Browsers of mid-2024 or later (Chrome and Edge 123, Firefox 120, Safari 17.5).

## Sizes

| what | files | bytes |
|---|---|---|
{rows}
"""


def readme(facts: Mapping[str, Any], *, sizes: Mapping[str, int]) -> str:
    """README.md of a site. sizes: bytes of each file by its path in the site."""
    groups = {
        "the model (`model.onnx`)": ("model.onnx",),
        "the runtime (`runtime/`)": ("runtime/",),
        "examples (`page/examples/`)": ("page/examples/",),
        "the page (`index.html`, `page/`, `bundle.json`)": ("page/", "index.html", "bundle.json"),
    }
    left = dict(sizes)
    rows = []
    for name, beginnings in groups.items():
        inside = [path for path in left if path.startswith(beginnings)]
        rows.append((name, len(inside), sum(left.pop(path) for path in inside)))
    rows.append(("together, what a first visit downloads at most", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    return _README.format(
        name=_plain(facts["name"] or "A model"),
        count=len(facts["classes"]),
        classes=", ".join(_plain(name) for name in facts["classes"][:100]) + (", ..." if len(facts["classes"]) > 100 else ""),
        accuracy=_accuracy(facts.get("metrics") or {}),
        runtime=facts["site"]["runtime"],
        license=_plain(facts["license"] or "not stated"),
        rows="\n".join(f"| {name} | {count} | {size:,} |" for name, count, size in rows),
    )


def _accuracy(metrics: Mapping[str, Any]) -> str:
    for split in ("test", "validation"):
        if split in metrics:
            value, n = metrics[split]["accuracy"], metrics[split]["n"]
            low, high = (100 * value[key] for key in ("low", "high"))
            return f"{100 * value['value']:.2f} % on {n:,} {split} images (95 % interval {low:.2f} to {high:.2f})"
    return "not measured"


def _plain(text: object) -> str:
    """A name as Markdown shows it: one line, nothing in it means anything."""
    line = " ".join(str(text).split())
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|!" else letter for letter in line)
