"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[Path | None, typer.Option("--data-dir", metavar="DIR", help="Folder that holds the data; no other place is looked at.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Where to compute.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads (default: all cores); equal runs need equal threads.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout instead of tables.")]
Views = Annotated[
    str | None,
    typer.Option(
        "--views",
        metavar="none|flip|six|selective",
        help="Views of each image that are averaged; selective: 2 where they suffice, else 6 (default: the model's own).",
    ),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, such as runs/demo.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder that holds the runs.")]

MOST_THREADS = 1024  # PyTorch ends the process where the system refuses it another thread


def split_names(text: str | None) -> list[str] | None:
    """The names of an option such as --classes: "deer, dog" -> ["deer", "dog"]; None where it was not given."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def use_threads(threads: int | None) -> None:
    """Fix PyTorch's number of CPU threads before anything is computed."""
    if threads is not None:
        from cifarlab.errors import UsageError

        if threads > MOST_THREADS:
            raise UsageError(f"--threads {threads}: allowed is 1 to {MOST_THREADS}; more than the processor has cores is slower")

        import torch

        torch.set_num_threads(threads)
