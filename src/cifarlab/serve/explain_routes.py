"""POST /explain: why a model answers what it answers, and what its layers see."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from cifarlab.errors import BundleError, UsageError
from cifarlab.serve.bodies import header, read_body
from cifarlab.serve.explain_answers import Pixels, Question, as_png, explain
from cifarlab.serve.explain_schemas import EXPLAIN_BODY, PNG, Explanation
from cifarlab.serve.explainer import Explainer
from cifarlab.serve.gate import MODEL
from cifarlab.serve.predict_route import decode_image
from cifarlab.serve.queries import check_query
from cifarlab.serve.refusal import RefusedError, json_response
from cifarlab.serve.schemas import errors
from cifarlab.serve.service import ServedModel, Service

Kind = Literal["layers", "gradcam", "occlusion", "activations", "receptive_field"]
WITHOUT_PICTURE = ("layers", "receptive_field")
ALLOWED = ("kind", "model", "target", "layer", "channel", "channels", "row", "column", "patch", "stride", "form")


def explain_router(service: Service) -> APIRouter:
    """The route of `service`."""
    router = APIRouter()
    explainers = {name: Explainer(name, served.predictor, deadline=service.limits.deadline) for name, served in service.models.items()}

    @router.post(
        "/explain",
        summary="Explain what a model makes of one image",
        response_model=None,
        responses={
            200: {"model": Explanation, "content": {"image/png": PNG}},
            **errors(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        },
        openapi_extra={"requestBody": EXPLAIN_BODY},
    )
    async def explain_image(
        request: Request,
        kind: Annotated[Kind, Query(description="What is asked.")],
        model: Annotated[str | None, Query(description="Name of the model; without it, the first that is served.")] = None,
        target: Annotated[str | None, Query(description="Class of gradcam and occlusion; without it, the most probable.")] = None,
        layer: Annotated[str | None, Query(description="Name of a layer; without it, `default_layer` of kind=layers.")] = None,
        channel: Annotated[int, Query(ge=0, description="The first channel of activations.")] = 0,
        channels: Annotated[int, Query(ge=1, le=256, description="How many channels at most; fewer where they are large.")] = 32,
        row: Annotated[int, Query(ge=0, description="Of the position whose receptive_field is asked.")] = 0,
        column: Annotated[int, Query(ge=0, description="Of the position whose receptive_field is asked.")] = 0,
        patch: Annotated[int | None, Query(ge=1, description="Side in pixels of occlusion's patch; a quarter of the picture.")] = None,
        stride: Annotated[int | None, Query(ge=1, description="By how much it moves; half of itself.")] = None,
        form: Annotated[Literal["json", "png"], Query(description="png: the map or the channels in gray.")] = "json",
    ) -> Response:
        """The network on the picture itself, one view, whatever views its predictions average. The image is the body, or one
        file of a form. Grad-CAM and activations need PyTorch; with another engine the bundle's weights are loaded for them."""
        check_query(request, ALLOWED)
        if form == "png" and kind in WITHOUT_PICTURE:
            raise RefusedError(422, f"form=png: kind={kind} has no picture. Ask for form=json")
        served = service.ready_model(model)
        request.scope[MODEL] = served.name
        asked = Question(
            kind=kind, target=target, layer=layer, channel=channel, channels=channels, row=row, column=column, patch=patch, stride=stride
        )
        explainer = explainers[served.name]
        explainer.check_room()
        with service.bodies.share() as share:
            body = await read_body(request.receive, limit=service.limits.max_bytes, seconds=service.limits.deadline, share=share)
            content_type = header(request.scope, b"content-type") or ""

            def work() -> tuple[dict[str, Any], bytes | None]:
                image = None if kind in WITHOUT_PICTURE else _image(service, served, body, content_type)
                return _explained(explainer, asked, image, png=form == "png")

            with explainer.slot() as slot:  # only now: who sends slowly holds no place in the queue
                told, picture = await slot.answer(work, receive=request.receive)
        if picture is not None:
            return Response(picture, headers={"X-Content-Type-Options": "nosniff"}, media_type="image/png")
        return json_response(told)

    return router


def _image(service: Service, served: ServedModel, body: bytes, content_type: str) -> Pixels:
    return decode_image(served, body, content_type, max_pixels=service.limits.max_pixels)[0]


def _explained(explainer: Explainer, asked: Question, image: Pixels | None, *, png: bool) -> tuple[dict[str, Any], bytes | None]:
    try:
        told, picture = explain(explainer, asked, image)
    except UsageError as error:
        raise RefusedError(422, str(error)[:900]) from error
    except BundleError as error:
        raise RefusedError(500, str(error)[:900]) from error
    return told, as_png(picture, told) if png and picture is not None else None
