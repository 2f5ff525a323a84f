"""Explanations as JSON and as pictures."""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cifarlab.bundle import Predictor
from cifarlab.errors import nearest
from cifarlab.serve.explainer import Explainer
from cifarlab.serve.refusal import RefusedError

if TYPE_CHECKING:
    from cifarlab.explain import TracedNetwork

MOST_VALUES: Final = 1 << 18  # of one answer: 1 MiB of float32
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a client asks for, besides the picture; see POST /explain."""

    kind: str
    target: str | None = None
    layer: str | None = None
    channel: int = 0
    channels: int = 32
    row: int = 0
    column: int = 0
    patch: int | None = None
    stride: int | None = None


def explain(explainer: Explainer, question: Question, image: Pixels | None) -> tuple[dict[str, Any], Pixels | None]:
    """The answer to `question` about `image`, uint8 [size, size, 3], and a picture of it, uint8 [H, W], where there is one.

    For the explaining thread alone. Raises RefusedError; UsageError for arguments that do not fit.
    """
    head = {"model": explainer.name, "kind": question.kind, "views": "none"}
    if question.kind == "layers":
        return {**head, **_layers(explainer)}, None
    if question.kind == "receptive_field":
        return {**head, **_field(explainer, question)}, None
    assert image is not None
    answer = {"gradcam": _gradcam, "occlusion": _occlusion, "activations": _activations}[question.kind]
    told, picture = answer(explainer, question, image)
    return {**head, **told}, picture


def as_png(picture: Pixels, told: dict[str, Any]) -> bytes:
    """`picture` as a gray PNG; what the JSON form tells besides arrays is in its text chunk "explanation"."""
    text = {key: value for key, value in told.items() if key not in ("values", "over_picture", "fields")}
    info = PngInfo()
    info.add_itxt("explanation", json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace").decode())
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png", pnginfo=info)
    return file.getvalue()


# -- kinds --------------------------------------------------------------------------------------------------------


def _layers(explainer: Explainer) -> dict[str, Any]:
    network = explainer.network()
    return {
        "size": network.size,
        "network_size": network.network_size,
        "default_layer": _default(network),
        "fill": list(_fill(explainer.predictor)),
        "layers": [_layer(network, name) for name in network.rows],
    }


def _gradcam(explainer: Explainer, question: Question, image: Pixels) -> tuple[dict[str, Any], Pixels]:
    from cifarlab.explain import grad_cam

    network, predictor = explainer.network(), explainer.predictor
    target = _target(predictor, question.target, image)
    found = grad_cam(network, image, target=target, layer=_known(network, question.layer))
    highest = _finite(found.values.max())
    judged = predictor.judge(found.logits[None], views="none").probabilities[0]
    told = {
        "layer": found.layer,
        "target": _told_target(predictor, target, float(judged[target])),
        "shape": list(found.values.shape),
        "values": _short(found.values),
        "over_picture": _short(found.resized),
        "highest": highest,
    }
    return told, _gray(found.resized, 0.0, highest)


def _occlusion(explainer: Explainer, question: Question, image: Pixels) -> tuple[dict[str, Any], Pixels]:
    from cifarlab.explain import occlusion_map

    predictor = explainer.predictor
    fill = _fill(predictor)
    size = predictor.size
    side = question.patch or max(1, size // 4)
    step = question.stride or max(1, side // 2)
    if (patches := (max(0, size - side) // step + 2) ** 2) > MOST_PATCHES:
        raise RefusedError(
            422, f"patch {side} moved by {step}: about {patches} pictures to look at; at most {MOST_PATCHES}. Move it further"
        )

    def probabilities(images: Pixels) -> NDArray[np.float64]:
        explainer.check_wanted()  # hundreds of pictures may take longer than anybody waits
        return predictor.predict_arrays(list(images), tta="none").probabilities

    found = occlusion_map(
        probabilities,
        image,
        target=_target(predictor, question.target, image),
        patch=question.patch,
        stride=question.stride,
        fill=fill,
    )
    told = {
        "target": _told_target(predictor, found.target, found.probability),
        "patch": found.patch,
        "tops": found.tops.tolist(),
        "fill": list(fill),
        "values": _short(found.drops),
        "over_picture": _short(found.resized),
        "lowest": float(found.drops.min()),
        "highest": float(found.drops.max()),
    }
    most = float(np.abs(found.resized).max())
    return told, _gray(found.resized, -most, most)


def _activations(explainer: Explainer, question: Question, image: Pixels) -> tuple[dict[str, Any], Pixels]:
    from cifarlab.explain import receptive_fields_of

    network = explainer.network()
    name = _known(network, question.layer) or _default(network) or next(iter(network.rows))
    values = network.run(image[None], layer=name)[0][0].float().cpu().numpy()  # [C, h, w] or [F]
    if values.ndim not in (1, 3):
        raise RefusedError(422, f"layer {name!r} gives values of shape {list(values.shape)}, which are not drawn; choose another")
    values = values.reshape(len(values), *(values.shape[1:] or (1, 1)))
    total = len(values)
    if question.channel >= total:
        raise RefusedError(422, f"channel {question.channel}: layer {name!r} has the channels 0 to {total - 1}"[:900])
    lowest, highest = _finite(values.min()), _finite(values.max())
    most = max(1, MOST_VALUES // (values.shape[1] * values.shape[2]))
    chosen = np.ascontiguousarray(values[question.channel :][: min(question.channels, most)], dtype="<f4")
    fields = receptive_fields_of(network, layer=name)
    told = {
        "layer": _layer(network, name),
        "shape": list(chosen.shape),
        "first": question.channel,
        "channels": total,
        "lowest": lowest,
        "highest": highest,
        "values": base64.b64encode(chosen.tobytes()).decode(),
        "fields": None if fields is None else {"rows": fields[0], "columns": fields[1]},
    }
    return told, _sprite(_gray(chosen, lowest, highest))


def _field(explainer: Explainer, question: Question) -> dict[str, Any]:
    from cifarlab.explain import receptive_field_of

    network = explainer.network()
    name = _known(network, question.layer) or _default(network) or next(iter(network.rows))
    found = receptive_field_of(network, layer=name, row=question.row, column=question.column)
    cell = {"row": question.row, "column": question.column}
    if found is None:
        return {"layer": name, "cell": cell, "box": None, "inside": None}
    return {"layer": name, "cell": cell, "box": vars(found), "inside": vars(found.inside(network.size))}


# -- parts --------------------------------------------------------------------------------------------------------

MOST_PATCHES: Final = 1200


def _layer(network: TracedNetwork, name: str) -> dict[str, Any]:
    row = network.rows[name]
    return {
        "name": name,
        "kind": row.kind,
        "type": row.type,
        "shape": list(row.output_shape),
        "parameters": row.parameters,
        "receptive_field": row.receptive_field,
        "step": row.step,
        "has_map": name in network.spatial,
    }


def _default(network: TracedNetwork) -> str | None:
    from cifarlab.errors import UsageError
    from cifarlab.explain import default_layer

    try:
        return default_layer(network)
    except UsageError:
        return None


def _known(network: TracedNetwork, layer: str | None) -> str | None:
    """`layer`, if the network has it. A network may have a hundred, so the refusal does not list them."""
    if layer is None or layer in network.rows:
        return layer
    match = nearest(layer[:100], network.rows)
    hint = f"; did you mean {match!r}?" if match else "."
    raise RefusedError(422, f"unknown layer {layer[:100]!r}{hint} kind=layers lists them")


def _target(predictor: Predictor, label: str | None, image: Pixels) -> int:
    """The number of the class `label`, without it of the most probable class of the one view."""
    if label is None:
        return int(predictor.predict_arrays([image], tta="none").probabilities[0].argmax())
    if label in predictor.class_names:
        return predictor.class_names.index(label)
    match = nearest(label[:100], predictor.class_names)
    hint = f"; did you mean {match!r}?" if match else "."
    raise RefusedError(422, f"unknown class {label[:100]!r}{hint} The model has {len(predictor.class_names)}; GET /models lists them")


def _told_target(predictor: Predictor, target: int, probability: float) -> dict[str, Any]:
    calibrated = predictor.calibration("none") is not None
    return {"label": predictor.class_names[target], "index": target, "probability": probability, "calibrated": calibrated}


def _fill(predictor: Predictor) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, round(255 * value))) for value in predictor.description["input"]["mean"])
    return red, green, blue


def _finite(value: np.floating) -> float:
    if not np.isfinite(value):
        raise RefusedError(500, "the model gives values that are not finite: its weights are damaged")
    return float(value)


def _short(values: NDArray[np.floating]) -> list[list[float]]:
    """Numbers with six significant digits of the largest: JSON of half the length."""
    most = float(np.abs(values).max())
    digits = 6 if most == 0 else 5 - math.floor(math.log10(most))
    rounded: list[list[float]] = (np.round(values.astype(np.float64), digits) + 0.0).tolist()  # + 0.0: no -0.0
    return rounded


def _gray(values: NDArray[np.floating], low: float, high: float) -> Pixels:
    """low -> 0, high -> 255."""
    scaled = (values.astype(np.float64) - low) / (high - low) if high > low else np.zeros(values.shape)
    return np.round(255 * scaled.clip(0, 1)).astype(np.uint8)


def _sprite(channels: Pixels) -> Pixels:
    """[C, h, w] -> one picture, channels row by row in a grid that is about as wide as high, empty places black."""
    count, height, width = channels.shape
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    grid = np.zeros((down * across, height, width), dtype=np.uint8)
    grid[:count] = channels
    return grid.reshape(down, across, height, width).transpose(0, 2, 1, 3).reshape(down * height, across * width)
