"""`cifarlab predict`: what a trained model says of image files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarlab.cli.options import AsJson, Device, Threads, use_threads

if TYPE_CHECKING:
    from cifarlab.bundle import Predictor

BATCH = 64  # images decoded and predicted at a time: memory stays flat over a folder of any length


def predict(
    model: Annotated[Path, typer.Argument(metavar="BUNDLE_OR_RUN", help="Bundle or run directory, such as runs/demo.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Image files, folders, or - for a list of files on stdin.")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many classes to show of each image.")] = 3,
    tta: Annotated[bool, typer.Option("--tta/--no-tta", help="Test-time augmentation as in the model's evaluation, or one view.")] = True,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Classify images of any size (JPEG, PNG, WebP, BMP, GIF). Exit code 1 where a file could not be read."""
    use_threads(threads)
    from cifarlab import api
    from cifarlab.cli.terminal import note, write_json_out
    from cifarlab.data.images import expand_inputs
    from cifarlab.errors import UsageError

    if "" in images:  # Path("") would be the current folder
        raise UsageError("an image's path is empty; name image files or directories, or '-' for a list on standard input")
    predictor = api.load(model, device=device)
    files = expand_inputs(images, stdin=sys.stdin)
    views = predictor.tta if tta else "none"
    results = []
    for result in _results(predictor, files, views=views, top_k=top_k):
        if "error" in result:
            note(f"error: {result['error']}", style="bold red")
        results.append(result)
    if as_json:
        write_json_out({"model": str(model), "tta": views, "images": results})
    else:
        _print_table(results)
    failed = sum("error" in result for result in results)
    if failed:
        note(f"{failed} of {len(files)} files could not be read")
        raise typer.Exit(1)


def _results(predictor: Predictor, files: Sequence[Path], *, views: str, top_k: int) -> Iterator[dict[str, Any]]:
    """One dict per file, in order: {"file", "predictions": [{"label", "probability"}, ...]} or {"file", "error"}."""
    from cifarlab.errors import ImageError

    for start in range(0, len(files), BATCH):
        read: dict[Path, Any] = {}
        errors: dict[Path, str] = {}
        for file in files[start : start + BATCH]:
            try:
                read[file] = predictor.read(file)
            except ImageError as error:
                errors[file] = str(error)
        probabilities = dict(zip(read, predictor.predict_arrays(list(read.values()), tta=views).probabilities, strict=True))
        for file in files[start : start + BATCH]:
            if file in errors:
                yield {"file": str(file), "error": errors[file]}
                continue
            row = probabilities[file]
            best = (-row).argsort(kind="stable")[:top_k]
            yield {
                "file": str(file),
                "predictions": [{"label": predictor.class_names[index], "probability": float(row[index])} for index in best],
            }


def _print_table(results: Sequence[dict[str, Any]]) -> None:
    from cifarlab.cli.terminal import write_table

    rows = []
    for result in results:
        if "error" in result:
            rows.append((result["file"], "not readable", ""))
            continue
        first, *rest = result["predictions"]
        others = ", ".join(f"{each['label']} {100 * each['probability']:.1f} %" for each in rest)
        rows.append((result["file"], f"{first['label']} {100 * first['probability']:.1f} %", others))
    write_table(["file", "prediction", "then"], rows)
