"""What the runs of a reproduction say, gathered: one row for each system and protocol, claimed beside measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import yaml

from cifarlab.errors import CifarlabError
from cifarlab.metrics import Interval, Summary, score_predictions, summarize
from cifarlab.published import PublishedSystem, get_system, published_systems
from cifarlab.reports.numbers import is_number
from cifarlab.reports.verdict import Difference, Verdict, expected_interval, judge, paired_difference
from cifarlab.runs import Predictions, RunDirectory

PROTOCOLS: Final = {"published": "as published", "corrected": "corrected"}
Json = Mapping[str, Any]


@dataclass(frozen=True)
class CellResult:
    """One cell of a reproduction: a system (its published name), a protocol ("published" or "corrected") and a seed.

    run: its directory, None where there is none. reason: why it has no result; "" for a finished one. planned: the length
    that the protocol asks for, such as "200ep", where the run was made shorter; "" otherwise.
    """

    system: str
    protocol: str
    seed: int
    run: RunDirectory | None
    reason: str = ""
    planned: str = ""


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished cell, its files read once. `predictions` and `score` are of the test split."""

    cell: CellResult
    run: RunDirectory
    predictions: Predictions
    score: Json
    status: Json
    env: Json
    recipe: Json
    epochs: Sequence[Json]

    @property
    def accuracy(self) -> float:
        return float(self.score["accuracy"]["value"])

    @property
    def loss(self) -> float:
        """Cross-entropy on the test split in nats, without any penalty."""
        return float(self.score["cross_entropy"])

    @property
    def seconds(self) -> float | None:
        value = self.status.get("seconds")
        return float(value) if is_number(value) else None

    @property
    def penalty(self) -> float | None:
        """L2 penalty of the evaluated weights, after the epoch that they are of; None without one."""
        value = (self.evaluated_epoch or {}).get("l2_penalty")
        return float(value) if is_number(value) else None

    @property
    def evaluated_epoch(self) -> Json | None:
        """The line of metrics.jsonl of the epoch whose weights were evaluated."""
        if self.status.get("selected") != "best":
            return self.epochs[-1] if self.epochs else None
        best = self.status.get("best_epoch")
        return next((row for row in self.epochs if row.get("epoch") == best), None)

    def option(self, key: str) -> Any:
        """A field of the run's recipe by its dotted name, None where the recipe has none."""
        value: Any = self.recipe
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def size_of(self, split: str) -> int | None:
        """Images of "train", "validation" or "test", where the run recorded them."""
        sizes = self.env.get("sizes")
        size = sizes.get(split) if isinstance(sizes, Mapping) else None
        return size if isinstance(size, int) else None

    @property
    def validated_on_test(self) -> bool:
        return bool(self.option("data.validate_on") == "test")

    @property
    def selected_on_test(self) -> bool:
        """Whether the test split chose the weights, the end or the rate of this run."""
        chooses = self.option("train.select") == "best" or self.option("train.patience") is not None
        return self.validated_on_test and (chooses or self.option("schedule.name") == "plateau")

    @property
    def length(self) -> str:
        """How many epochs were run, and what cut them short: "20", "40 of 200", "23 of 40 (stopped early)"."""
        done, asked = str(self.status.get("epochs", "?")), str(self.option("train.duration") or "")
        if self.shortened and asked.endswith("st"):
            return f"{self.status.get('steps', '?')} steps in place of {_epochs(self.cell.planned)}"
        if self.shortened:
            return f"{done} of {_epochs(self.cell.planned)}"
        return f"{done} of {_epochs(asked)} (stopped early)" if self.status.get("stopped_early") else done

    @property
    def shortened(self) -> bool:
        """Whether the run was made shorter than its protocol asks for."""
        return bool(self.cell.planned) and self.cell.planned != str(self.option("train.duration") or "")

    @property
    def machine(self) -> str:
        processor, threads = str(self.env.get("processor") or "not recorded"), self.env.get("threads")
        on_cpu = str(self.env.get("device", "cpu")) == "cpu"
        return f"{processor}, {threads} thread{'' if threads == 1 else 's'}" if on_cpu and is_number(threads) else processor


@dataclass(frozen=True, eq=False)
class Row:
    """A system under one protocol: its finished runs in the order of their seeds, and the cells without a result."""

    system: PublishedSystem
    protocol: str
    done: tuple[FinishedRun, ...]
    missing: tuple[CellResult, ...]

    @property
    def protocol_name(self) -> str:
        return PROTOCOLS.get(self.protocol, self.protocol)

    @cached_property
    def images(self) -> int:
        """Images of the test split."""
        return int(self.done[0].score["n"])

    @cached_property
    def accuracy(self) -> Summary:
        return summarize(run.accuracy for run in self.done)

    @cached_property
    def expected(self) -> Interval:
        """Mean accuracy and the 95 % interval of one more run; see `reports.verdict`."""
        return expected_interval([run.accuracy for run in self.done], self.images)

    @cached_property
    def loss(self) -> float:
        return summarize(run.loss for run in self.done).mean

    @cached_property
    def penalized_loss(self) -> float | None:
        """Mean of loss and L2 penalty together; None where a run has no penalty."""
        both = [run.loss + run.penalty for run in self.done if run.penalty is not None]
        return summarize(both).mean if len(both) == len(self.done) else None

    @cached_property
    def mse(self) -> float:
        return summarize(float(run.score["mse"]) for run in self.done).mean

    @cached_property
    def seconds(self) -> float | None:
        known = [run.seconds for run in self.done if run.seconds is not None]
        return summarize(known).mean if known else None

    @property
    def machine(self) -> str:
        return "; ".join(dict.fromkeys(run.machine for run in self.done))

    @property
    def length(self) -> str:
        return "; ".join(dict.fromkeys(run.length for run in self.done))

    @property
    def parameters(self) -> int | None:
        """As the network that was trained has them, else as the report prints them."""
        counted = [run.status.get("parameters") for run in self.done]
        if counted and isinstance(counted[0], int):
            return counted[0]
        return self.system.parameters.total if self.system.parameters is not None else None

    @property
    def verdict(self) -> Verdict | None:
        """None without a run, without a claimed accuracy, and for runs that were made shorter than the claim's."""
        claimed = self.system.headline.accuracy
        return judge(claimed, self.expected) if self.done and claimed is not None and not self.shortened else None

    @property
    def verdict_name(self) -> str:
        """The verdict in a table: "agrees", "higher", "lower", "shortened" or "-"."""
        return self.verdict or ("shortened" if self.shortened else "-")

    @property
    def shortened(self) -> bool:
        return any(run.shortened for run in self.done)

    @property
    def origin(self) -> str:
        """Which runs a mean is of, in words."""
        return f"mean of {len(self.done)} runs" if len(self.done) > 1 else f"run {self.done[0].run.name}"

    def class_score(self, name: str, key: str) -> float:
        """Mean over the runs of "precision", "recall" or "f1" of the class called `name`."""
        return float(np.mean([line[key] for run in self.done for line in run.score["per_class"] if line["name"] == name]))

    def mean_of(self, key: str, epoch: int) -> float | None:
        """Mean over the runs of a field of metrics.jsonl in one epoch (0: first, -1: last); None where a run lacks it."""
        values = [value for run in self.done if run.epochs and is_number(value := run.epochs[epoch].get(key))]
        return float(np.mean(values)) if values and len(values) == len(self.done) else None


def collect_rows(cells: Iterable[CellResult]) -> list[Row]:
    """The rows of all systems in `cells`: in the order of the reports, published before corrected.

    A finished cell whose files cannot be read counts as one without a result, with the reason. Raises UsageError for a system
    that is not published, ValueError for an unknown protocol or for two results of one cell.
    """
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for cell in cells:
        if cell.protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {cell.protocol!r}; allowed: {', '.join(PROTOCOLS)}")
        group = groups.setdefault((get_system(cell.system).name, cell.protocol), [])
        if any(other.seed == cell.seed for other in group):
            raise ValueError(f"two results for {cell.system}, {cell.protocol}, seed {cell.seed}")
        group.append(cell)
    order = [(system.name, protocol) for system in published_systems() for protocol in PROTOCOLS]
    return [_row(get_system(key[0]), key[1], groups[key]) for key in order if key in groups]


def difference_of_protocols(rows: Sequence[Row]) -> Difference | None:
    """Published minus corrected accuracy over the seeds that both of a system's rows have; None where there are none to pair."""
    by_protocol = {row.protocol: {run.cell.seed: run for run in row.done} for row in rows}
    first, second = (by_protocol.get(protocol, {}) for protocol in PROTOCOLS)
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    try:
        return paired_difference([first[seed].predictions for seed in seeds], [second[seed].predictions for seed in seeds])
    except ValueError:  # different test images, as where they are cut out of all of them
        return None


def _row(system: PublishedSystem, protocol: str, cells: Sequence[CellResult]) -> Row:
    done, missing = [], []
    for cell in sorted(cells, key=lambda cell: cell.seed):
        read = _read(cell)
        if isinstance(read, FinishedRun):
            done.append(read)
        else:
            missing.append(read)
    return Row(system, protocol, tuple(done), tuple(missing))


def _read(cell: CellResult) -> FinishedRun | CellResult:
    """The files of a finished cell, or the cell with the reason why it has no result."""
    if cell.run is None or cell.reason:
        return cell if cell.reason else CellResult(cell.system, cell.protocol, cell.seed, None, "not run", cell.planned)
    try:
        predictions = Predictions.load(cell.run.predictions_file("test"))
        return FinishedRun(
            cell=cell,
            run=cell.run,
            predictions=predictions,
            score=score_predictions(predictions),
            status=cell.run.status(),
            env=cell.run.read_json("env.json"),
            recipe=_recipe(cell.run),
            epochs=cell.run.epochs(),
        )
    except (CifarlabError, OSError, ValueError, yaml.YAMLError) as error:
        return CellResult(cell.system, cell.protocol, cell.seed, cell.run, " ".join(str(error).split()), cell.planned)


def _recipe(run: RunDirectory) -> Json:
    value = yaml.safe_load(run.recipe_file.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"{run.recipe_file} is damaged: a mapping was expected")
    return value


def _epochs(duration: str) -> str:
    """ "200ep" -> "200"; another unit is kept."""
    return duration.removesuffix("ep")
