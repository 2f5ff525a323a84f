"""After the signal: what was accepted is answered, what comes is told that the server stops, then the server ends."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
from asking import wait_until_listening, wait_until_ready
from small_models import description, encoded, picture
from test_batching import HeldEngine

from cifarlab.bundle import Predictor
from cifarlab.serve import Limits, Service, create_app, open_socket, url_of
from cifarlab.serve.server import Server

PNG = encoded(picture(0))


def test_the_accepted_is_answered_and_the_new_refused_until_then() -> None:
    engine = HeldEngine()
    service = Service({"held": Predictor(engine, description())}, limits=Limits(decoders=1))
    with service, open_socket("127.0.0.1", 0) as opened, ThreadPoolExecutor(1) as pool:
        server = Server(create_app(service), service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        wait_until_listening(opened)
        wait_until_ready(service)
        engine.hold()
        url = url_of(opened)
        accepted = pool.submit(httpx.post, f"{url}/predict", content=PNG, timeout=20)
        assert engine.entered.wait(10)
        server.handle_exit(signal.SIGTERM, None)
        late = httpx.post(f"{url}/predict", content=PNG, timeout=10)
        assert (late.status_code, late.headers["connection"]) == (503, "close")
        assert httpx.get(f"{url}/v2/health/ready", timeout=10).status_code == 503
        assert thread.is_alive()
        engine.release()
        assert accepted.result(20).status_code == 200
        thread.join(20)
        assert not thread.is_alive()
    assert server.received == signal.SIGTERM
    assert service.in_flight == 0


def test_the_start_is_told_once_and_not_before_the_model_answers() -> None:
    engine = HeldEngine()
    engine.hold()
    service = Service({"held": Predictor(engine, description())}, limits=Limits(decoders=1))
    ready: list[bool] = []
    told = threading.Event()
    with service, open_socket("127.0.0.1", 0) as opened:

        def tell() -> None:
            ready.append(service.ready)
            told.set()

        server = Server(create_app(service), service, on_ready=tell)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        wait_until_listening(opened)
        assert httpx.get(f"{url_of(opened)}/v2/health/ready", timeout=10).status_code == 503
        assert not told.wait(0.3)
        engine.release()
        assert told.wait(10)
        assert httpx.post(f"{url_of(opened)}/predict", content=PNG, timeout=10).status_code == 200
        server.handle_exit(signal.SIGTERM, None)
        thread.join(20)
        assert not thread.is_alive()
    assert ready == [True]
