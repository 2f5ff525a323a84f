"""Request bodies: read into memory up to a limit, never to disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from email.message import Message
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.types import Receive, Scope

from cifarlab.serve.refusal import CLIENT_GONE, RefusedError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

PARTS = 16  # of a multipart body at most


def header(scope: Scope, name: bytes) -> str | None:
    """The value of a header, None where it is missing; raises RefusedError (400) where it is given more than once."""
    values = [value for key, value in scope["headers"] if key == name]
    if len(values) > 1:
        raise RefusedError(400, f"the header {name.decode('latin-1')} is given {len(values)} times; give it once")
    return values[0].decode("latin-1") if values else None


def check_length(scope: Scope, *, limit: int) -> None:
    """Refuse a body that says it is too long, before any of it is read; raises RefusedError (413, or 400 for no number)."""
    given = header(scope, b"content-length")
    if given is None:
        return
    if not (given.isascii() and given.isdigit()):
        raise RefusedError(400, f"Content-Length {given!r} is no number of bytes")
    if len(given) > 18 or int(given) > limit:
        raise _too_long(limit)


class Budget:
    """Bytes of bodies that a server holds at a time, arrived and not yet answered. Only the event loop's thread counts."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @contextlib.contextmanager
    def share(self) -> Iterator[Share]:
        """One body's part of it while the block lasts."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.held


class Share:
    """What one body holds of a budget: what has arrived of it, not what its headers say."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held = 0

    def grow(self, length: int) -> None:
        """Hold `length` more bytes; raises RefusedError (429) where the server holds too many already."""
        if self._budget.held + length > self._budget.limit:
            raise RefusedError(
                429,
                f"too many requests: their bodies hold {self._budget.held:,} bytes, at most {self._budget.limit:,} are kept. "
                "Try again in 1 s, or send smaller images",
                headers={"Retry-After": "1", "Connection": "close"},
            )
        self._budget.held += length
        self.held += length


async def read_body(receive: Receive, *, limit: int, seconds: float, share: Share | None = None) -> bytes:
    """All of a body; raises RefusedError: 413 beyond `limit` bytes, 408 when it takes longer than `seconds`, 499 when it ends early.

    share: what it holds of the server's budget grows with what arrives (429).
    """
    parts: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(CLIENT_GONE, "the client closed the connection")
                parts.append(message.get("body", b""))
                length += len(parts[-1])
                if length > limit:
                    raise _too_long(limit)
                if share is not None:
                    share.grow(len(parts[-1]))
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        # Closed, or the rest of the body could keep the connection for as long as its client likes.
        raise RefusedError(408, f"the body did not arrive within {seconds:g} s", headers={"Connection": "close"}) from None


def _too_long(limit: int) -> RefusedError:
    return RefusedError(413, f"the body is too long: at most {limit:,} bytes are taken. Scale the image down, or send fewer images")


def image_part(content_type: str, body: bytes) -> bytes:
    """The one file in a multipart/form-data body; raises RefusedError (400 damaged, 422 no file or several)."""
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise RefusedError(400, "multipart/form-data without a boundary in its Content-Type")
    files = _Files()
    try:
        parser = MultipartParser(boundary.encode("latin-1", "replace"), files.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RefusedError(400, f"the multipart body is damaged: {error}") from error
    if not files.ended:
        raise RefusedError(400, "the multipart body is damaged: it has no end")
    if len(files.found) != 1:
        raise RefusedError(422, f"the form has {len(files.found)} files; send one, such as: curl -F image=@photo.jpg URL/predict")
    return bytes(files.found[0])


class _Files:
    """Collects the parts that have a file name, as python-multipart's parser calls."""

    def __init__(self) -> None:
        self.found: list[bytearray] = []
        self.ended = False
        self._parts = 0
        self._is_file = False
        self._field = bytearray()
        self._value = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._parts += 1
        self._is_file = False
        if self._parts > PARTS:
            raise RefusedError(422, f"the form has more than {PARTS} parts; send one file")

    def _header_end(self) -> None:
        if bytes(self._field).lower() == b"content-disposition" and not self._is_file:
            disposition = Message()
            disposition["content-disposition"] = self._value.decode("utf-8", "replace").replace("\r", " ").replace("\n", " ")
            if disposition.get_param("filename", header="content-disposition") is not None:
                self._is_file = True
                self.found.append(bytearray())
        self._field.clear()
        self._value.clear()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.found[-1] += data[start:end]

    def _end(self) -> None:
        self.ended = True
