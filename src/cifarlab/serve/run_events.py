"""A run while it trains, as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cifarlab.serve.refusal import RefusedError

Json = dict[str, Any]
POLL: Final = 0.5  # seconds between two looks at the run's files
HEART_BEAT: Final = 10.0  # seconds without news before a sign of life: what lies between server and page may close silent connections
LONGEST: Final = 3600.0  # seconds of one stream; the page asks again from where it was
LISTENERS: Final = 32


class Listeners:
    """How many streams there are at a time; each holds a connection and looks at files."""

    def __init__(self, most: int = LISTENERS) -> None:
        self._most = most
        self.now = 0

    def enter(self) -> None:
        """Raise RefusedError (429) where there are too many."""
        if self.now >= self._most:
            raise RefusedError(429, f"{self.now} pages watch runs already, at most {self._most}. Close one", headers={"Retry-After": "10"})
        self.now += 1

    def leave(self) -> None:
        self.now -= 1


class RunEvents(Response):
    """The stream of one run; ends when the run does, when the client leaves or does not read, and when the server stops.

    look() gives ({"state", ...}, rows) at this moment. Events: "status" with the former when it has changed, "rows" with
    {"start", "rows"} (rows from number `start` on; everything known after `start` is replaced), "end" when training is over.
    after: rows that the client has.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        look: Callable[[], Awaitable[tuple[Json, list[Json]]]],
        *,
        after: int,
        listeners: Listeners,
        stopping: Callable[[], bool],
        patience: float,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"})
        del self.headers["content-length"]
        self._look = look
        self._sent = after
        self._listeners = listeners
        self._stopping = stopping
        self._patience = patience  # seconds that a client may take to read what was sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._listeners.enter()  # refused earlier where there is no room
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await self._timely(send, {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._news(send, gone)
            await self._timely(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, OSError):  # it does not read, or has left
            pass
        finally:
            self._listeners.leave()
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _news(self, send: Send, gone: asyncio.Future[None]) -> None:
        began = quiet_since = time.monotonic()
        status: Json | None = None
        while not gone.done() and not self._stopping() and time.monotonic() - began < LONGEST:
            try:
                now, rows = await self._look()
            except RefusedError as refusal:  # the run is gone, or the server has too much to do
                now, rows = {"state": "gone", "problems": [str(refusal)]}, []
                self._sent = 0
            text = ""
            if len(rows) < self._sent:  # resumed from an earlier epoch
                self._sent = 0
                text += _event("rows", {"start": 0, "rows": []})
            if len(rows) > self._sent:
                text += _event("rows", {"start": self._sent, "rows": rows[self._sent :]})
                self._sent = len(rows)
            if now != status:
                status = now
                text += _event("status", now)
            over = now["state"] != "running"
            if over:
                text += _event("end", {"state": now["state"]})
            if not text and time.monotonic() - quiet_since >= HEART_BEAT:
                text = ": still here\n\n"
            if text:
                quiet_since = time.monotonic()
                await self._timely(send, {"type": "http.response.body", "body": text.encode(), "more_body": True})
            if over:
                return
            await asyncio.wait([gone], timeout=POLL)

    async def _timely(self, send: Send, message: Any) -> None:
        async with asyncio.timeout(self._patience):
            await send(message)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, data: Json) -> str:
    return f"event: {name}\ndata: {json.dumps(data, allow_nan=False, separators=(',', ':'))}\n\n"
