"""Clients that the project did not write get the right answer over a socket."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from asking import wait_until_listening, wait_until_ready
from small_models import SIZE, encoded, picture

from cifarlab.bundle import Predictor, load_predictor
from cifarlab.serve import Service, create_app, open_socket, url_of
from cifarlab.serve.server import Server

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.png"))
IMAGES = np.stack([picture(seed, height=SIZE, width=SIZE) for seed in range(5)])


@pytest.fixture(scope="module")
def triton() -> Any:
    """tritonclient's HTTP client, with warnings of its own imports left aside."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")


@pytest.fixture(scope="module")
def foreign(triton: Any, url: str) -> Any:
    client = triton.InferenceServerClient(url.removeprefix("http://"), connection_timeout=10, network_timeout=10)
    yield client
    client.close()


def asked(triton: Any, *, binary: bool) -> list[Any]:
    tensor = triton.InferInput("images", list(IMAGES.shape), "UINT8")
    tensor.set_data_from_numpy(IMAGES, binary_data=binary)
    return [tensor]


def test_tritonclient_sees_server_and_model(foreign: Any) -> None:
    assert foreign.is_server_live()
    assert foreign.is_server_ready()
    assert foreign.is_model_ready("second")
    assert foreign.is_model_ready("second", "1")
    assert not foreign.is_model_ready("third")
    assert "binary_tensor_data" in foreign.get_server_metadata()["extensions"]
    assert foreign.get_model_metadata("second")["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]}]


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_infers(triton: Any, foreign: Any, predictors: dict[str, Predictor], binary: bool) -> None:
    result = foreign.infer("second", asked(triton, binary=binary), request_id="r-1")
    expected = predictors["second"].predict_arrays(list(IMAGES))
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected.probabilities, atol=1e-5)
    assert [label.decode() for label in result.as_numpy("labels").tolist()] == expected.labels
    np.testing.assert_array_equal(result.as_numpy("unlike"), expected.unlike)
    assert result.get_response()["id"] == "r-1"


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_asks_for_one_output(triton: Any, foreign: Any, predictors: dict[str, Predictor], binary: bool) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=binary)]
    result = foreign.infer("first", asked(triton, binary=True), model_version="1", outputs=wanted)
    np.testing.assert_allclose(result.as_numpy("probabilities"), predictors["first"].predict_arrays(list(IMAGES)).probabilities, atol=1e-5)
    assert result.as_numpy("labels") is None


@pytest.fixture(scope="module")
def shipped_url() -> Iterator[str]:
    """The shipped model over a socket."""
    with Service({"cifar10-fast": load_predictor("cifar10-fast", device="cpu")}) as service, open_socket("127.0.0.1", 0) as opened:
        server = Server(create_app(service), service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        wait_until_listening(opened)
        wait_until_ready(service)
        yield url_of(opened)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def test_tritonclient_gets_the_right_classes_from_the_shipped_model(triton: Any, shipped_url: str) -> None:
    client = triton.InferenceServerClient(shipped_url.removeprefix("http://"), connection_timeout=10, network_timeout=20)
    predictor = load_predictor("cifar10-fast", device="cpu")
    known = [path for path in EXAMPLES if path.stem in predictor.class_names]
    assert len(known) == 10
    images = np.stack([predictor.read(path) for path in known])
    tensor = triton.InferInput("images", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images)
    result = client.infer("cifar10-fast", [tensor])
    assert [label.decode() for label in result.as_numpy("labels").tolist()] == [path.stem for path in known]
    np.testing.assert_allclose(result.as_numpy("probabilities"), predictor.predict_arrays(list(images)).probabilities, atol=1e-3)
    client.close()


def test_tritonclient_is_told_what_is_wrong(triton: Any, foreign: Any) -> None:
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match="did you mean 'second'") as raised:
        foreign.infer("secnd", asked(triton, binary=True))
    assert raised.value.status() == "404"


def test_httpx_posts_files_and_forms_on_one_connection(url: str, predictors: dict[str, Predictor]) -> None:
    with httpx.Client(base_url=url, timeout=10) as client:
        for seed in range(5):
            content = encoded(picture(seed), "jpeg")
            expected = predictors["first"].predict([content])
            for response in (client.post("/predict", content=content), client.post("/predict", files={"image": content})):
                best = response.json()["predictions"][0]
                assert best["label"] == expected.labels[0]
                assert best["probability"] == pytest.approx(float(expected.probabilities.max()), abs=1e-3)


def test_a_refused_upload_leaves_the_connection_usable(url: str) -> None:
    # 413 is told from the length alone, before the body has been sent.
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", "900000")
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    response.read()
    connection.send(bytes(900_000))
    connection.request("GET", "/v2/health/live")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET /nothing HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_harms_nobody(url: str, sent: bytes) -> None:
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(1000)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert httpx.get(f"{url}/v2/health/live", timeout=10).status_code == 200
