"""How many images a second does a training step take in, in cifarlab and in Keras? One table for the nine published networks.

    python benchmarks/training_rate.py [NAME...] -o FILE.md        # report10 and lab-base, about five minutes

Every figure comes from a process of its own, all with the same cores; the kinds of measurement take turns, round after round, so that a
machine that gets slower or faster meets all of them. How both sides are kept equal: benchmarks/README.md.
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
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cifarlab.errors import unknown
from cifarlab.recipes import get_recipe

HERE: Final = Path(__file__).resolve().parent
TENSORFLOW: Final = "2.21.0"
KERAS_VENV: Final = HERE / ".venv-keras"
NETWORKS: Final = ("thesis18", "report10", "resnet20", "slides-m1", "slides-m2", "slides-m3", "slides-final", "lab-base", "lab-final")
DEFAULT: Final = ("report10", "lab-base")
LARGEST_BATCH: Final = 3_000  # both sides measure at least 16 steps, of at most CIFAR-10's 50 000 images

# Keras with the setting that cifarlab makes for itself (training/memory.py), here by glibc's environment variables.
KEEP_MEMORY: Final = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}


@dataclass(frozen=True)
class Kind:
    """A kind of measurement: a column of the table."""

    title: str
    keras: bool
    precision: str
    keep_memory: bool = False


KINDS: Final = {
    "keras-fp32": Kind("Keras fp32", keras=True, precision="fp32"),
    "keras-fp32-kept": Kind("Keras fp32, memory kept", keras=True, precision="fp32", keep_memory=True),
    "keras-bf16": Kind("Keras bf16", keras=True, precision="bf16"),
    "cifarlab-fp32": Kind("cifarlab fp32", keras=False, precision="fp32"),
    "cifarlab-bf16": Kind("cifarlab bf16", keras=False, precision="bf16"),
}
RATIOS: Final = (
    ("cifarlab-fp32", "keras-fp32"),
    ("cifarlab-fp32", "keras-fp32-kept"),
    ("cifarlab-bf16", "keras-bf16"),
    ("cifarlab-bf16", "keras-fp32"),
)


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of a figure over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """One network: its rates in images/s by kind, a value a round."""

    network: str
    parameters: int
    batch_size: int
    rates: Mapping[str, Sequence[float]]

    def rate(self, kind: str) -> Spread:
        return Spread.of(self.rates[kind])

    def ratio(self, over: str, under: str) -> Spread:
        """How many times as quick `over` is as `under`, compared within each round."""
        return Spread.of([a / b for a, b in zip(self.rates[over], self.rates[under], strict=True)])


# -- all measurements ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """What the command line asks for. batch_size None: as in each network's recipe."""

    names: tuple[str, ...]
    batch_size: int | None
    seconds: float
    rounds: int
    threads: int
    keras_venv: Path | None  # None: without Keras
    output: Path

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(name for name, kind in KINDS.items() if self.keras_venv is not None or not kind.keras)

    def command(self) -> str:
        """The command that repeats this measurement. Where the venv lies has no part in it."""
        words = ["python", "benchmarks/training_rate.py", *self.names]
        words += [] if self.batch_size is None else ["--batch-size", str(self.batch_size)]
        words += ["--seconds", f"{self.seconds:g}", "--rounds", str(self.rounds), "--threads", str(self.threads)]
        words += [] if self.keras_venv is not None else ["--no-keras"]
        output = self.output.absolute()
        shown = output.relative_to(HERE.parent).as_posix() if output.is_relative_to(HERE.parent) else output.name
        return shlex.join([*words, "-o", shown])


def measure(options: Options) -> tuple[list[Row], dict[str, Any]]:
    """All rates, and what they were measured with; "measurements" in it holds every single one.

    Raises RuntimeError where a measurement fails, or where the two sides have not the same network.
    """
    batches = {name: options.batch_size or get_recipe(name).train.batch_size for name in options.names}
    rates: dict[str, dict[str, list[float]]] = {name: {kind: [] for kind in options.kinds} for name in options.names}
    parameters: dict[str, int] = {}
    answers: dict[str, dict[str, Any]] = {}
    log: list[dict[str, Any]] = []
    for turn in range(options.rounds):
        for name in options.names:
            # Every second round backwards: no kind always comes first, on a rested processor.
            for kind in options.kinds[:: -1 if turn % 2 else 1]:
                answer = answers[kind] = run_kind(kind, name, batch_size=batches[name], options=options)
                rates[name][kind].append(answer["images_per_second"])
                figures = {key: answer[key] for key in ("images_per_second", "steps", "seconds", "cpu_seconds")}
                log.append({"round": turn + 1, "network": name, "kind": kind, **figures})
                _say(f"round {turn + 1} of {options.rounds}, {name}, {KINDS[kind].title}: {answer['images_per_second']:.0f} images/s")
            parameters[name] = same_parameters(name, answers)
    seen: dict[str, Any] = {"environment": answers["cifarlab-fp32"]["environment"], "measurements": log}
    if options.keras_venv is not None:
        keras = answers["keras-fp32"]
        seen |= {"keras_versions": keras["versions"], "keras_jit_compile": keras["jit_compile"]}
    return [Row(name, parameters[name], batches[name], rates[name]) for name in options.names], seen


def run_kind(kind: str, name: str, *, batch_size: int, options: Options) -> dict[str, Any]:
    """One measurement in a process of its own: what it printed. Raises RuntimeError, with the end of its errors, where it failed."""
    chosen = KINDS[kind]
    if chosen.keras:
        assert options.keras_venv is not None
        program = [python_of(options.keras_venv), HERE / "keras_networks.py"]
    else:
        program = [Path(sys.executable), HERE / "cifarlab_networks.py"]
    arguments = {"--batch-size": batch_size, "--seconds": options.seconds, "--threads": options.threads, "--precision": chosen.precision}
    command = [*map(str, program), name, *(str(word) for pair in arguments.items() for word in pair)]
    done = subprocess.run(command, env=environment_of(chosen, threads=options.threads), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}, {chosen.title}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    return parse_answer(done.stdout)


def environment_of(kind: Kind, *, threads: int) -> dict[str, str]:
    """This process's environment with the number of threads set and, whatever the user's shell says of malloc, what `kind` says."""
    unwanted = ("MALLOC_", "GLIBC_TUNABLES", *(["PYTHON"] if kind.keras else []))  # Keras' Python is another one
    kept = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
    return kept | {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "2"} | (KEEP_MEMORY if kind.keep_memory else {})


def parse_answer(text: str) -> dict[str, Any]:
    """The last line of `text`, which is JSON; raises RuntimeError where it holds no positive rate."""
    lines = text.strip().splitlines()
    try:
        answer = json.loads(lines[-1])
        rate = answer["images_per_second"]
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise RuntimeError(f"the measurement printed no result but {text[-300:]!r}") from error
    if not rate > 0:
        raise RuntimeError(f"the measurement gave {rate} images/s")
    return dict(answer)


def same_parameters(name: str, answers: Mapping[str, Mapping[str, Any]]) -> int:
    """Parameters of network `name`; raises RuntimeError where the kinds do not agree: they would not be the same network."""
    counts = {kind: (answer["parameters"], answer["trainable"]) for kind, answer in answers.items()}
    if len(set(counts.values())) != 1:
        raise RuntimeError(f"{name} is not the same network on both sides (parameters, trained ones): {counts}")
    return int(next(iter(counts.values()))[0])


# -- Keras' venv --------------------------------------------------------------------------------------------------------


def provide_keras(venv: Path) -> None:
    """Make `venv` with TensorFlow where it is missing. Raises RuntimeError where that fails, or another TensorFlow is there."""
    if not venv.exists():
        _say(f"making {venv} with tensorflow-cpu {TENSORFLOW} (some minutes, 1.5 GB)")
        try:
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, stdout=sys.stderr)
            pip = [str(python_of(venv)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, f"tensorflow-cpu=={TENSORFLOW}"], check=True, stdout=sys.stderr)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(venv, ignore_errors=True)  # half a venv would be taken for a whole one next time
            raise RuntimeError(f"Keras' venv could not be made: {error}. Measure without it: --no-keras") from error
    ask = "from importlib.metadata import version; print(version('tensorflow-cpu'))"
    try:
        found = subprocess.run([str(python_of(venv)), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"{venv} is no venv with tensorflow-cpu. Remove it, or name another with --keras-venv") from error
    if found != TENSORFLOW:
        raise RuntimeError(f"{venv} has tensorflow-cpu {found}, not {TENSORFLOW}. Remove it, or name another with --keras-venv")


def python_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


# -- what is written ----------------------------------------------------------------------------------------------------


def render(rows: Sequence[Row], about: Mapping[str, Any], kinds: Sequence[str]) -> str:
    """The Markdown page: rates, ratios, and what they were measured with."""
    ratios = [pair for pair in RATIOS if set(pair) <= set(kinds)]
    head = ["network", "parameters", "batch", *(KINDS[kind].title for kind in kinds)]
    body = [
        [row.network, f"{row.parameters:_}".replace("_", " "), str(row.batch_size), *(_shown(row.rate(kind)) for kind in kinds)]
        for row in rows
    ]
    lines = ["# Training rate" + (", cifarlab beside Keras" if ratios else ""), "", "Images/s, median (lowest to highest)"]
    lines[-1] += f" of {about['rounds']} round{'s' if about['rounds'] > 1 else ''}, each of them of about {about['seconds']:g} s."
    lines += ["", *_table(head, body), ""]
    if ratios:
        titles = [f"{KINDS[over].title} / {KINDS[under].title}" for over, under in ratios]
        times = [[row.network, *(_shown(row.ratio(*pair), digits=2) for pair in ratios)] for row in rows]
        lines += ["How many times as quick, compared within each round:", "", *_table(["network", *titles], times), ""]
    return "\n".join([*lines, *(f"- {line}" for line in _conditions(about, kinds))]) + "\n"


def _shown(spread: Spread, *, digits: int = 0) -> str:
    median, low, high = (f"{value:.{digits}f}" for value in (spread.median, spread.low, spread.high))
    return f"{median} ({low} to {high})"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] + ["---:"] * (len(head) - 1), *body)]


def _conditions(about: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    environment = about["environment"]
    versions = ", ".join(f"{name} {environment[name]}" for name in ("cifarlab", "torch", "numpy", "python"))
    lines = [f"Processor: {environment['processor']} ({environment['cpu_capability']}); threads of each measurement: {about['threads']}"]
    lines.append(f"Load before the first measurement (mean of 1 min): {about['load']:.2f}; near 0 where nothing else runs")
    lines.append(f"Versions: {versions}, revision {environment['git_revision']}")
    if any(KINDS[kind].keras for kind in kinds):
        keras = about["keras_versions"]
        versions = ", ".join(f"{name} {keras[name]}" for name in ("tensorflow", "keras", "numpy", "python"))
        lines.append(f"Keras' side: {versions}; jit_compile is {about['keras_jit_compile']} (Keras' own choice)")
        variables = " ".join(f"{name}={value}" for name, value in KEEP_MEMORY.items())
        lines.append(
            f"Keras fp32, memory kept: with {variables}, as cifarlab sets it for itself; the step up from Keras fp32 is that setting"
        )
    return [*lines, f"Measured {about['date']}", f"Command: `{about['command']}`"]


# -- command line -------------------------------------------------------------------------------------------------------


def parse(words: Sequence[str]) -> Options:
    """The command line; leaves with exit code 2 and all problems at once where it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(available_cores())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"networks, of {', '.join(NETWORKS)}; default: {' '.join(DEFAULT)}")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images a step; default: each recipe's own")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="length of each measurement after its warm-up; default 3")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="measurements of each kind; default 3")
    parser.add_argument("--threads", type=int, default=cores, metavar="N", help=f"threads and cores of each measurement; default {cores}")
    parser.add_argument("--keras-venv", type=Path, default=KERAS_VENV, metavar="DIR", help="venv with TensorFlow; made where it is missing")
    parser.add_argument("--no-keras", action="store_true", help="measure cifarlab alone")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.md", help="the table; FILE.json is written beside it")
    given = parser.parse_args(words)
    problems = [unknown("network", name, NETWORKS) for name in given.names if name not in NETWORKS]
    problems += [f"{name} is named twice" for name in dict.fromkeys(given.names) if given.names.count(name) > 1]
    if given.batch_size is not None and not 2 <= given.batch_size <= LARGEST_BATCH:
        problems.append(f"--batch-size {given.batch_size}: allowed is 2 to {LARGEST_BATCH}")
    if not 0 < given.seconds <= 600:
        problems.append(f"--seconds {given.seconds:g}: allowed is more than 0, up to 600")
    if not 1 <= given.rounds <= 100:
        problems.append(f"--rounds {given.rounds}: allowed is 1 to 100")
    if not 1 <= given.threads <= cores:
        problems.append(f"--threads {given.threads}: allowed is 1 to {cores}, the cores that are there")
    if given.output.suffix != ".md":
        problems.append(f"-o {given.output}: the table is Markdown, give a name that ends in .md")
    if problems:
        parser.error("\n  ".join(problems))
    return Options(
        names=tuple(given.names) or DEFAULT,
        batch_size=given.batch_size,
        seconds=given.seconds,
        rounds=given.rounds,
        threads=given.threads,
        keras_venv=None if given.no_keras else given.keras_venv.absolute(),
        output=given.output,
    )


def available_cores() -> list[int]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    options = parse(sys.argv[1:])
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    if hasattr(os, "sched_setaffinity"):
        # TensorFlow has threads besides those that can be counted; on as many cores as threads they give neither side more.
        os.sched_setaffinity(0, available_cores()[: options.threads])
    begun = time.monotonic()
    try:
        if options.keras_venv is not None:
            provide_keras(options.keras_venv)
        rows, seen = measure(options)
    except RuntimeError as error:
        _say(f"error: {error}")
        return 1
    about = seen | {"rounds": options.rounds, "seconds": options.seconds, "threads": options.threads, "load": load}
    about |= {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "command": options.command()}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(render(rows, about, options.kinds), encoding="utf-8")
    values = {"about": about, "rows": [asdict(row) for row in rows]}
    options.output.with_suffix(".json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    _say(f"{options.output} and {options.output.with_suffix('.json').name} written after {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
