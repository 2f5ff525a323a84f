"""The query of a request."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request

from cifarlab.errors import nearest
from cifarlab.serve.refusal import RefusedError


def check_query(request: Request, allowed: Sequence[str]) -> None:
    """A misspelt parameter must not be left out without a word, nor one of two; raises RefusedError (422)."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in allowed:
            match = nearest(name[:60], allowed)
            hint = f" Did you mean {match!r}?" if match else ""
            raise RefusedError(422, f"unknown query parameter {name[:60]!r}.{hint} Allowed: {', '.join(allowed) or '(none)'}")
        if given.count(name) > 1:
            raise RefusedError(422, f"the query parameter {name} is given {given.count(name)} times; give it once")
