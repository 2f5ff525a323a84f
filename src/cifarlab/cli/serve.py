"""`cifarlab serve`: a web page on trained models, and the models over HTTP."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarlab.cli.options import AsJson, Device, Threads, Views, use_threads

if TYPE_CHECKING:
    from cifarlab.bundle import Predictor
    from cifarlab.serve import Limits, Service


def serve(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="BUNDLE_OR_RUN...", help="Models; the first is the default (none: cifar10-fast).")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; one that others can reach needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen on; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="File with the token that clients must send (or CIFARLAB_TOKEN).")
    ] = None,
    views: Views = None,
    batch: Annotated[int, typer.Option("--batch", help="Images of one inference at most.")] = 16,
    queue: Annotated[int, typer.Option("--queue", help="Images accepted and not yet answered, by model; more are refused (429).")] = 128,
    deadline: Annotated[
        float, typer.Option("--deadline", metavar="SECONDS", help="For headers to arrive, for a body, and again for its answer.")
    ] = 10.0,
    max_bytes: Annotated[int, typer.Option("--max-bytes", help="Longest body of a request.")] = 10 * 1024 * 1024,
    max_pixels: Annotated[int, typer.Option("--max-pixels", help="Largest image, width times height.")] = 25_000_000,
    decoders: Annotated[int | None, typer.Option("--decoders", help="Threads that decode images (default: cores, at most 4).")] = None,
    engine: Annotated[str, typer.Option("--engine", metavar="torch|onnx|onnx-int8", help="What computes.")] = "torch",
    runs: Annotated[
        Path | None, typer.Option("--runs", metavar="DIR", help="Folder whose runs the page shows (default: runs, where there is one).")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """A web page to look at trained models, and HTTP: POST /predict, or the Open Inference Protocol (v2). Ctrl-C ends it.

    With --json, one line with url and models goes to stdout once every model answers.
    """
    use_threads(threads)
    from cifarlab.cli.terminal import note
    from cifarlab.errors import UsageError
    from cifarlab.serve import LOCAL_HOSTS, Limits, Service, create_app, is_local, open_socket, read_token, run_server, url_of

    given = {"max_bytes": max_bytes, "max_pixels": max_pixels, "queue": queue, "batch": batch, "deadline": deadline}
    limits = Limits(**{**given, **({} if decoders is None else {"decoders": decoders})})  # type: ignore[arg-type]
    token = read_token(token_file, os.environ)
    named = _named(models or [])
    shown_runs = _folder_of_runs(runs)
    with open_socket(host, port) as opened:
        if token is None and not is_local(opened):
            raise UsageError(
                f"--host {host} can be reached from other machines, so clients must show a token: give --token-file FILE or set "
                "CIFARLAB_TOKEN; or leave --host out to serve this machine alone"
            )
        service = Service(_load(named, device=device, engine=engine), limits=limits, views=views)
        # The address itself too, such as 127.0.1.1: no page's name can be an address.
        hosts = LOCAL_HOSTS | {url_of(opened).removeprefix("http://").rpartition(":")[0]}
        app = create_app(service, token=token, hosts=hosts if is_local(opened) and token is None else None, runs=shown_runs)
        app.state.examples.start()  # reading data takes seconds; the pictures are there when the page asks for them
        told = {"token": token, "as_json": as_json, "open_page": open_page}
        received = run_server(app, service, opened, on_ready=lambda: _announce(service, opened, **told))  # type: ignore[arg-type]
    left = service.in_flight
    note(f"stopped with {left} requests unanswered" if left else "stopped: every accepted request was answered")
    if received == signal.SIGINT:
        raise typer.Exit(130)


def _named(given: Sequence[str]) -> dict[str, str]:
    """What is given, by the name that clients use: the folder's. Raises UsageError with every problem."""
    from cifarlab.bundle.shipped import default_model
    from cifarlab.errors import UsageError

    named: dict[str, str] = {}
    problems = []
    for model in given or (str(default_model()),):
        name = Path(model).resolve().name if model else ""
        if not name:
            problems.append(f"model {model!r} has no name: name a folder, such as runs/demo")
        elif name in named:
            problems.append(f"{named[name]} and {model} would both be called {name!r}: rename one folder, or leave one out")
        named.setdefault(name, model)
    if problems:
        raise UsageError("\n".join(problems))
    return named


def _folder_of_runs(given: Path | None) -> Path | None:
    """The folder whose runs are shown: the one given, else `runs` where it exists. Raises UsageError for one that is not there."""
    from cifarlab.errors import UsageError

    if given is None:
        return Path("runs") if Path("runs").is_dir() else None
    if not os.path.isdir(given):
        raise UsageError(f"--runs {given}: there is no such folder. Name the folder that holds the run directories, or leave --runs out")
    return given


def _load(named: dict[str, str], *, device: str, engine: str) -> dict[str, Predictor]:
    """All models, before anything is served; raises UsageError or BundleError with the problems of all of them."""
    import torch

    from cifarlab import api
    from cifarlab.errors import BundleError, UsageError

    threads = torch.get_num_threads()
    loaded: dict[str, Predictor] = {}
    problems: list[UsageError | BundleError] = []
    for name, model in named.items():
        try:
            loaded[name] = predictor = api.load(model, device=device, engine=engine)
            predictor.engine.split_over(threads)
        except (UsageError, BundleError) as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise type(problems[0])("\n".join(str(problem) for problem in problems))
    return loaded


def _announce(service: Service, opened: socket.socket, *, token: str | None, as_json: bool, open_page: bool) -> None:
    """Say where the server is and how to call it: on stderr, or with --json one line on stdout; and open the page where wanted."""
    import json
    import shlex
    import sys
    from urllib.parse import quote

    from cifarlab.cli.terminal import note
    from cifarlab.serve import url_of

    url = url_of(opened)
    if open_page:
        _open_browser(url)
    if as_json:
        sys.stdout.write(json.dumps({"url": url, "models": list(service.models), "pid": os.getpid()}) + "\n")
        sys.stdout.flush()
        return
    secret = "" if token is None else " -H 'Authorization: Bearer '$CIFARLAB_TOKEN"
    first = next(iter(service.models))
    lines = [
        f"look at {url} in a browser (Ctrl-C stops)",
        "",
        *_model_lines(service),
        "",
        f"  limits  {_limits_text(service.limits)}",
        *([] if token is None else ["  token   clients must send it; without TLS it can be read on the way: put a proxy in front"]),
        "",
        "  or      " + f"curl{secret} -F image=@photo.jpg {url}/predict",
        "          " + f"curl{secret} {shlex.quote(url + '/v2/models/' + quote(first, safe=''))}",
        "  also    /openapi.json, /metrics, /v2/health/ready",
    ]
    note("\n".join(lines))


def _open_browser(url: str) -> None:
    """Show `url` in the user's browser, from a thread: some browsers hold up whoever starts them."""
    import threading
    import webbrowser

    from cifarlab.cli.terminal import note

    def show() -> None:
        if not webbrowser.open(url):
            note(f"no browser could be started: open {url} yourself")

    threading.Thread(target=show, name="browser", daemon=True).start()


def _model_lines(service: Service) -> list[str]:
    """One line a model, in columns."""
    rows: list[tuple[str, ...]] = []
    for model in service.models.values():
        predictor: Any = model.predictor
        views = {"none": "1 view", "flip": "2 views", "six": "6 views", "selective": "2 or 6 views"}[model.views]
        computes = f"{predictor.engine.name} on {predictor.engine.device}"
        rows.append((model.name, f"{predictor.size} px", views, computes, f"{len(predictor.class_names)} classes"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for number, row in enumerate(rows):
        head = "models" if number == 0 else ""
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append(f"  {head:7} " + "  ".join([*cells, row[-1]]))
    return lines


def _limits_text(limits: Limits) -> str:
    """The limits in one line."""
    return (
        f"{limits.max_bytes / 2**20:.4g} MiB a request, {limits.max_pixels / 1e6:.4g} megapixels an image, "
        f"a queue of {limits.queue} images, "
        f"{limits.deadline:g} s to answer"
    )
