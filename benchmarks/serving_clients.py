"""The clients of serving.py, in a process of their own: asyncio on bare sockets, light enough not to be what is measured.

    python benchmarks/serving_clients.py PICTURES.json '{"host": ..., "port": ..., "clients": ..., "seconds": ..., "rate": ...}'

Prints one JSON object: what serving.Phase holds.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any


class Connection(asyncio.Protocol):
    """One connection that is kept: a request, its answer, the next request."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: Any = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.open = True

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed before the answer"))

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; the future is its status and body."""
        self._answer = asyncio.get_running_loop().create_future()
        self._buffer.clear()
        if self.open:
            self._transport.write(request)
        else:
            self._answer.set_exception(ConnectionError("closed before the request"))
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return
        head = bytes(self._buffer[:end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._buffer) >= end + 4 + length and not self._answer.done():
            self._answer.set_result((int(head[9:12]), bytes(self._buffer[end + 4 :])))

    def close(self) -> None:
        self._transport.close()


class Tally:
    """What is noted of the answers."""

    def __init__(self, pictures: dict[str, Any], *, host: str) -> None:
        self._answers = [picture["answer"] for picture in pictures["pictures"]]
        self._close = pictures["close"]
        self.requests = [self._request(base64.b64decode(picture["jpeg"]), host) for picture in pictures["pictures"]]
        self.statuses: Counter[str] = Counter()
        self.milliseconds: list[float] = []
        self.wrong = self.lost = 0
        self.noting = False  # not during the warm-up

    def _request(self, content: bytes, host: str) -> bytes:
        classes = len(self._answers[0])
        head = (
            f"POST /predict?top_k={classes} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    async def ask(self, connection: Connection, number: int) -> None:
        index = number % len(self.requests)
        began = time.perf_counter()
        noting = self.noting
        try:
            status, body = await asyncio.wait_for(connection.ask(self.requests[index]), 60)
        except (ConnectionError, TimeoutError):
            self.lost += noting
            return
        if not noting:
            return
        self.statuses[str(status)] += 1
        if status == 200:
            self.milliseconds.append(1000 * (time.perf_counter() - began))
            told = {each["label"]: each["probability"] for each in json.loads(body)["predictions"]}
            expected = self._answers[index]
            self.wrong += any(abs(told.get(name, 9) - value) >= self._close for name, value in expected.items())


async def closed_loop(tally: Tally, connect: Any, *, clients: int, end: float) -> None:
    """Each client waits for its answer before it asks again."""

    async def client(number: int) -> None:
        connection = await connect()
        while time.perf_counter() < end:
            if not connection.open:
                connection = await connect()
            await tally.ask(connection, number)
            number += 7
        connection.close()

    await asyncio.gather(*[client(number) for number in range(clients)])


async def open_loop(tally: Tally, connect: Any, *, clients: int, rate: float, end: float) -> None:
    """Requests come at `rate` a second, whether answered or not, over at most `clients` connections."""
    free: list[Connection] = []
    asking: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        connection = free.pop() if free else await connect()
        await tally.ask(connection, number)
        if connection.open:
            free.append(connection)

    due, number = time.perf_counter(), 0
    while (now := time.perf_counter()) < end:
        while due <= now and len(asking) < clients:
            task = asyncio.create_task(one(number))
            asking.add(task)
            task.add_done_callback(asking.discard)
            due += 1 / rate
            number += 1
        await asyncio.sleep(max(0.0005, due - time.perf_counter()))
    await asyncio.gather(*asking)
    for connection in free:
        connection.close()


async def run(pictures: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    tally = Tally(pictures, host=f"{asked['host']}:{asked['port']}")
    loop = asyncio.get_running_loop()

    async def connect() -> Connection:
        return (await loop.create_connection(Connection, asked["host"], asked["port"]))[1]

    warm_up = pictures["warm_up"]
    loop.call_later(warm_up, setattr, tally, "noting", True)
    began, used = time.perf_counter(), time.process_time()
    end = began + warm_up + asked["seconds"]
    if asked["rate"] is None:
        await closed_loop(tally, connect, clients=asked["clients"], end=end)
    else:
        await open_loop(tally, connect, clients=asked["clients"], rate=asked["rate"], end=end)
    whole = time.perf_counter() - began
    times = sorted(tally.milliseconds)
    at = {name: times[min(len(times) - 1, int(share * len(times)))] if times else 0.0 for name, share in SHARES.items()}
    return {
        "seconds": whole - warm_up,
        "statuses": tally.statuses,
        "wrong": tally.wrong,
        "lost": tally.lost,
        "milliseconds": at,
        "client_share": (time.process_time() - used) / whole,
    }


SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}

if __name__ == "__main__":
    result = asyncio.run(run(json.loads(Path(sys.argv[1]).read_text()), json.loads(sys.argv[2])))
    sys.stdout.write(json.dumps(result))
