"""Downloads, against a server of the test's own that cuts, lies, stalls and redirects. Nothing leaves this machine."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import subprocess
import sys
import time
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback import (
    Behaviour,
    Handler,
    cut_after,
    endless,
    ignore_range,
    loopback,
    redirect,
    serve_well,
    stall_after,
    status,
    wrong_bytes,
    wrong_size,
    wrong_total,
)

from cifarlab.data import acquire
from cifarlab.data.acquire import download
from cifarlab.errors import DownloadError

CONTENTS = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENTS).hexdigest()
HALF = len(CONTENTS) // 2


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def _get(sources: list[str], folder: Path, **options: Any) -> Path:
    chosen: dict[str, Any] = {
        "size": len(CONTENTS),
        "sha256": SHA256,
        "timeout": 5.0,
        "backoff": 0.01,
        "allow_loopback_http": True,
        **options,
    }
    return download(sources, folder / "file.bin", **chosen)


def _part(folder: Path) -> Path:
    return folder / "file.bin.part"


def test_a_file_is_fetched_verified_and_put_in_place(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with loopback(CONTENTS) as server:
        path = _get([server.url], tmp_path / "new" / "folder", progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENTS
    assert not _part(path.parent).exists()
    assert seen[0] == (0, len(CONTENTS))
    assert seen[-1] == (len(CONTENTS), len(CONTENTS))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_cut_connection_is_continued_where_it_ended(tmp_path: Path) -> None:
    with loopback(CONTENTS, cut_after(HALF), cut_after(1000), serve_well) as server:
        notes: list[str] = []
        assert _get([server.url], tmp_path, note=notes.append).read_bytes() == CONTENTS
        assert server.ranges == [None, f"bytes={HALF}-", f"bytes={HALF + 1000}-"]
    assert any(f"ended after {HALF} of {len(CONTENTS)} bytes; trying again" in line for line in notes)


def test_a_part_of_an_earlier_session_is_continued(tmp_path: Path) -> None:
    _part(tmp_path).write_bytes(CONTENTS[:HALF])
    with loopback(CONTENTS) as server:
        assert _get([server.url], tmp_path).read_bytes() == CONTENTS
        assert server.ranges == [f"bytes={HALF}-"]


def test_a_complete_part_is_verified_without_a_request(tmp_path: Path) -> None:
    _part(tmp_path).write_bytes(CONTENTS)
    with loopback(CONTENTS) as server:
        assert _get([server.url], tmp_path).read_bytes() == CONTENTS
        assert server.requests == 0


@pytest.mark.parametrize("stale", [bytes(HALF), bytes(len(CONTENTS)), bytes(len(CONTENTS) + 1)])
def test_a_part_with_other_bytes_is_discarded_and_the_source_gets_a_clean_start(stale: bytes, tmp_path: Path) -> None:
    _part(tmp_path).write_bytes(stale)
    with loopback(CONTENTS) as server:
        assert _get([server.url], tmp_path).read_bytes() == CONTENTS
        assert server.ranges[-1] is None


def test_a_server_that_ignores_range_starts_over(tmp_path: Path) -> None:
    _part(tmp_path).write_bytes(bytes(HALF))  # would spoil the file if it were kept
    with loopback(CONTENTS, ignore_range) as server:
        assert _get([server.url], tmp_path).read_bytes() == CONTENTS
        assert server.ranges == [f"bytes={HALF}-"]


def test_wrong_bytes_are_discarded_and_the_next_source_is_tried(tmp_path: Path) -> None:
    with loopback(CONTENTS, wrong_bytes) as bad, loopback(CONTENTS) as good:
        assert _get([bad.url, good.url], tmp_path).read_bytes() == CONTENTS
        assert bad.requests == 1
        assert good.ranges == [None]


@pytest.mark.parametrize(
    ("behaviour", "reason", "requests"),
    [
        (status(404), "HTTP 404 Not Found", 1),
        (status(500), r"HTTP 500 Internal Server Error \(gave up after 3 attempts\)", 3),
        (wrong_bytes, r"other contents \(SHA-256 differs\)", 1),
        (wrong_size, "has a file of 16 bytes, expected 1000000", 1),
        (endless, "sends more than the 1000000 bytes expected", 1),
        (cut_after(0), r"connection ended after 0 of 1000000 bytes \(gave up after 3 attempts\)", 3),
        (status(204), "HTTP 204", 1),
    ],
)
def test_each_failure_is_told_with_its_reason(behaviour: Behaviour, reason: str, requests: int, tmp_path: Path) -> None:
    with loopback(CONTENTS, behaviour) as server:
        with pytest.raises(DownloadError, match=reason) as caught:
            _get([server.url], tmp_path, retries=2, remedy="Put it there by hand")
        assert server.requests == requests
    assert server.url in str(caught.value)
    assert str(caught.value).endswith("Put it there by hand")
    assert not (tmp_path / "file.bin").exists()


def test_a_range_of_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    _part(tmp_path).write_bytes(CONTENTS[:HALF])
    with loopback(CONTENTS, wrong_total) as server, pytest.raises(DownloadError, match="answers with a range that was not asked for"):
        _get([server.url], tmp_path)


def test_a_range_that_the_server_refuses_starts_over(tmp_path: Path) -> None:
    _part(tmp_path).write_bytes(CONTENTS[:HALF])
    with loopback(CONTENTS, status(416), serve_well) as server:
        assert _get([server.url], tmp_path).read_bytes() == CONTENTS
        assert server.ranges == [f"bytes={HALF}-", None]


def test_a_stall_times_out_and_is_continued(tmp_path: Path) -> None:
    with loopback(CONTENTS, stall_after(HALF), serve_well) as server:
        notes: list[str] = []
        assert _get([server.url], tmp_path, timeout=1.5, note=notes.append).read_bytes() == CONTENTS
        assert server.ranges == [None, f"bytes={HALF}-"]
    assert any("no data for 1.5 s" in line for line in notes)


def test_a_server_that_starts_over_and_cuts_each_time_is_given_up(tmp_path: Path) -> None:
    def cut_at(percent: int) -> Behaviour:
        def behave(handler: Handler, start: int) -> None:
            handler.begin(200, length=len(CONTENTS))  # whatever range was asked for
            handler.wfile.write(CONTENTS[: len(CONTENTS) * percent // 100])
            handler.close_connection = True

        return behave

    with loopback(CONTENTS, *[cut_at(percent) for percent in (40, 42) * 20]) as server:
        # 40 % and 42 % are each further than before; the three that follow are not.
        with pytest.raises(DownloadError, match=r"connection ended after 4\d0000 of 1000000 bytes \(gave up after 5 attempts\)"):
            _get([server.url], tmp_path, retries=3)
        assert server.requests == 5


def test_a_server_that_comes_a_little_further_each_time_is_given_up_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquire, "_MOST_ATTEMPTS", 6)
    with loopback(CONTENTS, cut_after(20_000)) as server:
        with pytest.raises(DownloadError, match=r"ended after 120000 of 1000000 bytes \(gave up after 6 attempts\)"):
            _get([server.url], tmp_path, retries=2)
        assert server.requests == 6


def test_every_source_is_listed_when_all_fail(tmp_path: Path) -> None:
    with loopback(CONTENTS, status(404)) as first, loopback(CONTENTS, wrong_size) as second, pytest.raises(DownloadError) as caught:
        _get([first.url, second.url, "http://example.invalid/x", "ftp://127.0.0.1/x"], tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "cannot download file.bin:"
    assert lines[1].startswith(f"  - {first.url}: HTTP 404")
    assert lines[2].startswith(f"  - {second.url}: has a file of 16 bytes")
    assert lines[3] == "  - http://example.invalid/x: only https is used, not http"
    assert lines[4] == "  - ftp://127.0.0.1/x: only https is used, not ftp"


def test_no_server_at_all_is_told(tmp_path: Path) -> None:
    with loopback(CONTENTS) as server:
        gone = server.url
    with pytest.raises(DownloadError, match="Connection refused"):
        _get([gone], tmp_path)


def test_plain_http_is_refused_even_on_this_machine_unless_allowed(tmp_path: Path) -> None:
    with loopback(CONTENTS) as server:
        with pytest.raises(DownloadError, match="only https is used, not http"):
            _get([server.url], tmp_path, allow_loopback_http=False)
        assert server.requests == 0


@pytest.mark.parametrize("target", ["http://example.invalid/file.bin", "file:///etc/hostname", "ftp://example.invalid/x"])
def test_a_redirect_away_from_https_is_refused(target: str, tmp_path: Path) -> None:
    with loopback(CONTENTS, redirect(target)) as server, pytest.raises(DownloadError, match=r"only https|is not allowed"):
        _get([server.url], tmp_path)


def test_a_redirect_from_https_to_plain_http_is_refused() -> None:
    handler = acquire._HttpsOnly(allow_loopback_http=False)
    request = urllib.request.Request("https://example.invalid/a")
    with pytest.raises(acquire._SourceError, match="only https is used"):
        handler.redirect_request(request, io.BytesIO(), 302, "Found", Message(), "http://127.0.0.1/b")
    followed = handler.redirect_request(request, io.BytesIO(), 302, "Found", Message(), "https://example.invalid/b")
    assert followed is not None
    assert followed.full_url == "https://example.invalid/b"


def test_a_redirect_that_stays_allowed_is_followed(tmp_path: Path) -> None:
    with loopback(CONTENTS) as target, loopback(CONTENTS, redirect(target.url)) as server:
        assert _get([server.url], tmp_path).read_bytes() == CONTENTS


def test_ctrl_c_keeps_the_part(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 0:
            raise KeyboardInterrupt

    with loopback(CONTENTS) as server:
        with pytest.raises(KeyboardInterrupt):
            _get([server.url], tmp_path, progress=interrupt)
        kept = _part(tmp_path).stat().st_size
        assert 0 < kept <= len(CONTENTS)
        assert CONTENTS.startswith(_part(tmp_path).read_bytes())
        assert _get([server.url], tmp_path).read_bytes() == CONTENTS


def test_a_verified_file_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENTS)
    with loopback(CONTENTS) as server:
        _get([server.url], tmp_path)
        assert server.requests == 0


def test_a_wrong_file_in_its_place_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENTS[:-1])
    with loopback(CONTENTS) as server:
        assert _get([server.url], tmp_path).read_bytes() == CONTENTS


def test_a_full_disk_ends_the_download_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class _Full(io.BytesIO):
        def write(self, data: Any, /) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    genuine = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode="r", *rest: _Full() if self.suffix == ".part" else genuine(self, mode, *rest))
    with loopback(CONTENTS) as server:
        with pytest.raises(DownloadError, match=r"cannot write .*file\.bin\.part: No space left on device\. Free some space"):
            _get([server.url, server.url], tmp_path)
        assert server.requests == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="cannot write"):
        _get([], tmp_path / "file")


_CHILD = """
import sys
from pathlib import Path
from cifarlab.data.acquire import download
url, folder, size, sha256 = sys.argv[1:]
download([url], Path(folder) / "file.bin", size=int(size), sha256=sha256, allow_loopback_http=True, timeout=60,
         note=lambda line: (sys.stderr.write(line + "\\n"), sys.stderr.flush()))
"""


def _child(url: str, folder: Path) -> subprocess.Popen[str]:
    source = str(Path(acquire.__file__).parents[2])
    arguments = [sys.executable, "-c", _CHILD, url, str(folder), str(len(CONTENTS)), SHA256]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": source, "no_proxy": "*"})


def test_of_two_processes_at_once_one_downloads_and_the_other_waits(tmp_path: Path) -> None:
    def serve_when_released(handler: Any, start: int) -> None:
        handler.loopback.released.wait(60)
        serve_well(handler, start)

    with loopback(CONTENTS, serve_when_released) as server:
        children = [_child(server.url, tmp_path) for _ in range(2)]
        # Let the download go on only once somebody says that it waits.
        waiting = _first_line(children)
        server.released.set()
        errors = "".join(child.communicate(timeout=90)[1] for child in children)
        assert [child.returncode for child in children] == [0, 0], errors
        assert server.requests == 1
    assert waiting == "another process is downloading file.bin; waiting for it\n"
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def _first_line(children: list[subprocess.Popen[str]]) -> str:
    import selectors

    with selectors.DefaultSelector() as selector:
        for child in children:
            assert child.stderr is not None
            selector.register(child.stderr, selectors.EVENT_READ, child.stderr)
        ready = selector.select(timeout=90)
        assert ready, "neither process said anything"
        return str(ready[0][0].data.readline())


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    with loopback(CONTENTS, stall_after(HALF), serve_well) as server:
        child = _child(server.url, tmp_path)
        while not _part(tmp_path).exists() or _part(tmp_path).stat().st_size < 1:
            assert child.poll() is None
            time.sleep(0.01)
        child.kill()
        child.communicate(timeout=90)
        assert _get([server.url], tmp_path).read_bytes() == CONTENTS
