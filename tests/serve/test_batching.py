"""The queue in front of a model: batches, its bounds, deadlines, clients that leave, models that fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from asking import Client, error_of, wait_until_ready
from numpy.typing import NDArray
from small_models import CLASSES, SIZE, description, encoded, picture

from cifarlab.bundle import Predictor
from cifarlab.serve import Limits, Service, create_app

PNG = encoded(picture(0))


class HeldEngine:
    """Notes each batch and, once `hold` is called, waits in it until `release`. Its answer is the mean colour of an image."""

    name, device = "held", "cpu"

    def __init__(self) -> None:
        self.batches: list[tuple[int, str]] = []
        self.failure: Exception | None = None
        self.entered = threading.Event()
        self._open = threading.Event()
        self._open.set()

    def split_over(self, threads: int) -> None:
        pass

    def hold(self) -> None:
        self.entered.clear()
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def logits(self, images: NDArray[np.uint8], *, views: str) -> NDArray[np.float32]:
        self.batches.append((len(images), views))
        self.entered.set()
        assert self._open.wait(20)
        if self.failure is not None:
            raise self.failure
        means = images.mean(axis=(1, 2)) / 255  # [B, 3]
        return np.concatenate([means, np.zeros((len(images), len(CLASSES) - 3))], axis=1).astype(np.float32)


@pytest.fixture
def engine() -> Iterator[HeldEngine]:
    held = HeldEngine()
    yield held
    held.release()


def started(engine: HeldEngine, **limits: Any) -> Service:
    service = Service({"held": Predictor(engine, description())}, limits=Limits(**{"queue": 8, "batch": 4, "decoders": 1, **limits}))
    service.start()
    return service


@pytest.fixture
def service(engine: HeldEngine) -> Iterator[Service]:
    running = started(engine)
    wait_until_ready(running)
    engine.batches.clear()
    yield running
    engine.release()
    running.stop()


async def until(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen within 10 s")


def ask_many(service: Service, engine: HeldEngine, contents: Sequence[bytes], *, queries: Sequence[str] = ()) -> list[httpx.Response]:
    """One request that keeps the engine busy, then all `contents` at once, which wait in the queue; answers in order."""

    async def ask() -> list[httpx.Response]:
        engine.hold()
        async with Client(create_app(service)).open() as client:
            first = asyncio.create_task(client.post("/predict", content=PNG))
            await until(engine.entered.is_set)
            rest = []
            for number, content in enumerate(contents):
                query = queries[number] if queries else ""
                rest.append(asyncio.create_task(client.post("/predict" + query, content=content)))
                # In order: each must be in the queue, or refused, before the next.
                await until(lambda n=number + 1, task=rest[-1]: service.models["held"].batcher.waiting >= n or task.done())
            engine.release()
            return [await first, *[await task for task in rest]]

    return asyncio.run(ask())


def test_what_waits_is_answered_in_batches_each_with_its_own_answer(service: Service, engine: HeldEngine) -> None:
    pictures = [np.full((SIZE, SIZE, 3), value, dtype=np.uint8) for value in range(0, 250, 40)]
    responses = ask_many(service, engine, [encoded(pixels) for pixels in pictures])
    assert engine.batches == [(1, "flip"), (4, "flip"), (3, "flip")]
    told = [response.json()["predictions"][0]["probability"] for response in responses[1:]]
    exponents = [np.exp(np.array([value / 255] * 3 + [0.0] * 2)) for value in range(0, 250, 40)]
    assert told == pytest.approx([float(e[0] / e.sum()) for e in exponents], abs=1e-6)


def test_a_lone_request_does_not_wait_for_others(service: Service, engine: HeldEngine) -> None:
    for _ in range(3):
        assert Client(create_app(service)).post("/predict", PNG).status_code == 200
    assert engine.batches == [(1, "flip")] * 3


def test_a_batch_has_one_kind_of_views(service: Service, engine: HeldEngine) -> None:
    ask_many(service, engine, [PNG] * 4, queries=["", "?views=none", "?views=none", "?views=flip"])
    assert engine.batches == [(1, "flip"), (1, "flip"), (2, "none"), (1, "flip")]


def test_beyond_the_queue_requests_are_told_when_to_come_again(service: Service, engine: HeldEngine) -> None:
    responses = ask_many(service, engine, [PNG] * 10)
    assert [response.status_code for response in responses] == [200] * 8 + [429] * 3
    assert "8 images are being answered" in error_of(responses[-1], 429)
    assert int(responses[-1].headers["retry-after"]) >= 1
    assert sum(images for images, _ in engine.batches) == 8
    assert service.models["held"].batcher.reserved == 0
    assert Client(create_app(service)).post("/predict", PNG).status_code == 200


def test_a_request_that_never_fits_is_not_told_to_come_again(engine: HeldEngine) -> None:
    service = started(engine, queue=1)
    wait_until_ready(service)
    shape = [2, SIZE, SIZE, 3]
    tensor = {"name": "images", "shape": shape, "datatype": "UINT8", "data": [0] * int(np.prod(shape))}
    assert "at most 1" in error_of(Client(create_app(service)).post("/v2/models/held/infer", json={"inputs": [tensor]}), 413)
    service.stop()


def test_refused_bodies_give_their_room_back(service: Service) -> None:
    client = Client(create_app(service))
    for _ in range(20):
        assert client.post("/predict", b"no image").status_code == 415
        assert client.post("/v2/models/held/infer", b"{}").status_code == 400
    assert service.models["held"].batcher.reserved == 0


def test_past_the_deadline_a_request_is_given_up_and_not_inferred(engine: HeldEngine) -> None:
    service = started(engine, deadline=0.3)
    wait_until_ready(service)
    engine.batches.clear()

    async def ask() -> None:
        engine.hold()
        async with Client(create_app(service)).open() as client:
            first = asyncio.create_task(client.post("/predict", content=PNG))
            await until(engine.entered.is_set)
            for response in await asyncio.gather(first, *[client.post("/predict", content=PNG) for _ in range(2)]):
                assert "within 0.3 s" in error_of(response, 504)
            engine.release()
            assert (await client.post("/predict", content=PNG)).status_code == 200

    asyncio.run(ask())
    service.stop()
    # The first was under way; those behind it were left out.
    assert [images for images, _ in engine.batches] == [1, 1]


def test_a_body_that_does_not_arrive_is_given_up(engine: HeldEngine) -> None:
    service = started(engine, deadline=0.2)
    wait_until_ready(service)

    async def slow() -> Any:
        yield PNG[:10]
        await asyncio.sleep(5)

    response = Client(create_app(service)).request("POST", "/predict", content=slow())
    assert "within 0.2 s" in error_of(response, 408)
    assert response.headers["connection"] == "close"
    service.stop()


def test_before_its_first_inference_a_model_is_not_ready(engine: HeldEngine) -> None:
    engine.hold()
    service = started(engine)
    client = Client(create_app(service))
    for response in (client.post("/predict", PNG), client.post("/v2/models/held/infer", b"{}")):
        assert "not ready" in error_of(response, 503)
        assert response.headers["retry-after"] == "1"
    for path, body in (("/v2/health/ready", {"live": True, "ready": False}), ("/v2/models/held/ready", {"name": "held", "ready": False})):
        response = client.get(path)
        assert (response.status_code, response.json()) == (503, body)
    assert client.get("/v2/health/live").status_code == 200
    engine.release()
    wait_until_ready(service)
    assert client.post("/predict", PNG).status_code == 200
    service.stop()


def test_a_model_that_fails_at_its_first_inference_stays_unready_and_says_why(engine: HeldEngine) -> None:
    engine.failure = RuntimeError("no memory")
    service = started(engine)
    assert service.failure is None or "no memory" in service.failure
    service.stop()
    assert not service.models["held"].batcher.ready
    assert service.failure == "model 'held' failed at its first inference: no memory"


def test_a_failing_inference_is_told_and_the_next_one_works(service: Service, engine: HeldEngine, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(create_app(service))
    engine.failure = RuntimeError("secret path /home/x")
    assert "/home/x" not in error_of(client.post("/predict", PNG), 500)
    assert "/home/x" in caplog.text
    engine.failure = None
    assert client.post("/predict", PNG).status_code == 200


def test_views_that_the_engine_does_not_hold_are_refused(service: Service, engine: HeldEngine) -> None:
    engine.views = ("flip", "none")  # type: ignore[attr-defined]  # as an ONNX file tells
    client = Client(create_app(service))
    assert "allowed: none, flip" in error_of(client.post("/predict?views=six", PNG), 422)
    assert client.post("/predict?views=none", PNG).status_code == 200


def test_clients_that_left_cost_no_inference(service: Service, engine: HeldEngine) -> None:
    async def ask() -> None:
        engine.hold()
        app = create_app(service)
        busy = asyncio.create_task(call(app, asyncio.Event()))
        await until(engine.entered.is_set)
        leaving = asyncio.Event()
        left = [asyncio.create_task(call(app, leaving)) for _ in range(3)]
        stayed = asyncio.create_task(call(app, asyncio.Event()))
        await until(lambda: service.models["held"].batcher.waiting == 4)
        leaving.set()
        assert [await task for task in left] == [499] * 3
        assert service.models["held"].batcher.reserved == 2
        engine.release()
        assert (await busy, await stayed) == (200, 200)

    asyncio.run(ask())
    assert [images for images, _ in engine.batches] == [1, 1]


async def call(app: Any, leaving: asyncio.Event) -> int:
    """POST /predict as a server calls an application; the client leaves when `leaving` is set. Returns the status."""
    messages = [{"type": "http.request", "body": PNG, "more_body": False}]
    statuses = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await leaving.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    return int(statuses[0])
