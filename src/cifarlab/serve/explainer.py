"""Explanations of one model, one at a time, in a thread beside its inference."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.types import Receive

from cifarlab.bundle import Predictor, load_predictor
from cifarlab.errors import CifarlabError
from cifarlab.serve.refusal import CLIENT_GONE, RefusedError

if TYPE_CHECKING:
    from cifarlab.explain import TracedNetwork

CAPACITY: Final = 8  # questions accepted and not yet answered
T = TypeVar("T")


class Explainer:
    """What explains the model `name`, behind a queue of `capacity` questions; deadline: seconds from a question to its answer.

    Explaining needs gradients, so PyTorch: with another engine the weights of the bundle are loaded at the first question that
    needs them. The thread begins with the first question, and ends with this object.
    """

    def __init__(self, name: str, predictor: Predictor, *, deadline: float, capacity: int = CAPACITY) -> None:
        self.name = name
        self.predictor = predictor
        self.capacity = capacity
        self.accepted = 0
        self._deadline = deadline
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"explain {name}")
        self._network: TracedNetwork | None = None
        self._current: Slot | None = None  # whose work the thread does

    def check_room(self) -> None:
        """Raise RefusedError (429) where all places are taken."""
        if self.accepted >= self.capacity:
            said = f"too many requests: {self.accepted} pictures are being explained, at most {self.capacity}. Try again in 1 s"
            raise RefusedError(429, said, headers={"Retry-After": "1"})

    @contextlib.contextmanager
    def slot(self) -> Iterator[Slot]:
        """Room for one question while the block lasts, or its work if that takes longer; raises RefusedError (429) where all is taken."""
        with self._lock:
            self.check_room()
            self.accepted += 1
        slot = Slot(self)
        try:
            yield slot
        finally:
            if slot.work is None:
                self._release()
            else:
                slot.work.add_done_callback(lambda work: self._release())

    def _release(self) -> None:
        with self._lock:
            self.accepted -= 1

    def check_wanted(self) -> None:
        """Raise RefusedError (504) where nobody waits for the work under way any more. For long work, in the explaining thread."""
        if self._current is not None and self._current.given_up:
            raise RefusedError(504, "given up: nobody waits for this explanation any more")

    def network(self) -> TracedNetwork:
        """The network, opened at the first call. For the explaining thread alone. Raises RefusedError (422) where it has none to open."""
        if self._network is None:
            self._network = self._open()
        return self._network

    def _open(self) -> TracedNetwork:
        # Here, so that a server with ONNX Runtime loads PyTorch only when it must.
        from cifarlab.bundle.torch_engine import TorchEngine
        from cifarlab.explain import TracedNetwork

        engine = self.predictor.engine
        if not isinstance(engine, TorchEngine):
            if (origin := self.predictor.origin) is None:
                raise RefusedError(
                    422, f"model {self.name!r} computes with {engine.name}; explaining needs its PyTorch weights, not at hand"
                )
            said = f"model {self.name!r} computes with {engine.name}; explaining needs its PyTorch weights, which"
            try:
                opened = load_predictor(origin, device="cpu")
            except CifarlabError as error:
                raise RefusedError(422, f"{said} cannot be loaded: {error}"[:900]) from error
            if opened.description != self.predictor.description:  # exported again, or another revision on the Hub
                raise RefusedError(422, f"{said} have changed since the server started. Start it again")
            assert isinstance(opened.engine, TorchEngine)
            engine = opened.engine
        try:
            return TracedNetwork(engine.model, engine.preprocess, size=self.predictor.size)
        except ValueError as error:
            raise RefusedError(422, f"the layers of model {self.name!r} cannot be told apart: {error}"[:900]) from error


class Slot:
    """Room for one question, held until it is answered or given up and its work is over."""

    def __init__(self, explainer: Explainer) -> None:
        self._explainer = explainer
        self.work: Future[Any] | None = None
        self.given_up = False

    async def answer(self, work: Callable[[], T], *, receive: Receive) -> T:
        """The result of `work`, done in the explaining thread.

        receive: the request's, its body read to the end. Raises RefusedError: what `work` raises, 504 past the deadline, 499 for a
        client that left; work that has not begun by then is not done, and work that asks `Explainer.check_wanted` ends early.
        """
        submitted = self._explainer._pool.submit(self._do, work)
        self.work = submitted
        waiting = asyncio.wrap_future(submitted)
        gone = asyncio.ensure_future(_left(receive))
        either: set[asyncio.Future[Any]] = {waiting, gone}
        try:
            await asyncio.wait(either, timeout=self._explainer._deadline, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            if gone.done():
                raise RefusedError(CLIENT_GONE, "the client closed the connection")
            said = f"no explanation within {self._explainer._deadline:g} s: the server is busy. Try again later"
            raise RefusedError(504, said)
        finally:
            self.given_up = True  # of no meaning for work that is done
            gone.cancel()
            submitted.cancel()  # at once: through `waiting` it would happen a turn of the event loop later
            waiting.cancel()

    def _do(self, work: Callable[[], T]) -> T:
        self._explainer._current = self
        return work()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
