"""The verb `export --to site`: a run or bundle -> a folder for any static web host, with the model running in the visitor's browser."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cifarlab import api
from cifarlab.bundle.export import FORMATS, LICENSE, SITE
from cifarlab.bundle.manifest import ONNX, read_description
from cifarlab.bundle.onnx_export import require_exporter
from cifarlab.bundle.ort_web import ORT_WEB, read_package
from cifarlab.bundle.reexport import find_bundle
from cifarlab.bundle.site import check_site_request, write_site
from cifarlab.errors import CifarlabError, UsageError, unknown

PACKAGE: Final = ORT_WEB


def export_site(
    source: str | Path | api.Run,
    output: str | Path,
    *,
    to: Sequence[str] = (SITE,),
    force: bool = False,
    ort_web: str | Path | None = None,
    license: str | None = None,
    note: api.Note | None = None,
    **more: Any,
) -> Path:
    """Write the page's panels Try and Poke, the model in ONNX and what runs it into the folder `output`; returns it.

    source: a run, or a bundle as `cifarlab.export` takes it; where it has no model.onnx, that is made first, to which `more` goes
    as to `cifarlab.export`. ort_web: the .tgz or folder of onnxruntime-web; without it what CIFARLAB_ORT_WEB names, else npm fetches
    it. force: replace a site that is there. Raises what `cifarlab.export` raises, and DownloadError where npm is absent or cannot
    fetch; nothing is left then.
    """
    folder, tell = Path(output), note or (lambda text: None)
    package = _check(folder, to=to, force=force, ort_web=ort_web, license=license)
    bundle = None if isinstance(source, api.Run) else find_bundle(source)
    if bundle is None and not isinstance(source, api.Run):
        source = api.Run(source)  # raises where there is none
    has_onnx = bundle is not None and license is None and ONNX in read_description(bundle)["files"]
    if not has_onnx:
        require_exporter()
    if package is None:
        tell(f"fetching {PACKAGE.name} {PACKAGE.version} with npm")
    runtime = read_package(package, package=PACKAGE)  # before the model, which takes longer to write than this to fail
    if has_onnx and bundle is not None:
        write_site(bundle, folder, force=force, runtime=runtime, package=PACKAGE)
        return folder
    name = source.path.name if isinstance(source, api.Run) else Path(bundle or source).resolve().name
    with tempfile.TemporaryDirectory(prefix="cifarlab-site-") as temporary:
        tell("writing the model as ONNX")
        made = api.export(source, Path(temporary) / name, to=["onnx"], license=license, note=note, **more)
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
