"""The process that serves: its socket, its token, and how it ends."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from cifarlab.errors import BundleError, UsageError
from cifarlab.serve.connections import HeaderWatch, most_connections, protocol_for
from cifarlab.serve.service import Service

TOKEN_VARIABLE = "CIFARLAB_TOKEN"
SWITCH = 0.001  # seconds
LEAST_TOKEN = 16  # characters; a shorter one could be guessed


def open_socket(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port` (0: a free one), not yet listening; raises UsageError where that cannot be."""
    if not 0 <= port <= 65535:
        raise UsageError(f"port {port}: allowed is 1 to 65535, or 0 for a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"host {host!r} is no address of this machine ({error}). Use 127.0.0.1 for this machine alone") from error
    try:
        opened = socket.socket(family, kind, protocol)
    except OSError as error:  # IPv6 where there is none
        raise UsageError(f"host {host!r} cannot be used: {error.strerror or error}. Use 127.0.0.1 for this machine alone") from error
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise UsageError(
            f"{host}:{port} cannot be used: {error.strerror or error}. Choose another with --port, or 0 for a free one"
        ) from error
    return opened


def is_local(opened: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ipaddress.ip_address(opened.getsockname()[0].partition("%")[0]).is_loopback


def url_of(opened: socket.socket) -> str:
    """Where a client on this machine finds the server."""
    host, port = opened.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = "::1" if opened.family == socket.AF_INET6 else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def read_token(file: Path | None, environment: Mapping[str, str]) -> str | None:
    """The token from `file`, else from CIFARLAB_TOKEN; None where neither is given. Raises UsageError for an unfit one."""
    if file is not None:
        source = str(file)
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--token-file {file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    else:
        source = TOKEN_VARIABLE
        token = environment.get(TOKEN_VARIABLE, "").strip()
        if not token:
            return None
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        make = "python -c 'import secrets; print(secrets.token_urlsafe())'"
        raise UsageError(
            f"the token in {source} must be at least {LEAST_TOKEN} visible ASCII characters in one line. Make one with: {make}"
        )
    return token


class Server(uvicorn.Server):
    """uvicorn's server, which ends in two steps: the first signal lets no new request in, and what is accepted is answered.

    A second signal ends it at once. received: the first signal's number, None before it. on_ready is called once, when it listens and
    every model answers; never where a model fails at its first inference or a signal comes first.
    """

    def __init__(self, app: FastAPI, service: Service, *, on_ready: Callable[[], None] = lambda: None) -> None:
        deadline = service.limits.deadline
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_for(most_connections()),
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=max(1, round(2 * deadline)),
                backlog=1024,
            )
        )
        self._service = service
        self._on_ready = on_ready
        self._told = False
        self._headers = HeaderWatch(deadline)
        self.received: int | None = None

    def drain(self) -> None:
        """Let no new request in, and leave when what is in flight is answered."""
        self._service.draining = True

    async def on_tick(self, counter: int) -> bool:
        ends = await super().on_tick(counter)
        self._headers.look(self.server_state.connections)
        if self._service.failure is not None:
            self.drain()
        if self._service.ready and not self._told:
            self._told = True
            self._on_ready()
        return ends or (self._service.draining and self._service.in_flight == 0)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.received is not None:
            self.should_exit = self.force_exit = True
            return
        self.received = sig
        self.drain()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signals are not raised again afterwards: the caller decides on the exit code."""
        if threading.current_thread() is not threading.main_thread():  # Python gives signals to the main thread alone
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_server(app: FastAPI, service: Service, opened: socket.socket, *, on_ready: Callable[[], None] = lambda: None) -> int:
    """Serve on `opened` until SIGINT or SIGTERM; returns the signal's number. Call it in the main thread.

    on_ready: see `Server`. Raises BundleError where a model's first inference fails: it would never answer.
    """
    server = Server(app, service, on_ready=on_ready)
    with service, _short_pauses():
        server.run(sockets=[opened])
    if service.failure is not None:
        raise BundleError(service.failure)
    return server.received or 0


@contextlib.contextmanager
def _short_pauses() -> Iterator[None]:
    """Within it no request waits for housekeeping of the interpreter.

    A full collection of garbage goes through all objects of PyTorch's modules while every thread waits (0.16 s here); frozen, they are
    left out. And a thread that wants to run, such as the inference that is done, waits for at most 1 ms instead of 5 for
    one that parses requests.
    """
    interval = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()
