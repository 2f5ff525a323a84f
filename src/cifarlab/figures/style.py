"""What all pictures share: colours, fonts, the canvas, and text that fits its place.

Object-oriented Matplotlib on the Agg canvas: no pyplot, no window, and the user's own rcParams are neither read nor changed.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cifarlab.errors import UsageError
from cifarlab.files import atomic_writer

# Okabe and Ito (2008), "Color universal design"
BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
VERMILLION: Final = "#D55E00"
GREY: Final = "#6B6B6B"
INK: Final = "#1A1A1A"

DPI: Final = 150
FONT: Final = "DejaVu Sans"  # comes with Matplotlib, so that a picture looks the same on every machine
LABEL_INCHES: Final = 1.8  # the most room that a class name gets beside an axis
_EDGE: Final = 0.08  # inches left free along the border of every picture
_MISSING_GLYPH: Final = r"(?s).*Glyph \d+ .*missing from font"
MAX_LABELS: Final = 150  # with more classes than this, only every second, third ... name is written

_RC: Final = {
    "font.family": [FONT],
    "font.size": 10.0,
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "axes.labelsize": 10.5,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a class called "$x$" is a name, not a formula
    "svg.fonttype": "none",  # text stays text: searchable, and smaller
    "svg.hashsalt": "cifarlab",  # the same picture gives the same bytes
}


@contextlib.contextmanager
def picture(path: Path, *, width: float, height: float) -> Iterator[Figure]:
    """An empty figure of `width` x `height` inches that is written to `path` when the block ends without an error.

    Raises UsageError for another suffix than .png and .svg, RunError where the file cannot be written.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"cannot draw {path.name!r}: a picture's name ends in .png or .svg")
    with matplotlib.style.context(["default", _RC]), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes (PNG) or by the viewer's font (SVG); nothing to alarm users with.
        warnings.filterwarnings("ignore", message=_MISSING_GLYPH)
        x, y = _EDGE / width, _EDGE / height
        figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(rect=(x, y, 1 - 2 * x, 1 - 2 * y)))
        FigureCanvasAgg(figure)
        yield figure
        _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    kind = path.suffix.lower()[1:]
    # Without date and version in it, the same content gives the same file.
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
    with atomic_writer(path) as file:
        file.write(buffer.getvalue())


def clean(text: str) -> str:
    """`text` on one line: white space collapsed, control characters (which SVG forbids) dropped."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def fit(text: str, *, inches: float, points: float) -> str:
    """`clean(text)`; where it would be wider than `inches` at a font size of `points`, an ellipsis takes its middle.

    Both ends stay, because names that are long tend to differ at one of them.
    """
    return _fit(clean(text), inches, points)


def heading(title: str, model: str, *, inches: float, points: float) -> str:
    """ "title (model)" in one line as `fit` would make it, except that the model's name is shortened first.

    The title is cut only where it leaves no room for a few letters of the name; without a name it stands alone.
    """
    if not model:
        return fit(title, inches=inches, points=points)
    least = min(text_inches(clean(model), points), 8 * points / 72)
    brackets = text_inches("X ()", points)
    first = fit(title, inches=inches - least - brackets, points=points)
    room = max(least, inches - text_inches(first, points) - brackets)
    return f"{first} ({fit(model, inches=room, points=points)})"


def text_inches(text: str, points: float) -> float:
    """Width of one line of text in inches."""
    if not text.strip():
        return 0.0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_MISSING_GLYPH)
        font = get_font(findfont(FontProperties(family=FONT)))
        font.set_size(points, 72.0)  # at 72 dots per inch a dot is a point
        font.set_text(text, 0.0)
        return float(font.get_width_height()[0]) / 64.0 / 72.0  # FreeType counts in 64ths


@lru_cache(maxsize=4096)
def _fit(text: str, inches: float, points: float) -> str:
    if text_inches(text, points) <= inches:
        return text
    shortest, longest = 0, len(text) - 1  # bisection on the number of characters kept
    while shortest < longest:
        middle = (shortest + longest + 1) // 2
        if text_inches(_shorten(text, middle), points) <= inches:
            shortest = middle
        else:
            longest = middle - 1
    return _shorten(text, shortest)


def _shorten(text: str, keep: int) -> str:
    head = keep - keep // 3
    return text[:head].rstrip() + "…" + text[len(text) - keep // 3 :].lstrip()


def class_labels(class_names: Sequence[str], *, points: float) -> tuple[list[str], float]:
    """Class names cut to `LABEL_INCHES`, and the width in inches of the widest."""
    names = [fit(name, inches=LABEL_INCHES, points=points) for name in class_names]
    return names, max((text_inches(name, points) for name in names), default=0.0)


def set_class_ticks(axis: Axis, labels: Sequence[str], *, points: float, rotation: float = 0.0) -> None:
    """Write class names at 0..K-1 on `axis`; of more than `MAX_LABELS` only an even selection."""
    step = math.ceil(len(labels) / MAX_LABELS)
    positions = list(range(0, len(labels), step))
    axis.set_ticks(positions, labels=[labels[i] for i in positions], fontsize=points, rotation=rotation)


def say_nothing_to_show(axes: Axes, sentence: str) -> None:
    """An empty panel that says why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, sentence, ha="center", va="center", transform=axes.transAxes, color=GREY, fontsize=12)
