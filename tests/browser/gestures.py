"""What people do to the page: drop, paste and choose files; and the files, awkward ones too."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import JSHandle, Page

EXAMPLES = Path(__file__).parents[2] / "examples"
DRAWN = ("airplane", "automobile", "cat", "frog", "ship", "truck")  # examples/NAME.png, which cifar10-fast names rightly

_TRANSFER = """given => {
    const transfer = new DataTransfer();
    for (const {name, type, base64} of given.files) {
        const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
        transfer.items.add(new File([bytes], name, {type}));
    }
    for (const [type, text] of Object.entries(given.texts)) transfer.setData(type, text);
    return transfer;
}"""
_PASTE = (
    """transfer => document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true, cancelable: true}))"""
)

File = tuple[str, str, bytes]  # name, media type, content


def example(name: str) -> File:
    return f"{name}.png", "image/png", (EXAMPLES / f"{name}.png").read_bytes()


def drop(page: Page, *files: File, texts: dict[str, str] | None = None) -> None:
    """Drag files, or text by media type, over the page and let go."""
    transfer = _transfer(page, files, texts or {})
    for kind in ("dragenter", "dragover", "drop"):
        page.dispatch_event("body", kind, {"dataTransfer": transfer})


def paste(page: Page, *files: File, texts: dict[str, str] | None = None) -> None:
    page.evaluate(_PASTE, _transfer(page, files, texts or {}))


def choose(page: Page, file: File) -> None:
    """By the file chooser's own input, which a click on a button opens."""
    name, kind, content = file
    page.get_by_test_id("file").set_input_files({"name": name, "mimeType": kind, "buffer": content})


def _transfer(page: Page, files: tuple[File, ...], texts: dict[str, str]) -> JSHandle:
    described = [{"name": name, "type": kind, "base64": base64.b64encode(content).decode()} for name, kind, content in files]
    given: dict[str, Any] = {"files": described, "texts": texts}
    return page.evaluate_handle(_TRANSFER, given)


def plain_picture(color: tuple[int, int, int], *, name: str = "plain.png", side: int = 40) -> File:
    file = io.BytesIO()
    Image.new("RGB", (side, side), color).save(file, "png")
    return name, "image/png", file.getvalue()


def huge_png(width: int = 20_000, height: int = 10_000) -> bytes:
    """A valid PNG of 200 megapixels, one bit each: some 30 kB as a file, 800 MB once decoded to RGBA."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    squeeze = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    pixels = b"".join(squeeze.compress(row * 100) for _ in range(height // 100)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
