"""The table of classical baselines, networks beside them: baselines.md and baselines.html."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from cifarlab.files import write_text
from cifarlab.metrics import summarize, wilson_interval
from cifarlab.reports.document import Bullets, Entries, Paragraph, Section, Table, to_html, to_markdown
from cifarlab.reports.numbers import between, counted, duration, grouped, is_number
from cifarlab.runs import RunDirectory

TITLE: Final = "Classical baselines"
_NOUNS: Final = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class BaselineRow:
    """One run of a baseline: `description` is its baseline.json, `score` its metrics of the test split."""

    run: str
    seed: int
    description: dict[str, Any]
    score: dict[str, Any]
    env: dict[str, Any]

    @classmethod
    def read(cls, run: RunDirectory) -> BaselineRow:
        """From the files of a finished run; raises RunError where they are missing."""
        env = run.read_json("env.json")
        return cls(run.name, int(env["seed"]), run.read_json("baseline.json"), run.read_json("metrics.json")["test"], env)

    @property
    def name(self) -> str:
        """Name of the method."""
        return str(self.description["baseline"])

    @property
    def features(self) -> str:
        """Which features it sees."""
        return str(self.description["features"]["kind"])

    @property
    def validation(self) -> float | None:
        """Accuracy on validation of what was chosen there; None where nothing was."""
        values = [tried["validation_accuracy"] for tried in self.description["candidates"]]
        return None if None in values else max(values)


def write_baselines(
    folder: Path, rows: Sequence[BaselineRow], *, beside: Iterable[RunDirectory] = (), missing: Sequence[str] = (), command: str = ""
) -> tuple[Path, Path]:
    """Write folder/baselines.html and baselines.md and return their paths.

    beside: evaluated runs of networks for the same table; missing: names of runs that were asked for and are not there.
    """
    networks = [_network(run) for run in beside]
    sections = [
        Section("results", "Accuracy and cost", (_table(rows, networks), Paragraph(_reading(rows)))),
        Section("methods", "Methods", (Entries(tuple(_methods(rows))),)),
        Section("choice", "Chosen on validation", (_choices(rows),)),
        Section("protocol", "Protocol", (Bullets(tuple(_protocol(rows, missing, command))),)),
    ]
    env = rows[0].env
    lead = f"Without a neural network, on {env['dataset']}: what a network has to beat."
    footer = "Written by cifarlab from the run directories of these baselines."
    html, markdown = folder / "baselines.html", folder / "baselines.md"
    write_text(html, to_html(f"{TITLE} on {env['dataset']}", lead, sections, footer=footer))
    write_text(markdown, to_markdown(f"{TITLE} on {env['dataset']}", lead, sections, footer=footer))
    return html, markdown


def baseline_summaries(rows: Sequence[BaselineRow]) -> list[dict[str, Any]]:
    """One entry for each method and kind of features, its seeds together, JSON-ready; in the order of `rows`.

    accuracy: mean over seeds, sd (None for one), n seeds; low and high: 95 % Wilson interval of the mean for the number of test
    images; seconds of one run by part (mean); peak_memory_bytes: the largest.
    """
    groups: dict[tuple[str, str], list[BaselineRow]] = {}
    for row in rows:
        groups.setdefault((row.name, row.features), []).append(row)
    return [_summary(group) for group in groups.values()]


def _summary(group: Sequence[BaselineRow]) -> dict[str, Any]:
    first = group[0]
    accuracy = summarize(row.score["accuracy"]["value"] for row in group)
    images = int(first.score["n"])
    interval = wilson_interval(round(accuracy.mean * images), images)
    validation = [row.validation for row in group if row.validation is not None]
    peaks = [row.description["peak_memory_bytes"] for row in group]
    return {
        "baseline": first.name,
        "features": first.features,
        "arguments": [row.description["arguments"] for row in group],
        "validation_accuracy": summarize(validation).mean if validation else None,
        "accuracy": accuracy.mean,
        "sd": accuracy.sd,
        "n": accuracy.n,
        "low": interval.low,
        "high": interval.high,
        "test_images": images,
        "seconds": {part: summarize(row.description["seconds"][part] for row in group).mean for part in ("features", "fit", "predict")},
        "peak_memory_bytes": max(peaks) if all(is_number(peak) for peak in peaks) else None,
        "runs": [row.run for row in group],
    }


def _table(rows: Sequence[BaselineRow], networks: Sequence[tuple[str, ...]]) -> Table:
    head = ("Method", "Features", "Test %", "sd", "n", "95 % interval", "Features, s", "Fit, s", "Predict, s", "Memory")
    cells = []
    for row in baseline_summaries(rows):
        seconds = row["seconds"]
        cells.append(
            (
                row["baseline"],
                row["features"],
                f"{100 * row['accuracy']:.2f}",
                "-" if row["sd"] is None else f"{100 * row['sd']:.2f}",
                str(row["n"]),
                between(row["low"], row["high"]),
                *(f"{seconds[part]:.1f}" for part in ("features", "fit", "predict")),
                memory(row["peak_memory_bytes"]),
            )
        )
    return Table(head, (*cells, *networks))


def memory(peak: int | None) -> str:
    """Bytes as "1.25 GB" (10^9), "-" where they were not measured."""
    return "-" if peak is None else f"{peak / 1e9:.2f} GB"


def _network(run: RunDirectory) -> tuple[str, ...]:
    """A row for a network's run: its accuracy with the views that count, and its training time."""
    score, status = run.read_json("metrics.json")["test"], run.status()
    seconds = f"{status['seconds']:.1f}" if is_number(status.get("seconds")) else "-"
    accuracy = score["accuracy"]
    recipe = yaml.safe_load(run.recipe_file.read_text(encoding="utf-8"))
    name = recipe["model"]["name"] if recipe.get("name") in (None, "custom") else recipe["name"]
    value, interval = f"{100 * accuracy['value']:.2f}", between(accuracy["low"], accuracy["high"])
    return (f"network: {name}", "learned", value, "-", "1", interval, "-", seconds, "-", "-")


def _reading(rows: Sequence[BaselineRow]) -> str:
    env = rows[0].env
    machine = f"{env.get('processor')}, {counted(int(env['threads']), 'thread')}"
    return (
        f"Measured on {machine}. Seconds are wall time: of the features of all three splits, computed once for all methods; of the fit, "
        "every candidate and its validation included; of predicting the test split. Memory is the largest resident memory of the process "
        "during a run, interpreter and images included; processes that compute features side by side come on top. "
        "Of networks, Fit is the training."
    )


def _methods(rows: Sequence[BaselineRow]) -> Iterable[tuple[str, str]]:
    for row in {row.name: row for row in rows}.values():
        yield f"{row.name}:", f"{row.description['summary']}. Logits: {row.description['logits']}."
    kinds = {row.features: row.description["features"]["dimensions"] for row in rows}
    if "pixels" in kinds:
        yield "pixels:", f"{grouped(kinds['pixels'])} values of an image, divided by 255."
    if "hog" in kinds:
        text = (
            "histograms of oriented gradients (Dalal and Triggs, CVPR 2005) by scikit-image: 9 orientations, 8 x 8 cells, blocks of 2 x 2"
        )
        yield "hog:", f"{text}, {grouped(kinds['hog'])} values of an image."


def _choices(rows: Sequence[BaselineRow]) -> Table:
    """Every candidate that was tried, with its accuracy on validation; the chosen one is marked."""
    cells = []
    for row in rows:
        for tried in row.description["candidates"]:
            value = tried["validation_accuracy"]
            chosen = "chosen" if tried["arguments"] == row.description["arguments"] else ""
            text = ", ".join(f"{key}={argument:g}" for key, argument in tried["arguments"].items())
            mark = "fixed in advance" if value is None else chosen
            cells.append((row.run, text, "-" if value is None else f"{100 * value:.2f}", mark))
    return Table(("Run", "Arguments", "Validation %", ""), tuple(cells))


def _protocol(rows: Sequence[BaselineRow], missing: Sequence[str], command: str) -> Iterable[str]:
    env = rows[0].env
    sizes = env["sizes"]
    train, validation, test = (counted(sizes[split], f"{noun} image") for split, noun in _NOUNS.items())
    yield (
        f"{train}, {validation} carved from the training split as for networks, {test}. Validation chooses among candidates and scales the "
        "margins of the support vector machine, which leaves its predicted classes as they are; nothing else is fitted to it."
    )
    yield "Each run predicts the test split once, with what validation has chosen; its status.json counts the reading."
    yield (
        "Intervals are 95 % Wilson score intervals and hold the uncertainty from the number of test images; sd is the sample standard "
        "deviation over seeds (k nearest neighbours have none)."
    )
    versions = ", ".join(f"{name} {env[name]}" for name in ("python", "numpy", "scikit-learn", "scikit-image") if env.get(name))
    total = sum(sum(row.description["seconds"].values()) for row in rows)
    yield f"Versions: {versions}. All runs together: {duration(total)}, shared features counted in each."
    if missing:
        yield f"Not fitted yet: {', '.join(missing)}."
    if command:
        yield f"Command: {command}"
