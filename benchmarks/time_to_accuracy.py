"""How accurate is a recipe, how long does it train, and what does that cost in operations? One table, beside a reference.

    python benchmarks/time_to_accuracy.py fast --target 94 --seeds 5 --reference airbench94 -o benchmarks/time_to_accuracy.md

Every run is a process of its own, started by the command that a user would type, in a run directory that stays: stopped and started
again, the benchmark goes on. The recipe and its reference take turns. Seconds are those that the run records: from the uint8 images in
memory to the final weights, whitening, augmentation, validation and checkpoints included. The share of the convolution peak is against
a peak that each run measures in its own process. Accuracy is that of the test split, which each run reads once; nothing is chosen by it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from scipy.stats import t as student

from cifarlab.config import differences, read_recipe
from cifarlab.errors import CifarlabError
from cifarlab.files import write_json, write_text
from cifarlab.recipes import get_recipe

HERE: Final = Path(__file__).resolve().parent
SAME: Final = ("python", "torch", "numpy", "cifarlab", "processor", "cpu_capability", "cpu_count", "threads", "device", "precision")


@dataclass(frozen=True)
class Result:
    """One finished run. Accuracies are shares of the test split; peak: operations a second, None where none was measured."""

    recipe: str
    seed: int
    accuracy: float
    one_view: float
    seconds: float
    operations: float
    peak: float | None
    load: float

    @property
    def rate(self) -> float:
        return self.operations / self.seconds

    @property
    def utilisation(self) -> float | None:
        return None if self.peak is None else self.rate / self.peak


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    recipe: str
    target: float
    seeds: int
    reference: str | None
    reference_seeds: int
    data: str
    runs: Path
    settings: tuple[str, ...]
    output: Path

    def command(self) -> str:
        """The command that repeats this."""
        words = ["python", "benchmarks/time_to_accuracy.py", self.recipe, "--target", f"{100 * self.target:g}", "--seeds", str(self.seeds)]
        if self.reference is not None:
            words += ["--reference", self.reference, "--reference-seeds", str(self.reference_seeds)]
        words += [] if self.data == "cifar10" else ["--data", self.data]
        for setting in self.settings:
            words += ["--set", setting]
        return shlex.join([*words, "-o", f"benchmarks/{self.output.name}"])

    def plan(self) -> list[tuple[str, int]]:
        """(recipe, seed) in the order in which they run: the reference's spread evenly among the recipe's."""
        own = [((seed + 0.5) / self.seeds, self.recipe, seed) for seed in range(self.seeds)]
        others = range(self.reference_seeds if self.reference is not None else 0)
        beside = [((seed + 0.5) / self.reference_seeds, str(self.reference), seed) for seed in others]
        return [(recipe, seed) for _, recipe, seed in sorted([*own, *beside])]


# -- runs ---------------------------------------------------------------------------------------------------------------


def measure(options: Options) -> tuple[list[Result], dict[str, Any]]:
    """Train and evaluate what is missing; returns all results and the machine they have in common.

    Raises RuntimeError where a command fails, a run of that name has another recipe, or the runs ran on different machines.
    """
    results = []
    common: dict[str, Any] | None = None
    plan = options.plan()
    for number, (recipe, seed) in enumerate(plan):
        name = f"{recipe}-{seed}"
        folder = options.runs / name
        settings = options.settings if recipe == options.recipe else ()
        if not is_done(folder):
            say(f"[{number + 1}/{len(plan)}] {name}")
            load = os.getloadavg()[0]
            begin = ["--resume", str(folder)] if (folder / "checkpoint.pt").exists() else [recipe, "--data", options.data]
            words = ["train", *begin, "--no-report"]
            if begin[0] != "--resume":
                words += ["--seed", str(seed), "--name", name, "--runs", str(options.runs)]
                words += [word for setting in settings for word in ("--set", setting)]
            cifarlab(*words)
            write_json(folder / "load.json", {"load": load})
        check_recipe(folder, recipe, seed, settings, options.data)
        if "test" not in read(folder, "metrics.json"):
            cifarlab("evaluate", str(folder), "--split", "test", "--no-report")
        results.append(read_result(folder, recipe, seed))
        environment = read(folder, "env.json")
        machine = {key: environment.get(key) for key in SAME}
        if common is not None and (other := [key for key in SAME if machine[key] != common[key]]):
            raise RuntimeError(f"{folder} differs from the runs before it in {', '.join(other)}: its times cannot stand beside theirs")
        common = machine
        say(f"{name}: {100 * results[-1].accuracy:.2f} %, {results[-1].seconds:.0f} s")
    return results, common or {}


def cifarlab(*words: str) -> None:
    """Run the command line; its output goes to this process's stderr. Raises RuntimeError where it fails."""
    done = subprocess.run([sys.executable, "-m", "cifarlab", *words], stdout=2, check=False)  # 2: stderr
    if done.returncode:
        raise RuntimeError(f"cifarlab {shlex.join(words)} ended with {done.returncode}")


def check_recipe(folder: Path, recipe: str, seed: int, settings: Sequence[str], data: str) -> None:
    """Raise RuntimeError where the run is not of this recipe."""
    from cifarlab import api
    from cifarlab.config import parse_assignments

    wanted = api.resolve_recipe(get_recipe(recipe), data=data, seed=seed, overrides=parse_assignments(list(settings)))
    if changed := differences(read_recipe(folder / "recipe.yaml"), wanted):
        raise RuntimeError(f"{folder} was trained with another recipe ({'; '.join(changed)}): remove it, or give another --runs")


def is_done(folder: Path) -> bool:
    return (folder / "status.json").exists() and read(folder, "status.json").get("state") == "done"


def read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content


def read_result(folder: Path, recipe: str, seed: int) -> Result:
    status, metrics = read(folder, "status.json"), read(folder, "metrics.json")["test"]
    return Result(
        recipe=recipe,
        seed=seed,
        accuracy=metrics["accuracy"]["value"],
        one_view=metrics["single_view"]["accuracy"]["value"],
        seconds=status["seconds"],
        operations=status["operations"],
        peak=status.get("convolution_peak"),
        load=read(folder, "load.json").get("load", float("nan")),
    )


# -- what is written ----------------------------------------------------------------------------------------------------


def render(results: Sequence[Result], options: Options, about: Mapping[str, Any]) -> str:
    """The Markdown page: a row a recipe, the ratio to the reference, a row a run, and what they were measured with."""
    names = [options.recipe, *([options.reference] if options.reference else [])]
    groups = {name: [result for result in results if result.recipe == name] for name in names}
    head = ["recipe", "n", "accuracy, mean", "sd", "95 % interval of the mean", "one view", "seconds, mean", "sd", "PFLOP", "of the peak"]
    lines = [f"# Time to {100 * options.target:g} %", "", *table(head, [summary_row(name, group) for name, group in groups.items()]), ""]
    reached = statistics.mean(result.accuracy for result in groups[options.recipe]) >= options.target
    lines.append(f"`{options.recipe}` {'reaches' if reached else 'does not reach'} {100 * options.target:g} % on the mean of its seeds.")
    if options.reference:
        own, other = (groups[name] for name in names)
        seconds, operations = (ratio_of_means(own, other, field) for field in ("seconds", "operations"))
        lines.append(f"Against `{options.reference}`: {seconds:.3f} times its seconds, {operations:.3f} times its operations.")
    rows = [
        [
            result.recipe,
            str(result.seed),
            percent(result.accuracy),
            percent(result.one_view),
            f"{result.seconds:.0f}",
            f"{result.rate / 1e12:.3f}",
            share(result.utilisation),
            f"{result.load:.2f}",
        ]
        for result in results
    ]
    titles = ["recipe", "seed", "accuracy", "one view", "seconds", "TFLOP/s", "of the peak", "load before"]
    lines += ["", "In the order in which they ran:", "", *table(titles, rows), ""]
    lines += [
        "Accuracy is of the test split, with the recipe's views. Operations: 2 x 3 x multiply-adds x images.",
        "",
        f"- Machine: {about['processor']} ({about['cpu_capability']}), {about['cpu_count']} cores, {about['threads']} threads, "
        f"{about['precision']} on {about['device']}",
        f"- Versions: cifarlab {about['cifarlab']}, torch {about['torch']}, numpy {about['numpy']}, Python {about['python']}",
        f"- Date: {about['date']}",
        f"- Command: `{about['command']}`",
    ]
    return "\n".join(lines) + "\n"


def summary_row(name: str, group: Sequence[Result]) -> list[str]:
    accuracies, seconds = [result.accuracy for result in group], [result.seconds for result in group]
    peaks = [result.utilisation for result in group if result.utilisation is not None]
    return [
        f"`{name}`",
        str(len(group)),
        percent(statistics.mean(accuracies)),
        "-" if len(group) < 2 else f"{100 * statistics.stdev(accuracies):.2f}",
        interval(accuracies),
        percent(statistics.mean(result.one_view for result in group)),
        f"{statistics.mean(seconds):.0f}",
        "-" if len(group) < 2 else f"{statistics.stdev(seconds):.0f}",
        f"{group[0].operations / 1e15:.3g}",
        share(statistics.mean(peaks) if peaks else None),
    ]


def interval(values: Sequence[float]) -> str:
    """Student's t interval of the mean over seeds."""
    if len(values) < 2:
        return "-"
    mean = statistics.mean(values)
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{100 * max(0.0, mean - half):.2f} to {100 * min(1.0, mean + half):.2f}"


def ratio_of_means(own: Sequence[Result], other: Sequence[Result], field: str) -> float:
    return statistics.mean(getattr(each, field) for each in own) / statistics.mean(getattr(each, field) for each in other)


def percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---:"] * len(head), *body)]


# -- command line -------------------------------------------------------------------------------------------------------


def parse(words: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe's name")
    parser.add_argument("--target", type=float, default=94.0, metavar="PERCENT", help="accuracy aimed at; default 94")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of the recipe, with seeds 0 to N-1; default 5")
    parser.add_argument("--reference", metavar="RECIPE", help="another recipe, measured in turns with it")
    parser.add_argument("--reference-seeds", type=int, default=1, metavar="N", help="runs of the reference; default 1")
    parser.add_argument("--data", default="cifar10", help="dataset; default cifar10")
    parser.add_argument("--runs", type=Path, default=Path("runs/time-to-accuracy"), metavar="DIR", help="folder of the runs")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a field of the recipe, not of the reference"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.md", help="the table; FILE.json is written beside it")
    given = parser.parse_args(words)
    if given.seeds < 1 or given.reference_seeds < 1 or not 0 < given.target < 100:
        parser.error("--seeds and --reference-seeds must be positive, --target between 0 and 100")
    if given.reference == given.recipe:
        parser.error("--reference must be another recipe")
    for recipe in (given.recipe, given.reference):
        if recipe is not None:
            try:
                get_recipe(recipe)
            except CifarlabError as error:
                parser.error(str(error))
    return Options(
        recipe=given.recipe,
        target=given.target / 100,
        seeds=given.seeds,
        reference=given.reference,
        reference_seeds=given.reference_seeds,
        data=given.data,
        runs=given.runs,
        settings=tuple(given.set),
        output=given.output,
    )


def main(words: Sequence[str] | None = None) -> int:
    options = parse(words)
    try:
        results, machine = measure(options)
    except RuntimeError as error:
        say(f"error: {error}")
        return 1
    about = {**machine, "date": datetime.now(UTC).strftime("%Y-%m-%d"), "command": options.command()}
    write_text(options.output, render(results, options, about))
    write_json(options.output.with_suffix(".json"), {**about, "target": options.target, "results": [asdict(each) for each in results]})
    say(f"written: {options.output}")
    return 0


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
