"""`cifarlab demo`: the whole way on embedded images, offline, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cifarlab.cli.options import AsJson, DataDir, Device, Runs, Threads, use_threads


def demo(
    data: Annotated[str, typer.Option("--data", metavar="digits|cifar10", help="digits: no download; cifar10: trains `fast`.")] = "digits",
    data_dir: DataDir = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the run.")] = 0,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run (default: demo, numbered where taken).")] = None,
    runs: Runs = Path("runs"),
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Train, evaluate and report on images that come with scikit-learn: no download, under a minute."""
    use_threads(threads)
    from cifarlab import api
    from cifarlab.cli.progress import download_progress, training_progress
    from cifarlab.cli.results import headline, print_metrics, say_report
    from cifarlab.cli.terminal import note, write_json_out
    from cifarlab.cli.train import say_stopping

    recipe = "fast" if data == "cifar10" else "digits"
    note(f"training the recipe {recipe!r} on {data}")
    with download_progress() as bytes_done, training_progress() as listener:
        run = api.train(
            recipe,
            data=data,
            data_dir=data_dir,
            seed=seed,
            name=name if name is not None else api.free_name(runs, "demo"),
            runs=runs,
            device=device,
            report=False,
            listener=listener,
            note=note,
            progress=bytes_done,
            on_stop=say_stopping,
        )
    metrics = api.evaluate(run, split="test", data_dir=data_dir, device=device, note=note)
    if as_json:
        write_json_out({"run": str(run.path), **metrics})
    else:
        print_metrics(metrics, test_reads=int(run.status["test_reads"]))
    note(headline(metrics))
    say_report(run.directory.report_file)
    note(f"next: cifarlab predict {run.path} IMAGE...   or: cifarlab train fast --data cifar10")
