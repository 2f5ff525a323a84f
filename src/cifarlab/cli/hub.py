"""`cifarlab hub`: push a bundle to the Hugging Face Hub, pull one from there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Push bundles to the Hugging Face Hub, pull them from there.", no_args_is_help=True)


@app.command("push")
def push(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder that `cifarlab export` wrote.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Model repository; made where it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Upload a bundle with its model card; print the address. Log in first with: hf auth login."""
    from cifarlab.bundle import hub
    from cifarlab.bundle.shipped import find_model

    typer.echo(hub.push(find_model(bundle), name, private=private))


@app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME[@REVISION]", help="Model repository.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the bundle to; new or empty.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
) -> None:
    """Download a bundle and verify every file of it; print its folder."""
    from cifarlab.bundle import hub
    from cifarlab.bundle.export import new_bundle
    from cifarlab.cli.terminal import note

    with new_bundle(output, force=force) as folder:
        hub.pull(name.removeprefix("hf://"), folder)
    typer.echo(str(output))
    note(f"next: cifarlab predict --model {output} IMAGE...")
