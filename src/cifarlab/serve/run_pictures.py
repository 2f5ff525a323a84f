"""The pictures behind a run's predictions, from the user's own data, where that is the very data that the run saw."""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifarlab.build import arrange
from cifarlab.data import dataset_names, load_splits
from cifarlab.errors import CifarlabError, DataError
from cifarlab.serve.run_reading import DAMAGED, Reading

Pixels = NDArray[np.uint8]
MOST_BYTES: Final = 600_000_000  # of the pictures kept; CIFAR-10's test split takes 31 MB
LOOK_AGAIN: Final = 20.0  # seconds after which data that was not there is looked for again
HOW: Final = "Set CIFARLAB_DATA to the folder that holds the data, start the server again, and the pictures are here too."


class NotAtHandError(CifarlabError):
    """The pictures cannot be shown now; the message says why and what helps. loading: they will be there in a moment."""

    def __init__(self, message: str, *, loading: bool = False) -> None:
        super().__init__(message)
        self.loading = loading


class PictureStore:
    """Pictures of splits by the fingerprint of their pixels and labels, which a predictions file holds as well.

    One thread reads them, the ones used longest ago are forgotten. Nothing is written, nothing is downloaded.
    """

    def __init__(self) -> None:
        self._wanted: SimpleQueue[tuple[Future[Pixels], Callable[[], Pixels]]] = SimpleQueue()
        self._reader: threading.Thread | None = None
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Future[Pixels]]] = OrderedDict()

    def pixels(self, reading: Reading, split: str, checksum: str, *, seconds: float) -> Pixels:
        """uint8 [N, H, W, 3] in the order of the predictions file.

        Raises NotAtHandError, also where reading takes longer than `seconds`.
        """
        loading = self._loading(reading, split, checksum)
        try:
            pixels = loading.result(timeout=seconds)
        except NotYetError:
            raise NotAtHandError("The pictures are being read; they will be here in a moment.", loading=True) from None
        except DAMAGED as error:
            raise NotAtHandError(f"The pictures of this run are not at hand: {_first_sentence(str(error))} {HOW}") from error
        self._forget_some()
        return pixels

    def _loading(self, reading: Reading, split: str, checksum: str) -> Future[Pixels]:
        now = time.monotonic()
        with self._lock:
            known = self._kept.get(checksum)
            if known is not None and (not _failed(known[1]) or now - known[0] < LOOK_AGAIN):
                self._kept.move_to_end(checksum)
                return known[1]
            future: Future[Pixels] = Future()
            self._kept[checksum] = (now, future)
            self._wanted.put((future, lambda: self._load(reading, split, checksum)))
            if self._reader is None:
                # A daemon: a server that stops need not wait for pictures that nobody will see. A folder of them takes minutes.
                self._reader = threading.Thread(target=self._read, name="pictures", daemon=True)
                self._reader.start()
            return future

    def _read(self) -> None:
        while True:
            future, load = self._wanted.get()
            try:
                future.set_result(load())
            except BaseException as error:
                future.set_exception(error)

    def _load(self, reading: Reading, split: str, checksum: str) -> Pixels:
        """The wanted pictures; those of the run's other split, read with them, are kept as well."""
        found = _read_splits(reading)
        if checksum not in found:
            raise DataError(f"the {split} images found are not those that the run saw (their checksum differs).")
        with self._lock:
            for other in found.keys() - {checksum}:
                known = self._kept.get(other)
                if known is None or _failed(known[1]):
                    future: Future[Pixels] = Future()
                    future.set_result(found[other])
                    self._kept[other] = (time.monotonic(), future)
                    self._kept.move_to_end(other, last=False)
        return found[checksum]

    def _forget_some(self) -> None:
        with self._lock:
            sizes = {key: future.result().nbytes for key, (_, future) in self._kept.items() if future.done() and not _failed(future)}
            total = sum(sizes.values())
            for key in list(sizes)[:-1]:  # the last was used just now
                if total <= MOST_BYTES:
                    break
                total -= sizes[key]
                del self._kept[key]
            for key in [key for key, (_, future) in self._kept.items() if _failed(future)][:-50]:
                del self._kept[key]


def _failed(future: Future[Pixels]) -> bool:
    return future.done() and future.exception() is not None


def _read_splits(reading: Reading) -> dict[str, Pixels]:
    """Pictures of the run's test and validation split as the data at hand has them, by their fingerprint."""
    if reading.recipe is None:
        raise DataError("the run's recipe cannot be read, so its data is not known.")
    name = reading.recipe.data.name
    recorded = reading.env.get("found_in")
    where = Path(recorded) if isinstance(recorded, str) and name in dataset_names() and Path(recorded).exists() else None
    arranged = arrange(reading.recipe, load_splits(name, data_dir=where, download=False))
    parts = [part for part in (arranged.test, arranged.validation) if part is not None]
    # A copy where it is a piece of something larger: that need not be kept.
    return {part.checksum: part.images if part.images.base is None else part.images.copy() for part in parts}


def _first_sentence(text: str) -> str:
    """Of an error, what is wrong; its remedies are about training."""
    sentence = " ".join(text.split()).partition("; ")[0].partition(". ")[0][:400]
    return sentence if sentence.endswith(".") else f"{sentence}."


def as_png(pixels: Pixels) -> bytes:
    """uint8 [H, W, 3] as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", compress_level=1)
    return file.getvalue()
