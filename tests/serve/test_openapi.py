"""The OpenAPI document is true: schemathesis finds no answer that it does not describe, and real answers fit it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from asking import Client
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from small_models import SIZE, encoded, picture

from cifarlab.serve import Service, create_app

TRUE_TO_IT = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ROUTES = {
    "/v2": {"get"},
    "/v2/health/live": {"get"},
    "/v2/health/ready": {"get"},
    "/v2/models/{name}": {"get"},
    "/v2/models/{name}/ready": {"get"},
    "/v2/models/{name}/infer": {"post"},
    "/v2/models/{name}/versions/{version}": {"get"},
    "/v2/models/{name}/versions/{version}/ready": {"get"},
    "/v2/models/{name}/versions/{version}/infer": {"post"},
    "/predict": {"post"},
    "/explain": {"post"},
    "/metrics": {"get"},
    "/": {"get"},
    "/page/{file}": {"get"},
    "/models": {"get"},
    "/examples": {"get"},
    "/examples/{number}": {"get"},
    "/runs": {"get"},
    "/runs/{name}": {"get"},
    "/runs/{name}/events": {"get"},
    "/runs/{name}/confusion": {"get"},
    "/runs/{name}/reliability": {"get"},
    "/runs/{name}/errors": {"get"},
    "/runs/{name}/images/{split}/{index}": {"get"},
}
NAMED_BY_CLIENTS = {
    "/page/{file}",
    "/examples/{number}",
    *(path for path in ROUTES if path.startswith("/runs/")),
}  # which a client may name without there being such a thing


@pytest.fixture(scope="module")
def api(service: Service) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(service))


# What can be wrong lies in a body or a query: such cases are made for the routes that take one.
KINDS = [
    *[(GenerationMode.POSITIVE, path, method) for path, methods in ROUTES.items() for method in methods],
    *[(GenerationMode.NEGATIVE, path, "post") for path, methods in ROUTES.items() if "post" in methods],
]


@pytest.mark.parametrize(("mode", "path", "method"), KINDS)
def test_no_answer_is_undescribed(api: Any, mode: GenerationMode, path: str, method: str) -> None:
    seen = set()

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=api[path][method.upper()].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        seen.add(case.call_and_validate(checks=TRUE_TO_IT).status_code)

    ask()
    allowed = {200, 400, 404, 413, 415, 422} if method == "post" else {200, 404} if path in NAMED_BY_CLIENTS else {200}
    assert seen <= allowed, seen


def test_the_document_lists_every_route(client: Client) -> None:
    document = client.get("/openapi.json").json()
    assert {path: set(item) for path, item in document["paths"].items()} == ROUTES


def described(document: dict[str, Any], path: str, method: str, status: str) -> dict[str, Any]:
    content = document["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    return {**content, "components": document["components"]}


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("POST", "/predict", "/predict", 200),
        ("POST", "/predict?model=second", "/predict", 200),
        ("POST", "/predict?top_k=x", "/predict", 422),
        ("POST", "/explain?kind=layers", "/explain", 200),
        ("POST", "/explain?kind=gradcam", "/explain", 200),
        ("POST", "/explain?kind=occlusion&patch=10", "/explain", 200),
        ("POST", "/explain?kind=activations&layer=head", "/explain", 200),
        ("POST", "/explain?kind=receptive_field", "/explain", 200),
        ("POST", "/explain?kind=activations&channel=-1", "/explain", 422),
        ("POST", "/v2/models/second/infer", "/v2/models/{name}/infer", 200),
        ("GET", "/v2/models/second", "/v2/models/{name}", 200),
        ("GET", "/v2/models/other", "/v2/models/{name}", 404),
        ("GET", "/v2", "/v2", 200),
        ("GET", "/v2/health/ready", "/v2/health/ready", 200),
    ],
)
def test_answers_fit_their_schemas(client: Client, method: str, path: str, route: str, status: int) -> None:
    tensor = {"name": "images", "shape": [1, SIZE, SIZE, 3], "datatype": "UINT8", "data": [7] * (SIZE * SIZE * 3)}
    content = json.dumps({"id": "1", "inputs": [tensor]}).encode() if "infer" in path else encoded(picture(0))
    response = client.request(method, path, content=content if method == "POST" else None)
    assert response.status_code == status
    schema_of = described(client.get("/openapi.json").json(), route, method.lower(), str(status))
    jsonschema_rs.validate(schema_of, response.json())
    # It can fail: an answer without its first field does not fit.
    whole = response.json()
    del whole[next(iter(whole))]
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(schema_of, whole)
