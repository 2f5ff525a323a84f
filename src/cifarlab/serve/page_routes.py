"""The web page: its files, the models it can ask, and example pictures."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from starlette.responses import Response

from cifarlab.serve.bodies import header
from cifarlab.serve.example_pictures import Example, ExamplePictures
from cifarlab.serve.queries import check_query
from cifarlab.serve.refusal import RefusedError, json_response
from cifarlab.serve.schemas import ExamplePicture, ServedModelInfo, errors
from cifarlab.serve.service import ServedModel, Service

FOLDER: Final = Path(__file__).parent / "page"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
}
# Nothing but the page's own files runs, styles or is asked; pictures and the webcam live in blobs.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked again each time, and answered with 304 while it is the same
}


@dataclass(frozen=True)
class Asset:
    """A file as it is sent. tag: its ETag."""

    content: bytes
    media_type: str
    tag: str


ModelName = Annotated[str | None, Query(description="Name of the model whose classes they show; without it, the first that is served.")]


def read_assets(folder: Path) -> dict[str, Asset]:
    """Every file under `folder` of a type that a page has, by its path inside: what can be asked for, and nothing else."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in TYPES:
            content = file.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[file.relative_to(folder).as_posix()] = Asset(content, TYPES[file.suffix], tag)
    return found


def page_router(service: Service, pictures: ExamplePictures) -> APIRouter:
    """The routes of the page."""
    router = APIRouter()
    _files(router, read_assets(FOLDER))
    _models(router, service)
    _examples(router, service, pictures)
    return router


def _files(router: APIRouter, assets: dict[str, Asset]) -> None:
    kinds = {asset.media_type.partition(";")[0] for asset in assets.values()}
    described: dict[int | str, dict[str, Any]] = {
        200: {"description": "The file", "content": {kind: {"schema": {"type": "string"}} for kind in sorted(kinds)}},
        304: {"description": "The client has it already (If-None-Match)"},
        **errors(400, 404, 503),
    }

    @router.get("/", summary="The web page", response_model=None, responses={**described, 200: {"content": {"text/html": {}}}})
    async def page(request: Request) -> Response:
        return _answer(request, assets["index.html"])

    @router.get("/page/{file:path}", summary="A file of the web page", response_model=None, responses=described)
    async def asset(request: Request, file: str) -> Response:
        if file not in assets:
            raise RefusedError(404, f"the page has no file {file[:200]!r}")
        return _answer(request, assets[file])


def _answer(request: Request, asset: Asset) -> Response:
    """The file, or 304 for a client that has it."""
    headers = {**HEADERS, "ETag": asset.tag}
    shown = [tag.strip().removeprefix("W/") for tag in (header(request.scope, b"if-none-match") or "").split(",")]
    if asset.tag in shown or "*" in shown:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


def _models(router: APIRouter, service: Service) -> None:
    @router.get(
        "/models",
        summary="The models, the first of them the default",
        response_model=list[ServedModelInfo],
        responses=errors(400, 422, 503),
    )
    async def models(request: Request) -> Response:
        check_query(request, ())
        return json_response([describe_model(model) for model in service.models.values()])


def describe_model(model: ServedModel) -> dict[str, Any]:
    """What the page needs to know of a model; ServedModelInfo tells the fields."""
    predictor = model.predictor
    return {
        "name": model.name,
        "classes": list(predictor.class_names),
        "size": predictor.size,
        "resize": predictor.resize,
        "center_crop": predictor.description["input"].get("center_crop"),
        "color": predictor.description["input"].get("color", "rgb"),
        "views": model.views,
        "unlike": model.judges_likeness,
        "calibrated": predictor.calibration(model.views) is not None,
        "explain": predictor.origin is not None or predictor.engine.name == "torch",
        "engine": predictor.engine.name,
        "accuracy": _accuracy(predictor.description),
    }


def _accuracy(description: dict[str, Any]) -> dict[str, float] | None:
    """The share of right answers on the test split that is recorded with a model, None for none or for what is no share.

    Answers do not depend on it, so it is not checked when a bundle, which comes from anywhere, is loaded.
    """
    found: Any = description
    for key in ("metrics", "test", "accuracy"):
        found = found.get(key) if isinstance(found, dict) else None
    shares: dict[str, Any] = {key: found.get(key) for key in ("value", "low", "high")} if isinstance(found, dict) else {}
    are_shares = all(isinstance(share, int | float) and 0 <= share <= 1 for share in shares.values())
    return shares if shares and are_shares else None


def _examples(router: APIRouter, service: Service, pictures: ExamplePictures) -> None:
    async def found(model: str | None) -> tuple[Example, ...]:
        async with service.deadline():  # a large folder of pictures takes minutes to read
            return await asyncio.wrap_future(pictures.of(service.model(model).name))

    @router.get(
        "/examples",
        summary="Pictures to try, one a class",
        response_model=list[ExamplePicture],
        responses=errors(400, 404, 422, 503, 504),
    )
    async def examples(request: Request, model: ModelName = None) -> Response:
        check_query(request, ("model",))
        query = "" if model is None else f"?model={quote(model, safe='')}"
        described = [
            {"name": one.name, "label": one.label, "origin": one.origin, "url": f"examples/{number}{query}"}
            for number, one in enumerate(await found(model))
        ]
        return json_response(described)

    kinds = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/png", "image/webp")}

    @router.get(
        "/examples/{number}",
        summary="One of these pictures",
        response_model=None,
        responses={200: {"description": "The image file", "content": kinds}, **errors(400, 404, 422, 503, 504)},
    )
    async def example(request: Request, number: Annotated[int, InPath(ge=0, le=9999)], model: ModelName = None) -> Response:
        check_query(request, ("model",))
        listed = await found(model)
        if number >= len(listed):
            raise RefusedError(404, f"there is no example {number}; there are {len(listed)}, counted from 0")
        headers = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
        return Response(listed[number].content, headers=headers, media_type=listed[number].media_type)
