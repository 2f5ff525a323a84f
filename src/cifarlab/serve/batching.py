"""Many requests, one inference: a bounded queue in front of one thread for each model.

The thread takes what waits, up to a batch, whenever it is free. So a lone request never waits for company, and under load the
batches grow by themselves while the inference before them runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cifarlab.bundle import Predicted
from cifarlab.serve.refusal import RefusedError

Images = Sequence[NDArray[np.uint8]]
Predict = Callable[[Images, str], Predicted]
log = logging.getLogger("cifarlab.serve")


class Job:
    """The images of one request on their way through the queue; `future` is its answer, or why there is none.

    Whoever comes first settles it: the inference, the deadline, or the client by leaving. Only the event loop's thread does so.
    """

    __slots__ = ("future", "images", "views")

    def __init__(self, views: str) -> None:
        self.future: asyncio.Future[Predicted] = asyncio.get_running_loop().create_future()
        self.images: Images = ()
        self.views = views

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def finish(self, answer: Predicted) -> None:
        if not self.future.done():
            self.future.set_result(answer)


class Slot:
    """Room for `images` images in a queue, held until the request that asked for it is answered."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self.images = 0

    def grow(self, images: int) -> None:
        """Make it room for `images`; raises RefusedError (429, or 413 where they would never fit)."""
        self._batcher.reserve(images - self.images, asked=images)
        self.images = images


class Batcher:
    """The queue of one model and the thread that empties it. `predict(images, views)` runs in that thread alone.

    capacity: images accepted and not yet answered; batch: images of one inference at most, unless a single request has more;
    observe(images, seconds) hears of every inference.
    """

    def __init__(self, predict: Predict, *, name: str, capacity: int, batch: int, observe: Callable[[int, float], None]) -> None:
        self._predict = predict
        self.capacity = capacity
        self._batch = batch
        self._observe = observe
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._seconds_per_image = 0.01  # a running mean; what Retry-After is reckoned from
        self.reserved = 0
        self.ready = False
        self.failed: Exception | None = None  # what the first inference ended with: the model never becomes ready then
        self._thread = threading.Thread(target=self._run, name=f"inference {name}", daemon=True)

    def start(self, warm_up: Callable[[], object]) -> None:
        """Start the thread; it is ready after `warm_up`, its first inferences, which are slower than all that follow."""
        self._warm_up = warm_up
        self._thread.start()

    def stop(self, *, timeout: float = 10.0) -> None:
        """Infer what waits and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)

    @property
    def waiting(self) -> int:
        """Images that wait for their inference."""
        return sum(len(job.images) for job in list(self._waiting))

    @contextlib.contextmanager
    def slot(self) -> Iterator[Slot]:
        """Room for one image while the block lasts; raises RefusedError (429) where the queue is full."""
        slot = Slot(self)
        try:
            slot.grow(1)
            yield slot
        finally:
            self.reserved -= slot.images

    def check_room(self) -> None:
        """Raise RefusedError (429) where the queue is full: before a body is read for nothing."""
        self.reserve(1, asked=1)
        self.reserved -= 1

    def reserve(self, images: int, *, asked: int) -> None:
        """Room for `images` more of a request with `asked` images in all; raises as `Slot.grow`."""
        # Only the event loop's thread counts, so no lock is needed.
        if asked > self.capacity:
            raise RefusedError(413, f"{asked} images in one request: at most {self.capacity} are taken. Send them in several requests")
        if self.reserved + images > self.capacity:
            seconds = max(1, math.ceil(self.reserved * self._seconds_per_image))
            raise RefusedError(
                429,
                f"too many requests: {self.reserved} images are being answered, at most {self.capacity}. Try again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )
        self.reserved += images

    def put(self, job: Job) -> None:
        """Queue a job whose slot is held. May be called from any thread."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def _run(self) -> None:
        try:
            self._warm_up()
            self.ready = True
        except Exception as error:  # stays unready, and says so to every client until the server ends
            self.failed = error
            return
        while jobs := self._take():
            # Clients that have left, and requests past their deadline, cost no inference.
            if wanted := [job for job in jobs if not job.future.done()]:
                self._infer(wanted)

    def _take(self) -> list[Job]:
        """The next jobs, of equal views, that make up a batch; waits for the first. Empty when the work is over."""
        with self._changed:
            while not self._waiting:
                if self._stopping:
                    return []
                self._changed.wait()
            jobs = [self._waiting.popleft()]
            images = len(jobs[0].images)
            while self._waiting and self._waiting[0].views == jobs[0].views:
                images += len(self._waiting[0].images)
                if images > self._batch:
                    break
                jobs.append(self._waiting.popleft())
            return jobs

    def _infer(self, jobs: Sequence[Job]) -> None:
        images = [image for job in jobs for image in job.images]
        began = time.perf_counter()
        try:
            predicted = self._predict(images, jobs[0].views)
        except Exception:
            log.exception("an inference of %d images failed", len(images))
            _settle(jobs, None)
            return
        seconds = time.perf_counter() - began
        self._seconds_per_image += 0.1 * (seconds / len(images) - self._seconds_per_image)
        self._observe(len(images), seconds)
        _settle(jobs, predicted)


def _settle(jobs: Sequence[Job], predicted: Predicted | None) -> None:
    """Hand each job its part of `predicted` (None: the inference failed), with one call into its event loop for all of them."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Predicted | None]]] = {}
    start = 0
    for job in jobs:
        end = start + len(job.images)
        part = None if predicted is None else _part(predicted, slice(start, end))
        by_loop.setdefault(job.future.get_loop(), []).append((job, part))
        start = end
    for loop, answers in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_hand_over, answers)


def _hand_over(answers: Sequence[tuple[Job, Predicted | None]]) -> None:
    for job, answer in answers:
        if answer is None:
            job.fail(RefusedError(500, "the model failed on this batch; the server's log says why"))
        else:
            job.finish(answer)


def _part(whole: Predicted, rows: slice) -> Predicted:
    unlike = None if whole.unlike is None else whole.unlike[rows]
    score = None if whole.score is None else whole.score[rows]
    return Predicted(whole.labels[rows], whole.probabilities[rows], unlike, score)
