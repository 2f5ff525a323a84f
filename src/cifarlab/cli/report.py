"""`cifarlab report`: draw a run's figures and report anew from its files."""

from __future__ import annotations

import typer

from cifarlab.cli.options import DataDir, RunPath


def report(run: RunPath, data_dir: DataDir = None) -> None:
    """Draw the figures and report.html of a run anew from its prediction files; print the report's path."""
    from cifarlab import api
    from cifarlab.cli.terminal import note

    typer.echo(str(api.report(run, data_dir=data_dir, note=note)))
