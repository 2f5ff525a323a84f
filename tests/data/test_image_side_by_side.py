"""Images read by several threads at once, and which error tells what."""

from __future__ import annotations

import io
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cifarlab.data import images
from cifarlab.data.images import read_image
from cifarlab.errors import ImageError, ImageFormatError, ImageSizeError


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def test_two_threads_decode_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    both_inside = threading.Barrier(2, timeout=10)
    genuine = images._decode

    def waiting(*given: Any, **named: Any) -> Any:
        both_inside.wait()  # breaks, with an error, where the other thread is kept out
        return genuine(*given, **named)

    monkeypatch.setattr(images, "_decode", waiting)
    with ThreadPoolExecutor(2) as pool:
        shapes = [pixels.shape for pixels in pool.map(read_image, [png(5, 4), png(7, 6)])]
    assert shapes == [(4, 5, 3), (6, 7, 3)]


def test_warnings_are_heard_again_after_many_threads() -> None:
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_image, [png(40, 40)] * 200))
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ImageFormatError),
        (b"hello", ImageFormatError),
        (b"%PDF-1.7", ImageFormatError),
        (png(20, 20), ImageSizeError),
        (png(5, 5)[:45], ImageError),
    ],
)
def test_the_kind_of_error_tells_format_size_and_damage_apart(content: bytes, expected: type[ImageError]) -> None:
    with pytest.raises(ImageError) as raised:
        read_image(content, max_pixels=100)
    assert raised.type is expected
