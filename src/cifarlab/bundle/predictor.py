"""Files in, labels and probabilities out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifarlab.bundle.calibration import unlikeness
from cifarlab.bundle.engines import Engine, finite, open_engine
from cifarlab.bundle.manifest import VIEWS, read_description
from cifarlab.bundle.selective import REST, SELECTIVE, can_select, confidence_of, view_logits
from cifarlab.bundle.shipped import find_model
from cifarlab.data.images import fit_image, read_image
from cifarlab.errors import BundleError, UsageError, unknown
from cifarlab.metrics import softmax

Source = str | Path | bytes | BinaryIO | Image.Image | NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a model says of N images. `labels, probabilities = predicted` takes the first two.

    labels: N class names, the most probable of each image; probabilities: float64 [N, K], rows sum to 1, calibrated on
    validation where the bundle has a temperature. unlike: bool [N], whether an image is unlike the training data, and
    score: float64 [N], which is above a threshold then; None where the bundle has no threshold for the views used.
    """

    labels: list[str]
    probabilities: NDArray[np.float64]
    unlike: NDArray[np.bool_] | None = None
    score: NDArray[np.float64] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.labels, self.probabilities))


class Predictor:
    """A trained network with its preprocessing. class_names: K names; size: input side in pixels; tta: views by default.

    origin: what it was loaded by, for whoever prints it.
    """

    def __init__(self, engine: Engine, description: dict[str, Any], *, origin: str | Path | None = None) -> None:
        self.engine = engine
        self.origin = origin
        self.description = description
        self.class_names: tuple[str, ...] = tuple(description["classes"])
        self.size: int = description["input"]["size"]
        self.resize: str = description["input"]["resize"]
        self.tta: str = description["tta"]

    def __repr__(self) -> str:
        network = self.description["model"]["name"]
        computes = f"{self.engine.name} on {self.engine.device}"
        origin = "" if self.origin is None else f", from {self.origin}"
        return f"<Predictor: {network}, {len(self.class_names)} classes, {self.size} px, {computes}{origin}>"

    def read(self, source: Source, *, max_pixels: int = 50_000_000) -> NDArray[np.uint8]:
        """One image as the network's input size wants it, uint8 [size, size, 3]; raises ImageError.

        `source`: a path, the bytes of an image file, an open binary file, a Pillow image, or uint8 [H, W, 3]; a file with more
        pixels than `max_pixels` is refused before it is decoded.
        """
        if not isinstance(source, (str, Path, bytes, Image.Image, np.ndarray)) and not hasattr(source, "read"):
            raise UsageError(
                f"an image is a path, bytes, an open file, a Pillow image or a uint8 array [H, W, 3], not {type(source).__name__}"
            )
        if isinstance(source, np.ndarray):
            return fit_image(source, size=self.size, resize=self.resize)
        image = read_image(Path(source) if isinstance(source, str) else source, max_pixels=max_pixels)
        return fit_image(image, size=self.size, resize=self.resize)

    def predict(self, sources: Sequence[Source] | NDArray[np.uint8], *, tta: str | None = None, batch_size: int = 256) -> Predicted:
        """Labels and probabilities of images; raises ImageError at the first that cannot be read.

        `sources`: a list of what `read` takes, or one array uint8 [N, H, W, 3].
        `tta`: "none", "flip" or "six" views of each image, or "selective": two where they suffice, else six; without it, what the
        model was made to be used with.
        float32 arithmetic, so that the answer does not depend on the images beside it beyond rounding.
        """
        is_batch = isinstance(sources, np.ndarray) and sources.ndim == 4
        if not is_batch and (isinstance(sources, (str, Path, bytes)) or not isinstance(sources, Sequence)):
            raise UsageError("predict takes a list of images, such as predict(['cat.jpg']), or an array uint8 [N, H, W, 3]")
        return self.predict_arrays([self.read(source) for source in sources], tta=tta, batch_size=batch_size)

    def predict_arrays(self, images: Sequence[NDArray[np.uint8]], *, tta: str | None = None, batch_size: int = 256) -> Predicted:
        """As `predict`, for images that `read` has prepared: uint8 [size, size, 3] each."""
        views = self.choose_views(tta)
        parts = [np.zeros((0, len(self.class_names)), dtype=np.float32)]
        for start in range(0, len(images), batch_size):
            part = np.stack(images[start : start + batch_size])
            parts.append(view_logits(self.engine, part, views=views, description=self.description))
        return self.judge(np.concatenate(parts), views=views)

    def judge(self, logits: NDArray[np.float32], *, views: str) -> Predicted:
        """Labels, probabilities and the judgement "unlike the training data" from logits float32 [N, K] of `views`."""
        fitted = self.calibration(views)
        scaled = finite(logits).astype(np.float64) / (1.0 if fitted is None else fitted["temperature"])
        probabilities = softmax(scaled) if len(scaled) else scaled
        labels = [self.class_names[index] for index in logits.argmax(1)]
        if fitted is None:
            return Predicted(labels, probabilities)
        score = unlikeness(self.description["calibration"]["score"], logits)
        return Predicted(labels, probabilities, score > fitted["threshold"], score)

    def choose_views(self, given: str | None) -> str:
        """`given`, or without it the model's own views; raises UsageError for views that there are not, or not for this model."""
        if given is None:
            return self.tta
        if given not in VIEWS:
            raise UsageError(unknown("views", given, VIEWS))
        if given == SELECTIVE:
            confidence_of(self.description)  # raises where there is none
        if given not in self.views:
            raise UsageError(f"engine {self.engine.name} of this model has no views {given!r}, but {', '.join(self.views)}")
        return given

    @property
    def views(self) -> tuple[str, ...]:
        """What it can be asked for as `tta`: an ONNX file holds the views that it was written with, and not every bundle can select."""
        held: tuple[str, ...] = getattr(self.engine, "views", ("none", "flip", "six", REST))
        selective = REST in held and can_select(self.description)
        return tuple(name for name in VIEWS if name in held or (name == SELECTIVE and selective))

    def calibration(self, views: str) -> dict[str, Any] | None:
        """What was fitted on validation for `views`: "temperature", "threshold" and more; None where nothing was."""
        fitted: dict[str, Any] | None = (self.description.get("calibration") or {}).get("views", {}).get(views)
        return fitted


def load_predictor(path: str | Path, *, device: Any = "auto", engine: str = "torch") -> Predictor:
    """Load a bundle, a run directory, a shipped model by name or one of the Hub ("hf://owner/name").

    Raises UsageError where `path` is none of these, BundleError where it is damaged. device: "auto", "cpu", "cuda", "mps" or a
    torch.device; engine: one of `cifarlab.bundle.engines.ENGINES`.
    """
    if not isinstance(path, (str, Path)):
        raise UsageError(f"a model is a path or a name, such as runs/demo or 'cifar10-fast', not {type(path).__name__}")
    folder = find_model(path)
    description = read_description(folder)
    try:
        return Predictor(open_engine(engine, folder, description, device=device), description, origin=path)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{folder / 'bundle.json'} is damaged: {error}") from error
