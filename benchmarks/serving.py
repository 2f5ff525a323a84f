"""How fast, how steady and how correct is `cifarlab serve` under load? One table, and a graph of its memory.

    python benchmarks/serving.py --seconds 600 --also six -o benchmarks/serving.md  # ten minutes of 64 clients, then six views beside
    python benchmarks/serving.py -o out.md                                          # one client, 64 for a minute, twice too much
    python benchmarks/serving.py -o out.md -- --batch 32                            # with options of cifarlab serve

The pictures are validation images of the model's training where these are at hand (CIFARLAB_DATA), enlarged to 96 px, so that as many of
them are easy as in its data; else drawn ones, most of which are not. The table says which.
The clients live in a process of their own and talk to 127.0.0.1; each sends small JPEG files one after another and compares
every answer with what the model says of the same file in this process. Their work is on the same cores as the server's, and
counts against it. Run it on a machine that does nothing else; the load before it is part of the result.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

HERE: Final = Path(__file__).resolve().parent
PICTURES: Final = 64
SIDE: Final = 96  # pixels; a JPEG of 2 to 4 KB
CLOSE: Final = 1e-3  # probabilities of server and predictor differ by less
MOST_ALSO: Final = 60.0  # seconds of the many clients with other views
WARM_UP: Final = 2.0  # seconds that no figure contains


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    model: str
    engine: str
    clients: int
    seconds: float
    alone: float
    overload: float
    threads: int | None
    views: str | None
    also: str | None
    output: Path
    serve: tuple[str, ...]

    def command(self) -> str:
        """The command that repeats this measurement."""
        words = ["python", "benchmarks/serving.py", self.model, "--engine", self.engine, "--clients", str(self.clients)]
        words += ["--seconds", f"{self.seconds:g}", "--alone", f"{self.alone:g}", "--overload", f"{self.overload:g}"]
        words += [] if self.threads is None else ["--threads", str(self.threads)]
        words += [] if self.views is None else ["--views", self.views]
        words += [] if self.also is None else ["--also", self.also]
        output = self.output.absolute()
        shown = output.relative_to(HERE.parent).as_posix() if output.is_relative_to(HERE.parent) else output.name
        words += ["-o", shown, *(["--", *self.serve] if self.serve else [])]
        return shlex.join(words)


@dataclass(frozen=True)
class Phase:
    """What the clients saw. latencies in ms of the answers with status 200; statuses: how many of each; wrong: answers of 200
    that differ from the predictor's; lost: requests without an answer; shares: processor time of server and clients, 1 is a core."""

    name: str
    seconds: float
    statuses: Mapping[str, int]
    wrong: int
    lost: int
    milliseconds: Mapping[str, float]
    client_share: float
    server_share: float = 0.0
    rate: float | None = None

    @property
    def answers(self) -> float:
        return self.statuses.get("200", 0) / self.seconds


@dataclass
class Memory:
    """Resident memory of the server in MiB, sampled once a second."""

    seconds: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)

    def growth(self) -> float:
        """MiB a minute over the second half, by least squares."""
        half = len(self.mib) // 2
        if len(self.mib) - half < 3:
            return 0.0
        return float(np.polyfit(self.seconds[half:], self.mib[half:], 1)[0] * 60)


# -- the measurement ------------------------------------------------------------------------------------------------------


def measure(options: Options, folder: Path) -> tuple[list[Phase], Memory, str]:
    """All phases, memory under the many clients, and what the pictures are."""
    pictures = write_pictures(options, folder / "pictures.json", views=options.views)
    with running(options, views=options.views) as (url, pid):
        phases = [run_clients("one client", url, pid, folder, clients=1, seconds=options.alone)]
        with Watch(pid) as memory:
            phases.append(run_clients(f"{options.clients} clients", url, pid, folder, clients=options.clients, seconds=options.seconds))
        if options.overload:
            rate = 2 * phases[-1].answers
            phases.append(run_clients("twice too much", url, pid, folder, clients=1024, seconds=options.overload, rate=rate))
    if options.also is not None:
        write_pictures(options, folder / "pictures.json", views=options.also)
        with running(options, views=options.also) as (url, pid):
            for clients, seconds in ((1, options.alone), (options.clients, min(options.seconds, MOST_ALSO))):
                name = f"{clients} client{'s' if clients > 1 else ''}, views {options.also}"
                phases.append(run_clients(name, url, pid, folder, clients=clients, seconds=seconds))
    return phases, memory, pictures


@contextlib.contextmanager
def running(options: Options, *, views: str | None) -> Iterator[tuple[str, int]]:
    """A server's address and process number while the block lasts. Raises RuntimeError where it does not start or end well."""
    words = ["--port", "0", "--json", "--engine", options.engine, *([] if views is None else ["--views", views])]
    words += [] if options.threads is None else ["--threads", str(options.threads)]
    command = [sys.executable, "-m", "cifarlab", "serve", options.model, *words, *options.serve]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start: exit code {server.wait(10)}")
        yield json.loads(line)["url"], server.pid
        server.terminate()
        if server.wait(60) != 0:
            raise RuntimeError(f"the server ended with code {server.returncode}")
    finally:
        server.kill()
        server.wait()


def run_clients(name: str, url: str, pid: int, folder: Path, *, clients: int, seconds: float, rate: float | None = None) -> Phase:
    """One phase, in a process of its own. rate: requests a second, whatever the answers; None: each client waits for its answer."""
    say(f"{name}, {seconds:g} s")
    where = urlsplit(url)
    asked = {"host": where.hostname, "port": where.port, "clients": clients, "seconds": seconds, "rate": rate}
    command = [sys.executable, str(HERE / "serving_clients.py"), str(folder / "pictures.json"), json.dumps(asked)]
    before, began = processor_seconds(pid), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 120)
    if done.returncode:
        raise RuntimeError(f"the clients failed: {done.stderr[-2000:]}")
    spent = (processor_seconds(pid) - before) / (time.monotonic() - began)
    phase = Phase(name=name, server_share=spent, rate=rate, **json.loads(done.stdout))
    times = phase.milliseconds
    say(f"  {phase.answers:.0f} answers/s, p50 {times['p50']:.1f} ms, p99 {times['p99']:.1f} ms, {dict(phase.statuses)}")
    return phase


def write_pictures(options: Options, file: Path, *, views: str | None) -> str:
    """Pictures as JPEG files, and what the model says of each: label and probabilities. Returns what they are, in words."""
    import cifarlab
    from cifarlab.bundle.reexport import validation_images
    from cifarlab.bundle.selective import is_sure
    from cifarlab.errors import CifarlabError

    say("what the model says of the pictures, without a server")
    model = cifarlab.load(options.model, device="cpu", engine=options.engine)
    try:
        found = validation_images(model.description)
        chosen = found.images[:: max(1, len(found) // PICTURES)][:PICTURES]
        contents, kind = [encoded(image) for image in chosen], f"{len(chosen)} validation images of {found.name}, enlarged"
    except (CifarlabError, KeyError):  # no data here, or no bundle
        generator = np.random.default_rng(0)
        contents, kind = [drawn(generator) for _ in range(PICTURES)], f"{PICTURES} drawn pictures"
    predicted = model.predict(contents, tta=views)
    if (views or model.tta) == "selective":
        fitted = model.description["calibration"]["views"]
        sure = is_sure(
            model.engine.logits(np.stack([model.read(content) for content in contents]), views="flip"),
            temperature=fitted["flip"]["temperature"],
            confidence=fitted["selective"]["confidence"],
        )
        kind += f"; of {len(contents)} {int(sure.sum())} need two views alone"
    answers = [dict(zip(model.class_names, row.tolist(), strict=True)) for row in predicted.probabilities]
    shown = [{"jpeg": base64.b64encode(content).decode(), "answer": answer} for content, answer in zip(contents, answers, strict=True)]
    file.write_text(json.dumps({"close": CLOSE, "warm_up": WARM_UP, "pictures": shown}))
    return kind


def drawn(generator: np.random.Generator) -> bytes:
    """A picture of soft blots with some grain, as a camera's thumbnail might be."""
    from PIL import Image

    blots = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(blots).resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.int64)
    return encoded(np.clip(pixels + generator.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8))


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """A JPEG file of SIDE x SIDE px."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "jpeg", quality=85)
    return file.getvalue()


# -- what the server takes ------------------------------------------------------------------------------------------------


def resident_mib(pid: int) -> float:
    """Resident memory; NaN where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return float("nan")


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far; 0 where the system does not tell."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Samples the server's memory while the block lasts."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._memory = Memory()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self._memory

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._over.wait(1.0):
            self._memory.seconds.append(time.monotonic() - began)
            self._memory.mib.append(resident_mib(self._pid))


# -- what is written ------------------------------------------------------------------------------------------------------


def render(phases: Sequence[Phase], memory: Memory, about: Mapping[str, Any]) -> str:
    """The Markdown page."""
    lines = ["# Serving", "", f"`cifarlab serve {about['model']}` on {about['cores']} cores, clients on the same cores.", ""]
    lines += ["| | requests/s answered | p50 | p95 | p99 | longest | statuses | wrong | without answer | processor: server | clients |"]
    lines += ["|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|"]
    for phase in phases:
        times = [f"{phase.milliseconds[key]:.1f} ms" for key in ("p50", "p95", "p99", "max")]
        statuses = ", ".join(f"{count} x {status}" for status, count in sorted(phase.statuses.items()))
        sent = "" if phase.rate is None else f" ({phase.rate:.0f}/s sent)"
        shares = [f"{100 * share:.0f} %" for share in (phase.server_share, phase.client_share)]
        cells = [phase.name + sent, f"{phase.answers:.1f}", *times, statuses, str(phase.wrong), str(phase.lost), *shares]
        lines.append("| " + " | ".join(cells) + " |")
    low, high = (min(memory.mib), max(memory.mib)) if memory.mib else (float("nan"), float("nan"))
    lines += [
        "",
        "Times are of answers with status 200, from the first byte sent to the last received. Processor: 100 % is one core.",
        f"Every answer is compared with the predictor's for the same file: wrong is a probability that differs by {CLOSE:g} or more.",
        "",
        f"Memory of the server under {phases[1].name}, {about['memory_seconds']:.0f} s: {low:.0f} to {high:.0f} MiB, "
        f"{memory.growth():+.2f} MiB a minute over the second half ([graph]({about['graph']})).",
        "",
        f"- Machine: {about['processor']}, {about['cores']} cores; load before: {about['load']:.2f}",
        f"- Versions: {about['versions']}",
        f"- Pictures: JPEG files of {SIDE} x {SIDE} px: {about['pictures']}",
        f"- Date: {about['date']}",
        f"- Command: `{about['command']}`",
        "",
    ]
    return "\n".join(lines)


def draw(memory: Memory, path: Path) -> None:
    """Memory over time, from zero."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot(memory.seconds, memory.mib, linewidth=1.5)
    axes.set(xlabel="seconds under load", ylabel="resident memory, MiB", ylim=(0, 1.25 * max(memory.mib, default=1)), xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def describe(options: Options, memory: Memory, *, load_before: float, pictures: str) -> dict[str, Any]:
    packages = ("torch", "onnxruntime", "fastapi", "starlette", "uvicorn", "pillow")
    return {
        "model": options.model,
        "command": options.command(),
        "graph": options.output.with_suffix(".png").name,
        "memory_seconds": memory.seconds[-1] if memory.seconds else 0.0,
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": load_before,
        "pictures": pictures,
        "versions": ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def parse(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="cifar10-fast", help="bundle, run directory or shipped name")
    parser.add_argument("--engine", default="torch", help="torch, onnx or onnx-int8")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="of the many clients")
    parser.add_argument("--alone", type=float, default=10, help="seconds of one client")
    parser.add_argument("--overload", type=float, default=20, help="seconds of twice as many requests as were answered; 0: none")
    parser.add_argument("--threads", type=int, help="of the server's inference")
    parser.add_argument("--views", help="none, flip, six or selective (default: the model's own)")
    parser.add_argument("--also", metavar="VIEWS", help=f"then one and many clients with other views, at most {MOST_ALSO:g} s")
    parser.add_argument("-o", "--output", type=Path, required=True, help="Markdown file; a .json and a .png go beside it")
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    return Options(**vars(parser.parse_args(words[:cut])), serve=tuple(words[cut + 1 :]))


def main() -> None:
    options = parse()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        phases, memory, pictures = measure(options, Path(folder))
    about = describe(options, memory, load_before=load_before, pictures=pictures)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(render(phases, memory, about))
    whole = {"about": about, "phases": [asdict(phase) for phase in phases], "memory": asdict(memory)}
    options.output.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")
    draw(memory, options.output.with_suffix(".png"))
    sys.stdout.write(options.output.read_text())


if __name__ == "__main__":
    main()
