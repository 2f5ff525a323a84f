"""A file server on 127.0.0.1 that misbehaves as told: one behaviour for each request, the last one for all that follow."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Behaviour = Callable[["Handler", int], None]


@dataclass
class Loopback:
    url: str
    contents: bytes
    behaviours: list[Behaviour]
    ranges: list[str | None] = field(default_factory=list)  # the Range header of each request so far
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def requests(self) -> int:
        return len(self.ranges)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    loopback: Loopback

    def do_GET(self) -> None:
        number = self.loopback.requests
        wanted = self.headers.get("Range")
        self.loopback.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        behaviours = self.loopback.behaviours
        with contextlib.suppress(ConnectionError):
            behaviours[min(number, len(behaviours) - 1)](self, start)

    def begin(self, status: int, *, length: int, start: int | None = None, total: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{start + length - 1}/{total if total is not None else start + length}")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is not a server's log."""


def serve_well(handler: Handler, start: int) -> None:
    rest = handler.loopback.contents[start:]
    handler.begin(206 if start else 200, length=len(rest), start=start if start else None)
    handler.wfile.write(rest)


def cut_after(count: int) -> Behaviour:
    """Announce everything, send `count` bytes, drop the connection."""

    def behave(handler: Handler, start: int) -> None:
        rest = handler.loopback.contents[start:]
        handler.begin(206 if start else 200, length=len(rest), start=start if start else None)
        handler.wfile.write(rest[:count])
        handler.close_connection = True

    return behave


def stall_after(count: int) -> Behaviour:
    """Send `count` bytes, then nothing, with the connection open."""

    def behave(handler: Handler, start: int) -> None:
        rest = handler.loopback.contents[start:]
        handler.begin(206 if start else 200, length=len(rest), start=start if start else None)
        handler.wfile.write(rest[:count])
        handler.wfile.flush()
        handler.loopback.released.wait(60)
        handler.close_connection = True

    return behave


def ignore_range(handler: Handler, start: int) -> None:
    handler.begin(200, length=len(handler.loopback.contents))
    handler.wfile.write(handler.loopback.contents)


def wrong_bytes(handler: Handler, start: int) -> None:
    rest = bytes(len(handler.loopback.contents) - start)
    handler.begin(206 if start else 200, length=len(rest), start=start if start else None)
    handler.wfile.write(rest)


def wrong_size(handler: Handler, start: int) -> None:
    handler.begin(200, length=16)
    handler.wfile.write(b"<html>hello</html>"[:16])


def wrong_total(handler: Handler, start: int) -> None:
    rest = handler.loopback.contents[start:]
    handler.begin(206, length=len(rest), start=start, total=start + len(rest) + 1)
    handler.wfile.write(rest)


def endless(handler: Handler, start: int) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    while not handler.loopback.released.is_set():
        handler.wfile.write(bytes(65536))


def status(code: int) -> Behaviour:
    def behave(handler: Handler, start: int) -> None:
        handler.begin(code, length=0)

    return behave


def redirect(target: str) -> Behaviour:
    def behave(handler: Handler, start: int) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return behave


@contextlib.contextmanager
def loopback(contents: bytes, *behaviours: Behaviour) -> Iterator[Loopback]:
    class _Bound(Handler):
        pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Bound)
    server.daemon_threads = True
    state = Loopback(f"http://127.0.0.1:{server.server_address[1]}/file.bin", contents, list(behaviours or (serve_well,)))
    _Bound.loopback = state
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
