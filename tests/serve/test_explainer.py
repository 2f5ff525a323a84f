"""The thread that explains: what becomes of questions whose client left, and of places in the queue."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from cifarlab.bundle import Predictor
from cifarlab.serve.explainer import Explainer
from cifarlab.serve.refusal import RefusedError


@pytest.fixture
def explainer(predictors: dict[str, Predictor]) -> Explainer:
    return Explainer("first", predictors["first"], deadline=0.3, capacity=2)


async def stays() -> Any:
    await asyncio.sleep(60)


async def leaves() -> dict[str, str]:
    return {"type": "http.disconnect"}


async def until_free(explainer: Explainer) -> None:
    async with asyncio.timeout(10):
        while explainer.accepted:
            await asyncio.sleep(0.002)


def test_work_gives_its_result_and_frees_its_place(explainer: Explainer) -> None:
    async def ask() -> str:
        with explainer.slot() as slot:
            assert explainer.accepted == 1
            answer = await slot.answer(lambda: threading.current_thread().name, receive=stays)
        await until_free(explainer)
        return answer

    assert asyncio.run(ask()).startswith("explain first")


def test_what_work_raises_reaches_the_client(explainer: Explainer) -> None:
    def fail() -> None:
        raise RefusedError(422, "no")

    async def ask() -> None:
        with explainer.slot() as slot:
            await slot.answer(fail, receive=stays)

    with pytest.raises(RefusedError, match="no"):
        asyncio.run(ask())
    asyncio.run(until_free(explainer))


def test_the_question_of_a_client_that_left_is_not_worked_on(explainer: Explainer) -> None:
    go, done = threading.Event(), []

    async def ask(receive: Any, work: Any) -> None:
        with explainer.slot() as slot:
            await slot.answer(work, receive=receive)

    async def both() -> None:
        running = asyncio.create_task(ask(stays, lambda: go.wait(10)))
        await asyncio.sleep(0.02)
        with pytest.raises(RefusedError) as refused:
            await ask(leaves, lambda: done.append("worked"))
        assert refused.value.status == 499
        go.set()
        await running
        await until_free(explainer)

    asyncio.run(both())
    assert done == []


def test_work_past_its_deadline_keeps_its_place_until_it_ends(explainer: Explainer) -> None:
    go = threading.Event()

    async def ask() -> None:
        with explainer.slot() as slot:
            await slot.answer(lambda: go.wait(10), receive=stays)

    async def all_of_it() -> None:
        with pytest.raises(RefusedError, match=r"within 0.3 s"):
            await ask()
        assert explainer.accepted == 1
        with explainer.slot():
            with pytest.raises(RefusedError) as refused, explainer.slot():
                pass
            assert refused.value.status == 429
        go.set()
        await until_free(explainer)

    asyncio.run(all_of_it())


def test_a_question_that_never_gets_to_its_work_frees_its_place(explainer: Explainer) -> None:
    with pytest.raises(ValueError, match="body"), explainer.slot():
        raise ValueError("body")
    assert explainer.accepted == 0


def test_work_that_asks_ends_when_nobody_waits_any_more(explainer: Explainer) -> None:
    steps = []

    def long() -> None:
        for step in range(1000):
            explainer.check_wanted()
            steps.append(step)
            time.sleep(0.02)

    async def ask() -> None:
        with pytest.raises(RefusedError, match=r"within 0.3 s"), explainer.slot() as slot:
            await slot.answer(long, receive=stays)
        await until_free(explainer)

    asyncio.run(ask())
    assert 0 < len(steps) < 500
    assert asyncio.run(answered(explainer, explainer.check_wanted)) is None  # the next question is wanted


async def answered(explainer: Explainer, work: Any) -> Any:
    with explainer.slot() as slot:
        return await slot.answer(work, receive=stays)
