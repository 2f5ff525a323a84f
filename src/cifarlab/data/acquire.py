"""Fetching one published file: several sources, resumable, verified, safe against a second process."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from cifarlab.errors import DownloadError
from cifarlab.files import replace_durably, try_lock

Progress = Callable[[int, int], None]
Note = Callable[[str], None]

_CHUNK: Final = 1 << 18
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_RETRY_STATUS: Final = (408, 425, 429, 500, 502, 503, 504)
_MAX_BACKOFF: Final = 8.0
_LOCK_POLL: Final = 0.1
_MOST_ATTEMPTS: Final = 100  # at one source, however much each of them brought


class _SourceError(Exception):
    """This source cannot give the file; the next one is tried."""


class _RetryError(Exception):
    """This attempt failed in a way that may pass."""


@dataclass(frozen=True)
class _Job:
    part: Path
    size: int
    sha256: str
    progress: Progress | None
    timeout: float
    opener: urllib.request.OpenerDirector


def download(
    sources: Sequence[str],
    destination: Path,
    *,
    size: int,
    sha256: str,
    progress: Progress | None = None,
    note: Note | None = None,
    timeout: float = 30.0,
    retries: int = 3,
    backoff: float = 1.0,
    context: ssl.SSLContext | None = None,
    remedy: str = "",
    allow_loopback_http: bool = False,
) -> Path:
    """Fetch `destination` from the first of `sources` that delivers exactly `size` bytes with this SHA-256 (hex).

    What arrives is kept in `<destination>.part` and continued after an interruption (HTTP Range); it takes its name only
    when whole and verified. A lock file keeps a second process waiting, which then finds the file there.
    progress: called with (bytes so far, `size`). note: called with one-line messages. timeout: seconds without a byte.
    retries: attempts more per source after the first, `backoff` seconds apart and doubling; an attempt that
    came a good part of the file further than any before does not count. allow_loopback_http: lets this machine serve over plain http.
    Raises DownloadError with each source's reason and `remedy`; Ctrl-C leaves the .part for the next time.
    """
    _make_folder(destination.parent)
    with _lock(destination, note):
        # Looked at under the lock: another process may have finished it in the meantime.
        if destination.is_file() and _verified(destination, size, sha256):
            return destination
        opener = urllib.request.build_opener(_HttpsOnly(allow_loopback_http), urllib.request.HTTPSHandler(context=context))
        part = destination.with_name(destination.name + ".part")
        job = _Job(part, size, sha256, progress, timeout, opener)
        reasons = []
        for source in sources:
            try:
                _refuse_plain_http(source, allow_loopback_http)
                _from_source(source, job, retries=retries, backoff=backoff, note=note)
            except _SourceError as error:
                reasons.append(f"  - {source}: {error}")
                continue
            _put_in_place(part, destination)
            return destination
    raise DownloadError("\n".join([f"cannot download {destination.name}:", *reasons, *([remedy] if remedy else [])]))


# -- one source -----------------------------------------------------------------------------------------------------


def _from_source(source: str, job: _Job, *, retries: int, backoff: float, note: Note | None) -> None:
    """Bring job.part to its full, verified length from `source`; raises _SourceError where that cannot be."""
    failures, furthest = 0, _part_size(job)
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        start = _part_size(job)
        try:
            if start < job.size:
                _transfer(source, job, start)
            if _verified(job.part, job.size, job.sha256):
                return
            job.part.unlink()
            if start == 0:
                raise _SourceError("delivered other contents (SHA-256 differs); discarded")
            # An earlier session or another source may have left the wrong bytes: this source gets a clean start.
            raise _RetryError("the continued file has other contents (SHA-256 differs); discarded")
        except _RetryError as error:
            # Against the furthest so far, not against this attempt's start: a server that does not continue begins at 0 each time.
            reached = _part_size(job)
            failures = 1 if reached - furthest > job.size // 64 else failures + 1
            furthest = max(furthest, reached)
            if failures > retries or attempt == _MOST_ATTEMPTS:
                raise _SourceError(f"{error} (gave up after {attempt} attempts)") from error
            if note is not None:
                note(f"{urlsplit(source).hostname}: {error}; trying again")
            time.sleep(min(backoff * 2 ** (failures - 1), _MAX_BACKOFF))


def _part_size(job: _Job) -> int:
    """Bytes to continue from; a part longer than the file is none of it."""
    size = job.part.stat().st_size if job.part.is_file() else 0
    if size > job.size:
        job.part.unlink()
        return 0
    return size


def _transfer(source: str, job: _Job, start: int) -> None:
    """One request; appends to job.part or, where the server does not continue, writes it anew."""
    headers = {"User-Agent": "cifarlab", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with job.opener.open(urllib.request.Request(source, headers=headers), timeout=job.timeout) as response:
            continued = _continues(response, start, job.size)
            if not continued:
                start = 0
            with _writing(job.part), job.part.open("ab" if continued else "wb") as file:
                _copy(response, file, start, job)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # our .part does not fit what this server has
            job.part.unlink(missing_ok=True)
        reason = f"HTTP {error.code} {error.reason}".strip()
        raise (_RetryError if error.code in (*_RETRY_STATUS, 416) else _SourceError)(reason) from error
    except urllib.error.URLError as error:
        # No such host, no route, refused: another attempt right away would meet the same.
        stalled = isinstance(error.reason, TimeoutError)
        raise (_RetryError if stalled else _SourceError)(_network_reason(error.reason, job)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _RetryError(_network_reason(error, job)) from error


def _continues(response: Any, start: int, size: int) -> bool:
    """Whether the reply continues at `start`; raises _SourceError where it announces a file of another size."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if not start or match is None or int(match[1]) != start or match[2] not in (str(size), "*"):
            raise _SourceError(f"answers with a range that was not asked for ({response.headers.get('Content-Range')})")
        return True
    if response.status != 200:
        raise _SourceError(f"HTTP {response.status}")
    announced = response.headers.get("Content-Length")
    if announced is not None and announced.strip() != str(size):
        raise _SourceError(f"has a file of {announced} bytes, expected {size}")
    return False


def _copy(response: Any, file: IO[bytes], done: int, job: _Job) -> None:
    """Copy until job.size bytes are there; `done` of them already are."""
    if job.progress is not None:
        job.progress(done, job.size)
    while True:
        try:
            # read1 returns what has arrived, so that a stall or a cut loses nothing that came before it.
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _RetryError(_network_reason(error, job)) from error
        if not chunk:
            break
        done += len(chunk)
        if done > job.size:
            file.truncate(0)
            raise _SourceError(f"sends more than the {job.size} bytes expected")
        file.write(chunk)
        if job.progress is not None:
            job.progress(done, job.size)
    if done < job.size:
        raise _RetryError(f"connection ended after {done} of {job.size} bytes")


def _network_reason(error: object, job: _Job) -> str:
    if isinstance(error, TimeoutError):
        return f"no data for {job.timeout:g} s"
    if isinstance(error, socket.gaierror):
        return "host name not found (no network?)"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


# -- https only -----------------------------------------------------------------------------------------------------


def _refuse_plain_http(url: str, allow_loopback_http: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (allow_loopback_http and parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise _SourceError(f"only https is used, not {parts.scheme}")


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never to plain http."""

    def __init__(self, allow_loopback_http: bool) -> None:
        self._allow_loopback_http = allow_loopback_http

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> urllib.request.Request | None:
        try:
            _refuse_plain_http(newurl, self._allow_loopback_http)
        except _SourceError as error:
            raise _SourceError(f"redirects to {newurl}: {error}") from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


# -- files ----------------------------------------------------------------------------------------------------------


def _verified(path: Path, size: int, sha256: str) -> bool:
    if path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _make_folder(folder: Path) -> None:
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A disk that refuses ends the download at once: no other source would help."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"cannot write {path}: {error.strerror or error}. Free some space or choose another folder with --data-dir DIR; "
            "what has arrived is kept and continued"
        ) from error


def _put_in_place(part: Path, destination: Path) -> None:
    with _writing(destination):
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        replace_durably(part, destination)


@contextlib.contextmanager
def _lock(destination: Path, note: Note | None) -> Iterator[None]:
    """Hold `<destination>.lock`; the system lets go of it when the process ends, however it ends.

    The lock file stays: removing it would let a third process lock another file of the same name.
    """
    path = destination.with_name(destination.name + ".lock")
    with contextlib.ExitStack() as stack:
        with _writing(path):
            file = stack.enter_context(path.open("a+b"))
        waiting = False
        while not try_lock(file):
            if not waiting and note is not None:
                note(f"another process is downloading {destination.name}; waiting for it")
            waiting = True
            time.sleep(_LOCK_POLL)
        yield
