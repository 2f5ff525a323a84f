"""The verb `export`: a run or bundle -> a bundle, or a page for any static web host with the model in the visitor's browser."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from cifarlab.api import Note, Progress, Run, arranged_again, evaluate
from cifarlab.bundle.calibration import LEAST_IMAGES
from cifarlab.bundle.export import FORMATS, LICENSE, SITE, calibrate_run, check_request, new_bundle, write_bundle
from cifarlab.bundle.manifest import ONNX, read_description
from cifarlab.bundle.onnx_export import require_exporter
from cifarlab.bundle.ort_web import ORT_WEB, read_package
from cifarlab.bundle.reexport import export_bundle, find_bundle
from cifarlab.bundle.site import check_site_request, write_site
from cifarlab.errors import CifarlabError, RunError, UsageError, unknown
from cifarlab.restore import choose_device
from cifarlab.runs import BASELINE_PREFIX

EXAMPLES: Final = 1000  # training images that an export is tried on where a run has no validation split
PACKAGE: Final = ORT_WEB


def export(
    run: str | Path | Run,
    output: str | Path,
    *,
    to: str | Sequence[str] = (),
    half: bool = True,
    force: bool = False,
    license: str | None = None,
    data_dir: str | Path | None = None,
    ort_web: str | Path | None = None,
    device: str = "auto",
    progress: Progress = lambda done, total: None,
    note: Note | None = None,
) -> Path:
    """Write a finished run as a bundle: weights, preprocessing, metrics, calibration and model card in one folder; returns `output`.

    run: a run, or a bundle ("cifar10-fast", "hf://OWNER/NAME" or a folder), which is copied with what `to` adds: "onnx" and "int8"
    add model.onnx and model.int8.onnx. half: large tensors in float16, with what that changes on the run's validation images
    recorded. Temperature, confidence and "unlike the training data" threshold are fitted on validation, never on test. force:
    replace a bundle that is there; license: SPDX identifier of the weights' licence. "site" alone writes a page instead:
    Try and Poke with the model in ONNX, for any static host; ort_web is the .tgz or folder of the onnxruntime-web that runs it, without
    it what CIFARLAB_ORT_WEB names, else npm fetches it. Raises UsageError, DataError, RunError, BundleError, MissingDependencyError,
    or DownloadError where npm is absent or cannot fetch; nothing is left then.
    """
    folder, to = Path(output), [to] if isinstance(to, str) else to
    more: dict[str, Any] = {"half": half, "force": force, "license": license, "note": note}
    if SITE in to:
        return _export_site(run, folder, to=to, ort_web=ort_web, data_dir=data_dir, device=device, progress=progress, **more)
    if not isinstance(run, Run) and (bundle := find_bundle(run)) is not None:
        where = None if data_dir is None else Path(data_dir)
        return export_bundle(bundle, folder, to=to, data_dir=where, **more)
    check_request(folder, force=force, to=to, license=license)
    opened = _finished(run)
    chosen_device = choose_device(device)
    arranged = arranged_again(opened, data_dir, note=note)
    has_validation = arranged.validation is not None and arranged.validation is not arranged.test
    if has_validation and not opened.directory.predictions_file("validation").exists():
        evaluate(opened, split="validation", data_dir=data_dir, device=device, report=False, progress=progress)
    examples = arranged.validation if has_validation else arranged.train.take(np.arange(min(len(arranged.train), EXAMPLES)))
    assert examples is not None
    calibration = calibrate_run(opened.directory, examples, device=chosen_device) if has_validation else None
    if calibration is None and note is not None:
        note(f"no calibration: it takes a validation split of at least {LEAST_IMAGES} images, which this run does not have")
    with new_bundle(folder, force=force) as temporary:
        write_bundle(
            temporary,
            opened.directory,
            name=folder.resolve().name,
            half=half,
            calibration=calibration,
            examples=examples,
            examples_from="validation" if has_validation else "train",
            to=to,
            license=license,
            device=chosen_device,
            progress=progress,
            note=note,
        )
    return folder


def _finished(run: str | Path | Run) -> Run:
    """A run whose network can be exported; raises RunError where it is not done, UsageError for a classical baseline."""
    opened = run if isinstance(run, Run) else Run(run)
    if (state := opened.status.get("state")) != "done":
        raise RunError(
            f"{opened.path} is {state}, not done: its weights may still change. Finish it with: cifarlab train --resume {opened.path}"
        )
    if opened.recipe.model.name.startswith(BASELINE_PREFIX):
        raise UsageError(f"{opened.path} is a classical baseline: it has no network to export. Give a run of cifarlab train")
    return opened


def _export_site(
    source: str | Path | Run,
    output: str | Path,
    *,
    to: Sequence[str] = (SITE,),
    force: bool = False,
    ort_web: str | Path | None = None,
    license: str | None = None,
    note: Note | None = None,
    **more: Any,
) -> Path:
    """The page of `export`. Where the source has no model.onnx that is made first, to which `more` goes; force replaces a site."""
    folder, tell = Path(output), note or (lambda text: None)
    package = _check(folder, to=to, force=force, ort_web=ort_web, license=license)
    bundle = None if isinstance(source, Run) else find_bundle(source)
    if bundle is None and not isinstance(source, Run):
        source = Run(source)  # raises where there is none
    has_onnx = bundle is not None and license is None and ONNX in read_description(bundle)["files"]
    if not has_onnx:
        require_exporter()
    if package is None:
        tell(f"fetching {PACKAGE.name} {PACKAGE.version} with npm")
    runtime = read_package(package, package=PACKAGE)  # before the model, which takes longer to write than this to fail
    if has_onnx and bundle is not None:
        write_site(bundle, folder, force=force, runtime=runtime, package=PACKAGE)
        return folder
    name = source.path.name if isinstance(source, Run) else Path(bundle or source).resolve().name
    with tempfile.TemporaryDirectory(prefix="cifarlab-site-") as temporary:
        made = export(source, Path(temporary) / name, to=["onnx"], license=license, note=note, **more)
        tell("writing the page")
        write_site(made, folder, force=force, runtime=runtime, package=PACKAGE)
    return folder


def _check(folder: Path, *, to: Sequence[str], force: bool, ort_web: str | Path | None, license: str | None) -> Path | None:
    """Where onnxruntime-web is, None for npm; raises UsageError or DownloadError with every problem of the request."""
    problems = [unknown("format", name, (*FORMATS, SITE)) for name in to if name not in (*FORMATS, SITE)]
    if others := [name for name in to if name in FORMATS]:
        problems.append(f"--to {SITE} writes a page and no bundle, so not with --to {' or '.join(others)}: export twice, to two folders")
    if license is not None and not LICENSE.fullmatch(license):
        problems.append(f"licence {license!r}: give an SPDX identifier such as apache-2.0, mit or cc-by-4.0")
    try:
        package = check_site_request(folder, force=force, ort_web=ort_web)
    except CifarlabError as error:
        if not problems:
            raise
        problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return package
