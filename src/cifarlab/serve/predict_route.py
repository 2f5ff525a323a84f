"""POST /predict: an image in, the most probable classes out."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from starlette.responses import Response

from cifarlab.bundle import Predicted
from cifarlab.errors import ImageError
from cifarlab.serve.bodies import header, image_part, read_body
from cifarlab.serve.gate import MODEL
from cifarlab.serve.queries import check_query
from cifarlab.serve.refusal import RefusedError, json_response
from cifarlab.serve.schemas import IMAGE_BODY, Prediction, errors
from cifarlab.serve.service import ServedModel, Service, image_refusal

ALLOWED = ("model", "top_k", "views")


def predict_router(service: Service) -> APIRouter:
    """The route of `service`."""
    router = APIRouter()

    @router.post(
        "/predict",
        summary="Classify one image",
        response_model=None,
        responses={200: {"model": Prediction}, **errors(400, 404, 408, 413, 415, 422, 429, 500, 503, 504)},
        openapi_extra={"requestBody": IMAGE_BODY},
    )
    async def predict(
        request: Request,
        model: Annotated[str | None, Query(description="Name of the model; without it, the first that is served.")] = None,
        top_k: Annotated[int, Query(ge=1, description="How many classes to tell at most.")] = 3,
        views: Annotated[Literal["none", "flip", "six", "selective"] | None, Query(description="Instead of the model's own.")] = None,
    ) -> Response:
        """The most probable classes of one image, as the body or as one file of a form."""
        check_query(request, ALLOWED)
        served = service.ready_model(model)
        request.scope[MODEL] = served.name
        chosen = views or served.views
        served.check_views(chosen)
        limits = service.limits
        served.batcher.check_room()
        with service.bodies.share() as share:
            body = await read_body(request.receive, limit=limits.max_bytes, seconds=limits.deadline, share=share)
            content_type = header(request.scope, b"content-type") or ""
            work = functools.partial(decode_image, served, body, content_type, max_pixels=limits.max_pixels)
            with served.batcher.slot():  # only now: who sends slowly holds no place in the queue
                predicted = await service.infer(served, work, views=chosen, receive=request.receive)
        return json_response(_answer(served, predicted, top_k=top_k, views=chosen))

    return router


def decode_image(served: ServedModel, body: bytes, content_type: str, *, max_pixels: int) -> list[NDArray[np.uint8]]:
    """The one image of a request, uint8 [size, size, 3] as the network's input size wants it; for a thread beside the event loop."""
    if content_type.partition(";")[0].strip().lower() == "multipart/form-data":
        body = image_part(content_type, body)
    if body[:1] == b"{" and b"http" in body[:2000]:
        raise RefusedError(415, "the body is JSON, not an image. URLs are not fetched; send the image's bytes")
    try:
        return [served.predictor.read(body, max_pixels=max_pixels)]
    except ImageError as error:
        raise image_refusal(error) from error


def _answer(served: ServedModel, predicted: Predicted, *, top_k: int, views: str) -> dict[str, Any]:
    row = predicted.probabilities[0]
    best = (-row).argsort(kind="stable")[:top_k]
    names = served.predictor.class_names
    return {
        "model": served.name,
        "views": views,
        "predictions": [{"label": names[index], "probability": float(row[index])} for index in best],
        "unlike": None if predicted.unlike is None else bool(predicted.unlike[0]),
    }
