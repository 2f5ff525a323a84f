"""The `cifarlab` command. Each subcommand is one thin file beside this one and imports inside its body,
so that `cifarlab --help` answers without loading PyTorch."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from cifarlab.cli import (
    baseline,
    compare,
    data,
    demo,
    evaluate,
    explain,
    export,
    hub,
    models,
    predict,
    recipes,
    report,
    reproduce,
    serve,
    sweep,
    train,
)
from cifarlab.cli.terminal import note
from cifarlab.errors import CifarlabError

app = typer.Typer(
    name="cifarlab",
    help="Train, measure and ship small-image classifiers; CIFAR-10 is home.\n\nStart with: cifarlab demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(data.app, name="data")
app.command("recipes")(recipes.recipes)
app.add_typer(models.app, name="models")
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("evaluate")(evaluate.evaluate)
app.command("export")(export.export)
app.add_typer(explain.app, name="explain")
app.command("predict")(predict.predict)
app.add_typer(hub.app, name="hub")
app.command("compare")(compare.compare)
app.command("serve")(serve.serve)
app.command("baseline")(baseline.baseline)
app.command("reproduce")(reproduce.reproduce)
app.command("report")(report.report)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"cifarlab {version('cifarlab')}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error (or set CIFARLAB_DEBUG=1).")] = False,
) -> None:
    if debug:
        os.environ["CIFARLAB_DEBUG"] = "1"


def main() -> None:
    """Run the command line; user errors become one message and an exit code, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold bytes that no encoding can print
    try:
        app()
    except CifarlabError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader (head, less) has gone; leave quietly, as Unix tools do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:  # a path that may not be read, a name too long, a disk that fails
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}. Check the path, its permissions and the disk", 1)
    except Exception as error:
        _fail(f"internal error ({type(error).__name__}: {error}). This is a fault in cifarlab; run again with --debug and report it", 1)


def _fail(message: str, code: int) -> None:
    """Print `error: message` and leave with `code`; under --debug let the traceback through instead."""
    if os.environ.get("CIFARLAB_DEBUG") == "1" and code != 130:
        raise
    note(f"error: {message}", style="bold red")
    raise SystemExit(code)
