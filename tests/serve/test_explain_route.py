"""POST /explain: each kind against the arithmetic beneath, what is refused, and how many at once."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from asking import Client, error_of, wait_until_ready
from PIL import Image
from small_models import CLASSES, SIZE, encoded, load, picture

from cifarlab.bundle import Predictor
from cifarlab.explain import TracedNetwork, grad_cam, occlusion_map, receptive_field_of
from cifarlab.serve import Limits, Service, create_app, explain_answers
from cifarlab.serve.explainer import CAPACITY

IMAGE = encoded(picture(3))


@pytest.fixture(scope="module")
def first(folders: dict[str, Path]) -> Predictor:
    return load(folders["first"])


@pytest.fixture(scope="module")
def network(first: Predictor) -> TracedNetwork:
    engine: Any = first.engine
    return TracedNetwork(engine.model, engine.preprocess, size=SIZE)


@pytest.fixture(scope="module")
def pixels(first: Predictor) -> np.ndarray:
    return first.read(IMAGE)


def ask(client: Client, query: str, image: bytes | None = IMAGE) -> Any:
    response = client.post(f"/explain?{query}", image)
    assert response.status_code == 200, response.text
    return response.json()


# -- kinds --------------------------------------------------------------------------------------------------------


def test_layers_are_those_of_models_show(client: Client, network: TracedNetwork) -> None:
    answer = ask(client, "kind=layers", None)
    assert [layer["name"] for layer in answer["layers"]] == list(network.rows)
    conv = answer["layers"][1]
    assert conv == {
        "name": "group1.conv1",
        "kind": "conv",
        "type": "conv 3x3 same",
        "shape": [19, 19, 8],
        "parameters": 24 * 9 * 8,
        "receptive_field": 4,
        "step": 1,
        "has_map": True,
    }
    assert answer["default_layer"] == "group3.conv2"
    assert (answer["size"], answer["network_size"]) == (SIZE, SIZE)
    assert answer["fill"] == [102, 128, 153]


@pytest.mark.parametrize("target", CLASSES)
def test_gradcam(client: Client, network: TracedNetwork, first: Predictor, pixels: np.ndarray, target: str) -> None:
    answer = ask(client, f"kind=gradcam&target={target}&layer=group2.conv1")
    expected = grad_cam(network, pixels, target=CLASSES.index(target), layer="group2.conv1")
    np.testing.assert_allclose(answer["values"], expected.values, atol=2e-6 * max(1, expected.values.max()))
    np.testing.assert_allclose(answer["over_picture"], expected.resized, atol=2e-6 * max(1, expected.values.max()))
    assert answer["shape"] == [9, 9]
    probability = first.predict_arrays([pixels], tta="none").probabilities[0, CLASSES.index(target)]
    told = {"label": target, "index": CLASSES.index(target), "probability": pytest.approx(probability, abs=1e-6), "calibrated": False}
    assert answer["target"] == told
    assert answer["views"] == "none"


def test_without_a_target_it_is_the_most_probable_class_of_the_one_view(client: Client, first: Predictor, pixels: np.ndarray) -> None:
    expected = first.predict_arrays([pixels], tta="none").labels[0]
    assert ask(client, "kind=gradcam")["target"]["label"] == expected
    assert ask(client, "kind=occlusion&patch=10&stride=10")["target"]["label"] == expected


def test_occlusion(client: Client, first: Predictor, pixels: np.ndarray) -> None:
    answer = ask(client, "kind=occlusion&target=cow&patch=6&stride=5")
    expected = occlusion_map(
        lambda images: first.predict_arrays(list(images), tta="none").probabilities,
        pixels,
        target=2,
        patch=6,
        stride=5,
        fill=(102, 128, 153),
    )
    np.testing.assert_allclose(answer["values"], expected.drops, atol=1e-6)
    np.testing.assert_allclose(answer["over_picture"], expected.resized, atol=1e-6)
    assert answer["tops"] == [0, 5, 10, 14]
    assert answer["patch"] == 6
    assert answer["highest"] == pytest.approx(expected.drops.max(), abs=1e-6)


def test_activations_channel_by_channel(client: Client, network: TracedNetwork, pixels: np.ndarray) -> None:
    answer = ask(client, "kind=activations&layer=whiten&channel=20&channels=10")
    values = np.frombuffer(base64.b64decode(answer["values"]), dtype="<f4").reshape(answer["shape"])
    expected = network.run(pixels[None], layer="whiten")[0][0].numpy()
    assert answer["shape"] == [4, 19, 19]
    np.testing.assert_array_equal(values, expected[20:])
    assert (answer["first"], answer["channels"]) == (20, 24)
    assert answer["lowest"] == expected.min()
    assert answer["highest"] == expected.max()
    assert answer["layer"]["type"] == "conv 2x2 valid, GELU"
    assert answer["fields"]["rows"][3] == [3, 2]


def test_activations_of_a_layer_without_positions(client: Client) -> None:
    answer = ask(client, "kind=activations&layer=head")
    assert answer["shape"] == [5, 1, 1]
    assert answer["fields"] == {"rows": [[0, SIZE]], "columns": [[0, SIZE]]}


def test_an_answer_has_a_bounded_number_of_values(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_answers, "MOST_VALUES", 19 * 19 * 3 + 5)
    assert ask(client, "kind=activations&layer=whiten")["shape"] == [3, 19, 19]


def test_receptive_field(client: Client, network: TracedNetwork) -> None:
    answer = ask(client, "kind=receptive_field&layer=group1.norm2&row=0&column=8", None)
    field = receptive_field_of(network, layer="group1.norm2", row=0, column=8)
    assert field is not None
    assert answer["box"] == vars(field) == {"top": -3, "left": 13, "height": 9, "width": 9}
    assert answer["inside"] == {"top": 0, "left": 13, "height": 6, "width": 7}


def test_a_picture_of_a_map(client: Client) -> None:
    response = client.post("/explain?kind=gradcam&target=bee&form=png", IMAGE)
    assert response.headers["content-type"] == "image/png"
    drawn = Image.open(io.BytesIO(response.content))
    assert drawn.size == (SIZE, SIZE)
    told = json.loads(drawn.info["explanation"])
    assert told["target"]["label"] == "bee"
    expected = np.array(ask(client, "kind=gradcam&target=bee")["over_picture"])
    np.testing.assert_allclose(np.asarray(drawn), 255 * (expected / told["highest"] if told["highest"] else expected), atol=0.51)


def test_a_picture_of_channels(client: Client, network: TracedNetwork, pixels: np.ndarray) -> None:
    response = client.post("/explain?kind=activations&layer=group1.norm2&channels=6&form=png", IMAGE)
    drawn = np.asarray(Image.open(io.BytesIO(response.content)))
    assert drawn.shape == (2 * 9, 3 * 9)
    values = network.run(pixels[None], layer="group1.norm2")[0][0].numpy()
    scaled = 255 * (values - values.min()) / np.ptp(values)
    np.testing.assert_allclose(drawn[9:, 9:18], scaled[4], atol=0.51)


def test_the_second_model_has_its_own_weights(client: Client) -> None:
    assert ask(client, "kind=occlusion&target=ant")["values"] != ask(client, "kind=occlusion&target=ant&model=second")["values"]


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 422, "kind"),
        ("kind=gradcamm", 422, "kind: Input should be"),
        ("kind=gradcam&target=bea", 422, "unknown class 'bea'; did you mean 'bee'?"),
        ("kind=gradcam&layer=group3.conv9", 422, "unknown layer 'group3.conv9'; did you mean 'group3.conv"),
        ("kind=gradcam&layer=head", 422, "one position only"),
        ("kind=gradcam&model=third", 404, "unknown model 'third'"),
        ("kind=occlusion&patch=21", 422, "patch 21: allowed is 1 to 20"),
        ("kind=occlusion&patch=4&stride=5", 422, "stride 5: allowed is 1 to 4"),
        ("kind=occlusion&patch=0", 422, "patch"),
        ("kind=activations&layer=whiten&channel=24", 422, "channels 0 to 23"),
        ("kind=activations&channels=257", 422, "channels"),
        ("kind=receptive_field&layer=head&row=1", 422, "rows 0 to 0"),
        ("kind=layers&form=png", 422, "has no picture"),
        ("kind=gradcam&targett=bee", 422, "Did you mean 'target'?"),
        ("kind=layers&kind=gradcam", 422, "given 2 times"),
    ],
)
def test_wrong_parameters(client: Client, query: str, status: int, said: str) -> None:
    assert said in error_of(client.post(f"/explain?{query}", IMAGE), status)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 415, "empty"),
        (b"no image", 415, "not an image"),
        (IMAGE[:60], 422, "damaged"),
        (encoded(picture(0, height=400, width=400)), 413, "too large"),
        (b"x" * 300_000, 413, "bytes"),
    ],
)
def test_wrong_bodies(client: Client, body: bytes, status: int, said: str) -> None:
    assert said in error_of(client.post("/explain?kind=gradcam", body), status)


def test_too_many_patches_are_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_answers, "MOST_PATCHES", 100)
    assert "at most 100" in error_of(client.post("/explain?kind=occlusion&patch=2&stride=1", IMAGE), 422)


def test_a_model_without_weights_to_open_says_so(first: Predictor) -> None:
    class Foreign:
        name, device = "onnx", "cpu"
        logits = first.engine.logits

    predictor = Predictor(Foreign(), first.description)
    with Service({"m": predictor}) as service:
        wait_until_ready(service)
        client = Client(create_app(service))
        assert "needs its PyTorch weights" in error_of(client.post("/explain?kind=gradcam", IMAGE), 422)
        # Hiding parts of the picture needs none.
        assert ask(client, "kind=occlusion")["kind"] == "occlusion"


def test_another_engine_loads_the_bundles_weights(folders: dict[str, Path], first: Predictor, client: Client) -> None:
    class Foreign:
        name, device = "onnx", "cpu"
        logits = first.engine.logits

    with Service({"m": Predictor(Foreign(), first.description, origin=folders["first"])}) as service:
        wait_until_ready(service)
        answer = ask(Client(create_app(service)), "kind=gradcam&target=bee")
    assert answer["values"] == ask(client, "kind=gradcam&target=bee")["values"]


def test_weights_that_changed_since_the_server_started_are_not_explained(folders: dict[str, Path], first: Predictor) -> None:
    class Foreign:
        name, device = "onnx", "cpu"
        logits = first.engine.logits

    before = {**first.description, "name": "as it was"}
    with Service({"m": Predictor(Foreign(), before, origin=folders["first"])}) as service:
        wait_until_ready(service)
        assert "have changed" in error_of(Client(create_app(service)).post("/explain?kind=gradcam", IMAGE), 422)


def test_a_network_that_cannot_be_traced_says_so(client: Client, monkeypatch: pytest.MonkeyPatch, first: Predictor) -> None:
    def refuse(*args: object, **given: object) -> None:
        raise ValueError("Foo has no fixed sequence of layers: values")

    monkeypatch.setattr("cifarlab.explain.TracedNetwork", refuse)
    with Service({"m": first}) as service:
        wait_until_ready(service)
        assert "no fixed sequence" in error_of(Client(create_app(service)).post("/explain?kind=layers"), 422)


# -- how much at once ---------------------------------------------------------------------------------------------


@pytest.fixture
def held(first: Predictor, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, threading.Event]]:
    """A service whose explanations wait for an event."""
    go = threading.Event()
    before = explain_answers.explain

    def waiting(*given: Any) -> Any:
        go.wait(10)
        return before(*given)

    monkeypatch.setattr("cifarlab.serve.explain_routes.explain", waiting)
    with Service({"m": first}, limits=Limits(deadline=0.5)) as service:
        wait_until_ready(service)
        yield service, go
        go.set()


def test_a_full_queue_refuses_and_recovers(held: tuple[Service, threading.Event]) -> None:
    service, go = held
    client = Client(create_app(service))

    async def many() -> list[httpx.Response]:
        async with client.open() as opened:
            asked = [asyncio.create_task(opened.post("/explain?kind=layers")) for _ in range(CAPACITY + 2)]
            while sum(task.done() for task in asked) < 2:
                await asyncio.sleep(0.005)
            go.set()
            return await asyncio.gather(*asked)

    answers = asyncio.run(many())
    assert sorted(answer.status_code for answer in answers) == [200] * CAPACITY + [429] * 2
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["retry-after"] == "1"
    assert ask(client, "kind=layers")["kind"] == "layers"


def test_slow_senders_hold_no_place(client: Client, service: Service) -> None:
    go = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield IMAGE[:50]
        await go.wait()
        yield IMAGE[50:]

    async def many() -> list[int]:
        async with client.open() as opened:
            asked = [asyncio.create_task(opened.post("/explain?kind=gradcam", content=slow())) for _ in range(CAPACITY)]
            while service.bodies.held < CAPACITY * 50:
                await asyncio.sleep(0.002)
            quick = await opened.post("/explain?kind=gradcam", content=IMAGE)
            go.set()
            return [quick.status_code, *[answer.status_code for answer in await asyncio.gather(*asked)]]

    assert asyncio.run(many()) == [200] * (CAPACITY + 1)
    assert service.bodies.held == 0


def test_past_the_deadline_it_says_so_and_the_work_keeps_its_place(held: tuple[Service, threading.Event]) -> None:
    service, go = held
    client = Client(create_app(service))
    assert "within 0.5 s" in error_of(client.post("/explain?kind=layers"), 504)
    go.set()
    assert ask(client, "kind=layers")["kind"] == "layers"


def test_predictions_go_on_meanwhile(held: tuple[Service, threading.Event]) -> None:
    service, go = held
    client = Client(create_app(service))

    async def both() -> tuple[bool, int]:
        async with client.open() as opened:
            explaining = asyncio.create_task(opened.post("/explain?kind=layers"))
            predicted = await opened.post("/predict", content=IMAGE)
            early = not explaining.done()
            go.set()
            await explaining
            return early, predicted.status_code

    assert asyncio.run(both()) == (True, 200)


def test_occlusion_ends_soon_after_its_deadline(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, looked_at = load(folders["first"]), []
    with Service({"m": predictor}, limits=Limits(deadline=0.3)) as service:
        wait_until_ready(service)
        quick = predictor.predict_arrays

        def slow(images: Any, **given: Any) -> Any:
            looked_at.append(len(images))
            time.sleep(0.15)
            return quick(images, **given)

        monkeypatch.setattr(predictor, "predict_arrays", slow)
        assert "within 0.3 s" in error_of(Client(create_app(service)).post("/explain?kind=occlusion&patch=1&target=bee", IMAGE), 504)
        time.sleep(0.8)
    assert 0 < len(looked_at) < 5  # of the 8 that all patches take
