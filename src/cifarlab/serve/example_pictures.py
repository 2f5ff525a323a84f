"""Pictures to try: one of each of a model's classes, from the user's own data or drawn for this project."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from cifarlab.bundle import Predictor
from cifarlab.data import dataset_names, load_splits
from cifarlab.errors import CifarlabError

DRAWN: Final = Path(__file__).parent / "page" / "examples"
MOST: Final = 12  # classes whose pictures are offered; of a model with more, the first


@dataclass(frozen=True)
class Example:
    """A picture to try. label: the class that it shows, None for a thing of no class; content: the image file."""

    name: str
    label: str | None
    origin: str
    content: bytes
    media_type: str


class ExamplePictures:
    """The examples of each model. Reading data takes seconds, so a thread of its own does it, once, from `start` on."""

    def __init__(self, predictors: dict[str, Predictor]) -> None:
        self._predictors = predictors
        self._found: dict[str, Future[tuple[Example, ...]]] = {name: Future() for name in predictors}
        for future in self._found.values():
            future.set_running_or_notify_cancel()  # so that a client who leaves cannot cancel it for the others
        self._lock = threading.Lock()
        self._started = False

    def start(self) -> None:
        """Begin to look for them; later calls do nothing."""
        with self._lock:
            if self._started:
                return
            self._started = True
        # A daemon: a server that stops need not wait for data that nobody will see.
        threading.Thread(target=self._find, name="examples", daemon=True).start()

    def of(self, model: str) -> Future[tuple[Example, ...]]:
        """Those of a served model, in time."""
        self.start()
        return self._found[model]

    def _find(self) -> None:
        for name, predictor in self._predictors.items():
            try:
                self._found[name].set_result(tuple(find_examples(predictor)))
            except Exception as error:
                self._found[name].set_exception(error)


def find_examples(predictor: Predictor) -> list[Example]:
    """From the data that the model was trained on, where it is at hand; else drawn ones, where they show the model's classes; else none."""
    classes = predictor.class_names
    own = from_data(predictor.description, classes, is_run=_is_run(predictor.origin))
    drawn = drawn_examples()
    fitting = [one for one in drawn if one.label in classes]
    if not own and len(fitting) < len(classes):
        return []
    by_label = {one.label: one for one in own or fitting}
    of_no_class = [one for one in drawn if one.label is None] if len(fitting) == len(classes) else []
    return [*(by_label[label] for label in classes if label in by_label), *of_no_class][: MOST + 1]


def drawn_examples() -> list[Example]:
    """The pictures drawn for this project (examples/draw.py): one of each class of CIFAR-10, and a teapot."""
    listed = json.loads((DRAWN / "index.json").read_text(encoding="utf-8"))
    return [
        Example(entry["name"], entry["label"], "drawn for cifarlab", (DRAWN / entry["file"]).read_bytes(), "image/webp") for entry in listed
    ]


def from_data(description: dict[str, Any], classes: Sequence[str], *, is_run: bool) -> list[Example]:
    """The first test picture of each class, as the data set counts them; none where the data is not at hand or has other classes.

    No answer of the model plays a part in the choice. is_run: whether the description is of a run of this machine, whose data may
    be a folder of pictures; a bundle comes from anywhere, and its data is looked for by name alone.
    """
    name = _text(description, "dataset", "name")
    if name not in dataset_names():  # it is the name of the folder alone then; the run's recipe has the path
        name = _text(description, "recipe", "data", "name") if is_run else None
    try:
        if name is None or not (name in dataset_names() or Path(name).expanduser().is_dir()):
            return []
        test = load_splits(name, download=False).test
    except (CifarlabError, OSError, MemoryError):
        return []  # not on this machine, not whole, or too large: the drawn ones, then
    if not set(classes) <= set(test.class_names):
        return []
    origin = f"{test.name}, test split" if name in dataset_names() else "your pictures, test split"
    found = []
    for label in list(classes)[:MOST]:
        index = np.flatnonzero(test.labels == test.class_names.index(label))[:1]
        found += [Example(label, label, f"{origin}, number {number}", _as_png(test.images[number]), "image/png") for number in index]
    return found


def _text(description: dict[str, Any], *keys: str) -> str | None:
    """What `keys` lead to, where that is text."""
    found: Any = description
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None


def _is_run(origin: object) -> bool:
    return isinstance(origin, (str, Path)) and (Path(origin) / "status.json").is_file()


def _as_png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
