"""The web page's files, what it asks first, and what stands before it: policy, token, traversal, weight."""

from __future__ import annotations

import io
import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import Client, error_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_models import CLASSES, SIZE, load, write_model

from cifarlab import api
from cifarlab.bundle import Predictor
from cifarlab.bundle.shipped import default_model
from cifarlab.data import load_splits
from cifarlab.serve import Limits, Service, create_app, example_pictures
from cifarlab.serve.example_pictures import DRAWN, drawn_examples, find_examples
from cifarlab.serve.page_routes import FOLDER, TYPES, read_assets

TOKEN = "a-token-of-more-than-16"
FILES = sorted(read_assets(FOLDER))
# Which only the static site loads.
ONNX_ONLY = {"js/model-onnx.js", "js/onnx-worker.js", "js/judge.js", "js/widgets/downloading.js", "css/downloading.css"}
MOST_BYTES = 300 * 1024  # of every file that the server's page can load: all panels, styles and pictures, comments included


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return api.load("cifar10-fast", device="cpu")


def test_the_page_is_served_under_its_policy(client: Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "connect-src": "'self'",
        "media-src": "'self' blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


@pytest.mark.parametrize("file", FILES)
def test_each_file_is_served_as_it_is(client: Client, file: str) -> None:
    response = client.get(f"/page/{file}")
    assert response.content == (FOLDER / file).read_bytes()
    assert response.headers["content-type"] == TYPES[Path(file).suffix]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert response.headers["cache-control"] == "no-cache"


def test_every_file_of_the_folder_has_a_type() -> None:
    there = {file.relative_to(FOLDER) for file in FOLDER.rglob("*") if file.is_file()}
    assert {file.as_posix() for file in there if not any(part.startswith(".") for part in file.parts)} == set(FILES)


def test_a_file_that_the_client_has_is_not_sent_again(client: Client) -> None:
    first = client.get("/page/js/app.js")
    tag = first.headers["etag"]
    for shown in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get("/page/js/app.js", headers={"if-none-match": shown})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert client.get("/page/js/app.js", headers={"if-none-match": '"other"'}).content == first.content
    assert client.get("/page/js/dom.js").headers["etag"] != tag


@pytest.mark.parametrize(
    "path",
    [
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "js/../../app.py",
        "js%2f..%2f..%2fapp.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "..\\app.py",
        "js/app.js%00.png",
        "js/",
        "",
        "JS/app.js",
        "js//app.js",
        "./js/app.js",
        "index.html/",
    ],
)
def test_no_path_leads_out_of_the_table(client: Client, path: str) -> None:
    response = client.get(f"/page/{path}")
    if response.status_code == 200:  # what the client itself has made of the dots before it asked
        assert response.content in [(FOLDER / file).read_bytes() for file in FILES]
    else:
        assert "no file" in error_of(response, 404) or "nothing at" in error_of(response, 404)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(max_size=40))
def test_any_name_is_a_file_or_404(client: Client, path: str) -> None:
    from urllib.parse import quote

    response = client.get("/page/" + quote(path.encode("utf-8", "surrogatepass"), safe=""))
    assert response.status_code == (200 if path in FILES else 404)


def test_with_a_token_the_page_loads_and_shows_nothing_else(service: Service) -> None:
    client = Client(create_app(service, token=TOKEN))
    assert client.get("/").status_code == client.get("/page/js/app.js").status_code == 200
    for path in ("/models", "/examples", "/examples/0", "/page", "/page/../models", "/pages"):
        response = client.get(path)
        assert "token" in error_of(response, 401), path
    assert client.get("/models", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_document_says_that_the_page_needs_no_token(service: Service) -> None:
    shown = {"authorization": f"Bearer {TOKEN}"}
    paths = Client(create_app(service, token=TOKEN)).get("/openapi.json", headers=shown).json()["paths"]
    assert "security" not in paths["/"]["get"]
    assert "security" not in paths["/page/{file}"]["get"]
    assert paths["/models"]["get"]["security"] == [{"token": []}]


def test_the_models_are_described(client: Client) -> None:
    first, second = client.get("/models").json()
    assert first == {
        "name": "first",
        "classes": list(CLASSES),
        "size": SIZE,
        "resize": "crop",
        "center_crop": None,
        "color": "rgb",
        "views": "flip",
        "unlike": False,
        "calibrated": False,
        "explain": True,
        "engine": "torch",
        "accuracy": None,
    }
    assert (second["name"], second["unlike"], second["calibrated"]) == ("second", True, True)


def test_the_accuracy_recorded_with_a_bundle_is_told(shipped: Predictor) -> None:
    recorded = json.loads((default_model() / "bundle.json").read_text())["metrics"]["test"]["accuracy"]
    with Service({"shipped": shipped}, limits=Limits(decoders=1)) as service:
        assert Client(create_app(service)).get("/models").json()[0]["accuracy"] == recorded


@pytest.mark.parametrize(
    "metrics",
    [
        [1],
        "x",
        {"test": [1]},
        {"test": {"accuracy": "high"}},
        {"test": {"accuracy": {"value": 0.9}}},
        {"test": {"accuracy": {"value": float("nan"), "low": 0.8, "high": 0.9}}},
        {"test": {"accuracy": {"value": 90, "low": 80, "high": 95}}},
    ],
)
def test_a_model_with_odd_records_is_served_without_them(tmp_path: Path, metrics: object) -> None:
    predictor = load(write_model(tmp_path / "odd", metrics=metrics, dataset=[1]))
    with Service({"odd": predictor}, limits=Limits(decoders=1)) as service:
        client = Client(create_app(service))
        assert client.get("/models").json()[0]["accuracy"] is None
        assert client.get("/examples").json() == []


def test_misspelt_parameters_are_told(client: Client) -> None:
    for path in ("/models?modle=first", "/examples?modle=first", "/examples/0?modle=first"):
        assert "unknown query parameter 'modle'" in error_of(client.get(path), 422), path


# -- examples -------------------------------------------------------------------------------------------------------------


def test_without_pictures_of_its_classes_a_model_has_no_examples(client: Client) -> None:
    assert client.get("/examples").json() == []
    assert "there is no example 0" in error_of(client.get("/examples/0"), 404)
    assert "unknown model" in error_of(client.get("/examples?model=other"), 404)
    assert client.get("/examples/x").status_code == client.get("/examples/-1").status_code == 422


def test_data_that_takes_long_to_read_holds_up_neither_its_client_nor_the_others(
    predictors: dict[str, Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(example_pictures, "find_examples", lambda predictor: [] if go.wait(20) else None)
    with Service({"first": predictors["first"]}, limits=Limits(decoders=1, deadline=0.2)) as service:
        client = Client(create_app(service))
        assert "within 0.2 s" in error_of(client.get("/examples"), 504)
        assert service.in_flight == 0  # or a signal would wait for it
        go.set()
        assert client.get("/examples").json() == []


def test_the_shipped_model_names_every_drawn_picture_rightly(shipped: Predictor) -> None:
    pictures = drawn_examples()
    assert [one.label for one in pictures] == [*shipped.class_names, None]
    named = shipped.predict([one.content for one in pictures])
    assert named.labels[:-1] == list(shipped.class_names)
    assert named.unlike is not None
    assert named.unlike.tolist() == [False] * 10 + [True]  # the teapot


def test_where_its_data_is_not_at_hand_the_drawn_pictures_are_offered(
    shipped: Predictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CIFARLAB_DATA", str(tmp_path))
    monkeypatch.setenv("CIFARLAB_CACHE", str(tmp_path))
    with Service({"a name/with?signs": shipped}, limits=Limits(decoders=1)) as service:
        client = Client(create_app(service))
        listed = client.get("/examples", params={"model": "a name/with?signs"}).json()
        assert [one["label"] for one in listed] == [*shipped.class_names, None]
        for one in listed:
            response = client.get(f"/{one['url']}")
            assert response.content == (DRAWN / f"{one['name']}.webp").read_bytes()
            assert response.headers["content-type"] == "image/webp"


def test_the_first_test_picture_of_each_class_is_offered_where_the_data_is_at_hand(tmp_path: Path) -> None:
    digits = load_splits("digits").test
    description: dict[str, Any] = {"classes": list(digits.class_names), "dataset": {"name": "digits"}}
    folder = write_model(tmp_path / "digits")
    predictor = load(folder)
    predictor.class_names = digits.class_names
    predictor.description = {**predictor.description, **description}
    found = find_examples(predictor)
    assert [one.label for one in found] == list(digits.class_names)
    for number, one in enumerate(found):
        first = np.flatnonzero(digits.labels == number)[0]
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(one.content))), digits.images[first])
        assert one.origin == f"digits, test split, number {first}"


def test_a_folder_is_read_for_a_run_and_not_for_a_bundle(tmp_path: Path) -> None:
    """What a bundle from elsewhere calls its data could be any folder of this machine."""
    for label in CLASSES:
        for split in ("train", "test"):
            (tmp_path / "pictures" / split / label).mkdir(parents=True)
            Image.new("RGB", (SIZE, SIZE), (9, 9, 9)).save(tmp_path / "pictures" / split / label / "one.png")
    # As training writes it: the name of the data is that of the folder, and the recipe has what was given.
    folder = write_model(tmp_path / "model", dataset={"name": "pictures"}, recipe={"data": {"name": str(tmp_path / "pictures")}})
    assert find_examples(load(folder)) == []
    (folder / "status.json").write_text("{}")
    assert [one.label for one in find_examples(load(folder))] == list(CLASSES)


# -- what the files hold --------------------------------------------------------------------------------------------------


def test_the_page_is_light() -> None:
    weights = {file: (FOLDER / file).stat().st_size for file in FILES if file not in ONNX_ONLY}
    assert sum(weights.values()) <= MOST_BYTES, sorted(weights.items(), key=lambda item: -item[1])[:10]


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith((".js", ".css", ".html"))])
def test_no_file_is_long_or_sets_markup_from_a_string(file: str) -> None:
    text = (FOLDER / file).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith((".js", ".css", ".html"))])
def test_every_file_that_is_referred_to_is_there_and_nothing_is_elsewhere(file: str) -> None:
    text = (FOLDER / file).read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href|from|import|url)\s*[=(]?\s*["'(]+https?:""", text)
    for name in re.findall(r"""(?:from|import\()\s*["'](\.[^"'$]+)["']""", text):
        assert (FOLDER / file).parent.joinpath(name).is_file(), name
    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', text):
        assert FOLDER.joinpath(name.removeprefix("page/")).is_file(), name
