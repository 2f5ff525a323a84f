"""Trained models over HTTP (extra: serve)."""

from __future__ import annotations

from cifarlab.errors import MissingDependencyError

NEEDED = ("fastapi", "uvicorn", "starlette", "python_multipart", "prometheus_client")

try:
    from cifarlab.serve.app import LOCAL_HOSTS, create_app
    from cifarlab.serve.limits import Limits
    from cifarlab.serve.server import is_local, open_socket, read_token, run_server, url_of
    from cifarlab.serve.service import Service
except ModuleNotFoundError as error:
    if error.name not in NEEDED:
        raise
    raise MissingDependencyError(error.name, extra="serve", purpose="the HTTP server") from error

__all__ = ["LOCAL_HOSTS", "Limits", "Service", "create_app", "is_local", "open_socket", "read_token", "run_server", "url_of"]
