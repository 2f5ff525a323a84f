"""One file, one answer: PyTorch, ONNX Runtime alone, the command line and HTTP, within 1e-3 of a probability."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from PIL import Image

import cifarlab
from cifarlab.bundle import read_description, update_description
from cifarlab.bundle.onnx_export import write_onnx
from cifarlab.cli.main import main
from cifarlab.data import load_splits
from cifarlab.serve import Service, create_app

SETTINGS = {"data.train_size": 200, "train.duration": "1ep", "model.arguments.widths": [8, 8, 8], "evaluate.tta": "six"}
Answer = dict[str, float]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run = cifarlab.train("digits", overrides=SETTINGS, runs=folder, device="cpu", report=False)
    exported = cifarlab.export(run, folder / "bundle", device="cpu")
    write_onnx(exported, images=load_splits("digits").train.images[:50], images_from="train")
    assert read_description(exported)["tta"] == "selective"
    return exported


@pytest.fixture(scope="module", params=[0.0, 1.0], ids=["sure", "unsure"])
def bundle(request: pytest.FixtureRequest, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, with a confidence that every picture reaches, and with one that none reaches."""
    copy = Path(shutil.copytree(trained, tmp_path_factory.mktemp("bundles") / "bundle"))
    calibration = read_description(copy)["calibration"]
    calibration["views"]["selective"]["confidence"] = request.param
    update_description(copy, {"calibration": calibration})
    return copy


@pytest.fixture(scope="module", params=["digit.png", "photo.jpg"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of the network's size, and one that has to be brought to it."""
    path = tmp_path_factory.mktemp("files") / request.param
    if path.suffix == ".png":
        Image.fromarray(load_splits("digits").test.images[3]).save(path)
    else:
        noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
        Image.fromarray(noise).resize((210, 150), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


@pytest.fixture(scope="module", params=["selective", "six"])
def views(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def expected(bundle: Path, file: Path, views: str) -> Answer:
    model = cifarlab.load(bundle, device="cpu")
    return dict(zip(model.class_names, model.predict([file], tta=views).probabilities[0].tolist(), strict=True))


def agree(found: Answer, expected: Answer) -> None:
    assert found == pytest.approx(expected, abs=1e-3)
    assert max(found, key=lambda name: found[name]) == max(expected, key=lambda name: expected[name])
    assert max(expected.values()) - min(expected.values()) > 0.01  # an answer, not ten times the same


def told(predictions: list[dict[str, Any]]) -> Answer:
    return {each["label"]: each["probability"] for each in predictions}


def test_onnx_runtime_alone(bundle: Path, file: Path, views: str, expected: Answer) -> None:
    if views == "selective":
        pytest.skip("a graph looks at all six views; what is selected is decided outside")
    pixels = cifarlab.load(bundle, device="cpu").read(file)[None]
    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    names = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    found = session.run(["probabilities"], {"images": pixels})[0][0]
    agree(dict(zip(names, found.tolist(), strict=True)), expected)


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_the_command_line(
    bundle: Path,
    file: Path,
    views: str,
    expected: Answer,
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["predict", "--model", str(bundle), str(file), "--engine", engine, "--top-k", "10", "--json"]
    words += [] if views == "selective" else ["--views", views]  # selective is the bundle's own
    monkeypatch.setattr(sys, "argv", ["cifarlab", *words])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with contextlib.suppress(SystemExit):
        main()
    answer = json.loads(capsys.readouterr().out)
    assert (answer["engine"], answer["views"]) == (engine, views)
    agree(told(answer["images"][0]["predictions"]), expected)


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_http(bundle: Path, file: Path, views: str, expected: Answer, engine: str) -> None:
    query = "" if views == "selective" else f"&views={views}"

    async def ask(service: Service) -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            for _ in range(600):
                if (await client.get("/v2/health/ready")).status_code == 200:
                    break
                await asyncio.sleep(0.1)
            return await client.post("/predict?top_k=10" + query, content=file.read_bytes())

    with Service({"model": cifarlab.load(bundle, device="cpu", engine=engine)}) as service:
        response = asyncio.run(ask(service))
    assert response.status_code == 200, response.text
    assert response.json()["views"] == views
    agree(told(response.json()["predictions"]), expected)
