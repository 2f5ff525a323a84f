"""`cifarlab baseline`: classical methods fitted, evaluated and tabled."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarlab.cli.options import AsJson, DataDir, Threads, use_threads

if TYPE_CHECKING:
    from cifarlab.api import Run

PLAIN_EVERY = 15.0  # seconds between lines where the output is no terminal


def baseline(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="knn, svm, tree, forest, kmeans, cmeans; all without any.")
    ] = None,
    data: Annotated[str, typer.Option("--data", metavar="NAME|PATH", help="Dataset: cifar10, digits, or a path.")] = "cifar10",
    features: Annotated[str, typer.Option("--features", metavar="pixels|hog|both", help="What the methods see of an image.")] = "both",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Runs of each, with seeds 0 to N-1.")] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Such as knn.k=5, knn.k=[1,5] or data.validation=0.2; repeatable."),
    ] = None,
    train_size: Annotated[int | None, typer.Option("--train-size", metavar="N", help="Fit to N images; subsets are nested.")] = None,
    beside: Annotated[
        list[Path] | None, typer.Option("--beside", metavar="RUN", help="An evaluated run of a network for the same table; repeatable.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.md", help="Write the Markdown table here, too.")] = None,
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder of the runs and the table.")] = Path("runs/baselines"),
    data_dir: DataDir = None,
    threads: Threads = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write figures and report.html of each run.")] = True,
    fit: Annotated[bool, typer.Option("--fit/--no-fit", help="--no-fit: only write the table from the runs that are there.")] = True,
    as_json: AsJson = False,
) -> None:
    """Fit classical methods on pixels and on HOG features: what a network has to beat.

    Validation, carved from train as for networks, chooses among each method's candidates; the test split is then predicted once.
    Each is a run directory of its own, and is used again when the command is repeated: stopped and started anew, it goes on.
    """
    from cifarlab.config import parse_assignments

    changes = parse_assignments(settings or [])
    use_threads(threads)
    from cifarlab.classical import baseline as fit_baselines
    from cifarlab.cli.progress import download_progress
    from cifarlab.cli.terminal import note

    with download_progress() as bytes_done, _Watcher() as watcher:
        result = fit_baselines(
            names or [],
            data=data,
            features=features,
            seeds=seeds,
            overrides=changes,
            train_size=train_size,
            beside=beside or [],
            runs=runs,
            output=output,
            data_dir=data_dir,
            threads=threads,
            report=report,
            fit=fit,
            command=_command(names or [], data, features, seeds, settings or [], train_size),
            watcher=watcher,
            note=note,
            progress=bytes_done,
        )
    _say(result, as_json=as_json)


class _Watcher(contextlib.ExitStack):
    """Tells of each baseline and shows how far it is (cifarlab.classical.BaselineWatcher)."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._task: Any = None
        self._stage, self._begun, self._last = "", 0.0, 0.0

    def begin(self, name: str, number: int, total: int, estimate: float | None) -> None:
        """The next one begins."""
        from cifarlab.cli.progress import clock
        from cifarlab.cli.terminal import note

        note(f"[{number}/{total}] {name}" + ("" if estimate is None else f", about {clock(estimate)}"))

    def stage(self, name: str, done: int, total: int) -> None:
        """A bar with its remaining time on a terminal, a line now and then elsewhere."""
        import sys

        now = time.perf_counter()
        if name != self._stage:
            self._stage, self._begun = name, now
        if sys.stderr.isatty():
            self._draw(name, done, total)
        elif now - self._last >= PLAIN_EVERY:
            from cifarlab.cli.progress import clock
            from cifarlab.cli.terminal import note

            self._last = now
            left = f", ETA {clock((now - self._begun) * (total - done) / done)}" if 0 < done < total else ""
            note(f"  {name}: {100 * done // max(total, 1)} %{left}")

    def end(self, run: Run, *, again: bool) -> None:
        """Say what came out."""
        from cifarlab.cli.results import headline
        from cifarlab.cli.terminal import note

        self.close()
        self._bar = None
        note(f"  {headline(run.metrics['test'])}" + ("; was there already" if again else ""))

    def _draw(self, name: str, done: int, total: int) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            from cifarlab.cli.terminal import stderr_console

            columns = (TextColumn("  {task.description}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f} %"))
            progress = Progress(*columns, TextColumn("ETA"), TimeRemainingColumn(), console=stderr_console(), transient=True)
            self._bar = self.enter_context(progress)
            self._task = self._bar.add_task(name)
        if self._bar.tasks[0].description != name:
            self._bar.reset(self._task, description=name)
        self._bar.update(self._task, completed=done, total=total)


def _say(result: Any, *, as_json: bool) -> None:
    from cifarlab.cli.terminal import note, write_json_out, write_table
    from cifarlab.reports import baseline_summaries
    from cifarlab.reports.baselines import memory

    summaries = baseline_summaries(result.rows)
    if as_json:
        write_json_out({"baselines": summaries, "html": str(result.html), "markdown": str(result.markdown)})
    else:
        columns = ["method", "features", "test", "95 % interval", "sd", "seconds", "memory"]
        cells = [
            (
                row["baseline"],
                row["features"],
                f"{100 * row['accuracy']:.2f} %",
                f"{100 * row['low']:.2f} to {100 * row['high']:.2f}",
                "-" if row["sd"] is None else f"{100 * row['sd']:.2f} (n = {row['n']})",
                f"{sum(row['seconds'].values()):.1f}",
                memory(row["peak_memory_bytes"]),
            )
            for row in summaries
        ]
        write_table(columns, cells, right=("test", "seconds", "memory"))
    note(f"table: {result.html} and {result.markdown}")


def _command(names: list[str], data: str, features: str, seeds: int, settings: list[str], train_size: int | None) -> str:
    """What repeats the table, for its page; a path of this machine is nothing to hand on."""
    import shlex

    parts = ["cifarlab", "baseline", *names, "--data", Path(data).name, "--features", features, "--seeds", str(seeds)]
    for setting in settings:
        parts += ["--set", setting]
    return shlex.join(parts + ([] if train_size is None else ["--train-size", str(train_size)]))
