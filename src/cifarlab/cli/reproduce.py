"""`cifarlab reproduce`: the published systems, claimed beside measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cifarlab.cli.cells import CellWatcher, outcome_rows, say_estimates
from cifarlab.cli.options import AsJson, DataDir, Device, Threads, use_threads


def reproduce(
    systems: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Published systems; all without any.")] = None,
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="published|corrected|both", help="corrected: validation comes from train.")
    ] = "both",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Runs of each, with seeds 0 to N-1.")] = 1,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", metavar="M", help="Leave out what does not fit; a later call goes on.")
    ] = None,
    epochs: Annotated[str | None, typer.Option("--epochs", metavar="N", help="Shorten every run to N epochs; the table marks it.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed runs again.")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Print what it would cost, and train nothing.")] = False,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="--no-train: only write the tables from the runs that are there.")
    ] = True,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.md", help="Write the Markdown table here, too.")] = None,
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder of the runs and the tables.")] = Path("runs/reproduce"),
    data_dir: DataDir = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Train the published systems, evaluate them, and write claimed beside measured as HTML and Markdown.

    Each run is a directory of its own and is used again when the command is repeated: killed and started anew, it goes on.
    """
    from cifarlab.errors import UsageError

    if estimate and not train:
        raise UsageError("--estimate tells what training would cost, --no-train only writes tables: give one of them")
    use_threads(threads)
    from cifarlab.cli.progress import download_progress
    from cifarlab.cli.terminal import note
    from cifarlab.cli.train import epochs_or_steps, say_stopping
    from cifarlab.reproduction import reproduce as run_reproduction

    with download_progress() as bytes_done, CellWatcher() as watcher:
        result = run_reproduction(
            systems or [],
            protocol=protocol,
            seeds=seeds,
            max_minutes=max_minutes,
            overrides={} if epochs is None else {"train.duration": epochs_or_steps(epochs)},
            retry=retry,
            dry_run=estimate,
            train=train,
            folder=runs,
            output=output,
            data_dir=data_dir,
            device=device,
            command=_command(systems or [], protocol, seeds, epochs),
            watcher=watcher,
            note=note,
            progress=bytes_done,
            on_stop=say_stopping,
        )
    _say(result, estimate=estimate, as_json=as_json)


def _say(result: Any, *, estimate: bool, as_json: bool) -> None:
    from cifarlab.cli.terminal import note, write_json_out

    if estimate:
        say_estimates(result.estimates, as_json=as_json)
        return
    states = [outcome.state for outcome in result.outcomes]
    if as_json:
        write_json_out({"runs": outcome_rows(result.outcomes), "html": str(result.html), "markdown": str(result.markdown)})
    if states:
        note(", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)))
    note(f"claimed beside measured: {result.html} and {result.markdown}")
    if "failed" in states:
        raise typer.Exit(1)


def _command(systems: list[str], protocol: str, seeds: int, epochs: str | None) -> str:
    """What repeats the table, for its page."""
    parts = ["cifarlab", "reproduce", *systems, "--protocol", protocol, "--seeds", str(seeds)]
    return " ".join(parts + ([] if epochs is None else ["--epochs", epochs]))
