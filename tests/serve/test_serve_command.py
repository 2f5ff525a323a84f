"""`cifarlab serve` as a process: what it says, how it ends, and what it refuses to begin with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from asking import Client
from fastapi import FastAPI
from safetensors.torch import load_file, save_file
from small_models import CLASSES, encoded, load, picture, write_model

from cifarlab.cli.main import main
from cifarlab.errors import UsageError
from cifarlab.serve import Service, open_socket, url_of

COMMAND = [sys.executable, "-m", "cifarlab", "serve", "--port", "0", "--threads", "1", "--device", "cpu"]


@contextlib.contextmanager
def serving(*arguments: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its URL; killed at the end of the block if it still runs."""
    command = [*COMMAND, "--json", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=arguments[0].parent)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=10)[1]
        yield process, json.loads(line)["url"]
    finally:
        process.kill()
        process.communicate(timeout=20)


class Load:
    """Clients that ask one after another, each on a connection of its own, until told to stop or refused."""

    def __init__(self, url: str, *, clients: int, images: list[bytes], answers: list[str]) -> None:
        self._url, self._images, self._answers = url, images, answers
        self.outcomes: list[tuple[float, str]] = []  # when a request was sent, and what became of it
        self.stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def join(self) -> Counter[str]:
        self.stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        return Counter(outcome for _, outcome in self.outcomes)

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=20) as client:
            while not self.stop.is_set():
                index = number % len(self._images)
                number += 1
                sent = time.monotonic()
                try:
                    response = client.post("/predict", content=self._images[index])
                except httpx.HTTPError as error:
                    self.outcomes.append((sent, type(error).__name__))
                    return
                right = response.status_code == 200 and response.json()["predictions"][0]["label"] == self._answers[index]
                self.outcomes.append((sent, "right" if right else "wrong" if response.status_code == 200 else str(response.status_code)))
                if response.status_code == 503:
                    return


def test_under_load_every_answer_is_right_and_sigterm_loses_no_accepted_request(folders: dict[str, Path]) -> None:
    images = [encoded(picture(seed, height=60, width=80), "jpeg") for seed in range(8)]
    answers = load(folders["first"]).predict(images).labels
    with serving(folders["first"], "--queue", "64") as (process, url):
        asked = Load(url, clients=8, images=images, answers=answers)
        for _ in range(400):  # until enough is answered, however slow the machine
            if len(asked.outcomes) > 40:
                break
            time.sleep(0.05)
        time.sleep(1)
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        counts = asked.join()
    assert process.returncode == 0, err
    assert out == ""
    assert "every accepted request was answered" in err
    assert counts["right"] > 20
    # What was accepted before the signal was answered. A request noted just before it may not have been connected yet.
    before = {outcome for sent, outcome in asked.outcomes if sent < told - 0.5}
    assert before <= {"right", "503"}, counts
    # What was sent later was refused, or found the server gone. Each client stops at its first refusal.
    gone = {"RemoteProtocolError", "ConnectError", "ReadError", "WriteError"}
    assert counts.keys() <= {"right", "503", *gone}, counts
    assert counts.total() - counts["right"] == 8


def test_the_screen_tells_how_to_call_it_and_ctrl_c_ends_it(folders: dict[str, Path]) -> None:
    command = [*COMMAND, str(folders["first"]), "second", "--deadline", "3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folders["second"].parent)
    lines = []
    try:
        assert process.stderr is not None
        while not lines or "/openapi.json" not in lines[-1]:
            lines.append(process.stderr.readline())
            assert lines[-1], "the screen ended early"
        url = lines[0].split()[2]
        answer = httpx.post(f"{url}/predict?model=second", files={"image": encoded(picture(0))}, timeout=10).json()
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert rest == "stopped: every accepted request was answered\n"  # no log line a request
    screen = "".join(lines)
    assert "first" in screen
    assert "second" in screen
    assert f"curl -F image=@photo.jpg {url}/predict" in screen
    assert "10 MiB a request, 25 megapixels an image, a queue of 128 images" in screen
    assert answer["predictions"][0]["label"] in CLASSES


def test_the_command_shown_for_a_name_with_spaces_and_signs_can_be_copied(folders: dict[str, Path], tmp_path: Path) -> None:
    named = tmp_path / "my cat's model?"
    shutil.copytree(folders["first"], named)
    process = subprocess.Popen([*COMMAND, str(named)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    try:
        assert process.stderr is not None
        while not lines or "/openapi.json" not in lines[-1]:
            lines.append(process.stderr.readline())
            assert lines[-1], "the screen ended early"
        command = shlex.split(next(line for line in lines if "/v2/models/" in line))
        assert command[0] == "curl"
        assert httpx.get(command[1], timeout=10).json()["name"] == named.name
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def test_with_a_token_it_serves_other_machines(folders: dict[str, Path], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("abcdefghijklmnopqrstuvwxyz\n")
    with serving(folders["first"], "--host", "0.0.0.0", "--token-file", token) as (process, url):
        assert httpx.get(f"{url}/v2", timeout=10).status_code == 401
        shown = {"Authorization": f"Bearer {token.read_text().strip()}"}
        assert httpx.get(f"{url}/v2", headers=shown, timeout=10).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


# -- what it refuses to begin with ------------------------------------------------------------------------------------------


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: Any, code: int = 2) -> str:
    """The error of a command that must not begin to serve."""
    monkeypatch.setattr(sys, "argv", ["cifarlab", "serve", "--port", "0", *map(str, arguments)])
    monkeypatch.setenv("CIFARLAB_DEBUG", "0")
    monkeypatch.setattr("cifarlab.serve.run_server", lambda *given, **named: pytest.fail("it served"))
    with pytest.raises(SystemExit) as left:
        main()
    captured = capsys.readouterr()
    assert left.value.code == code, captured.err
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "internal error" not in captured.err
    return captured.err


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CIFARLAB_TOKEN", raising=False)
    return tmp_path


def test_the_address_that_is_told_is_answered(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folders: dict[str, Path]
) -> None:
    """127.0.0.2 is of this machine alone as well, as is the address that its own name often has."""
    try:
        socket.create_server(("127.0.0.2", 0)).close()
    except OSError:
        pytest.skip("this system has one loopback address only")
    statuses = []

    def ask(app: FastAPI, service: Service, opened: socket.socket, **given: object) -> int:
        for host in (url_of(opened).removeprefix("http://"), "localhost", "example.org"):
            statuses.append(Client(app).get("/v2", headers={"host": host}).status_code)
        return 0

    monkeypatch.setattr("cifarlab.serve.run_server", ask)
    monkeypatch.setattr(sys, "argv", ["cifarlab", "serve", str(folders["first"]), "--port", "0", "--host", "127.0.0.2"])
    with contextlib.suppress(SystemExit):
        main()
    assert statuses == [200, 200, 400], capsys.readouterr().err


@pytest.mark.parametrize(("given", "opened"), [((), 0), (("--open",), 1)])
def test_the_page_is_told_of_first_and_opened_on_demand(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folders: dict[str, Path],
    given: tuple[str, ...],
    opened: int,
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)  # returns None: as where there is no browser

    def begin(app: FastAPI, service: Service, listening: socket.socket, *, on_ready: Callable[[], None]) -> int:
        on_ready()
        for thread in threading.enumerate():
            if thread.name == "browser":
                thread.join(10)
        return 0

    monkeypatch.setattr("cifarlab.serve.run_server", begin)
    monkeypatch.setattr(sys, "argv", ["cifarlab", "serve", str(folders["first"]), "--port", "0", *given])
    with contextlib.suppress(SystemExit):
        main()
    said = capsys.readouterr().err
    url = re.search(r"^look at (http://127\.0\.0\.1:\d+) in a browser", said, re.MULTILINE)
    assert url, said
    assert shown == [url[1]] * opened
    assert ("no browser could be started" in said) == bool(opened)


def test_a_family_of_addresses_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_there(*given: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr("socket.socket", none_there)
    with pytest.raises(UsageError, match=r"not supported.*Use 127\.0\.0\.1"):
        open_socket("127.0.0.1", 0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_another_address_without_a_token_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folders: dict[str, Path], host: str
) -> None:
    if ":" in host:
        try:
            socket.create_server((host, 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    reason = refused(monkeypatch, capsys, folders["first"], "--host", host)
    assert "--token-file" in reason
    assert "CIFARLAB_TOKEN" in reason


@pytest.mark.parametrize("token", ["short", "with space in its middle part", "ümlaut-ümlaut-ümlaut", "a" * 20 + "\n" + "b" * 20])
def test_an_unfit_token_is_refused_and_not_shown(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folders: dict[str, Path], token: str
) -> None:
    (here / "token").write_text(token)
    monkeypatch.setenv("CIFARLAB_TOKEN", token)
    for arguments in (["--token-file", "token"], []):
        reason = refused(monkeypatch, capsys, folders["first"], *arguments)
        assert "secrets.token_urlsafe" in reason
        assert token not in reason


def test_mistakes_are_told_before_anything_is_loaded(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folders: dict[str, Path]
) -> None:
    first = folders["first"]
    assert "cannot be read" in refused(monkeypatch, capsys, first, "--token-file", "nothing")
    assert "both be called 'first'" in refused(monkeypatch, capsys, first, first)
    assert "no address of this machine" in refused(monkeypatch, capsys, first, "--host", "no such host")
    assert "allowed is 1 to 65535" in refused(monkeypatch, capsys, first, "--port", "70000")
    assert "queue 0: allowed is 1" in refused(monkeypatch, capsys, first, "--queue", "0")
    assert "--runs nowhere: there is no such folder" in refused(monkeypatch, capsys, first, "--runs", "nowhere")
    problems = refused(monkeypatch, capsys, "runs/a", "runs/b")
    assert "runs/a" in problems
    assert "runs/b" in problems
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "--port" in refused(monkeypatch, capsys, first, "--port", taken.getsockname()[1])


def test_a_damaged_model_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folders: dict[str, Path]
) -> None:
    import shutil

    copy = Path(shutil.copytree(folders["first"], here / "copy"))
    (copy / "weights" / "last.safetensors").write_bytes(b"\xff" * 100)
    assert "damaged" in refused(monkeypatch, capsys, copy, code=1)


def test_without_the_extra_the_install_line_is_told(folders: dict[str, Path]) -> None:
    hide = "import sys; sys.modules['fastapi'] = None; sys.argv = ['cifarlab', 'serve', 'x']; from cifarlab.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, check=False, timeout=60, env={**os.environ})
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "pip install 'cifarlab[serve]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_cannot_answer_ends_the_server_with_one_plain_error(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "broken")
    file = folder / "weights" / "last.safetensors"
    huge = {name: torch.full_like(value, 1e38) if value.is_floating_point() else value for name, value in load_file(file).items()}
    save_file(huge, file)
    done = subprocess.run([*COMMAND, str(folder)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "error: model 'broken' failed at its first inference: the model gives values that are not finite" in " ".join(
        done.stderr.split()
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: "), done.stderr  # no address of a server that never answers
