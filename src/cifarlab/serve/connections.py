"""Connections of a server: how many there may be, and how long one may take over a request's headers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 2048  # connections at a time
FEWEST = 16
_REASON = json.dumps({"error": "too many connections. Try again later"}).encode()
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_REASON), _REASON)
)


def most_connections() -> int:
    """MOST, or half of the files that this process may have open, where that is less: models and images need some too."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if allowed == resource.RLIM_INFINITY else max(FEWEST, min(MOST, allowed // 2))


def protocol_for(most: int) -> type[asyncio.Protocol]:
    """uvicorn's protocol with h11; where `most` connections are open a further one is told so and closed."""

    class Connection(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most:
                transport.write(TOO_MANY)
                transport.close()

        def data_received(self, data: bytes) -> None:
            if not self.transport.is_closing():
                super().data_received(data)

    return Connection


class HeaderWatch:
    """Closes connections whose request's headers do not arrive within `seconds`: neither h11 nor uvicorn has a limit for that.

    An idle connection between two requests is none of these: uvicorn's keep-alive timer closes it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[Any, tuple[Any, float]] = {}  # connection: its last request, since when it sends another

    def look(self, connections: Iterable[Any]) -> None:
        """To be called every now and then with the connections of uvicorn's server state."""
        now = time.monotonic()
        waiting = {}
        for connection in list(connections):
            last = connection.cycle
            # Before its first request, or past an answer with the keep-alive timer stopped, which the first byte does.
            if last is not None and not (last.response_complete and connection.timeout_keep_alive_task is None):
                continue
            known = self._waiting.get(connection)
            since = known[1] if known is not None and known[0] is last else now
            if now - since > self._seconds:
                connection.transport.abort()
            else:
                waiting[connection] = (last, since)
        self._waiting = waiting
