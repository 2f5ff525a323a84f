"""`cifarlab evaluate`: predictions, metrics and report of one split."""

from __future__ import annotations

from typing import Annotated

import typer

from cifarlab.cli.options import AsJson, DataDir, Device, RunPath, Threads, use_threads


def evaluate(
    run: RunPath,
    split: Annotated[str, typer.Option("--split", metavar="test|validation", help="Which images; readings of test are counted.")] = "test",
    data_dir: DataDir = None,
    device: Device = "auto",
    threads: Threads = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Draw the figures and report.html anew.")] = True,
    as_json: AsJson = False,
) -> None:
    """Predict a split with a run's weights; write predictions, metrics, figures and report; print the metrics."""
    use_threads(threads)
    from cifarlab import api
    from cifarlab.cli.progress import count_progress
    from cifarlab.cli.results import headline, print_metrics, say_report
    from cifarlab.cli.terminal import note, write_json_out

    opened = api.Run(run)
    with count_progress("evaluating") as progress:
        metrics = api.evaluate(opened, split=split, data_dir=data_dir, device=device, report=report, progress=progress, note=note)
    reads = int(opened.status["test_reads"])
    if as_json:
        write_json_out({**metrics, "test_reads": reads})
    else:
        print_metrics(metrics, test_reads=reads)
        note(headline(metrics))
    if report:
        say_report(opened.directory.report_file)
