"""Bodies in memory: who sends slowly holds no place in the queue, and all bodies together are bounded; parsing has a deadline too."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asking import Client, error_of, wait_until_ready
from small_models import SIZE, encoded, picture

from cifarlab.bundle import Predictor
from cifarlab.serve import Limits, Service, create_app
from cifarlab.serve.bodies import Budget
from cifarlab.serve.refusal import RefusedError
from cifarlab.serve.server import _short_pauses

PNG = encoded(picture(0))


def started(predictor: Predictor, **limits: Any) -> Service:
    service = Service({"only": predictor}, limits=Limits(**{"decoders": 1, "deadline": 10, **limits}))
    service.start()
    wait_until_ready(service)
    return service


@pytest.mark.parametrize("path", ["/predict", "/v2/models/only/infer"])
def test_a_slow_sender_holds_no_place_in_the_queue(predictors: dict[str, Predictor], path: str) -> None:
    service = started(predictors["first"], queue=1)
    content, headers = (PNG, {}) if path == "/predict" else (bytes(SIZE * SIZE * 3), {"Inference-Header-Content-Length": "0"})
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield content[:100]
        begun.set()
        await go_on.wait()
        yield content[100:]

    async def both() -> list[int]:
        async with Client(create_app(service)).open() as client:
            first = asyncio.create_task(client.post(path, content=slow(), headers=headers))
            await begun.wait()
            held = service.bodies.held
            second = await client.post(path, content=content, headers=headers)
            go_on.set()
            return [held, second.status_code, (await first).status_code]

    assert asyncio.run(both()) == [100, 200, 200]
    assert service.bodies.held == 0
    service.stop()


def test_bodies_beyond_the_budget_are_refused_and_what_they_held_is_free_again(predictors: dict[str, Predictor]) -> None:
    service = started(predictors["first"], max_bytes=2000, bodies=3000)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield bytes(1900)
        begun.set()
        await go_on.wait()

    async def both() -> tuple[str, int, str | None]:
        async with Client(create_app(service)).open() as client:
            first = asyncio.create_task(client.post("/predict", content=slow()))
            await begun.wait()
            second = await client.post("/predict", content=bytes(1900))
            go_on.set()
            return error_of(second, 429), (await first).status_code, second.headers.get("retry-after")

    reason, status, after = asyncio.run(both())
    assert "their bodies hold 1,900 bytes, at most 3,000" in reason
    assert (status, after) == (415, "1")  # no image, but read
    assert service.bodies.held == 0
    assert Client(create_app(service)).post("/predict", PNG[:1999]).status_code in (200, 422)
    service.stop()


def test_a_budget_counts_what_arrived() -> None:
    budget = Budget(10)
    with budget.share() as one, budget.share() as two:
        one.grow(6)
        with pytest.raises(RefusedError, match="6 bytes, at most 10"):
            two.grow(5)
        two.grow(4)
        assert budget.held == 10
    assert budget.held == 0


def test_parsing_has_the_deadline_of_the_answer(predictors: dict[str, Predictor]) -> None:
    service = started(predictors["first"], deadline=0.3)
    blocked = threading.Event()
    service._decoders.submit(blocked.wait, 20)  # the one thread that parses
    content = bytes(SIZE * SIZE * 3)
    response = Client(create_app(service)).post("/v2/models/only/infer", content, headers={"Inference-Header-Content-Length": "0"})
    blocked.set()
    assert "no answer within 0.3 s" in error_of(response, 504)
    assert service.models["only"].batcher.reserved == 0
    service.stop()


def test_the_interpreter_is_as_before_when_a_server_has_ended() -> None:
    before = sys.getswitchinterval()
    with _short_pauses():
        assert sys.getswitchinterval() < before
        assert gc.get_freeze_count() > 1000
    assert sys.getswitchinterval() == before
    assert gc.get_freeze_count() == 0
