"""A run while it trains: its rows and its state arrive as they are written, and no stream outlives its run, its client or the server."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking import Client, error_of, wait_until_listening, wait_until_ready
from run_folders import age, epoch, make_run

from cifarlab.bundle import Predictor
from cifarlab.runs import RunDirectory
from cifarlab.serve import Limits, Service, create_app, open_socket, runs_routes, url_of
from cifarlab.serve.run_events import Listeners, RunEvents
from cifarlab.serve.server import Server


def events_of(text: str) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block and not block.startswith(":")]
    return [(lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))) for lines in blocks]


def names_of(text: str) -> list[str]:
    return [name for name, _ in events_of(text)]


@pytest.fixture
def running(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path / "runs", "live", splits=(), state="running")


@pytest.fixture
def served(predictors: dict[str, Predictor], running: RunDirectory) -> Iterator[tuple[str, Server, threading.Thread]]:
    with Service(predictors, limits=Limits(decoders=1, deadline=10)) as service, open_socket("127.0.0.1", 0) as opened:
        wait_until_ready(service)
        server = Server(create_app(service, runs=running.path.parent), service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        wait_until_listening(opened)
        yield url_of(opened), server, thread
        server.should_exit = True
        thread.join(20)


class Watching:
    """Reads a stream in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.text = ""
        self.ended = threading.Event()
        self._url = url
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with httpx.stream("GET", self._url, timeout=30) as response:
            for piece in response.iter_text():
                self.text += piece
        self.ended.set()

    def wait_for(self, name: str, count: int = 1) -> None:
        end = time.monotonic() + 20
        while names_of(self.text[: self.text.rfind("\n\n") + 2]).count(name) < count:
            assert time.monotonic() < end, self.text
            time.sleep(0.02)


def test_a_finished_run_is_told_whole_and_ends(service: Service, tmp_path: Path) -> None:
    run = make_run(tmp_path, "done", splits=())
    response = Client(create_app(service, runs=tmp_path)).get("/runs/done/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    rows, status, end = events_of(response.text)
    assert rows == ("rows", {"start": 0, "rows": run.epochs()})
    assert (status[0], status[1]["state"], status[1]["epochs"]) == ("status", "done", 3)
    assert end == ("end", {"state": "done"})


def test_only_what_is_new_is_sent(service: Service, tmp_path: Path) -> None:
    run = make_run(tmp_path, "done", splits=())
    client = Client(create_app(service, runs=tmp_path))
    assert events_of(client.get("/runs/done/events?after=2").text)[0] == ("rows", {"start": 2, "rows": run.epochs()[2:]})
    assert names_of(client.get("/runs/done/events?after=3").text) == ["status", "end"]
    # Resumed from an earlier epoch: what the client has is no longer true.
    again = events_of(client.get("/runs/done/events?after=7").text)
    assert again[:2] == [("rows", {"start": 0, "rows": []}), ("rows", {"start": 0, "rows": run.epochs()})]


def test_rows_arrive_while_it_trains_and_the_stream_ends_with_it(
    served: tuple[str, Server, threading.Thread], running: RunDirectory
) -> None:
    with running.locked():
        watching = Watching(f"{served[0]}/runs/live/events?after=3")
        watching.wait_for("status")
        running.append_epoch(epoch(4))
        watching.wait_for("rows")
        running.update_status(state="done", seconds=9.0, epochs=4)
        assert watching.ended.wait(20)
    events = events_of(watching.text)
    assert ("rows", {"start": 3, "rows": [epoch(4)]}) in events
    assert events[-1] == ("end", {"state": "done"})
    assert [value["state"] for name, value in events if name == "status"][-1] == "done"


def test_a_killed_training_ends_the_stream(served: tuple[str, Server, threading.Thread], running: RunDirectory) -> None:
    with running.locked():
        watching = Watching(f"{served[0]}/runs/live/events")
        watching.wait_for("status")
        age(running.path)
    assert watching.ended.wait(20)
    assert events_of(watching.text)[-1] == ("end", {"state": "interrupted"})


def test_sigterm_does_not_wait_for_listeners(served: tuple[str, Server, threading.Thread], running: RunDirectory) -> None:
    url, server, thread = served
    with running.locked():
        watching = Watching(f"{url}/runs/live/events")
        watching.wait_for("status")
        assert thread.is_alive()
        server.handle_exit(signal.SIGTERM, None)
        assert watching.ended.wait(10)
        thread.join(10)
        assert not thread.is_alive()
    assert "end" not in names_of(watching.text)  # it goes on; a page asks again


def test_a_listener_too_many_is_refused(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "done", splits=())
    monkeypatch.setattr(runs_routes, "Listeners", lambda: Listeners(0))
    response = Client(create_app(service, runs=tmp_path)).get("/runs/done/events")
    assert "at most 0" in error_of(response, 429)
    assert response.headers["retry-after"] == "10"


# -- the stream itself, without a server --------------------------------------------------------------------------


def stream(*, listeners: Listeners, patience: float = 5.0) -> RunEvents:
    async def look() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return {"state": "running"}, []

    return RunEvents(look, after=0, listeners=listeners, stopping=lambda: False, patience=patience)


def test_it_ends_when_its_client_leaves() -> None:
    listeners = Listeners(1)
    sent: list[Any] = []
    seen: list[int] = []

    async def receive() -> dict[str, Any]:
        while len(sent) < 2:
            await asyncio.sleep(0.01)
        seen.append(listeners.now)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(stream(listeners=listeners)({"type": "http"}, receive, send), 10))
    assert sent[0]["status"] == 200
    assert (seen, listeners.now) == ([1], 0)


def test_it_ends_when_its_client_does_not_read() -> None:
    listeners = Listeners(1)

    async def never(*given: Any) -> Any:
        await asyncio.Event().wait()

    asyncio.run(asyncio.wait_for(stream(listeners=listeners, patience=0.05)({"type": "http"}, never, never), 10))
    assert listeners.now == 0


def test_silence_is_broken_by_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    from cifarlab.serve import run_events

    monkeypatch.setattr(run_events, "HEART_BEAT", 0.0)
    monkeypatch.setattr(run_events, "POLL", 0.01)
    monkeypatch.setattr(run_events, "LONGEST", 0.2)
    sent: list[bytes] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    asyncio.run(asyncio.wait_for(stream(listeners=Listeners(1))({"type": "http"}, receive, send), 10))
    assert sent[1].startswith(b"event: status")
    assert b": still here\n\n" in sent
