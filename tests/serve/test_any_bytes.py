"""Whatever bytes arrive: a valid answer, or a reason with a status below 500."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from asking import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_models import CLASSES, SIZE, encoded, picture

GENTLE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FILES = [encoded(picture(1, height=24, width=31), kind) for kind in ("png", "jpeg", "webp", "bmp", "gif")]
REQUEST = {
    "id": "7",
    "inputs": [{"name": "images", "shape": [1, SIZE, SIZE, 3], "datatype": "UINT8", "parameters": {"binary_data_size": SIZE * SIZE * 3}}],
    "outputs": [{"name": "labels", "parameters": {"binary_data": True}}, {"name": "probabilities"}],
}
HEAD = json.dumps(REQUEST).encode()
NAMES = st.sampled_from(
    ["inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "binary_data_size", "images", "id", "UINT8"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def check(response: Any) -> None:
    """A valid answer or a reason."""
    assert response.status_code < 500, response.text
    if response.status_code == 200:
        return
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert body["error"]
    assert len(body["error"]) < 1000


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` cut, with bytes changed, or with something put in between."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(["change", "cut", "insert", "drop"]))
        if kind == "cut":
            del content[at:]
        elif kind == "drop":
            del content[at : at + draw(st.integers(1, 50))]
        elif kind == "insert":
            content[at:at] = draw(st.binary(max_size=20))
        elif content:
            content[at] = draw(st.integers(0, 255))
    return bytes(content)


@GENTLE
@given(
    content=st.binary(max_size=300) | st.sampled_from(FILES).flatmap(damaged),
    declared=st.sampled_from(["image/png", "multipart/form-data; boundary=x", "é", ""]),
)
def test_predict(client: Client, content: bytes, declared: str) -> None:
    response = client.post("/predict?top_k=9", content, headers={"content-type": declared.encode("latin-1")})
    check(response)
    if response.status_code == 200:
        predictions = response.json()["predictions"]
        assert {each["label"] for each in predictions} == set(CLASSES)
        assert abs(sum(each["probability"] for each in predictions) - 1) < 1e-6


KINDS = ["layers", "gradcam", "occlusion", "activations", "receptive_field"]
QUESTIONS = st.fixed_dictionaries(
    {"kind": st.sampled_from(KINDS) | st.text(max_size=8)},
    optional={
        "target": st.sampled_from(CLASSES) | st.text(max_size=12),
        "layer": st.sampled_from(["whiten", "group2.norm1", "amax", "head"]) | st.text(max_size=12),
        "channel": st.integers(-2, 30),
        "channels": st.integers(-1, 300),
        "row": st.integers(-2, 40) | st.text(max_size=3),
        "column": st.integers(-2, 40),
        "patch": st.integers(-1, 25),
        "stride": st.integers(5, 25),
        "form": st.sampled_from(["json", "png"]) | st.text(max_size=4),
        "model": st.sampled_from(["first", "second"]) | st.text(max_size=4),
    },
)


@GENTLE
@given(query=QUESTIONS, content=st.sampled_from(FILES) | st.sampled_from(FILES).flatmap(damaged) | st.binary(max_size=60))
def test_explain(client: Client, query: dict[str, Any], content: bytes) -> None:
    from urllib.parse import urlencode

    asked = {name: str(value).encode("utf-8", "replace") for name, value in query.items()}
    response = client.post("/explain?" + urlencode(asked), content)
    if response.status_code == 200 and query.get("form") == "png":
        assert response.content.startswith(b"\x89PNG")
    else:
        check(response)


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    + FILES[0]
    + b"\r\n--x--\r\n"
)


@GENTLE
@given(content=damaged(FORM), boundary=st.just(b"x") | st.binary(max_size=90).filter(lambda text: not {0, 10, 13} & set(text)))
def test_predict_with_a_form(client: Client, content: bytes, boundary: bytes) -> None:
    check(client.post("/predict", content, headers={"content-type": b"multipart/form-data; boundary=" + boundary}))


@GENTLE
@given(query=st.text(max_size=30), path=st.text(max_size=20))
def test_any_query_and_path(client: Client, query: str, path: str) -> None:
    from urllib.parse import quote

    check(client.post("/predict?" + quote(query, safe="=&"), FILES[0]))
    check(client.get("/v2/models/" + quote(path, safe="/")))


@GENTLE
@given(
    document=VALUES
    | st.fixed_dictionaries(
        {"inputs": st.lists(st.dictionaries(NAMES, VALUES), min_size=1, max_size=1)}, optional={"outputs": VALUES, "id": VALUES}
    )
)
def test_infer_with_any_json(client: Client, document: Any) -> None:
    check(client.post("/v2/models/first/infer", json.dumps(document).encode()))


@GENTLE
@given(
    body=st.binary(max_size=200) | damaged(HEAD + bytes(SIZE * SIZE * 3)),
    length=st.none() | st.just(str(len(HEAD))) | st.integers(-5, 2000).map(str) | st.text(max_size=5),
)
def test_infer_with_any_bytes(client: Client, body: bytes, length: str | None) -> None:
    headers = {} if length is None else {"Inference-Header-Content-Length": length.encode("utf-8", "replace")}
    check(client.post("/v2/models/first/infer", body, headers=headers))


@GENTLE
@given(
    pixels=st.lists(st.integers(0, 255), min_size=SIZE * SIZE * 3, max_size=SIZE * SIZE * 3)
    | st.integers(0, 255).map(lambda value: [value] * (SIZE * SIZE * 3)),
    identifier=st.text(st.characters()),
)
def test_any_image_is_answered(client: Client, pixels: list[int], identifier: str) -> None:
    tensor = {"name": "images", "shape": [1, SIZE, SIZE, 3], "datatype": "UINT8", "data": pixels}
    response = client.post("/v2/models/first/infer", json.dumps({"id": identifier, "inputs": [tensor]}).encode())
    assert response.status_code == 200
    answer = response.json()
    assert answer["id"] == identifier
    np.testing.assert_allclose(np.sum(answer["outputs"][0]["data"]), 1, atol=1e-5)
