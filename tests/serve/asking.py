"""Asking an application in this process, without a socket; waiting for one that starts."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import httpx
from fastapi import FastAPI

from cifarlab.serve import Service


class Client:
    """Each call has an event loop of its own, so tests need none."""

    def __init__(self, app: FastAPI, *, base_url: str = "http://localhost") -> None:
        self.app = app
        self._base_url = base_url

    def open(self) -> httpx.AsyncClient:
        """For tests that ask several things at once."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=self._base_url, timeout=20)

    def request(self, method: str, url: str, **given: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with self.open() as client:
                return await client.request(method, url, **given)

        return asyncio.run(ask())

    def get(self, url: str, **given: Any) -> httpx.Response:
        return self.request("GET", url, **given)

    def post(self, url: str, content: bytes | None = None, **given: Any) -> httpx.Response:
        return self.request("POST", url, content=content, **given)


def error_of(response: httpx.Response, status: int) -> str:
    """The reason of a refusal, after checking that it is one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    reason = body["error"]
    assert isinstance(reason, str)
    assert reason
    return reason


def wait_until_ready(service: Service) -> None:
    end = time.monotonic() + 20
    while not service.ready:
        assert time.monotonic() < end, "the service does not become ready"
        time.sleep(0.005)


def wait_until_listening(opened: socket.socket) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(opened.getsockname()[:2], timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < end, "the server does not listen"
            time.sleep(0.01)
