"""What the page is shown: small untrained models, some with awkward classes; a folder of short runs; a server process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from cifarlab import api
from cifarlab.models import create_model
from cifarlab.restore import BUNDLE_VERSION

SIZE = 20
SMALL = ("ant", "bee", "cow", "dög", "elk")
HUNDRED = tuple(f"kind number {number:03}" for number in range(100))
# Each would set window.executed if it were ever read as markup. None has a slash: they are names of folders too.
MARKUP = (
    "<img src=x onerror=window.executed=1>",
    "<svg onload=window.executed=1>",
    "\"><b onmouseover=window.executed=1>bold&amp;'",
)
BRIEF = {"model.arguments": {"widths": [8, 8, 8]}, "train.duration": "2ep", "data.train_size": 300}
ONE = {"OMP_NUM_THREADS": "1"}  # a thread for each process: they share few cores
WEIGHTS = Path("weights") / "last.safetensors"


def write_model(folder: Path, classes: Sequence[str], *, seed: int = 0) -> Path:
    """A run directory as far as serving needs it; random weights, whose answers differ from image to image."""
    (folder / "weights").mkdir(parents=True)
    source = {"size": SIZE, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.3], "resize": "crop", "center_crop": None}
    described = {
        "bundle_version": BUNDLE_VERSION,
        "model": {"name": "speednet", "arguments": {"widths": [8, 8, 8]}},
        "classes": list(classes),
        "input": {**source, "network_size": None, "color": "rgb"},
        "tta": "flip",
        "weights": str(WEIGHTS),
        "calibration": {"score": "energy", "views": {"flip": {"temperature": 2.0, "threshold": 0.0}}},
    }
    (folder / "bundle.json").write_text(json.dumps(described))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = create_model("speednet", num_classes=len(classes), image_size=SIZE, arguments={"widths": [8, 8, 8]})
        state = {name: value.contiguous() for name, value in network.state_dict().items()}
        state["head.weight"] = 3 * torch.randn_like(state["head.weight"])
    save_file(state, folder / WEIGHTS)
    return folder


def train_briefly(folder: Path, *, data: str = "digits", seed: int = 0, **overrides: Any) -> Path:
    """A run of seconds, by default on scikit-learn's digits, with predictions of both splits."""
    changes = {**BRIEF, **overrides}
    run = api.train("digits", data=data, seed=seed, device="cpu", runs=folder.parent, name=folder.name, overrides=changes, report=False)
    for split in ("validation", "test"):
        api.evaluate(run, split=split, device="cpu", report=False)
    return run.path


def write_pictures(folder: Path, classes: Sequence[str], *, each: int = 30) -> Path:
    """A data set of nearly plain pictures, one folder a class."""
    draw = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            pixels = np.full((12, 12, 3), 60 * number + 40, dtype=np.uint8) + draw.integers(0, 30, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@dataclass
class Served:
    """A server process."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def kill(self) -> None:
        """At once, as a crash would."""
        self.process.kill()
        self.process.communicate(timeout=20)


def start_server(*arguments: str | Path, log: Path, port: int = 0) -> subprocess.Popen[str]:
    """Start `cifarlab serve`; `await_server` waits for it. Two servers can be started before the first is waited for."""
    command = [sys.executable, "-m", "cifarlab", "serve", "--port", port, "--threads", 1, "--device", "cpu", "--json", *arguments]
    given = [str(part) for part in command]
    # In a folder without runs, and without data of the user: there is only what is named, and examples are those drawn for the project.
    alone = {**os.environ, **ONE, "CIFARLAB_CACHE": str(log.parent), "CIFARLAB_DATA": str(log.parent)}
    with log.open("a") as errors:
        return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=log.parent, env=alone)


def await_server(process: subprocess.Popen[str], log: Path) -> Served:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, log.read_text()
    return Served(process, json.loads(line)["url"], log)


@contextlib.contextmanager
def training(folder: Path, *, epochs: int) -> Iterator[subprocess.Popen[bytes]]:
    """A training of `epochs` short epochs in a process of its own, killed at the end of the block if it still runs."""
    settings = ("--train-size", 300, "--epochs", epochs, "--threads", 1, "--device", "cpu", "--no-report")
    widths = ("--set", "model.arguments={widths: [8, 8, 8]}")
    command = [sys.executable, "-m", "cifarlab", "train", "digits", "--runs", folder.parent, "--name", folder.name, *settings, *widths]
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **ONE}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


@contextlib.contextmanager
def serving(*arguments: str | Path, log: Path, port: int = 0) -> Iterator[Served]:
    """A server for the length of a block. Its log must hold no traceback."""
    process = start_server(*arguments, log=log, port=port)
    try:
        yield await_server(process, log)
    finally:
        process.kill()
        process.communicate(timeout=20)
    assert "Traceback" not in log.read_text(), log.read_text()
