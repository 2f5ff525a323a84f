"""How quickly does the page of `cifarlab serve` answer? Explanations over HTTP, and from a dropped picture to its label in a browser.

    python benchmarks/page.py -o benchmarks/page.md        # cifar10-fast; a minute; the browser's rows need Chromium and playwright

The server is a process of its own on this machine, with all its threads; the pictures are the project's own drawings. A drop is timed in
the page, from the event to the first frame that shows the label of the new picture. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from cifarlab.files import write_json, write_text
from cifarlab.training.environment import describe_environment

SHIP: Final = Path(__file__).resolve().parents[1] / "examples" / "ship.png"
QUESTIONS: Final = {
    "layers": {"kind": "layers"},
    "Grad-CAM, most probable class": {"kind": "gradcam"},
    "Grad-CAM, class given": {"kind": "gradcam", "target": "dog"},
    "activations of the first layer": {"kind": "activations", "layer": "whiten"},
    "occlusion": {"kind": "occlusion", "target": "ship"},
}
FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync")
# Drops a file on the page and waits, frame by frame, until the answer for it is shown.
DROP: Final = """async ([type, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  const name = `ship-${Math.random()}`;
  transfer.items.add(new File([bytes], name, { type }));
  const begun = performance.now();
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  const shown = () => document.querySelector(".sight-name").textContent === name
    && !document.querySelector(".verdict-body").classList.contains("stale")
    && document.querySelector("[data-testid=label]").textContent === "ship";
  while (!shown()) {
    if (performance.now() - begun > 20000) throw new Error("no label within 20 s");
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - begun;
}"""
Times = Mapping[str, Sequence[float]]


@contextmanager
def serving(model: str) -> Iterator[str]:
    """The address of a server of `model`, which ends with the block."""
    words = [sys.executable, "-m", "cifarlab", "serve", model, "--port", "0", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                raise RuntimeError(f"{shlex.join(words[2:])} does not start; run it by hand to see why")
            yield json.loads(line)["url"]
        finally:
            server.terminate()


def time_explanations(url: str, *, tries: int) -> Times:
    """Milliseconds of POST /explain by kind; the first of each kind, which traces the network, is left out."""
    content = SHIP.read_bytes()
    found = {}
    for name, question in QUESTIONS.items():
        request = urllib.request.Request(f"{url}/explain?{urllib.parse.urlencode(question)}", data=content, method="POST")
        times = []
        for _ in range(tries + 1):
            begun = time.perf_counter()
            with urllib.request.urlopen(request, timeout=30) as response:
                response.read()
            times.append(1e3 * (time.perf_counter() - begun))
        found[f"POST /explain, {name}"] = times[1:]
        say(f"{name}: {statistics.median(times[1:]):.0f} ms")
    return found


def time_drops(url: str, *, tries: int) -> Times:
    """Milliseconds from a drop to its label, by picture; empty where there is no Chromium or no playwright."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        say("no Chromium or no playwright: drops are not measured")
        return {}
    found = {}
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=list(FLAGS)) as browser:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("[data-testid=label]:not(:empty)")
        page.wait_for_timeout(1000)
        for name, (kind, content) in pictures().items():
            encoded = base64.b64encode(content).decode()
            times = [page.evaluate(DROP, [kind, encoded]) for _ in range(tries)]
            found[f"from drop to label, {name}"] = times
            say(f"{name}: {statistics.median(times):.0f} ms")
    return found


def pictures() -> dict[str, tuple[str, bytes]]:
    """Media type and content of the pictures that are dropped."""
    made = {"PNG of 384 x 384 px": ("image/png", SHIP.read_bytes())}
    for width, height in ((1600, 1200), (4000, 3000)):
        stream = io.BytesIO()
        Image.open(SHIP).convert("RGB").resize((width, height)).save(stream, "jpeg", quality=90)
        made[f"JPEG of {width} x {height} px"] = ("image/jpeg", stream.getvalue())
    return made


def render(times: Times, about: Mapping[str, Any]) -> str:
    """The Markdown page."""
    lines = [f"# The page's answers, {about['model']}", "", f"Milliseconds on the clock, n = {about['tries']} each.", ""]
    lines += ["| | median | lowest | highest |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {statistics.median(each):.0f} | {min(each):.0f} | {max(each):.0f} |" for name, each in times.items()]
    environment = about["environment"]
    lines += [
        "",
        f"- Machine: {environment['processor']} ({environment['cpu_capability']}), {environment['cpu_count']} cores; "
        f"load before: {about['load']:.2f}",
        f"- Versions: Python {environment['python']}, torch {environment['torch']}, revision {environment['git_revision']}",
        f"- Date: {about['date']}",
        f"- Command: `{about['command']}`",
    ]
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="cifar10-fast", metavar="MODEL", help="a bundle, run or shipped name")
    parser.add_argument("--tries", type=int, default=20, metavar="N", help="how often each; default 20")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.md", help="the table; FILE.json is written beside it")
    given = parser.parse_args(words)
    if given.tries < 1:
        parser.error("--tries must be positive")
    load = os.getloadavg()[0]
    try:
        with serving(given.model) as url:
            times = {**time_explanations(url, tries=given.tries), **time_drops(url, tries=given.tries)}
    except RuntimeError as error:
        say(f"error: {error}")
        return 1
    model = Path(given.model).name
    about: dict[str, Any] = {
        "model": model,
        "tries": given.tries,
        "load": load,
        "environment": describe_environment(torch.device("cpu")),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "benchmarks/page.py", model, "-o", f"benchmarks/{given.output.name}"]),
    }
    about["environment"].pop("command")
    write_text(given.output, render(times, about))
    write_json(given.output.with_suffix(".json"), {**about, "milliseconds": times})
    say(f"written: {given.output}")
    return 0


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
