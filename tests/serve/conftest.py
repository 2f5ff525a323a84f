"""A service of two small models, asked in this process or over a socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from asking import Client, wait_until_listening, wait_until_ready
from small_models import load, write_model

from cifarlab.bundle import Predictor
from cifarlab.serve import Limits, Service, create_app, open_socket, url_of
from cifarlab.serve.server import Server


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    calibration = {"score": "energy", "views": {"flip": {"temperature": 2.0, "threshold": 0.0}}}
    return {"first": write_model(root / "first"), "second": write_model(root / "second", seed=1, calibration=calibration)}


@pytest.fixture(scope="session")
def predictors(folders: dict[str, Path]) -> dict[str, Predictor]:
    return {name: load(folder) for name, folder in folders.items()}


@pytest.fixture(scope="session")
def service(predictors: dict[str, Predictor]) -> Iterator[Service]:
    limits = Limits(max_bytes=200_000, max_pixels=100_000, queue=64, batch=8, deadline=10, decoders=2)
    with Service(predictors, limits=limits) as running:
        wait_until_ready(running)
        yield running


@pytest.fixture(scope="session")
def client(service: Service) -> Client:
    return Client(create_app(service))


@pytest.fixture(scope="session")
def url(service: Service) -> Iterator[str]:
    """The same service over a real socket."""
    with open_socket("127.0.0.1", 0) as opened:
        server = Server(create_app(service), service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        wait_until_listening(opened)
        yield url_of(opened)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
