"""What the figure tests share: class names that break careless layouts, and a view of the figure just written."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from cifarlab.figures import style

SHORT = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LONG = tuple(f"{'W' * 40} number {i} of a class <with> $every^{{thing}}$ & \\frac" for i in range(10))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were written during the test; `spilled` of each holds its texts that leave the picture."""
    figures: list[Figure] = []
    drawn: list[Text] = []
    original, draw = style._write, Text.draw

    def draw_text(text: Text, renderer: object) -> None:
        drawn.append(text)
        draw(text, renderer)

    def record(figure: Figure, path: object) -> None:
        original(figure, path)
        drawn.clear()  # from here on only what this one draws: ticks outside the axes, for example, are not
        figure.canvas.draw()
        figure.spilled = [text.get_text() for text in drawn if text.get_text().strip() and not _inside(text, figure)]
        figures.append(figure)

    monkeypatch.setattr(Text, "draw", draw_text)
    monkeypatch.setattr(style, "_write", record)
    return figures


@pytest.fixture(params=[SHORT, LONG], ids=["short names", "long names"])
def class_names(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture
def assert_picture():
    """Check that a file is a PNG of at least the given size in pixels, and that something is drawn on it."""

    def check(path, *, width, height):
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width >= width
            assert image.height >= height
            pixels = np.asarray(image.convert("RGB"))
        assert len(np.unique(pixels[::3, ::3].astype(np.int64) @ [65536, 256, 1])) > 10, "the picture is blank"
        assert (pixels == 255).all(axis=-1).mean() < 0.99
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            assert (edge == 255).all(), "something touches the border of the picture"

    return check


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, size=(40, 32, 32, 3), dtype=np.uint8)


def _inside(text: Text, figure: Figure) -> bool:
    box, frame = text.get_window_extent(), figure.bbox
    return box.x0 >= frame.x0 - 1 and box.y0 >= frame.y0 - 1 and box.x1 <= frame.x1 + 1 and box.y1 <= frame.y1 + 1
