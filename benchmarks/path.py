"""How long does everything around the training take? Loading, evaluation, prediction, report: one table, with peak memory.

    python benchmarks/path.py runs/fast-0 -o benchmarks/path.md        # a finished run on CIFAR-10; two minutes

Each row is a command as a user types it, process start included, several times; loading is timed inside its process, from the files to
the tensor that training draws from. The run is copied, so that nothing of it changes; `evaluate` runs on its validation or test split
without being counted in the original. Memory is the largest resident size of the process (Linux, macOS).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from cifarlab.files import write_json, write_text
from cifarlab.training.environment import describe_environment

LOAD: Final = """
import sys, time
import torch
from cifarlab.data.sources import load_splits
begun = time.perf_counter()
splits = load_splits("cifar10")
tensor = torch.from_numpy(splits.train.images)
assert tensor.shape == (50000, 32, 32, 3)
print(time.perf_counter() - begun)
"""
# Runs a command and prints its seconds on the clock and its largest resident size in KiB (in bytes on macOS).
WATCH: Final = """
import resource, subprocess, sys, time
begun = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
seconds = time.perf_counter() - begun
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode, (done.stdout.split() or [b""])[0].decode())
"""


@dataclass(frozen=True)
class Row:
    """One kind of work: seconds of each try, the largest memory in MiB, and the seconds aimed at."""

    name: str
    command: str
    seconds: tuple[float, ...]
    mib: float
    goal: float


def measure(run: Path, *, tries: int, folder: Path) -> list[Row]:
    """All rows, in `folder`; raises RuntimeError where a command fails."""
    copy = folder / "run"
    shutil.copytree(run, copy)
    pictures = write_pictures(folder / "pictures", count=1000)
    cifarlab = [sys.executable, "-m", "cifarlab"]
    model = ["-m", str(copy)]
    work = [
        ("load CIFAR-10, disk to tensor", [sys.executable, "-c", LOAD], 1.0, True),
        ("evaluate 10 000 test images", [*cifarlab, "evaluate", str(copy), "--split", "test", "--no-report"], 12.0, False),
        ("predict one picture, the shipped model", [*cifarlab, "predict", str(pictures[0])], 2.5, False),
        ("predict 1 000 pictures, this run", [*cifarlab, "predict", *model, str(pictures[0].parent)], 4.0, False),
        ("report, figures and page", [*cifarlab, "report", str(copy)], 6.0, False),
    ]
    rows = []
    for name, words, goal, inside in work:
        tried = [watch(words, inside=inside) for _ in range(tries)]
        shown = "in Python" if inside else shlex.join(["cifarlab", *(Path(word).name if os.sep in word else word for word in words[3:])])
        rows.append(Row(name, shown, tuple(each[0] for each in tried), max(each[1] for each in tried), goal))
        sys.stderr.write(f"{name}: {statistics.median(rows[-1].seconds):.2f} s\n")
    return rows


def watch(words: Sequence[str], *, inside: bool) -> tuple[float, float]:
    """Seconds and MiB of a command; inside: the seconds are those that it prints."""
    done = subprocess.run([sys.executable, "-c", WATCH, *words], capture_output=True, text=True, check=True)
    seconds, size, code, printed = (done.stdout.rstrip("\n") + " ").split(" ")[:4]
    if code != "0":
        raise RuntimeError(f"{shlex.join(words)} ended with {code}; run it by hand to see why")
    return float(printed) if inside else float(seconds), float(size) / (2**20 if sys.platform == "darwin" else 2**10)


def write_pictures(folder: Path, *, count: int) -> list[Path]:
    """JPEG files of 64 x 64 px: blurred noise, which compresses like a photograph."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    paths = []
    for number in range(count):
        small = generator.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        path = folder / f"{number:04d}.jpg"
        Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC).save(path, quality=85)
        paths.append(path)
    return paths


def render(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """The Markdown page."""
    lines = ["# Around the training", "", f"Seconds: median (lowest to highest) of {about['tries']} tries.", ""]
    lines += ["| work | seconds | goal | peak memory | command |", "|---|---:|---:|---:|---|"]
    for row in rows:
        shown = f"{statistics.median(row.seconds):.2f} ({min(row.seconds):.2f} to {max(row.seconds):.2f})"
        met = "" if statistics.median(row.seconds) <= row.goal else " (missed)"
        lines.append(f"| {row.name} | {shown} | {row.goal:g}{met} | {row.mib:.0f} MiB | `{row.command}` |")
    environment = about["environment"]
    lines += [
        "",
        f"- Machine: {environment['processor']} ({environment['cpu_capability']}), {environment['threads']} threads; "
        f"load before: {about['load']:.2f}",
        f"- Versions: Python {environment['python']}, torch {environment['torch']}, pillow {environment['pillow']}, "
        f"revision {environment['git_revision']}",
        f"- Date: {about['date']}",
        f"- Command: `{about['command']}`",
    ]
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run on CIFAR-10")
    parser.add_argument("--tries", type=int, default=3, metavar="N", help="how often each; default 3")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.md", help="the table; FILE.json is written beside it")
    given = parser.parse_args(words)
    if given.tries < 1:
        parser.error("--tries must be positive")
    if not (given.run / "status.json").exists() or json.loads((given.run / "status.json").read_text()).get("state") != "done":
        parser.error(f"{given.run} is not a finished run")
    load, begun = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            rows = measure(given.run, tries=given.tries, folder=Path(folder))
        except RuntimeError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
    about: dict[str, Any] = {
        "tries": given.tries,
        "load": load,
        "environment": describe_environment(torch.device("cpu")),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "benchmarks/path.py", f"runs/{given.run.name}", "-o", f"benchmarks/{given.output.name}"]),
    }
    about["environment"].pop("command")
    write_text(given.output, render(rows, about))
    write_json(given.output.with_suffix(".json"), {**about, "rows": [asdict(row) for row in rows]})
    sys.stderr.write(f"written: {given.output} ({time.perf_counter() - begun:.0f} s)\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
