"""What every request passes before its route: host, token, draining, length; and what is counted of it."""

from __future__ import annotations

import hmac
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cifarlab.serve.bodies import check_length, header
from cifarlab.serve.refusal import RefusedError
from cifarlab.serve.service import Service

MODEL = "cifarlab.model"  # where a route leaves the model's name in its scope, for the metrics
HEALTH = ("/v2/health/live", "/v2/health/ready")
WHILE_DRAINING = (*HEALTH, "/metrics")
PAGE = "/page/"  # the web page's own files hold no secrets: it asks for the token itself


def without_token(path: str) -> bool:
    """Whether `path` is answered without a token: health, and the files of the web page."""
    return path in HEALTH or path == "/" or path.startswith(PAGE)


class Gate:
    """ASGI middleware. token: what a client must show, None for no token. hosts: names in the Host header, None for any.

    On a loopback address without a token, `hosts` keeps out web pages whose name was made to point to this machine
    (DNS rebinding): their requests carry their own name. What a page of another site sends under this machine's name is kept out by
    what browsers say of it: such a page could read no answer, but keep the models busy.
    """

    def __init__(self, app: ASGIApp, *, service: Service, token: str | None = None, hosts: frozenset[str] | None = None) -> None:
        self._app = app
        self._service = service
        self._token = None if token is None else token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        self._service.in_flight += 1
        try:
            try:
                self._check(scope)
            except RefusedError as refusal:
                await refusal.response()(scope, receive, noting_status)
            else:
                await self._app(scope, receive, noting_status)
        finally:
            self._service.in_flight -= 1
            self._service.telemetry.request(
                # The route's pattern, never the path: clients must not be able to make up labels.
                route=getattr(scope.get("route"), "path", "other"),
                model=scope.get(MODEL, ""),
                status=status,
                seconds=time.perf_counter() - began,
            )

    def _check(self, scope: Scope) -> None:
        path = scope["path"]
        self._check_host(scope)
        if not without_token(path):
            self._check_token(scope)
        if self._service.draining and path not in WHILE_DRAINING:
            raise RefusedError(503, "the server is stopping", headers={"Retry-After": "5", "Connection": "close"})
        check_length(scope, limit=self._service.limits.max_bytes)
        encoding = header(scope, b"content-encoding")
        if encoding is not None and encoding.lower() != "identity":
            raise RefusedError(
                415, f"Content-Encoding {encoding!r} is not read; send the body as it is", headers={"Accept-Encoding": "identity"}
            )

    def _check_host(self, scope: Scope) -> None:
        if self._hosts is None:
            return
        given = header(scope, b"host") or ""
        name = given.rpartition(":")[0] if given.rpartition(":")[2].isdigit() else given
        if name.lower() not in self._hosts:
            raise RefusedError(400, f"this server does not answer for the host {name!r}; it answers for {', '.join(sorted(self._hosts))}")
        # A link to the page may lie anywhere; frames are refused by the page's own policy.
        is_link = scope["method"] == "GET" and header(scope, b"sec-fetch-mode") == "navigate"
        if header(scope, b"sec-fetch-site") == "cross-site" and not is_link:
            raise RefusedError(400, "this server does not answer pages of other sites. Ask from a program, or open its own page")

    def _check_token(self, scope: Scope) -> None:
        if self._token is None:
            return
        scheme, _, shown = (header(scope, b"authorization") or "").partition(" ")
        # Compared in constant time: how long a refusal takes must not tell how much of a guess was right.
        if not hmac.compare_digest(shown.strip().encode(), self._token) or scheme.lower() != "bearer":
            raise RefusedError(
                401, "a token is needed: send the header 'Authorization: Bearer TOKEN'", headers={"WWW-Authenticate": "Bearer"}
            )
