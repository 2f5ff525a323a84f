"""The ASGI application: routes of a service behind its gate."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from cifarlab.serve.example_pictures import ExamplePictures
from cifarlab.serve.explain_routes import explain_router
from cifarlab.serve.gate import Gate, without_token
from cifarlab.serve.page_routes import page_router
from cifarlab.serve.predict_route import predict_router
from cifarlab.serve.refusal import RefusedError, json_response
from cifarlab.serve.runs_routes import runs_router
from cifarlab.serve.schemas import errors
from cifarlab.serve.service import VERSION, Service
from cifarlab.serve.v2_routes import v2_router

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
ABOUT = "Trained image classifiers over HTTP: POST /predict with an image, or the Open Inference Protocol, version 2, under /v2."


def create_app(
    service: Service,
    *,
    token: str | None = None,
    hosts: frozenset[str] | None = None,
    runs: Path | None = None,
) -> FastAPI:
    """The application of a started `service`. More routes can be added with `include_router`; the gate covers them too.

    token: what clients must send as "Authorization: Bearer TOKEN", health aside. hosts: names that the Host header may
    have, without port; None for any. runs: folder whose runs are shown.
    """
    app = FastAPI(
        title="cifarlab",
        version=installed_version("cifarlab"),
        description=ABOUT,
        openapi_url="/openapi.json",
        # Their pages load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={} if token is None else errors(401),
    )
    app.state.service = service
    app.state.examples = ExamplePictures({name: model.predictor for name, model in service.models.items()})
    app.add_middleware(Gate, service=service, token=token, hosts=hosts)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _fault)
    app.include_router(predict_router(service))  # first: routes are looked through in order
    app.include_router(v2_router(service))
    app.include_router(explain_router(service))
    app.include_router(page_router(service, app.state.examples))
    app.include_router(runs_router(service, runs))

    @app.get("/metrics", summary="Counters in Prometheus' text format", responses={200: {"content": {"text/plain": {}}}, **errors(400)})
    async def metrics() -> Response:
        return Response(service.telemetry.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    _declare(app, service, needs_token=token is not None)
    return app


def _declare(app: FastAPI, service: Service, *, needs_token: bool) -> None:
    """What FastAPI cannot know, told in the OpenAPI document: the names of the models, and that a token is needed."""
    names = {"name": list(service.models), "model": list(service.models), "version": [VERSION]}
    generate = app.openapi

    def document() -> dict[str, Any]:
        """FastAPI's document, made once, with what it cannot know."""
        made = app.openapi_schema is None
        described = generate()
        if not made:
            return described
        operations = [(path, operation) for path, item in described["paths"].items() for operation in item.values()]
        for path, operation in operations:
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in names and not path.startswith("/runs"):
                    parameter["schema"] = {"type": "string", "enum": names[parameter["name"]]}
            if needs_token and not without_token(path):
                operation["security"] = [{"token": []}]
        if needs_token:
            described.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        return described

    app.openapi = document  # type: ignore[method-assign]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return error.response()


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = str(error.detail)
    if error.status_code == 404:
        reason = f"there is nothing at {request.url.path[:200]}. POST /predict takes images; /openapi.json lists all routes"
    elif error.status_code == 405:
        reason = f"{request.method} is not allowed at {request.url.path[:200]}"
    return RefusedError(error.status_code, reason, headers=error.headers).response()


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [f"{problem['loc'][-1]}: {problem['msg']} (given: {str(problem.get('input'))[:60]!r})" for problem in error.errors()]
    return json_response({"error": "; ".join(problems)}, status=422)


async def _fault(request: Request, error: Exception) -> Response:
    """A fault of the server: told without details, which go to its log."""
    return json_response({"error": "internal error; the server's log says more"}, status=500)
