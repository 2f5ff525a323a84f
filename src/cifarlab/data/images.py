"""Image files of any size and mode -> the uint8 RGB array that a network's preprocessing begins with.

Pillow and NumPy only, so that reading an image is the same with and without PyTorch (ONNX, HTTP, tests).
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from cifarlab.errors import DataError, ImageError, ImageFormatError, ImageSizeError, UsageError, unknown

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF")  # Pillow's names; nothing else is ever opened
SUFFIXES: Final = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif")
RESIZE_RULES: Final = ("crop", "squash")
_NO_LIST: Final = "standard input holds no list of paths: it is binary. Write one path a line, or name the image file itself"
_ALLOWED: Final = "Allowed: JPEG, PNG, WebP, BMP, GIF"
_CONVERT: Final = "convert it to one of these, for example PNG"
_AGAIN: Final = "fetch or save it again"
_EMPTY: Final = "the file is empty (0 bytes)"

# What undoes each EXIF orientation (TIFF 6.0, tag 274); 1 and anything unknown: the pixels are upright already.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# First bytes of files that people often try, so that the message can say what the file is.
_LOOKS_LIKE: Final = (
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"<!DOCTYPE", "HTML"),
    (0, b"PK\x03\x04", "a ZIP archive"),
)

Pixels = NDArray[np.uint8]
Source = Path | str | bytes | BinaryIO | Image.Image

_BLOCK: Final = 1 << 20  # pixels of 16 bits that are scaled at a time
_PILLOW_LIMIT: Final = 178_956_970  # pixels beyond which Pillow itself refuses, whatever is asked for


def read_image(source: Source, *, max_pixels: int = 50_000_000) -> Pixels:
    """Read one image, upright and opaque: uint8 [H, W, 3], 0..255, red, green, blue.

    source: a path, the bytes of a file, a binary stream, or a Pillow image. The content decides the format, not the
        name: JPEG, PNG, WebP, BMP or GIF.
    max_pixels: width x height beyond which the file is refused on its header, before any pixel is decoded
        (at most 178 956 970, where Pillow stops by itself).

    EXIF orientation is applied. Transparent pixels are composited on white: that is what a page or a viewer shows
    behind a cut-out, whereas dropping the alpha channel would bring up colours that nobody ever saw (often black).
    16-bit grayscale is scaled to 8 bits (0..65535 -> 0..255, rounded), not clipped. CMYK and YCCK become RGB by the
    plain formula; embedded colour profiles are not applied. Of an animation the first frame is read.

    Raises ImageError: missing, unreadable, truncated; ImageFormatError: empty, not an image, another format; ImageSizeError: too many
    pixels.
    """
    if isinstance(source, Image.Image):
        return _read(source, name="<image>", max_pixels=max_pixels)
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), name="<bytes>", max_pixels=max_pixels)
    if not isinstance(source, str | Path):
        return _read(_whole(source), name=str(getattr(source, "name", "<stream>")), max_pixels=max_pixels)
    path = Path(source)
    try:
        if path.is_dir():
            raise ImageError(f"{path}: is a directory, not an image. {_ALLOWED}; give the files in it")
        if path.exists() and not path.is_file():  # a pipe or device could block or never end
            raise ImageError(f"{path}: is not a regular file. {_ALLOWED}; save the image to a file first")
        with path.open("rb") as file:
            return _read(file, name=str(path), max_pixels=max_pixels)
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file. {_ALLOWED}; check the path") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error}). {_ALLOWED}; check the path and its permissions") from error
    except ValueError as error:  # a NUL byte in the name
        raise ImageError(f"{str(path)!r}: is not a file name ({error}). {_ALLOWED}; check the path") from error


def fit_image(image: Pixels, *, size: int, resize: str = "crop") -> Pixels:
    """Bring an image to the network's input size: uint8 [H, W, 3] -> uint8 [size, size, 3], 0..255.

    resize: "crop" takes the central square of the shorter side and scales that to `size` (nothing is distorted, the
        ends of the longer side are lost); "squash" scales both sides on their own (all is kept, the shape distorted).

    Scaling is bicubic and antialiased: when shrinking, the kernel widens with the factor (Pillow's BICUBIC). An image
    that already is size x size comes back bit for bit. Raises UsageError for another `resize`, a size below 1, or an
    array that is not uint8 [H, W, 3] with at least one pixel.
    """
    if resize not in RESIZE_RULES:
        raise UsageError(unknown("resize rule", resize, RESIZE_RULES))
    if size < 1:
        raise UsageError(f"image size {size}: a positive number of pixels is needed")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UsageError(f"an image must be uint8 [H, W, 3] with at least one pixel, not {image.dtype} {list(image.shape)}")
    if resize == "crop":
        height, width = image.shape[:2]
        side = min(height, width)
        # Whole pixels, so that a crop which needs no scaling is not blurred by half a pixel.
        top, left = (height - side) // 2, (width - side) // 2
        image = image[top : top + side, left : left + side]  # [H, W, 3] -> [side, side, 3]
    if image.shape[:2] == (size, size):
        return np.ascontiguousarray(image)
    # reducing_gap stays None: it would trade exactness for speed by shrinking in two steps.
    scaled = Image.fromarray(np.ascontiguousarray(image)).resize((size, size), Image.Resampling.BICUBIC, reducing_gap=None)
    return np.asarray(scaled).copy()


def expand_inputs(arguments: Sequence[str], *, stdin: TextIO) -> list[Path]:
    """The image files that command-line arguments stand for, in the order given, each once.

    A directory stands for the images in it and below (by suffix, sorted, hidden files and folders skipped); `-` for
    the paths on `stdin`, one a line (or ended by NUL, as `find -print0` writes them); anything else for itself, whether
    it exists and may be read or not, so that a missing file is reported beside the others.
    Raises UsageError where nothing was given, a directory holds no image or cannot be listed, or the list on stdin is
    empty or not text.
    """
    if not arguments:
        raise UsageError("no images given. Name image files or directories, or '-' for a list on standard input")
    found: dict[str, Path] = {}
    stdin_read = False
    for argument in arguments:
        if argument != "-":
            lines = [argument]
        elif not stdin_read:
            lines, stdin_read = _lines(stdin), True
        else:
            continue
        for line in lines:
            for path in _expand(Path(line)):
                # One file under two spellings is one; a link beside its target is another input.
                found.setdefault(os.path.join(os.path.realpath(path.parent), path.name), path)
    return list(found.values())


def _lines(stdin: TextIO) -> list[str]:
    try:
        text = stdin.read()
    except UnicodeDecodeError as error:
        raise UsageError(_NO_LIST) from error
    # In some locales bytes that are no text arrive as lone surrogates; names may have these, but not with control characters.
    if any("\udc80" <= letter <= "\udcff" for letter in text) and any(letter < " " and letter not in "\0\r\n" for letter in text):
        raise UsageError(_NO_LIST)
    # No path holds a NUL; where one ends the paths, a line break belongs to a name.
    lines = text.split("\0") if "\0" in text else [line.rstrip("\r") for line in text.split("\n")]
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise UsageError("'-' was given, but standard input holds no paths; write one path a line")
    return lines


def _expand(path: Path) -> list[Path]:
    # os.path answers no where pathlib raises: in a folder that may not be entered, or for a name that is too long.
    if not os.path.isdir(path):
        return [path]
    try:
        images = image_files(path)
    except DataError as error:
        raise UsageError(str(error)) from error
    if not images:
        raise UsageError(f"{path}: the directory holds no images (looked for {', '.join(SUFFIXES)}, here and below)")
    return images


def image_files(folder: Path) -> list[Path]:
    """The images in `folder` and below: by suffix, sorted, hidden files and folders skipped; links to folders are not followed.

    Raises DataError where a folder cannot be listed: its images would be missing without a word.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: the directory cannot be listed ({error.strerror}); check its permissions") from error

    images = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images += [Path(parent, name) for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
    return sorted(images)


def other_files(folder: Path) -> int:
    """How many files `image_files` leaves out in `folder` and below because their suffix is no image's; hidden ones not counted."""
    count = 0
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        count += sum(not name.startswith(".") and not name.lower().endswith(SUFFIXES) for name in names)
    return count


def _whole(stream: BinaryIO) -> io.BytesIO:
    """All of a stream, which may be one that cannot seek."""
    try:
        return io.BytesIO(stream.read())
    except OSError as error:
        name = getattr(stream, "name", "<stream>")
        raise ImageError(f"{name}: cannot be read ({error.strerror or error}). {_ALLOWED}; give a file instead") from error


def _read(source: BinaryIO | Image.Image, *, name: str, max_pixels: int) -> Pixels:
    max_pixels = min(max_pixels, _PILLOW_LIMIT)
    try:
        with _quiet, contextlib.ExitStack() as stack:
            image = source if isinstance(source, Image.Image) else stack.enter_context(Image.open(source, formats=FORMATS))
            return _decode(image, name=name, max_pixels=max_pixels)
    except UnidentifiedImageError as error:
        assert not isinstance(source, Image.Image)
        what = _what_is_it(source)
        raise ImageFormatError(f"{name}: {what}. {_ALLOWED}; {_AGAIN if what == _EMPTY else _CONVERT}") from error
    except Image.DecompressionBombError as error:
        raise ImageSizeError(f"{name}: {_too_large(max_pixels)}") from error
    except ImageError:
        raise
    # Damaged files make Pillow's parsers raise nearly anything: OSError, SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ImageError(f"{name}: truncated or damaged ({reason}). {_ALLOWED}; {_AGAIN}") from error


def _decode(image: Image.Image, *, name: str, max_pixels: int) -> Pixels:
    if image.width * image.height > max_pixels:
        raise ImageSizeError(f"{name}: {_too_large(max_pixels, given=f'{image.width} x {image.height}')}")
    if image.width < 1 or image.height < 1:
        raise ImageError(f"{name}: it has no pixels ({image.width} x {image.height}). {_ALLOWED}; save it again")
    image.load()
    orientation = _orientation(image)
    if image.mode.startswith("I"):
        upright = Image.fromarray(_sixteen_to_eight(image, name=name))
    elif image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels have no known range. Scale them to 0..255 and 8 bits first")
    else:
        upright = _on_white(image)
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    pixels = np.asarray(upright)
    if upright.mode == "L":
        return np.repeat(pixels[:, :, None], 3, axis=2)  # [H, W] -> [H, W, 3]
    return pixels.copy()  # [H, W, 3], writable, no longer tied to Pillow's memory


def _on_white(image: Image.Image) -> Image.Image:
    """Any 8-bit mode -> RGB, transparency (alpha channel, palette entry or colour key) composited on white."""
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:
        # The colour key of a 16-bit RGB file, whose pixels Pillow has already cut to their upper 8 bits.
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if not image.has_transparency_data:
        return image.convert("RGB")
    opaque = Image.new("RGBA", image.size, "white")
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque.convert("RGB")


def _sixteen_to_eight(image: Image.Image, *, name: str) -> Pixels:
    """16-bit grayscale, colour key included -> uint8 [H, W]. Mode "I" is how older files of 16 bits arrive.

    Some rows at a time: numbers wide enough to compute with take several times the memory of the picture.
    """
    key: Any = image.info.get("transparency")
    gray = np.empty((image.height, image.width), dtype=np.uint8)
    rows = max(1, _BLOCK // image.width)
    for top in range(0, image.height, rows):
        values = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))  # [rows, W]
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"{name}: 32-bit pixels beyond 0..65535 have no known range. Scale them to 8 bits first")
        part = gray[top : top + rows]
        part[:] = (values.astype(np.uint32) + 128) // 257  # 65535 = 255 * 257: rounds to the nearest of 256 steps
        if isinstance(key, int):
            part[values == key] = 255
    return gray


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8. Damaged EXIF counts as none: the pixels are whole, and other programs show them."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as in _read
        return 1
    return value if isinstance(value, int) else 1


class _Quiet:
    """No warnings from Pillow: what they tell is refused with an error, or of no consequence to the pixels.

    warnings.catch_warnings swaps a list that belongs to the whole process, and two threads that came and left in turns could
    leave it swapped for good. So the first image to come swaps it and the last to leave puts it back; between them images are
    decoded side by side, as a server needs it: a large one must not hold up the small ones.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(None, None, None)


_quiet: Final = _Quiet()


def _too_large(max_pixels: int, *, given: str = "far more") -> str:
    return f"too large: {given} pixels, at most {max_pixels:,} are read. Scale it down first"


def _what_is_it(stream: BinaryIO) -> str:
    """Why a file was not recognised, from its first bytes."""
    try:
        stream.seek(0)
        head = stream.read(16)
    except (OSError, ValueError):
        return "not an image"
    if not head:
        return _EMPTY
    for offset, magic, kind in _LOOKS_LIKE:
        if head[offset : offset + len(magic)] == magic:
            return f"looks like {kind}, which is not read"
    return "not an image, or damaged at its beginning"
