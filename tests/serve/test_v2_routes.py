"""The Open Inference Protocol, version 2: every route, JSON and binary tensors, and a reason for whatever is refused."""

from __future__ import annotations

import json
import struct
import tracemalloc
from importlib.metadata import version
from typing import Any

import httpx
import numpy as np
import pytest
from asking import Client, error_of
from numpy.typing import NDArray
from small_models import CLASSES, SIZE, picture

from cifarlab.bundle import Predictor
from cifarlab.serve.protocol import parse_request
from cifarlab.serve.refusal import RefusedError

IMAGES = np.stack([picture(seed, height=SIZE, width=SIZE) for seed in range(3)])  # [3, SIZE, SIZE, 3]
ONE = "/v2/models/first/infer"


def tensor(images: NDArray[np.uint8] = IMAGES, **changes: Any) -> dict[str, Any]:
    return {"name": "images", "shape": list(images.shape), "datatype": "UINT8", "data": images.ravel().tolist(), **changes}


def binary(images: NDArray[np.uint8] = IMAGES, **more: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request with binary data, as the extension describes it."""
    described = {"name": "images", "shape": list(images.shape), "datatype": "UINT8", "parameters": {"binary_data_size": images.nbytes}}
    head = json.dumps({"inputs": [described], **more}).encode()
    return head + images.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def expected(predictors: dict[str, Predictor], model: str = "first") -> tuple[list[str], NDArray[np.float64]]:
    predicted = predictors[model].predict_arrays(list(IMAGES))
    return predicted.labels, predicted.probabilities


def output(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(each) for each in answer["outputs"] if each["name"] == name)


# -- health and metadata ---------------------------------------------------------------------------------------------------


def test_the_server_describes_itself(client: Client) -> None:
    expected = {"name": "cifarlab", "version": version("cifarlab"), "extensions": ["binary_tensor_data"]}
    assert client.get("/v2").json() == client.get("/v2/").json() == expected


def test_health(client: Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}
    for path in ("/v2/models/second/ready", "/v2/models/second/versions/1/ready"):
        response = client.get(path)
        assert (response.status_code, response.json()) == (200, {"name": "second", "ready": True})


def test_a_model_describes_its_tensors(client: Client) -> None:
    described = client.get("/v2/models/first").json()
    assert described == {
        "name": "first",
        "versions": ["1"],
        "platform": "cifarlab_torch",
        "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(CLASSES)]},
            {"name": "labels", "datatype": "BYTES", "shape": [-1]},
        ],
    }
    assert client.get("/v2/models/first/versions/1").json() == described


def test_only_a_calibrated_model_has_the_output_unlike(client: Client, predictors: dict[str, Predictor]) -> None:
    outputs = client.get("/v2/models/second").json()["outputs"]
    assert outputs[2:] == [{"name": "unlike", "datatype": "BOOL", "shape": [-1]}]
    answer = client.post("/v2/models/second/infer", json_body(outputs=[{"name": "unlike"}])).json()
    predicted = predictors["second"].predict_arrays(list(IMAGES))
    assert predicted.unlike is not None
    assert answer["outputs"] == [{"name": "unlike", "shape": [3], "datatype": "BOOL", "data": predicted.unlike.tolist()}]


@pytest.mark.parametrize("rest", ["", "/ready"])
def test_an_unknown_model_or_version_is_refused(client: Client, rest: str) -> None:
    assert "did you mean 'second'" in error_of(client.get(f"/v2/models/secnd{rest}"), 404)
    assert "version '2'" in error_of(client.get(f"/v2/models/first/versions/2{rest}"), 404)


def test_inference_with_an_unknown_model_or_version_is_refused(client: Client) -> None:
    assert "unknown model" in error_of(client.post("/v2/models/third/infer", json_body()), 404)
    assert "version '7'" in error_of(client.post("/v2/models/first/versions/7/infer", json_body()), 404)


# -- inference -------------------------------------------------------------------------------------------------------------


def json_body(**more: Any) -> bytes:
    return json.dumps({"inputs": [tensor()], **more}).encode()


@pytest.mark.parametrize("path", [ONE, "/v2/models/first/versions/1/infer"])
@pytest.mark.parametrize("nested", [False, True])
def test_json_in_json_out(client: Client, predictors: dict[str, Predictor], path: str, nested: bool) -> None:
    request = {"id": "42", "inputs": [tensor(data=IMAGES.tolist() if nested else IMAGES.ravel().tolist())]}
    response = client.post(path, json=request)
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("first", "1", "42")
    labels, probabilities = expected(predictors)
    assert output(answer, "labels") == {"name": "labels", "shape": [3], "datatype": "BYTES", "data": labels}
    told = output(answer, "probabilities")
    assert (told["shape"], told["datatype"]) == ([3, 5], "FP32")
    np.testing.assert_allclose(np.reshape(told["data"], (3, 5)), probabilities, atol=1e-5)


def test_without_an_id_there_is_none_in_the_answer(client: Client) -> None:
    assert "id" not in client.post(ONE, json_body()).json()


def split(response: httpx.Response) -> tuple[dict[str, Any], bytes]:
    """JSON and binary data of an answer."""
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    return json.loads(response.content[:length]), response.content[length:]


def test_binary_in_binary_out(client: Client, predictors: dict[str, Predictor]) -> None:
    body, headers = binary(parameters={"binary_data_output": True})
    answer, data = split(client.post(ONE, body, headers=headers))
    labels, probabilities = expected(predictors)
    assert output(answer, "probabilities")["parameters"] == {"binary_data_size": 60}
    np.testing.assert_allclose(np.frombuffer(data[:60], "<f4").reshape(3, 5), probabilities, atol=1e-5)
    # Strings: four bytes of length, then UTF-8.
    assert data[60:] == b"".join(struct.pack("<I", len(label.encode())) + label.encode() for label in labels)
    assert output(answer, "labels")["parameters"] == {"binary_data_size": len(data) - 60}


def test_binary_in_json_out(client: Client, predictors: dict[str, Predictor]) -> None:
    body, headers = binary()
    answer = client.post(ONE, body, headers=headers).json()
    assert output(answer, "labels")["data"] == expected(predictors)[0]


def test_each_output_can_be_asked_for_alone_and_in_its_own_form(client: Client) -> None:
    wanted = [{"name": "labels"}, {"name": "probabilities", "parameters": {"binary_data": True}}]
    answer, data = split(client.post(ONE, json_body(outputs=wanted)))
    assert [each["name"] for each in answer["outputs"]] == ["labels", "probabilities"]
    assert "data" in output(answer, "labels")
    assert len(data) == 60
    only = client.post(ONE, json_body(outputs=[{"name": "labels"}])).json()
    assert [each["name"] for each in only["outputs"]] == ["labels"]


def test_a_setting_of_an_output_goes_before_the_requests(client: Client) -> None:
    wanted = [{"name": "labels", "parameters": {"binary_data": False}}]
    answer = client.post(ONE, json_body(outputs=wanted, parameters={"binary_data_output": True})).json()
    assert "data" in output(answer, "labels")


def test_a_raw_binary_request_is_one_image(client: Client, predictors: dict[str, Predictor]) -> None:
    response = client.post(ONE, IMAGES[0].tobytes(), headers={"Inference-Header-Content-Length": "0"})
    answer, data = split(response)
    assert output(answer, "probabilities")["shape"] == [1, 5]
    np.testing.assert_allclose(np.frombuffer(data[:20], "<f4"), expected(predictors)[1][0], atol=1e-5)


def test_more_images_than_a_batch_are_answered_in_order(client: Client, predictors: dict[str, Predictor]) -> None:
    images = np.stack([picture(seed, height=SIZE, width=SIZE) for seed in range(21)])
    body, headers = binary(images)
    told = output(client.post(ONE, body, headers=headers).json(), "probabilities")["data"]
    np.testing.assert_allclose(np.reshape(told, (21, 5)), predictors["first"].predict_arrays(list(images)).probabilities, atol=1e-5)


# -- what is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "must be a JSON object"),
        (b'{"inputs": [NaN]}', "NaN is no JSON"),
        (b'{"inputs": [' + b"9" * 5000 + b"]}", "not JSON"),
        (b"{}", "inputs must be a list of one tensor"),
        (b'{"inputs": []}', "inputs must be a list of one tensor"),
        (b'{"inputs": [7]}', "inputs must be a list of one tensor"),
    ],
)
def test_a_body_that_is_no_request_is_refused(client: Client, body: bytes, words: str) -> None:
    assert words in error_of(client.post(ONE, body), 400)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "image"}, "did you mean 'images'?"),
        ({"name": None}, "unknown input"),
        ({"datatype": "FP32"}, "'FP32'"),
        ({"shape": [3, SIZE, SIZE]}, "shape must be"),
        ({"shape": [3, SIZE, SIZE, 1]}, "shape must be"),
        ({"shape": [0, SIZE, SIZE, 3]}, "shape must be"),
        ({"shape": [-1, SIZE, SIZE, 3]}, "shape must be"),
        ({"shape": [True, SIZE, SIZE, 3]}, "shape must be"),
        ({"shape": [10**30, SIZE, SIZE, 3]}, "shape must be"),
        ({"shape": "x" * 1000}, "..."),
        ({"shape": [2, SIZE, SIZE, 3]}, "data has the shape"),
        ({"data": None}, "must be a list"),
        ({"data": "abc"}, "must be a list"),
        ({"data": []}, "whole numbers"),
        ({"data": ["a"]}, "whole numbers"),
        ({"data": [0.5] * IMAGES.size}, "whole numbers"),
        ({"data": [None] * IMAGES.size}, "whole numbers"),
        ({"data": [True] * IMAGES.size}, "whole numbers"),
        ({"data": [10**30] * IMAGES.size}, "0 to 255"),
        ({"data": [256] * IMAGES.size}, "0 to 255"),
        ({"data": [-1] * IMAGES.size}, "0 to 255"),
        ({"data": [[1], [1, 2]]}, "equal length"),
        ({"data": IMAGES.reshape(-1, 3).tolist()}, "data has the shape"),
        ({"parameters": 7}, "parameters must be an object"),
        ({"parameters": {"binary_data_size": IMAGES.nbytes}}, "both data and binary_data_size"),
        ({"parameters": {"shared_memory_region": "x"}}, "shared memory"),
    ],
)
def test_a_wrong_tensor_is_refused(client: Client, changes: dict[str, Any], words: str) -> None:
    assert words in error_of(client.post(ONE, json={"inputs": [tensor(**changes)]}), 400)


def test_a_long_string_among_numbers_takes_no_memory_for_each_of_them() -> None:
    body = json.dumps({"inputs": [tensor(data=[0] * IMAGES.size + ["a" * 20_000])]}).encode()
    tracemalloc.start()
    with pytest.raises(RefusedError, match="whole numbers"):
        parse_request(body, header_length=None, size=SIZE, outputs=["labels"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # as an array of strings they would have 288 MB


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"id": 42}, "id must be a string"),
        ({"parameters": []}, "parameters must be an object"),
        ({"parameters": {"binary_data_output": 1}}, "true or false"),
        ({"outputs": {}}, "outputs must be a list"),
        ({"outputs": [7]}, "outputs must be a list"),
        ({"outputs": [{"name": "label"}]}, "did you mean 'labels'?"),
        ({"outputs": [{"name": ["labels"]}]}, "unknown output"),
        ({"outputs": [{"name": "unlike"}]}, "unknown output"),
        ({"outputs": [{"name": "labels"}, {"name": "labels"}]}, "twice"),
        ({"outputs": [{"name": "labels", "parameters": {"binary_data": "yes"}}]}, "true or false"),
        ({"outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]}, "classification"),
    ],
)
def test_a_wrong_request_is_refused(client: Client, more: dict[str, Any], words: str) -> None:
    assert words in error_of(client.post(ONE, json_body(**more)), 400)


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "999999999", "9" * 30, "²"])
def test_a_wrong_header_length_is_refused(client: Client, length: str) -> None:
    body, _ = binary()
    headers = {"Inference-Header-Content-Length": length.encode()}
    assert "Inference-Header-Content-Length" in error_of(client.post(ONE, body, headers=headers), 400)


def test_binary_data_must_be_as_long_as_announced(client: Client) -> None:
    body, headers = binary()
    assert "bytes follow" in error_of(client.post(ONE, body[:-1], headers=headers), 400)
    assert "bytes follow" in error_of(client.post(ONE, body + b"x", headers=headers), 400)
    assert "needs the header" in error_of(client.post(ONE, json={"inputs": [no_data()]}), 400)
    head = json_body()
    assert "no input has" in error_of(client.post(ONE, head + b"x", headers={"Inference-Header-Content-Length": str(len(head))}), 400)
    assert "needs 1200" in error_of(client.post(ONE, b"x", headers={"Inference-Header-Content-Length": "0"}), 400)


def no_data() -> dict[str, Any]:
    described = tensor(parameters={"binary_data_size": IMAGES.nbytes})
    del described["data"]
    return described


def test_more_images_than_the_queue_takes_are_refused(client: Client) -> None:
    body, headers = binary(np.zeros((65, SIZE, SIZE, 3), dtype=np.uint8))
    assert "at most 64" in error_of(client.post(ONE, body, headers=headers), 413)
    body, headers = binary(np.zeros((64, SIZE, SIZE, 3), dtype=np.uint8))
    assert client.post(ONE, body, headers=headers).status_code == 200
