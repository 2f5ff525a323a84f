"""A bundle -> a folder for any static web host: the page's panels Try and Poke, with the model running in the visitor's browser."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cifarlab.bundle.card import CARD
from cifarlab.bundle.manifest import ONNX, is_bundle, read_description, read_verified, records_of
from cifarlab.bundle.onnx_engine import require_onnx
from cifarlab.bundle.ort_web import ORT_WEB, SCRIPT, WASM, Package, find_package, packed, read_package
from cifarlab.bundle.site_text import HEADERS, LICENSE, readme
from cifarlab.errors import CifarlabError, RunError, UsageError
from cifarlab.files import replace_folder, write_json, write_text

PAGE: Final = Path(__file__).parents[1] / "serve" / "page"  # the same files that `cifarlab serve` shows
FACTS: Final = "bundle.json"
FORMAT: Final = "site"
WRITTEN: Final = frozenset({"index.html", FACTS, ONNX, CARD, "page", "runtime", "_headers", ".nojekyll"})  # all that lies in a site
PANELS: Final = {"try": "Try", "poke": "Poke"}
ROOTS: Final = ("js/app.js", "js/theme.js", "js/model-onnx.js", *(f"js/panels/{name}.js" for name in PANELS))
# wasm-unsafe-eval allows compiling WebAssembly and nothing else; connect-src: nothing leaves the host that the page lies on.
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'"
)
_FIELDS: Final = ("name", "classes", "tta", "parameters", "metrics", "license")
_NO_SCRIPT: Final = "This page needs JavaScript: the model runs in your browser."


def check_site(output: Path, *, force: bool = False) -> None:
    """Raise UsageError where a site may not be written to `output`; `force` allows to replace a site."""
    if output.name in ("", ".."):
        raise UsageError(f"--output {output} is no name of a folder; nothing was changed. Give one, such as {output / 'site'}")
    if not os.path.lexists(output):
        return
    if not output.is_dir() or output.is_symlink():
        raise UsageError(f"{output} exists and is not a folder; nothing was changed. Choose another --output")
    if not any(output.iterdir()):
        return
    if not _holds_site(output):
        raise UsageError(f"{output} is not empty and holds no site; nothing was changed. Choose another --output")
    if strange := {entry.name for entry in output.iterdir()} - WRITTEN:  # such as a repository's .git or a host's own files
        raise UsageError(
            f"{output} holds a site and what no export wrote ({', '.join(sorted(strange)[:3])}); nothing was changed. "
            "Choose another --output, or move that away"
        )
    if not force:
        raise UsageError(f"{output} holds a site already; nothing was changed. Choose another --output, or replace it with --force")


def check_site_request(output: Path, *, force: bool = False, ort_web: str | Path | None = None) -> Path | None:
    """Raise UsageError or DownloadError with every problem of a site's request; returns where onnxruntime-web is, None for npm."""
    problems: list[CifarlabError] = []
    found = None
    try:
        check_site(output, force=force)
    except UsageError as error:
        problems.append(error)
    try:
        found = find_package(ort_web)
    except CifarlabError as error:
        problems.append(error)
    if problems:
        kind = UsageError if any(isinstance(error, UsageError) for error in problems) else type(problems[0])
        raise kind("\n".join(map(str, problems)))
    return found


def write_site(
    bundle: Path,
    output: Path,
    *,
    force: bool = False,
    ort_web: str | Path | None = None,
    package: Package = ORT_WEB,
    runtime: Mapping[str, bytes] | None = None,
    page: Path = PAGE,
) -> dict[str, Any]:
    """Write the site of a `bundle` that has model.onnx to the folder `output`, whole or not at all; returns its bundle.json.

    ort_web: the .tgz or folder of `package`; without it what CIFARLAB_ORT_WEB names, else npm fetches it. runtime: its files where
    they were read already, by `read_package`.
    Raises UsageError where `output` is not new or empty (with `force`: nor a site) or `bundle` has no model.onnx that takes
    stored pixels, BundleError where it is damaged, DownloadError where the package cannot be fetched.
    """
    if runtime is None:
        found = check_site_request(output, force=force, ort_web=ort_web)
    else:
        check_site(output, force=force)
    description = read_description(bundle)
    _require_onnx(bundle, description)
    model = read_verified(bundle, description, ONNX)
    if description["tta"] == "selective":
        require_onnx("a site of a model with selective views")
        from cifarlab.bundle.site_graph import with_choice  # here: it needs ONNX

        model = with_choice(model)
    if runtime is None:
        runtime = read_package(found, package=package)
    with records_of(bundle), _new_site(output, force=force) as folder:
        return _fill(folder, description, model=model, runtime=runtime, package=package, page=page)


def _require_onnx(bundle: Path, description: Mapping[str, Any]) -> None:
    if not is_bundle(description) or ONNX not in description["files"]:
        raise UsageError(f"{bundle} has no {ONNX}, which a site runs. Write it with: cifarlab export RUN -o DIR --to onnx")
    if not (description.get("onnx") or {}).get(ONNX, {}).get("preprocessing", False):
        raise UsageError(
            f"{bundle / ONNX} takes pixels that were prepared outside it, and a site has only the stored ones. Export it again"
        )


def _fill(
    folder: Path, description: Mapping[str, Any], *, model: bytes, runtime: Mapping[str, bytes], package: Package, page: Path
) -> dict[str, Any]:
    """Everything into the empty `folder`; returns what its bundle.json holds."""
    wasm = packed(runtime[WASM])  # a quarter of its size, whatever the host: the page unpacks it
    contents = {
        "model": (ONNX, model, len(model)),
        "runtime": ("runtime/ort.wasm.js", runtime[SCRIPT], len(runtime[SCRIPT])),  # .js: some hosts do not know .mjs
        "wasm": ("runtime/ort.wasm.gz", wasm, len(runtime[WASM])),
    }
    files = {}
    for name, (path, content, unpacked) in contents.items():
        _write(folder / path, content)
        files[name] = {"path": path, "download": len(content), "bytes": unpacked}
    assets = page_files(page)
    for asset in assets:
        _write(folder / "page" / asset, (page / asset).read_bytes())
    _write(folder / "page" / "js" / "config.js", _config().encode())
    examples = _examples(page, description["classes"])
    for each in examples:
        _write(folder / each["url"], (page / "examples" / Path(each["url"]).name).read_bytes())
    _write(folder / "index.html", _index((page / "index.html").read_text(encoding="utf-8"), description, assets=assets).encode())
    facts = _facts(description, {"files": files, "runtime": f"{package.name} {package.version}", "examples": examples})
    write_json(folder / FACTS, facts)
    write_text(folder / "runtime" / "LICENSE.txt", LICENSE.format(package=f"{package.name} {package.version}"))
    write_text(folder / "_headers", HEADERS.format(policy=f"{POLICY}; frame-ancestors 'none'"))
    write_text(folder / ".nojekyll", "")
    write_text(folder / CARD, readme(facts, sizes=_sizes(folder)))
    return facts


def page_files(page: Path) -> list[str]:
    """What the panels of a site need of the folder `page`: scripts and styles named by `ROOTS` and by what these name, sorted.

    Anything quoted that is a script beside or a style in css/ counts as named, so one too many may be taken and none too few.
    """
    found: set[str] = {"icon.svg"} & {file.name for file in page.iterdir()}
    found |= {f"css/{name}" for name in re.findall(r'css/([\w-]+\.css)"', (page / "index.html").read_text(encoding="utf-8"))}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        text = (page / name).read_text(encoding="utf-8")
        for quoted in re.findall(r'["`](\.{1,2}/[\w./-]+\.js)["`]', text):
            waiting.append(os.path.normpath(os.path.join(os.path.dirname(name), quoted)).replace(os.sep, "/"))
        found |= {f"css/{style}" for style in re.findall(r'["/]([\w-]+\.css)"', text) if (page / "css" / style).is_file()}
    return sorted(found - {"js/config.js"})


def _config() -> str:
    chosen = {"panels": list(PANELS), "titles": PANELS, "backend": "onnx"}
    return f"// @ts-check\n/** What this page is made of: see cifarlab's own config.js. */\nexport default {json.dumps(chosen)};\n"


def _index(text: str, description: Mapping[str, Any], *, assets: list[str]) -> str:
    """The page's index.html with its policy, which a static host sends no header for, and words of its own for no script.

    What it asks for ahead of time and is not among `assets`, is left out.
    """
    wanted = {f"page/{name}" for name in (*assets, "js/config.js")}
    text = re.sub(r'<link rel="modulepreload" href="([^"]*)">\n', lambda found: found[0] if found[1] in wanted else "", text)
    policy = f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    text, count = re.subn(r'<meta charset="utf-8">', lambda _: policy, text, count=1)
    if not count:
        raise ValueError("the page's index.html has no place for the policy")
    title = html.escape(f"{description['name']} - cifarlab")
    text = re.sub(r"<title>.*?</title>", lambda _: f"<title>{title}</title>", text, count=1)
    return re.sub(
        r"(<noscript><p[^>]*>).*?(</p></noscript>)", lambda found: found[1] + _NO_SCRIPT + found[2], text, count=1, flags=re.DOTALL
    )


def _examples(page: Path, classes: list[str]) -> list[dict[str, Any]]:
    """The project's own pictures of `classes`, in the order of these; where there is one of each, also what belongs to none."""
    listed = json.loads((page / "examples" / "index.json").read_text(encoding="utf-8"))
    by_label = {each["label"]: each for each in listed}
    chosen = [by_label[label] for label in classes if label in by_label]
    if len(chosen) == len(classes):
        chosen += [each for each in listed if each["label"] is None]  # something that is none of them
    return [
        {"name": each["name"], "label": each["label"], "origin": "drawn for cifarlab", "url": f"page/examples/{each['file']}"}
        for each in chosen
    ]


def _facts(description: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    """What the page needs to know of the model; nothing of the machine that it was trained on."""
    calibration = description.get("calibration")
    if calibration is not None:
        kept = {"temperature", "threshold", "confidence"}
        views = {name: {key: value for key, value in fitted.items() if key in kept} for name, fitted in calibration["views"].items()}
        calibration = {"score": calibration["score"], "views": views}
    return {
        "format": FORMAT,
        **{key: description.get(key) for key in _FIELDS},
        "input": {key: description["input"][key] for key in ("size", "resize", "center_crop", "color")},
        "dataset": (description.get("dataset") or {}).get("name"),
        "calibration": calibration,
        "site": dict(site),
    }


def _sizes(folder: Path) -> dict[str, int]:
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in sorted(folder.rglob("*")) if file.is_file()}


def _write(file: Path, content: bytes) -> None:
    # The folder is not in its place yet, and what is left in it after a failure is removed.
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _holds_site(folder: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return bool(json.loads((folder / FACTS).read_text(encoding="utf-8")).get("format") == FORMAT)
    return False


@contextlib.contextmanager
def _new_site(output: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `output` that takes its place when the block ends without an error; nothing is left otherwise."""
    temporary = output.with_name(f".{output.name}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            temporary.mkdir(parents=True)
            yield temporary
            check_site(output, force=force)
            replace_folder(temporary, output)
        except OSError as error:
            raise RunError(f"cannot write {output}: {error.strerror or error}. Choose another place, or free some space") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
