"""Models in service: what stands behind every route."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from starlette.types import Receive

from cifarlab.bundle import Predicted, Predictor
from cifarlab.bundle.selective import REST, SELECTIVE
from cifarlab.errors import ImageError, ImageFormatError, ImageSizeError, UsageError, unknown
from cifarlab.serve.batching import Batcher, Images, Job
from cifarlab.serve.bodies import Budget
from cifarlab.serve.limits import Limits
from cifarlab.serve.refusal import CLIENT_GONE, RefusedError
from cifarlab.serve.telemetry import Telemetry

T = TypeVar("T")
WARM_UP = 16  # images at most
VERSION = "1"  # a served model is fixed for the server's life, so there is one version of it


class ServedModel:
    """A predictor under its name, with the queue in front of it. views: how many views of an image by default."""

    def __init__(self, name: str, predictor: Predictor, *, views: str, limits: Limits, telemetry: Telemetry) -> None:
        self.name = name
        self.predictor = predictor
        self.views = views
        self.batcher = Batcher(
            lambda images, views: predictor.predict_arrays(images, tta=views, batch_size=max(limits.batch, 1)),
            name=name,
            capacity=limits.queue,
            batch=limits.batch,
            observe=functools.partial(telemetry.inference, name),
        )
        telemetry.queue.labels(name).set_function(lambda: self.batcher.waiting)
        telemetry.accepted.labels(name).set_function(lambda: self.batcher.reserved)
        telemetry.ready.labels(name).set_function(lambda: float(self.batcher.ready))

    def check_views(self, views: str) -> None:
        """Raise RefusedError (422) for views that the model does not have; see `Predictor.views`."""
        if views not in self.predictor.views:
            raise RefusedError(422, f"model {self.name!r}: " + unknown("views", views, self.predictor.views))

    def warm_up(self, *, batch: int) -> None:
        """Infer a lone image and a batch, with all views that the default may need: what is made at first use is made."""
        for count in sorted({1, batch}):
            images = np.zeros((count, self.predictor.size, self.predictor.size, 3), dtype=np.uint8)
            self.predictor.predict_arrays(list(images), tta=self.views, batch_size=count)
            if self.views == SELECTIVE:  # black may be sure
                self.predictor.engine.logits(images, views=REST)

    @property
    def judges_likeness(self) -> bool:
        """Whether it can tell images that are unlike its training data."""
        return self.predictor.calibration(self.views) is not None


class Service:
    """The models of one server, their queues and the threads that decode. Use as a context manager, or start and stop it.

    models: predictors by the name they are asked for; the first is the default. views: "none", "flip", "six" or "selective" for all
    of them instead of each model's own.
    """

    def __init__(self, models: Mapping[str, Predictor], *, limits: Limits | None = None, views: str | None = None) -> None:
        if not models:
            raise UsageError("no model to serve. Name a bundle or run directory, such as runs/demo")
        for predictor in models.values():
            predictor.choose_views(views)  # raises UsageError where a model does not have them
        self.limits = limits or Limits()
        self.telemetry = Telemetry()
        self.models = {
            name: ServedModel(name, predictor, views=views or predictor.tta, limits=self.limits, telemetry=self.telemetry)
            for name, predictor in models.items()
        }
        self.bodies = Budget(max(self.limits.bodies, self.limits.max_bytes))
        self.draining = False
        self.in_flight = 0  # requests begun and not yet answered, of any route
        self.refused = 0
        self._decoders = ThreadPoolExecutor(self.limits.decoders, thread_name_prefix="decode")

    def start(self) -> None:
        """Start each model's thread; they become ready after their first inference."""
        for model in self.models.values():
            model.batcher.start(functools.partial(model.warm_up, batch=min(self.limits.batch, WARM_UP)))

    def stop(self) -> None:
        """Answer what is queued and end the threads."""
        self.draining = True
        self._decoders.shutdown(wait=True, cancel_futures=True)
        for model in self.models.values():
            model.batcher.stop()

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def ready(self) -> bool:
        """Whether every model answers and the server takes requests."""
        return not self.draining and all(model.batcher.ready for model in self.models.values())

    @property
    def failure(self) -> str | None:
        """Why a model will never answer, None while all of them do or still may."""
        for model in self.models.values():
            if (error := model.batcher.failed) is not None:
                return f"model {model.name!r} failed at its first inference: {str(error).strip() or type(error).__name__}"
        return None

    def model(self, name: str | None, *, version: str | None = None) -> ServedModel:
        """The model of that name, without one the first; raises RefusedError (404) where there is none such."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise RefusedError(404, unknown("model", name, self.models))
        if version is not None and version != VERSION:
            raise RefusedError(404, f"model {name!r} has no version {version!r}; there is version {VERSION!r}")
        return self.models[name]

    def ready_model(self, name: str | None, *, version: str | None = None) -> ServedModel:
        """As `model`; raises RefusedError (503) too, while the model cannot answer."""
        model = self.model(name, version=version)
        if not model.batcher.ready:
            raise RefusedError(503, f"model {model.name!r} is not ready yet. Try again soon", headers={"Retry-After": "1"})
        return model

    async def infer(self, model: ServedModel, prepare: Callable[[], Images], *, views: str, receive: Receive) -> Predicted:
        """The model's answer for the images that `prepare` gives; a decoding thread calls it.

        receive: the request's, its body read to the end: the next message is that the client has left, which saves the
        inference. Raises RefusedError: what `prepare` raises, 504 past the deadline, 499 for a client that left.
        """
        job = Job(views)
        gone = asyncio.ensure_future(_watch(receive, job))
        self._decoders.submit(_prepare_and_queue, job, prepare, model.batcher)
        try:
            async with self.deadline():
                return await job.future
        finally:
            gone.cancel()
            job.future.cancel()

    @contextlib.asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        """Time for an answer: RefusedError (504) where the block lasts longer."""
        try:
            async with asyncio.timeout(self.limits.deadline):
                yield
        except TimeoutError:
            raise RefusedError(504, f"no answer within {self.limits.deadline:g} s: the server is busy. Try again later") from None

    async def aside(self, work: Callable[[], T]) -> T:
        """The result of `work`, done by a decoding thread: what would hold up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)


def _prepare_and_queue(job: Job, prepare: Callable[[], Images], batcher: Batcher) -> None:
    """Runs in a decoding thread, and hands over to the inference without a way through the event loop."""
    if job.future.done():
        return
    try:
        job.images = prepare()
    except Exception as error:
        job.future.get_loop().call_soon_threadsafe(job.fail, error)
    else:
        batcher.put(job)


async def _watch(receive: Receive, job: Job) -> None:
    """Settle `job` when its client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    job.fail(RefusedError(CLIENT_GONE, "the client closed the connection"))


def image_refusal(error: ImageError) -> RefusedError:
    """413 for too many pixels, 415 for what is no image of an allowed format, 422 for one that is damaged."""
    status = 413 if isinstance(error, ImageSizeError) else 415 if isinstance(error, ImageFormatError) else 422
    return RefusedError(status, str(error).removeprefix("<bytes>: "))
