"""A request that is not served: a status and a reason, as JSON {"error": reason}."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from cifarlab.errors import CifarlabError

CLIENT_GONE = 499  # no status of HTTP: what access logs write for a client that left before its answer


class RefusedError(CifarlabError):
    """Raised anywhere on the way to an answer; `message` says what was given, what is allowed and what to do."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer that tells it."""
        return json_response({"error": str(self)}, status=self.status, headers=self.headers)


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON; NaN and infinity, which JSON does not know, are a fault and raise ValueError."""
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    # Names in it are whatever people call things: a browser must not take it for anything but JSON.
    return Response(content, status, {"X-Content-Type-Options": "nosniff", **(headers or {})}, "application/json")
