"""Connections that send nothing, or only part of a request: they are closed, they are counted, and no signal waits for them."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from asking import wait_until_listening
from small_models import description
from test_batching import HeldEngine

from cifarlab.bundle import Predictor
from cifarlab.serve import Limits, Service, connections, create_app, open_socket, url_of
from cifarlab.serve.server import Server

PART = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Le"
WHOLE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Running:
    def __init__(self, server: Server, opened: socket.socket, thread: threading.Thread) -> None:
        self.server, self.thread, self.url = server, thread, url_of(opened)
        self._address = opened.getsockname()[:2]

    def connect(self, sent: bytes = b"") -> socket.socket:
        client = socket.create_connection(self._address, timeout=10)
        client.sendall(sent)
        return client


@contextlib.contextmanager
def running(deadline: float) -> Iterator[Running]:
    service = Service({"held": Predictor(HeldEngine(), description())}, limits=Limits(decoders=1, deadline=deadline))
    with service, open_socket("127.0.0.1", 0) as opened:
        server = Server(create_app(service), service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        wait_until_listening(opened)
        try:
            yield Running(server, opened, thread)
        finally:
            if thread.is_alive():
                server.handle_exit(signal.SIGTERM, None)
                thread.join(20)
        assert not thread.is_alive()


def ended(client: socket.socket) -> bytes:
    """What comes until the server closes the connection; TimeoutError where it does not."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while more := client.recv(4096):
            received += more
    return received


def answered(client: socket.socket) -> bool:
    """Reads the whole answer to WHOLE."""
    received = b""
    while not received.endswith(b'{"live":true}'):
        received += client.recv(4096) or b"closed early"
        assert b"closed early" not in received
    return received.startswith(b"HTTP/1.1 200 OK")


def drip(client: socket.socket) -> None:
    for _ in range(100):
        client.sendall(b"n")
        time.sleep(0.05)


@pytest.mark.parametrize("sent", [b"", PART])
def test_headers_that_never_end_are_waited_for_until_the_deadline(sent: bytes) -> None:
    with running(0.5) as server, server.connect(sent) as client:
        began = time.monotonic()
        assert ended(client) == b""
        assert 0.3 < time.monotonic() - began < 8


def test_headers_that_come_byte_by_byte_are_no_exception() -> None:
    with running(0.5) as server, server.connect(PART) as client, pytest.raises(ConnectionError):
        drip(client)


def test_a_second_request_on_a_connection_is_bounded_too() -> None:
    with running(0.5) as server, server.connect(WHOLE) as client:
        assert answered(client)
        client.sendall(PART)
        assert ended(client) == b""


def test_a_connection_between_requests_stays_open() -> None:
    with running(0.3) as server, server.connect(WHOLE) as client:
        assert answered(client)
        time.sleep(1)
        client.sendall(WHOLE)
        assert answered(client)


def test_too_many_connections_are_refused_and_room_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifarlab.serve.server.most_connections", lambda: 3)
    with running(1) as server, contextlib.ExitStack() as stack:
        time.sleep(0.3)  # the connection that looked whether the server listens is gone
        clients = [stack.enter_context(server.connect()) for _ in range(3)]
        refused = ended(stack.enter_context(server.connect()))
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert json.loads(refused.partition(b"\r\n\r\n")[2]) == {"error": "too many connections. Try again later"}
        assert [ended(client) for client in clients] == [b""] * 3
        assert httpx.get(f"{server.url}/v2/health/live", timeout=10).status_code == 200


def test_a_signal_does_not_wait_for_silent_connections() -> None:
    with running(30) as server, server.connect(), server.connect(PART):
        time.sleep(0.3)
        began = time.monotonic()
        server.server.handle_exit(signal.SIGTERM, None)
        server.thread.join(20)
        assert not server.thread.is_alive()
        assert time.monotonic() - began < 10


def test_connections_leave_descriptors_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource", reason="this system has no limit of open files")
    for allowed, expected in ((256, 128), (20, 16), (1 << 20, connections.MOST), (resource.RLIM_INFINITY, connections.MOST)):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, allowed=allowed: (allowed, allowed))
        assert connections.most_connections() == expected
