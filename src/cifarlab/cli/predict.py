"""`cifarlab predict`: what a trained model says of image files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarlab.cli.options import AsJson, Device, Threads, Views, use_threads

if TYPE_CHECKING:
    from cifarlab.bundle import Predictor

FEW = 16  # images for which a second thread costs more than it gives: 1.4 s instead of 0.03 s beside other work
BATCH = 64  # images decoded and predicted at a time: memory stays flat over a folder of any length
INPUTS = "Image files, folders, or - for a list of files on stdin; a model may come first: a run, a bundle, a shipped name."


def predict(
    inputs: Annotated[list[str], typer.Argument(metavar="[MODEL] IMAGES...", help=INPUTS)],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="Run, bundle, shipped name or hf://OWNER/NAME (default: cifar10-fast)."),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many classes to show of each image.")] = 3,
    views: Views = None,
    engine: Annotated[str, typer.Option("--engine", metavar="torch|onnx|onnx-int8", help="What computes.")] = "torch",
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Classify images of any size (JPEG, PNG, WebP, BMP, GIF). Exit code 1 where a file could not be read."""
    use_threads(threads)
    from cifarlab.bundle import load_predictor
    from cifarlab.bundle.shipped import DEFAULT, default_model
    from cifarlab.cli.terminal import note, write_json_out
    from cifarlab.data.images import expand_inputs

    chosen, images = _model_and_images(inputs, model)
    predictor = load_predictor(default_model() if chosen is None else chosen, device=device, engine=engine)
    files = expand_inputs(images, stdin=sys.stdin)
    if threads is None and engine == "torch" and len(files) <= FEW:
        use_threads(1)
    chosen_views = predictor.choose_views(views)
    results = []
    for result in _results(predictor, files, views=chosen_views, top_k=top_k):
        if "error" in result:
            note(f"error: {result['error']}", style="bold red")
        results.append(result)
    if as_json:
        calibration = _calibration(predictor, chosen_views)
        write_json_out({"model": chosen or DEFAULT, "engine": engine, "views": chosen_views, "calibration": calibration, "images": results})
    else:
        _print_table(results)
        if any(result.get("unlike") for result in results):
            note(_meaning(predictor))
        if chosen is None:
            note(f"model: {DEFAULT}, which ships with cifarlab: {', '.join(predictor.class_names)}")
    _tell_what_is_left_out(predictor, images, as_json=as_json)
    failed = sum("error" in result for result in results)
    if failed:
        note(f"{failed} of {len(files)} files could not be read")
        raise typer.Exit(1)


def _tell_what_is_left_out(predictor: Predictor, images: Sequence[str], *, as_json: bool) -> None:
    """Files of folders that are no images by their suffix, and what a run does not have; on stderr."""
    from cifarlab.bundle.manifest import is_bundle
    from cifarlab.cli.terminal import note
    from cifarlab.data.images import SUFFIXES, other_files

    if as_json:
        return
    skipped = sum(other_files(Path(folder)) for folder in images if os.path.isdir(folder))
    if skipped:
        note(f"{skipped} file{'s' if skipped > 1 else ''} of another type skipped (images end in {', '.join(SUFFIXES)})")
    if not is_bundle(predictor.description):
        note("probabilities of a run are not calibrated and unlike pictures are not marked; cifarlab export does both")


def _model_and_images(inputs: list[str], model: str | None) -> tuple[str | None, list[str]]:
    """What of the words is the model, None without one, and what are images. Raises UsageError."""
    from cifarlab.bundle.shipped import DEFAULT, is_model, no_model
    from cifarlab.data.images import SUFFIXES
    from cifarlab.errors import UsageError

    if model == "":  # Path("") would be the current folder
        raise UsageError("--model is empty; give a run, a bundle, a shipped name or hf://OWNER/NAME")
    if "" in inputs:
        raise UsageError("an image's path is empty; name image files or directories, or '-' for a list on standard input")
    chosen, images = model, inputs
    if model is None and is_model(inputs[0]):
        chosen, images = inputs[0], inputs[1:]
        if not images:
            raise UsageError(
                f"no images given beside the model {chosen}. Name image files or directories: cifarlab predict {chosen} IMAGES..."
            )
    # What is neither there nor called like an image was meant for a model.
    elif model is None and not os.path.lexists(inputs[0]) and inputs[0] != "-" and not inputs[0].lower().endswith(SUFFIXES):
        raise UsageError(no_model(Path(inputs[0])) + ". An image needs no model before it: cifarlab predict photo.jpg")
    elif model is None and any(os.path.lexists(os.path.join(inputs[0], file)) for file in ("status.json", "recipe.yaml")):
        raise UsageError(no_model(Path(inputs[0])))
    for word in images:
        if is_model(word) and not (os.path.isfile(word)):
            raise UsageError(
                f"{word} is a model, not an image, and there is one already ({chosen or DEFAULT}): name it first or with --model"
            )
    return chosen, images


def _calibration(predictor: Predictor, views: str) -> dict[str, Any] | None:
    """What the probabilities and the judgement "unlike" rest on; None where nothing was fitted for these views."""
    fitted = predictor.calibration(views)
    if fitted is None:
        return None
    whole = predictor.description["calibration"]
    return {
        "temperature": fitted["temperature"],
        "score": whole["score"],
        "threshold": fitted["threshold"],
        "fitted_on": f"{whole.get('n')} validation images",
        "unlike_means": _meaning(predictor),
    }


def _meaning(predictor: Predictor) -> str:
    whole = predictor.description["calibration"]
    share = whole.get("target_share")
    most = f"{100 * (1 - share):g} %" if isinstance(share, float) else "most"
    return (
        f"unlike: the {whole['score']} score lies beyond that of {most} of the validation images: the image resembles the training "
        "data little, and its label means little. An image without this mark may still be of none of the classes"
    )


def _results(predictor: Predictor, files: Sequence[Path], *, views: str, top_k: int) -> Iterator[dict[str, Any]]:
    """One dict per file, in order: {"file", "predictions": [{"label", "probability"}, ...], "unlike", "score"} or {"file", "error"}.

    "unlike" and "score" are None where the model has no threshold.
    """
    from cifarlab.errors import ImageError

    for start in range(0, len(files), BATCH):
        read: dict[Path, Any] = {}
        errors: dict[Path, str] = {}
        for file in files[start : start + BATCH]:
            try:
                read[file] = predictor.read(file)
            except ImageError as error:
                errors[file] = str(error)
        predicted = predictor.predict_arrays(list(read.values()), tta=views)
        place = {file: index for index, file in enumerate(read)}
        for file in files[start : start + BATCH]:
            if file in errors:
                yield {"file": str(file), "error": errors[file]}
                continue
            index = place[file]
            row = predicted.probabilities[index]
            best = (-row).argsort(kind="stable")[:top_k]
            yield {
                "file": str(file),
                "predictions": [{"label": predictor.class_names[k], "probability": float(row[k])} for k in best],
                "unlike": None if predicted.unlike is None else bool(predicted.unlike[index]),
                "score": None if predicted.score is None else float(predicted.score[index]),
            }


def _print_table(results: Sequence[dict[str, Any]]) -> None:
    from cifarlab.cli.terminal import write_table

    judged = any(result.get("unlike") is not None for result in results)
    rows = []
    for result in results:
        if "error" in result:
            rows.append((result["file"], "not readable", "", ""))
            continue
        first, *rest = result["predictions"]
        others = ", ".join(f"{each['label']} {100 * each['probability']:.1f} %" for each in rest)
        rows.append((result["file"], f"{first['label']} {100 * first['probability']:.1f} %", others, "unlike" if result["unlike"] else ""))
    columns = ["file", "prediction", "then", "note"]
    write_table(columns if judged else columns[:3], [row if judged else row[:3] for row in rows])
