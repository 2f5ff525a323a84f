"""`cifarlab export`: a finished run as a bundle that others can use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cifarlab.cli.options import AsJson, DataDir, Device, Threads, use_threads

To = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        metavar="onnx|int8|site",
        help="Add ONNX (int8: both fp32 and int8); may be repeated. site: a page for any static host instead of a bundle.",
    ),
]
OrtWeb = Annotated[
    Path | None,
    typer.Option(
        "--ort-web",
        metavar="FILE",
        help="For a site: the .tgz or folder of onnxruntime-web. Without it: CIFARLAB_ORT_WEB, else npm fetches it.",
    ),
]


def export(
    run: Annotated[
        str, typer.Argument(metavar="RUN_OR_BUNDLE", help="Run such as runs/demo; or a bundle, shipped name or hf://OWNER/NAME.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the bundle or site to; new or empty.")],
    to: To = None,
    half: Annotated[bool, typer.Option("--half/--no-half", help="Store large tensors in half precision, or all in full.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle, or a site, that is there.")] = False,
    license: Annotated[str | None, typer.Option("--license", metavar="SPDX", help="Licence of the weights, such as apache-2.0.")] = None,
    ort_web: OrtWeb = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Write a finished run as a bundle: weights, preprocessing, metrics, calibration and model card in one folder.

    A bundle is copied, with what --to adds: cifarlab export cifar10-fast --to onnx -o my-model. With --to site the model
    runs in the visitor's browser: cifarlab export cifar10-fast --to site -o site.
    """
    use_threads(threads)
    from cifarlab.bundle import read_description
    from cifarlab.bundle.manifest import int8_warning
    from cifarlab.cli.progress import count_progress
    from cifarlab.cli.terminal import note, write_json_out
    from cifarlab.exporting import export as export_model

    try:
        with count_progress("comparing") as progress:
            folder = export_model(
                run,
                output,
                to=to or (),
                half=half,
                force=force,
                license=license,
                data_dir=data_dir,
                ort_web=ort_web,
                device=device,
                progress=progress,
                note=note,
            )
    except KeyboardInterrupt:
        note(f"interrupted: nothing was written to {output}")
        raise typer.Exit(130) from None
    if "site" in (to or ()):
        return _tell_of_site(folder, as_json=as_json)
    description = read_description(folder)
    if as_json:
        write_json_out({"bundle": str(folder), **description})
    else:
        _print_summary(folder, description)
    if (warning := int8_warning(description)) is not None:
        note(warning, style="bold yellow")
    note(f"next: cifarlab predict --model {folder} IMAGE...")


def _tell_of_site(folder: Path, *, as_json: bool) -> None:
    """Where it is, how large, and how to look at it."""
    import json
    import shlex

    from cifarlab.cli.terminal import note, write_json_out, write_table

    facts = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in sorted(folder.rglob("*")) if file.is_file()}
    if as_json:
        write_json_out({"folder": str(folder), "bytes": sizes, **facts})
    else:
        files = facts["site"]["files"]
        rows = [("site", f"{folder} ({sum(sizes.values()) / 1e6:.1f} MB, {len(sizes)} files)"), ("model", facts["name"])]
        rows += [(name, f"{file['path']} ({file['download'] / 1e6:.1f} MB)") for name, file in files.items()]
        write_table(["", ""], rows)
    note(f"next: python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(folder))}, then open http://127.0.0.1:8000")


def _print_summary(folder: Path, description: dict[str, Any]) -> None:
    """What the bundle holds, as a table on stdout."""
    from cifarlab.cli.terminal import write_table

    size = sum(recorded["bytes"] for recorded in description["files"].values())
    rows = [("bundle", f"{folder} ({size / 1e6:.1f} MB)")]
    for split, score in description["metrics"].items():
        accuracy = score["accuracy"]
        shown = f"{100 * accuracy['value']:.2f} % [{100 * accuracy['low']:.2f}, {100 * accuracy['high']:.2f}], {score['n']} images"
        rows.append((f"{split} accuracy", shown))
    if (parity := description["parity"]) is not None:
        changed = parity["n"] - parity["labels_equal"]
        rows.append(
            (
                "half precision",
                f"changes a probability by at most {parity['max_abs_probability_difference']:.5f} "
                f"and {changed} of {parity['n']} labels ({parity['images']} images)",
            )
        )
    if (fitted := description["calibration"]) is None:
        rows.append(("calibration", "none: no validation split"))
    else:
        used = fitted["views"][description["tta"]]
        error = used["calibration_error"]
        rows.append(
            (
                "calibration",
                f"temperature {used['temperature']:.3f}, error {error['before']:.4f} -> {error['after']:.4f} "
                f"({fitted['n']} validation images)",
            )
        )
        rows.append(("unlike the training data", f"flagged by {fitted['score']}: {used['flagged']} of {fitted['n']} validation images"))
    rows.append(("model card", str(folder / "README.md")))
    write_table(["", ""], rows)
