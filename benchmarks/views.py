"""How right and how fast is a model with one, two, six and selective views? One table for a bundle.

    python benchmarks/views.py cifar10-fast -o benchmarks/views.md             # validation
    python benchmarks/views.py cifar10-fast --test -o benchmarks/views.md      # and one reading of the test split

Accuracy is of the bundle's own validation images, found by its recipe and checked by their checksum, and with --test of the test
images, which choose nothing: the confidence of selective views is in the bundle already. The rate is of prediction from memory, in
batches of 1 and 16; the kinds of views take turns, every second round backwards, so that a machine that gets slower meets all of them.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cifarlab.bundle import Predictor, load_predictor
from cifarlab.bundle.reexport import validation_images
from cifarlab.bundle.selective import FIRST, REST, SELECTIVE, confidence_of, joined, select
from cifarlab.data.dataset import Dataset
from cifarlab.errors import CifarlabError
from cifarlab.files import write_json, write_text
from cifarlab.metrics import wilson_interval
from cifarlab.training.environment import describe_environment

VIEWS: Final = ("none", "flip", "six", SELECTIVE)
BATCHES: Final = (1, 16)
PIECE: Final = 100  # images predicted at a time for accuracy


def measure_accuracy(predictor: Predictor, data: Dataset, *, split: str) -> list[dict[str, Any]]:
    """One row for each kind of views: right answers of N with Wilson's interval, labels unlike six views', images with two views alone."""
    logits = {views: _logits(predictor, data.images, views) for views in ("none", FIRST, REST)}
    temperature, confidence = confidence_of(predictor.description)
    logits["six"] = joined(logits[FIRST], logits[REST])
    logits[SELECTIVE], stopped = select(logits[FIRST], logits["six"], temperature=temperature, confidence=confidence)
    rows = []
    for views in VIEWS:
        answers = logits[views].argmax(1)
        right = int((answers == data.labels).sum())
        interval = wilson_interval(right, len(data))
        differ = int((answers != logits["six"].argmax(1)).sum())
        row = {
            "split": split,
            "views": views,
            "n": len(data),
            "right": right,
            "low": interval.low,
            "high": interval.high,
            "differ_from_six": differ,
        }
        rows.append({**row, **({"stopped": int(stopped.sum())} if views == SELECTIVE else {})})
    return rows


def _logits(predictor: Predictor, images: NDArray[np.uint8], views: str) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(images), PIECE):
        parts.append(predictor.engine.logits(images[start : start + PIECE], views=views))
        if start % 2000 == 0:
            _say(f"{views}: {start} of {len(images)}")
    return np.concatenate(parts)


def measure_rates(predictor: Predictor, images: NDArray[np.uint8], *, rounds: int, count: int) -> list[dict[str, Any]]:
    """Images a second, on the clock and of processor time, of `count` images: for each batch size and kind of views one figure a round."""
    found: dict[tuple[int, str], list[tuple[float, float]]] = {(batch, views): [] for batch in BATCHES for views in VIEWS}
    chosen = list(images[:count])
    for turn in range(rounds):
        for batch in BATCHES:
            for views in VIEWS[:: -1 if turn % 2 else 1]:
                predictor.predict_arrays(chosen[:batch], tta=views)  # memory, threads
                wall, cpu = time.perf_counter(), time.process_time()
                predictor.predict_arrays(chosen, tta=views, batch_size=batch)
                taken = time.perf_counter() - wall, time.process_time() - cpu
                found[batch, views].append((count / taken[0], count / taken[1]))
                _say(f"round {turn + 1} of {rounds}, batch {batch}, {views}: {count / taken[0]:.0f} images/s")
    return [
        {"batch": batch, "views": views, "per_second": [wall for wall, _ in pairs], "per_cpu_second": [cpu for _, cpu in pairs]}
        for (batch, views), pairs in found.items()
    ]


# -- what is written ------------------------------------------------------------------------------------------------------


def render(accuracy: Sequence[Mapping[str, Any]], rates: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """The Markdown page."""
    lines = [f"# Views of an image: {about['model']}", ""]
    lines += ["| split | views | accuracy [95 % interval] | errors | labels unlike six views' | only two views |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    for row in accuracy:
        n = row["n"]
        shown = f"{100 * row['right'] / n:.2f} % [{100 * row['low']:.2f}, {100 * row['high']:.2f}]"
        stopped = f"{100 * row['stopped'] / n:.1f} %" if "stopped" in row else ""
        lines.append(f"| {row['split']} | {row['views']} | {shown} | {n - row['right']} of {n} | {row['differ_from_six']} | {stopped} |")
    lines += ["", "Images a second, median (lowest to highest):", "", "| batch | views | on the clock | of processor time |"]
    lines += ["|---:|---|---:|---:|"]
    lines += [f"| {row['batch']} | {row['views']} | {_spread(row['per_second'])} | {_spread(row['per_cpu_second'])} |" for row in rates]
    reading = (
        "The test split was read once for this table, after everything was fixed; nothing was chosen by it."
        if about["test"]
        else "The test split was not read."
    )
    lines += [
        "",
        f"Selective: two views where their calibrated top probability reaches {about['confidence']:.4f}, else six. That confidence was "
        f"chosen on the validation images above. Intervals are Wilson's. {reading}",
        "",
        *(f"- {line}" for line in about["conditions"]),
        "",
    ]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def main(words: Sequence[str] | None = None) -> int:
    """Measure and write; exit code 2 where the command is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", default="cifar10-fast", help="bundle or shipped name; default cifar10-fast")
    parser.add_argument("--engine", default="torch", help="torch, onnx or onnx-int8")
    parser.add_argument("--test", action="store_true", help="read the test split as well")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="measurements of each rate; default 5")
    parser.add_argument("--count", type=int, default=200, metavar="N", help="images of a measurement; default 200")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of PyTorch; default: its own")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder that holds the data")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.md", help="the table; FILE.json is written beside it")
    given = parser.parse_args(words)
    if given.rounds < 1 or given.count < 1 or (given.threads or 1) < 1:
        parser.error("--rounds, --count and --threads must be positive")
    if given.threads:
        torch.set_num_threads(given.threads)
    load = os.getloadavg()[0]
    try:
        predictor = load_predictor(given.bundle, device="cpu", engine=given.engine)
        splits = ["validation", *(["test"] if given.test else [])]
        data = {split: validation_images(predictor.description, given.data_dir, split=split) for split in splits}
        rates = measure_rates(predictor, data["validation"].images, rounds=given.rounds, count=given.count)
        accuracy = [row for split in splits for row in measure_accuracy(predictor, data[split], split=split)]
    except CifarlabError as error:
        parser.error(str(error))
    environment = describe_environment(torch.device("cpu"))
    words_used = ["python", "benchmarks/views.py", given.bundle, *(["--test"] if given.test else []), "--engine", given.engine]
    words_used += ["--rounds", str(given.rounds), "--count", str(given.count), "-o", f"benchmarks/{given.output.name}"]
    conditions = [
        f"Engine {given.engine}, {torch.get_num_threads()} threads; {environment['processor']}; load before and after: {load:.2f}, "
        f"{os.getloadavg()[0]:.2f} (more than the threads means that clock times are upper bounds)",
        f"torch {environment['torch']}, python {environment['python']}, revision {environment['git_revision']}",
        f"Measured {datetime.now(UTC):%Y-%m-%d}, {given.rounds} rounds of {given.count} validation images",
        f"Command: `{shlex.join(words_used)}`",
    ]
    about = {
        "model": predictor.description["name"],
        "confidence": confidence_of(predictor.description)[1],
        "test": given.test,
        "conditions": conditions,
    }
    write_text(given.output, render(accuracy, rates, about))
    write_json(given.output.with_suffix(".json"), {**about, "accuracy": accuracy, "rates": rates})
    return 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
