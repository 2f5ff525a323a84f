"""Reading images: every format and mode against pixels known by hand, every bad file against ImageError."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cifarlab.data.images import FORMATS, read_image
from cifarlab.errors import ImageError

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (11, 7, 3), dtype=np.uint8)  # odd, not square: a swapped axis shows
WHITE = [255, 255, 255]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *, before: bytes = b"") -> bytes:
    """A PNG written by the specification, not by Pillow: rows are unpacked scanlines, each with filter byte 0."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


LOSSLESS = {
    "png": encoded(Image.fromarray(NOISE), "PNG"),
    "webp": encoded(Image.fromarray(NOISE), "WEBP", lossless=True),
    "bmp": encoded(Image.fromarray(NOISE), "BMP"),
}
VALID = {
    **LOSSLESS,
    "jpeg": encoded(Image.fromarray(NOISE), "JPEG"),
    "progressive": encoded(Image.fromarray(NOISE), "JPEG", progressive=True),
    "gif": encoded(Image.fromarray(NOISE).quantize(16), "GIF"),
    "palette": encoded(Image.fromarray(NOISE).quantize(16), "PNG"),
    "interlaced": encoded(Image.fromarray(NOISE[..., 0]), "GIF", interlace=True),
    "lossy": encoded(Image.fromarray(NOISE), "WEBP"),
    "exif": encoded(Image.fromarray(NOISE), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
}


# -- formats ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_come_back_bit_for_bit(kind: str) -> None:
    assert np.array_equal(read_image(LOSSLESS[kind]), NOISE)


def test_jpeg_of_one_colour() -> None:
    image = Image.new("RGB", (16, 8), (200, 100, 50))
    pixels = read_image(encoded(image, "JPEG", quality=100, subsampling=0))
    assert pixels.shape == (8, 16, 3)
    assert np.abs(pixels.astype(int) - [200, 100, 50]).max() <= 2


def test_gif_with_few_colours_is_exact() -> None:
    gif = encoded(Image.fromarray(NOISE[:4, :4]).quantize(16), "GIF")
    assert np.array_equal(read_image(gif), np.asarray(Image.fromarray(NOISE[:4, :4]).quantize(16).convert("RGB")))


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    file = tmp_path / "wrong-suffix.txt"
    file.write_bytes(LOSSLESS["png"])
    with file.open("rb") as stream:
        sources = [file, str(file), file.read_bytes(), stream, Image.fromarray(NOISE)]
        for source in sources:
            pixels = read_image(source)
            assert np.array_equal(pixels, NOISE)
            assert pixels.dtype == np.uint8
            assert pixels.flags.writeable


def test_a_stream_that_cannot_seek() -> None:
    reading, writing = os.pipe()
    with open(writing, "wb") as out:
        out.write(LOSSLESS["png"])
    with open(reading, "rb") as stream:
        assert np.array_equal(read_image(stream), NOISE)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = read_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert np.array_equal(pixels, np.broadcast_to(np.uint8([255, 0, 0]), (4, 4, 3)))


# -- modes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_one_bit(kind: str) -> None:
    image = Image.fromarray(np.array([[True, False], [False, False]]))
    assert read_image(encoded(image, kind))[..., 0].tolist() == [[255, 0], [0, 0]]


@pytest.mark.parametrize(("depth", "packed", "expected"), [(1, 0b01000000, [0, 255]), (2, 0b01100000, [85, 170]), (4, 0x1F, [17, 255])])
def test_gray_of_less_than_eight_bits_spans_the_whole_range(depth: int, packed: int, expected: list[int]) -> None:
    assert read_image(png(2, 1, depth, 0, bytes([0, packed])))[0, :, 1].tolist() == expected


def test_sixteen_bit_gray_is_scaled_not_clipped() -> None:
    values = [0, 128, 129, 257, 300, 32768, 65406, 65407, 65535]
    expected = [0, 0, 1, 1, 1, 128, 254, 255, 255]  # v / 257 to the nearest
    file = png(len(values), 1, 16, 0, b"\0" + struct.pack(f">{len(values)}H", *values))
    assert read_image(file)[0].tolist() == [[value] * 3 for value in expected]


def test_sixteen_bit_gray_takes_little_memory_beside_the_picture() -> None:
    values = (np.arange(2000 * 2000, dtype=np.uint32) * 7919 % 65536).astype(np.uint16).reshape(2000, 2000)
    image = Image.fromarray(values)
    tracemalloc.start()
    pixels = read_image(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(pixels, np.rint(values / 257).astype(np.uint8)[:, :, None].repeat(3, axis=2))
    assert peak < 12 * values.size  # the answer alone has 3 bytes a pixel; in int64 it took 28


def test_sixteen_bit_gray_images_of_pillow() -> None:
    values = np.array([[0, 257, 65535]])
    for image in (Image.fromarray(values.astype(np.uint16)), Image.fromarray(values.astype(np.int32))):
        assert read_image(image)[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize("image", [Image.new("F", (2, 2)), Image.new("I", (2, 2), 70000), Image.new("I", (2, 2), -1)])
def test_pixels_without_a_known_range_are_refused(image: Image.Image) -> None:
    with pytest.raises(ImageError, match=r"known range.*8 bits first"):
        read_image(image)


def test_sixteen_bit_colour_key_is_white_and_only_it() -> None:
    key = png_chunk(b"tRNS", struct.pack(">H", 1000))
    file = png(3, 1, 16, 0, b"\0" + struct.pack(">3H", 1000, 1001, 0), before=key)
    assert read_image(file)[0, :, 0].tolist() == [255, 4, 0]


def test_sixteen_bit_colour_and_alpha() -> None:
    file = png(2, 1, 16, 6, b"\0" + struct.pack(">8H", 0xFFFF, 0, 0x8000, 0xFFFF, 0, 0, 0, 0))
    assert read_image(file)[0].tolist() == [[255, 0, 128], WHITE]


def test_sixteen_bit_colour_with_a_colour_key() -> None:
    key = png_chunk(b"tRNS", struct.pack(">3H", 0x1000, 0x2000, 0x3000))
    file = png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 0x1000, 0x2000, 0x3000, 0x4000, 0x2000, 0x3000), before=key)
    assert read_image(file)[0].tolist() == [WHITE, [0x40, 0x20, 0x30]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_composited_on_white(kind: str) -> None:
    rgba = np.uint8([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]])
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    pixels = read_image(encoded(Image.fromarray(rgba), kind, **options))
    assert pixels[0].tolist() == [[10, 20, 30], WHITE, [204, 204, 204]]  # 51/255 black over white: 255 * 0.8


def test_gray_with_alpha() -> None:
    file = png(3, 1, 8, 4, bytes([0, 90, 255, 90, 0, 0, 51]))
    assert read_image(file)[0].tolist() == [[90] * 3, WHITE, [204] * 3]


def test_gray_and_rgb_colour_keys() -> None:
    gray = png(2, 1, 8, 0, bytes([0, 7, 8]), before=png_chunk(b"tRNS", struct.pack(">H", 7)))
    assert read_image(gray)[0].tolist() == [WHITE, [8, 8, 8]]
    rgb = png(2, 1, 8, 2, bytes([0, 1, 2, 3, 1, 2, 4]), before=png_chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)))
    assert read_image(rgb)[0].tolist() == [WHITE, [1, 2, 4]]


def test_palette_with_and_without_transparency() -> None:
    palette = png_chunk(b"PLTE", bytes([200, 0, 0, 0, 100, 0, 0, 0, 0]))
    rows = bytes([0, 0, 1, 2])
    assert read_image(png(3, 1, 8, 3, rows, before=palette))[0].tolist() == [[200, 0, 0], [0, 100, 0], [0, 0, 0]]
    alpha = png_chunk(b"tRNS", bytes([255, 0, 51]))
    assert read_image(png(3, 1, 8, 3, rows, before=palette + alpha))[0].tolist() == [[200, 0, 0], WHITE, [204, 204, 204]]


def test_gif_with_a_transparent_colour() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 90, 50, 60, 70])
    image.putpixel((1, 0), 1)
    assert read_image(encoded(image, "GIF", transparency=0))[0].tolist() == [WHITE, [50, 60, 70]]


def test_cmyk_jpeg() -> None:
    pixels = read_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 2


def test_ycck_jpeg() -> None:
    # Red as Adobe stores it: inverted ink (0, 255, 255), which is Y 179, Cb 171, Cr 1 by JFIF's formula; no black.
    # Pillow writes 255 minus what it is given, and says "not transformed" in the last byte of the Adobe marker.
    stored = (179, 171, 1, 255)
    file = bytearray(encoded(Image.new("CMYK", (8, 8), tuple(255 - value for value in stored)), "JPEG", quality=100, subsampling=0))
    marker = file.index(b"Adobe") + 11
    assert file[marker] == 0
    file[marker] = 2
    assert np.abs(read_image(bytes(file)).astype(int) - [255, 0, 0]).max() <= 3


# -- orientation --------------------------------------------------------------------------------------------

# How a camera stores an upright picture under each orientation (TIFF 6.0: which side row 0 and column 0 are).
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: np.rot90(upright, 2),
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](NOISE)))
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(read_image(encoded(stored, kind, exif=exif, **options)), NOISE)


def test_exif_orientation_of_a_jpeg_and_of_sixteen_bits() -> None:
    assert read_image(VALID["exif"]).shape == (7, 11, 3)
    assert np.array_equal(read_image(VALID["exif"]), np.rot90(np.asarray(Image.open(io.BytesIO(VALID["exif"]))), -1))
    deep = Image.fromarray(np.uint16([[0, 65535]]))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(encoded(deep, "PNG", exif=exif))[..., 0].tolist() == [[0], [255]]


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_leaves_the_pixels(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(read_image(encoded(Image.fromarray(NOISE), "PNG", exif=exif)), NOISE)


def test_damaged_exif_does_not_cost_the_image() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert np.array_equal(read_image(encoded(Image.fromarray(NOISE), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff")), NOISE)
    assert not seen


# -- bad input ----------------------------------------------------------------------------------------------


def refused(source: object, *words: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(source)  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value)


def test_bad_files_say_what_is_allowed_and_what_to_do(tmp_path: Path) -> None:
    files = {"empty.png": b"", "note.jpg": b"dear diary", "scan.png": b"II*\0" + bytes(20), "phone.jpg": b"\0\0\0\x20ftypheic" + bytes(20)}
    reasons = {"empty.png": "empty (0 bytes)", "note.jpg": "not an image", "scan.png": "TIFF", "phone.jpg": "HEIC"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        remedy = "convert it" if content else "fetch or save it again"
        refused(tmp_path / name, str(tmp_path / name), reasons[name], "JPEG, PNG, WebP, BMP, GIF", remedy)


def test_no_file_a_directory_a_pipe(tmp_path: Path) -> None:
    refused(tmp_path / "gone.png", "gone.png", "no such file", "JPEG, PNG, WebP, BMP, GIF", "check the path")
    refused(tmp_path, str(tmp_path), "is a directory", "JPEG, PNG, WebP, BMP, GIF")
    refused("a\0b.png", "not a file name")
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "not a regular file")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    refused(tmp_path / "loop.png", "loop.png")


def test_a_file_without_permission(tmp_path: Path) -> None:
    file = tmp_path / "secret.png"
    file.write_bytes(LOSSLESS["png"])
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read every file")
    refused(file, "secret.png", "Permission denied", "permissions")


def test_other_formats_of_pillow_are_not_opened() -> None:
    for kind in ("TIFF", "PPM", "TGA", "ICO", "PCX"):
        assert kind not in FORMATS
        refused(encoded(Image.fromarray(NOISE), kind), "Allowed")


def test_the_pixel_cap_is_the_largest_size_that_is_read() -> None:
    assert read_image(LOSSLESS["png"], max_pixels=77).shape == (11, 7, 3)
    with pytest.raises(ImageError, match="7 x 11 pixels, at most 76 are read"):
        read_image(LOSSLESS["png"], max_pixels=76)


def huge_headers() -> dict[str, bytes]:
    side, gif = 100_000, LOSSLESS["bmp"]
    webp_canvas = b"\0" * 4 + (side - 1).to_bytes(3, "little") + (40_000).to_bytes(3, "little")
    webp = b"WEBPVP8X" + struct.pack("<I", 10) + webp_canvas + LOSSLESS["webp"][12:]
    return {
        "png": png(side, side, 8, 2, bytes(1000)),
        "soft-limit png": png(10_000, 10_000, 8, 2, bytes(1000)),  # where Pillow only warns
        "bmp": gif[:18] + struct.pack("<ii", side, side) + gif[26:],
        "gif": b"GIF89a" + struct.pack("<HH", 65535, 65535) + VALID["gif"][10:],
        "webp": b"RIFF" + struct.pack("<I", len(webp)) + webp,
    }


@pytest.mark.parametrize("kind", huge_headers())
def test_a_huge_header_is_refused_before_decoding(kind: str) -> None:
    file = huge_headers()[kind]
    tracemalloc.start()
    start = time.process_time()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        refused(file, "too large", "at most 50,000,000", "Scale it down")
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not seen
    assert seconds < 1
    assert peak < 4_000_000


def only_image_errors(data: bytes) -> NDArray[np.uint8] | None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            pixels = read_image(data, max_pixels=1_000_000)
        except ImageError:
            pixels = None
    assert not seen
    return pixels


def test_errors_of_any_type_from_the_parser_become_image_errors() -> None:
    bomb = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(5_000_000)))  # Pillow raises a bare ValueError
    refused(png(1, 1, 8, 0, bytes(2), before=bomb), "damaged", "too large")
    refused(png(2, 2, 8, 0, bytes(2)), "damaged", "fetch or save it again")  # rows are missing


@pytest.mark.parametrize("kind", VALID)
def test_a_truncated_file_is_refused_or_whole(kind: str) -> None:
    # A cut that leaves every pixel (a missing end marker) may be read; a picture with a part missing may not.
    whole = read_image(VALID[kind])
    for length in range(len(VALID[kind])):
        pixels = only_image_errors(VALID[kind][:length])
        assert pixels is None or np.array_equal(pixels, whole), f"{kind} cut to {length} bytes of {len(VALID[kind])}"


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.sampled_from(sorted(VALID)), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_mutated_file_gives_pixels_or_an_image_error(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(VALID[kind])
    for place, value in changes:
        data[place % len(data)] = value
    pixels = only_image_errors(bytes(data))
    assert pixels is None or (pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBP", b"BM", b"GIF89a"]), st.binary(max_size=300))
def test_random_bytes_give_an_image_error(magic: bytes, rest: bytes) -> None:
    assert only_image_errors(magic + rest) is None
