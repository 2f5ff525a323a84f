"""POST /predict: the model's answer, and a reason for whatever is refused."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from asking import Client, error_of
from PIL import Image
from small_models import CLASSES, encoded, picture

from cifarlab.bundle import Predictor


def best(predictor: Predictor, content: bytes, *, views: str | None = None) -> dict[str, float]:
    """What the predictor says of a file, by class."""
    return dict(zip(CLASSES, predictor.predict([content], tta=views).probabilities[0].tolist(), strict=True))


def told(answer: dict[str, Any]) -> dict[str, float]:
    return {each["label"]: each["probability"] for each in answer["predictions"]}


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp", "gif"])
def test_the_answer_is_the_predictors(client: Client, predictors: dict[str, Predictor], kind: str) -> None:
    content = encoded(picture(3), kind)
    answer = client.post("/predict?top_k=5", content).json()
    assert answer["model"] == "first"
    assert answer["views"] == "flip"
    assert answer["unlike"] is None
    assert told(answer) == pytest.approx(best(predictors["first"], content), abs=1e-5)
    probabilities = [each["probability"] for each in answer["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_models_and_images_differ_in_their_answers(client: Client) -> None:
    answers = [
        told(client.post(f"/predict?model={model}&top_k=5", encoded(picture(seed))).json())
        for model in ("first", "second")
        for seed in (1, 2)
    ]
    assert all(abs(a["ant"] - b["ant"]) > 1e-3 for number, a in enumerate(answers) for b in answers[:number])


def test_three_classes_are_told_unless_asked_otherwise(client: Client) -> None:
    content = encoded(picture(0))
    counts = [len(client.post("/predict" + query, content).json()["predictions"]) for query in ("", "?top_k=1", "?top_k=99")]
    assert counts == [3, 1, 5]


def test_a_calibrated_model_tells_whether_an_image_is_unlike_its_data(client: Client, predictors: dict[str, Predictor]) -> None:
    told_of = []
    for seed in range(12):
        content = encoded(picture(seed))
        answer = client.post("/predict?model=second&top_k=5", content).json()
        predicted = predictors["second"].predict([content])
        assert predicted.unlike is not None
        assert answer["unlike"] is bool(predicted.unlike[0])
        assert told(answer) == pytest.approx(best(predictors["second"], content), abs=1e-5)
        told_of.append(answer["unlike"])
    assert len(told_of) == 12


def test_views_can_be_chosen(client: Client, predictors: dict[str, Predictor]) -> None:
    content = encoded(picture(5))
    for views in ("none", "flip", "six"):
        answer = client.post(f"/predict?views={views}&top_k=5", content).json()
        assert answer["views"] == views
        assert told(answer) == pytest.approx(best(predictors["first"], content, views=views), abs=1e-5)


def test_a_form_with_one_file_is_taken(client: Client) -> None:
    content = encoded(picture(4), "jpeg")
    plain = client.post("/predict", content).json()
    for name in ("image", "file", "ü"):
        assert client.post("/predict", files={name: ("a b.jpg", content, "image/jpeg")}).json() == plain
    assert client.post("/predict", files={"image": ("x.jpg", content)}, data={"note": "hello"}).json() == plain


def test_the_content_decides_not_its_declared_type(client: Client) -> None:
    content = encoded(picture(4), "jpeg")
    for declared in ("text/plain", "image/png", "application/x-www-form-urlencoded", "application/json"):
        assert client.post("/predict", content, headers={"content-type": declared}).status_code == 200


def test_a_body_in_pieces_is_taken(client: Client) -> None:
    content = encoded(picture(4))

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 100):
            yield content[start : start + 100]

    assert client.request("POST", "/predict", content=pieces()).json() == client.post("/predict", content).json()


# -- what is refused ------------------------------------------------------------------------------------------------------


def test_an_unknown_model_is_named_with_the_nearest(client: Client) -> None:
    reason = error_of(client.post("/predict?model=frist", encoded(picture(0))), 404)
    assert "'frist'" in reason
    assert "did you mean 'first'?" in reason


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("top_k=0", "top_k"),
        ("top_k=many", "top_k"),
        ("views=seven", "views: Input should be 'none', 'flip', 'six' or 'selective'"),
        ("topk=1", "Did you mean 'top_k'?"),
        ("top_k=1&top_k=2", "2 times"),
    ],
)
def test_a_query_that_is_not_allowed_is_refused(client: Client, query: str, words: str) -> None:
    assert words in error_of(client.post("/predict?" + query, encoded(picture(0))), 422)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b'{"url": "http://example.org/cat.jpg"}', "URLs are not fetched"),
        (b"http://example.org/cat.jpg", "not an image"),
        (b"/etc/passwd", "not an image"),
    ],
)
def test_what_is_no_image_is_refused(client: Client, content: bytes, words: str) -> None:
    assert words in error_of(client.post("/predict", content), 415)


def test_a_damaged_image_is_refused(client: Client) -> None:
    for kind in ("png", "jpeg", "webp"):
        content = encoded(picture(0, height=90, width=90), kind)
        assert "damaged" in error_of(client.post("/predict", content[: len(content) // 2]), 422)


def test_too_many_pixels_are_refused_before_they_are_decoded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "100,000 are read" in error_of(client.post("/predict", png(60_000, 60_000, rows=b"")), 413)

    def decoded(*given: object) -> None:
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr(Image.Image, "load", decoded)
    assert "400 x 251" in error_of(client.post("/predict", png(400, 251, rows=bytes(401 * 251))), 413)


def png(width: int, height: int, *, rows: bytes) -> bytes:
    """A PNG made by hand: Pillow's own writing would decode, and a header can say what it wants."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_long_body_is_refused_by_its_length_or_while_it_comes(client: Client) -> None:
    long = bytes(200_001)
    assert "200,000 bytes" in error_of(client.post("/predict", long), 413)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 10_000
            yield bytes(10_000)

    assert "200,000 bytes" in error_of(client.request("POST", "/predict", content=endless()), 413)
    assert read < 300_000


def test_an_encoded_body_is_refused(client: Client) -> None:
    response = client.post("/predict", zlib.compress(encoded(picture(0))), headers={"content-encoding": "deflate"})
    assert "'deflate'" in error_of(response, 415)
    assert response.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("content_type", "content", "status", "words"),
    [
        ("multipart/form-data", b"--x\r\n", 400, "boundary"),
        ("multipart/form-data; boundary=x", b"", 400, "no end"),
        ("multipart/form-data; boundary=x", b"hello", 400, "damaged"),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 422, "0 files"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n', 422, "0 files"),
        ("multipart/form-data; boundary=" + "x" * 300, b"--x--\r\n", 400, "damaged"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 40, 422, "16 parts"),
    ],
)
def test_a_bad_form_is_refused(client: Client, content_type: str, content: bytes, status: int, words: str) -> None:
    assert words in error_of(client.post("/predict", content, headers={"content-type": content_type}), status)


def test_two_files_are_refused(client: Client) -> None:
    content = encoded(picture(0))
    files = {"a": ("a.png", content), "b": ("b.png", content)}
    assert "2 files" in error_of(client.post("/predict", files=files), 422)


def test_nothing_uploaded_reaches_the_disk(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins
    import tempfile

    def opened(*given: object, **named: object) -> None:
        raise AssertionError(f"a file was opened: {given}")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, opened)
    monkeypatch.setattr(builtins, "open", opened)
    content = encoded(np.random.default_rng(0).integers(0, 256, (180, 250, 3), dtype=np.uint8), "png")
    assert len(content) > 100_000
    assert client.post("/predict", files={"image": ("../../etc/passwd", content)}).status_code == 200
