"""The routes of the Open Inference Protocol, version 2."""

from __future__ import annotations

import functools
from importlib.metadata import version as installed_version
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from cifarlab.serve.bodies import header, read_body
from cifarlab.serve.gate import MODEL
from cifarlab.serve.protocol import EXTENSIONS, HEADER_LENGTH, InferenceRequest, format_response, parse_request, tensors
from cifarlab.serve.refusal import RefusedError, json_response
from cifarlab.serve.schemas import (
    BINARY,
    InferenceResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    errors,
    inference_body,
)
from cifarlab.serve.service import VERSION, ServedModel, Service

ONE = "/v2/models/{name}"
VERSIONED = "/v2/models/{name}/versions/{version}"


def v2_router(service: Service) -> APIRouter:
    """The routes of `service`."""
    router = APIRouter()
    _inference(router, service)  # first: routes are looked through in order
    _health(router, service)
    _metadata(router, service)
    return router


def _health(router: APIRouter, service: Service) -> None:
    @router.get("/v2/health/live", summary="Whether the process answers", response_model=ServerLive, responses=errors(400))
    async def live() -> Response:
        return json_response({"live": True})

    not_ready: dict[int | str, dict[str, Any]] = {
        503: {"model": ServerReady, "description": "Not all models answer, or the server is stopping"}
    }

    @router.get("/v2/health/ready", summary="Whether all models answer", response_model=ServerReady, responses={**errors(400), **not_ready})
    async def ready() -> Response:
        return json_response({"live": True, "ready": service.ready}, status=200 if service.ready else 503)

    model_not_ready: dict[int | str, dict[str, Any]] = {
        503: {"model": ModelReady, "description": "The model does not answer yet, or the server is stopping"}
    }
    known: dict[str, Any] = {"response_model": ModelReady, "responses": {**errors(400, 404), **model_not_ready}}

    @router.get(ONE + "/ready", summary="Whether a model answers", **known)
    async def model_ready(name: str) -> Response:
        return _model_ready(service.model(name))

    @router.get(VERSIONED + "/ready", summary="Whether a version of a model answers", **known)
    async def version_ready(name: str, version: str) -> Response:
        return _model_ready(service.model(name, version=version))

    def _model_ready(model: ServedModel) -> Response:
        is_ready = model.batcher.ready and not service.draining
        return json_response({"name": model.name, "ready": is_ready}, status=200 if is_ready else 503)


def _metadata(router: APIRouter, service: Service) -> None:
    known: dict[str, Any] = {"response_model": ServerMetadata, "responses": errors(400, 503)}

    @router.get("/v2/", include_in_schema=False, **known)
    @router.get("/v2", summary="The server", **known)
    async def server() -> Response:
        return json_response({"name": "cifarlab", "version": installed_version("cifarlab"), "extensions": EXTENSIONS})

    described: dict[str, Any] = {"response_model": ModelMetadata, "responses": errors(400, 404, 503)}

    @router.get(ONE, summary="A model", **described)
    async def model(name: str) -> Response:
        return _describe(service.model(name))

    @router.get(VERSIONED, summary="A version of a model", **described)
    async def model_version(name: str, version: str) -> Response:
        return _describe(service.model(name, version=version))


def _describe(model: ServedModel) -> Response:
    inputs, outputs = _tensors(model)
    platform = f"cifarlab_{model.predictor.engine.name}"
    return json_response({"name": model.name, "versions": [VERSION], "platform": platform, "inputs": inputs, "outputs": outputs})


def _tensors(model: ServedModel) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    return tensors(size=model.predictor.size, classes=len(model.predictor.class_names), unlike=model.judges_likeness)


def _inference(router: APIRouter, service: Service) -> None:
    sizes = {model.predictor.size for model in service.models.values()}
    known: dict[str, Any] = {
        "response_model": None,
        "responses": {
            200: {"model": InferenceResponse, "content": {"application/octet-stream": BINARY}},
            **errors(400, 404, 408, 413, 415, 429, 500, 503, 504),
        },
        "openapi_extra": {"requestBody": inference_body(sizes.pop() if len(sizes) == 1 else None)},
    }

    @router.post(ONE + "/infer", summary="Infer", **known)
    async def infer(request: Request, name: str) -> Response:
        return await _infer(service, request, name, None)

    @router.post(VERSIONED + "/infer", summary="Infer with a version of a model", **known)
    async def infer_version(request: Request, name: str, version: str) -> Response:
        return await _infer(service, request, name, version)


async def _infer(service: Service, request: Request, name: str, version: str | None) -> Response:
    model = service.ready_model(name, version=version)
    request.scope[MODEL] = model.name
    limits = service.limits
    model.batcher.check_room()
    with service.bodies.share() as share:
        body = await read_body(request.receive, limit=limits.max_bytes, seconds=limits.deadline, share=share)
        with model.batcher.slot() as slot:  # only now: who sends slowly holds no place in the queue
            async with service.deadline():
                parsed = await service.aside(functools.partial(_parse, model, body, header(request.scope, HEADER_LENGTH.encode())))
                slot.grow(len(parsed.images))
                predicted = await service.infer(model, lambda: list(parsed.images), views=model.views, receive=request.receive)
    content, headers = format_response(predicted, model=model.name, version=VERSION, outputs=parsed.outputs, identifier=parsed.identifier)
    return Response(content, headers=headers)


def _parse(model: ServedModel, body: bytes, header_length: str | None) -> InferenceRequest:
    names = [str(output["name"]) for output in _tensors(model)[1]]
    if not body:
        raise RefusedError(400, "the body is empty; an inference request is expected")
    return parse_request(body, header_length=header_length, size=model.predictor.size, outputs=names)
