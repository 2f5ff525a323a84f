"""How many images a second, and how long for one answer: PyTorch fp32, ONNX Runtime fp32 and int8? One table for a bundle.

    cifarlab export runs/fast-0 -o bundle --to int8
    python benchmarks/onnx_rate.py bundle -o benchmarks/onnx_rate.md          # some minutes

All three predict the same random images with the same threads, in one process; they take turns, round after round, so that a machine that
gets slower or faster meets all of them. Wall-clock time is what a user waits; CPU time per image leaves out what other work on the machine
took, and ratios are stated in both. Accuracy and parity are the bundle's own records, measured on validation images.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from cifarlab.bundle import load_predictor
from cifarlab.errors import CifarlabError
from cifarlab.files import write_json, write_text
from cifarlab.training.environment import describe_environment

ENGINES: Final = {"torch": "PyTorch fp32", "onnx": "ONNX Runtime fp32", "onnx-int8": "ONNX Runtime int8"}
RATIOS: Final = (("onnx", "torch"), ("onnx-int8", "onnx"), ("onnx-int8", "torch"))
BATCHES: Final = (1, 16, 256)
VERSIONS: Final = ("cifarlab", "torch", "onnx", "onnxruntime", "onnxscript", "numpy")


@dataclass(frozen=True)
class Timing:
    """Of one call: seconds on the clock and of processor time."""

    wall: float
    cpu: float


Timings = Mapping[tuple[str, int], Sequence[Timing]]  # (engine, batch) -> one a round


def measure(predictors: Mapping[str, Any], *, views: str, rounds: int, seconds: float) -> Timings:
    """Each engine at each batch size, `rounds` times for about `seconds`; a round's figure is the median of its calls."""
    size = next(iter(predictors.values())).size
    images = np.random.default_rng(0).integers(0, 256, (max(BATCHES), size, size, 3)).astype(np.uint8)
    found: dict[tuple[str, int], list[Timing]] = {(name, batch): [] for batch in BATCHES for name in predictors}
    for (name, batch), _ in found.items():  # warm up: memory, threads, the session for these views
        predictors[name].engine.logits(images[:batch], views=views)
    for turn in range(rounds):
        for batch in BATCHES:
            # Every second round backwards: none always comes first, on a rested processor.
            for name in list(predictors)[:: -1 if turn % 2 else 1]:
                call = _call(predictors[name].engine.logits, images[:batch], views)
                found[name, batch].append(time_calls(call, seconds=seconds))
                rate = batch / found[name, batch][-1].wall
                _say(f"round {turn + 1} of {rounds}, batch {batch}, {ENGINES[name]}: {rate:.0f} images/s")
    return found


def time_calls(call: Callable[[], object], *, seconds: float) -> Timing:
    """The median of as many calls as fit into `seconds`, at least three."""
    walls, cpus = [], []
    until = time.perf_counter() + seconds
    while len(walls) < 3 or time.perf_counter() < until:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Timing(statistics.median(walls), statistics.median(cpus))


def _call(logits: Callable[..., object], images: Any, views: str) -> Callable[[], object]:
    return lambda: logits(images, views=views)


# -- what is written ----------------------------------------------------------------------------------------------------


def render(timings: Timings, about: Mapping[str, Any]) -> str:
    """The Markdown page: time of a call and images a second, ratios, accuracy, and what they were measured with."""
    rounds = about["rounds"]
    parameters = f"{about['parameters']:_}".replace("_", " ")
    lines = ["# Prediction rate: PyTorch, ONNX Runtime, int8", ""]
    lines.append(f"{about['model']}, {parameters} parameters, views: {about['views']}. Median (lowest to highest) of {rounds} rounds.")
    kinds: dict[str, Callable[[Timing, int], float]] = {
        "Milliseconds a call, on the clock:": lambda each, batch: 1e3 * each.wall,
        "Images a second, on the clock:": lambda each, batch: batch / each.wall,
        "Images a second of processor time:": lambda each, batch: batch / each.cpu,
    }
    for title, figure in kinds.items():
        body = [
            [
                str(batch),
                *(_shown([figure(each, batch) for each in timings[name, batch]], digits=1 if "Milli" in title else 0) for name in ENGINES),
            ]
            for batch in BATCHES
        ]
        lines += ["", title, "", *_table(["batch", *ENGINES.values()], body)]
    lines += ["", "How many times as quick, compared within each round, on the clock | by processor time:", ""]
    titles = [f"{ENGINES[over]} / {ENGINES[under]}" for over, under in RATIOS]
    lines += _table(["batch", *titles], [[str(batch), *(_ratio(timings, batch, *pair) for pair in RATIOS)] for batch in BATCHES])
    return "\n".join([*lines, "", *_accuracy(about["records"]), *(f"- {line}" for line in _conditions(about))]) + "\n"


def _ratio(timings: Timings, batch: int, over: str, under: str) -> str:
    pairs = list(zip(timings[under, batch], timings[over, batch], strict=True))
    return " \\| ".join(_shown([getattr(b, kind) / getattr(a, kind) for b, a in pairs], digits=2) for kind in ("wall", "cpu"))


def _accuracy(records: Mapping[str, Any]) -> list[str]:
    """Lines on parity and accuracy, from the bundle's records."""
    parity, int8 = records["model.onnx"]["parity"], records["model.int8.onnx"]
    accuracy, ranges = int8["accuracy"], int8["calibration"]
    largest, change = parity["max_abs_probability_difference"], 100 * (accuracy["after"] - accuracy["before"])
    counts = f"{accuracy['lost']} answers lost, {accuracy['won']} won"
    return [
        f"fp32 against PyTorch, {parity['n']} {parity['images']} images, views {', '.join(parity['views'])}: largest difference of a "
        f"probability {largest:.1e}, labels that differ: {parity['labels_that_differ']}.",
        f"int8 against fp32, {accuracy['n']} {accuracy['images']} images, views {int8['views']}: accuracy {100 * accuracy['before']:.2f} % "
        f"before, {100 * accuracy['after']:.2f} % after ({change:+.2f} points; {counts}); ranges from {ranges['n']} {ranges['images']} "
        "images.",
        "",
    ]


def _conditions(about: Mapping[str, Any]) -> list[str]:
    environment = about["environment"]
    return [
        f"Processor: {environment['processor']} ({environment['cpu_capability']}); threads: {about['threads']}",
        f"Load before and after (mean of 1 min): {about['load'][0]:.2f} and {about['load'][1]:.2f}; near 0 and {about['threads']} where "
        "nothing else runs; more means that clock times are upper bounds",
        f"Versions: {', '.join(f'{name} {value}' for name, value in about['versions'].items())}, python {environment['python']}, "
        f"revision {environment['git_revision']}",
        f"Measured {about['date']}, about {about['seconds']:g} s each",
        f"Command: `{about['command']}`",
    ]


def _shown(values: Sequence[float], *, digits: int) -> str:
    median, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{median} ({low} to {high})"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---:"] * len(head), *body)]


# -- command line -------------------------------------------------------------------------------------------------------


def main(words: Sequence[str] | None = None) -> int:
    """Measure and write; exit code 2 where the command is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle with model.onnx and model.int8.onnx")
    parser.add_argument("--views", choices=["none", "flip", "six"], default="none", help="test-time augmentation; default none")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="measurements of each kind; default 5")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="length of each measurement; default 1")
    parser.add_argument("--threads", type=int, default=cores, metavar="N", help=f"threads of each engine; default {cores}")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.md", help="the table; FILE.json is written beside it")
    given = parser.parse_args(words)
    if given.rounds < 1 or given.threads < 1 or given.seconds <= 0:
        parser.error("--rounds, --threads and --seconds must be positive")
    torch.set_num_threads(given.threads)
    try:
        predictors = {name: load_predictor(given.bundle, device="cpu", engine=name) for name in ENGINES}
    except CifarlabError as error:
        parser.error(str(error))
    load = [os.getloadavg()[0]]
    timings = measure(predictors, views=given.views, rounds=given.rounds, seconds=given.seconds)
    description = predictors["torch"].description
    options = ["--views", given.views, "--rounds", str(given.rounds), "--seconds", f"{given.seconds:g}", "--threads", str(given.threads)]
    about = {
        "model": f"{description['name']} ({description['model']['name']})",
        "parameters": description["parameters"],
        "views": given.views,
        "rounds": given.rounds,
        "seconds": given.seconds,
        "threads": given.threads,
        "load": [*load, os.getloadavg()[0]],
        "records": description["onnx"],
        "environment": describe_environment(torch.device("cpu")),
        "versions": {name: version(name) for name in VERSIONS},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "benchmarks/onnx_rate.py", given.bundle.name, *options, "-o", f"benchmarks/{given.output.name}"]),
    }
    about["environment"].pop("command")
    write_text(given.output, render(timings, about))
    rows = [
        {"engine": name, "batch": batch, "wall_s": [each.wall for each in values], "cpu_s": [each.cpu for each in values]}
        for (name, batch), values in timings.items()
    ]
    write_json(given.output.with_suffix(".json"), {**about, "measurements": rows})
    return 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
