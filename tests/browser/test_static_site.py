"""The site of `export --to site` in a real browser: the same answers as Python's, nothing asked of anyone else, errors in plain words."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import os
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from watched_pages import PageOpener, Problems, go_to, serious_findings, settle, sideways

from cifarlab.bundle import load_predictor
from cifarlab.bundle.onnx_export import write_onnx
from cifarlab.bundle.ort_web import ORT_WEB, VARIABLE
from cifarlab.bundle.shipped import default_model
from cifarlab.bundle.site import PAGE, write_site

ROOT = Path(__file__).parents[2]
WITHIN = 1e-3  # of a probability
# Predictions of pictures in base64, one after the other, by a model of its own.
PREDICT = """async pictures => {
    const { createModel } = await import(new URL("page/js/model-onnx.js", document.baseURI).href);
    const model = createModel();
    const found = [];
    for (const [kind, text] of pictures) {
        const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
        found.push(await model.predict(new Blob([bytes], { type: kind })));
    }
    return found;
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """A static host of `folder`, as `python -m http.server` is one; gives its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model with its ONNX file."""
    folder = Path(shutil.copytree(default_model(), tmp_path_factory.mktemp("site") / "cifar10-fast"))
    write_onnx(folder, images=np.stack([fitted(name) for name in ("cat", "ship", "truck")]))
    return folder


@pytest.fixture(scope="module")
def site(bundle: Path) -> Path:
    """Its site, in a folder of the host."""
    cached = ROOT / ".cache" / f"{ORT_WEB.name}-{ORT_WEB.version}.tgz"
    package = os.environ.get(VARIABLE) or (cached if cached.exists() else None)
    if package is None:
        pytest.skip(f"no {ORT_WEB.name} package: scripts/ort-web fetches it, or {VARIABLE} names one")
    folder = bundle.parent / "host" / "some" / "folder"
    write_site(bundle, folder, ort_web=package)
    return folder


@pytest.fixture(scope="module")
def host(site: Path) -> Iterator[str]:
    with hosted(site.parents[1]) as address:
        yield address


@pytest.fixture
def open_site(browser: Any, host: str, problems: Problems) -> Iterator[PageOpener]:
    with contextlib.closing(PageOpener(browser, problems, host)) as opener:
        yield functools.partial(opener, "/some/folder/")  # type: ignore[misc]
    problems.check()


def fitted(name: str, size: int = 32) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(PAGE / "examples" / f"{name}.webp").convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def png(pixels: Any, **more: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **more)
    return file.getvalue()


def jpeg(pixels: Any, *, orientation: int = 1, quality: int = 90) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, exif=exif)
    return file.getvalue()


def pngs() -> dict[str, bytes]:
    """Pictures of many shapes: as large as the input, larger, smaller, oblong, gray, with transparent parts, noise."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 41, 3)).astype(np.uint8)
    cut = np.dstack([fitted("frog", 64), np.where(np.hypot(*np.mgrid[-32:32, -32:32]) < 28, 255, 0).astype(np.uint8)])
    sheer = np.dstack([fitted("dog", 48), np.full((48, 48), 130, np.uint8)])
    return {
        "as the input": png(fitted("cat")),
        "larger": png(fitted("horse", 301)),
        "smaller": png(fitted("ship", 19)),
        "wide": png(fitted("airplane", 128)[30:97]),
        "tall": png(fitted("deer", 128)[:, 11:80]),
        "gray": png(fitted("bird", 50)[:, :, 1]),
        "transparent parts": png(cut),
        "half transparent": png(sheer),
        "noise": png(noise),
        "one pixel": png(np.full((1, 1, 3), 90, np.uint8)),
    }


def ask(page: Any, files: dict[str, bytes], kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(PREDICT, [[kind, base64.b64encode(content).decode()] for content in files.values()])
    return found


def differences(found: list[dict[str, Any]], files: dict[str, bytes], bundle: Path) -> dict[str, float]:
    """How far the browser's probabilities lie from Python's at most, by picture; labels and "unlike" must be the same."""
    predictor = load_predictor(bundle, device="cpu")
    expected = predictor.predict(list(files.values()))
    assert expected.unlike is not None
    largest = {}
    for at, (name, judged) in enumerate(zip(files, found, strict=True)):
        given = {one["label"]: one["probability"] for one in judged["predictions"]}
        largest[name] = float(max(abs(given[label] - expected.probabilities[at, k]) for k, label in enumerate(predictor.class_names)))
        assert judged["label"] == expected.labels[at], name
        assert judged["unlike"] == bool(expected.unlike[at]), name
    return largest


def test_answers_equal_pythons_for_png(open_site: PageOpener, bundle: Path) -> None:
    files = pngs()
    found = differences(ask(open_site(), files, "image/png"), files, bundle)
    assert max(found.values()) < WITHIN, found


def test_answers_for_jpeg_differ_by_the_decoder_alone(open_site: PageOpener, bundle: Path) -> None:
    pictures = {"cat": fitted("cat", 200), "truck": fitted("truck", 97), "small": fitted("frog")}
    files = {f"{name}, orientation {turn}": jpeg(pixels, orientation=turn) for name, pixels in pictures.items() for turn in (1, 6, 3)}
    found = differences(ask(open_site(), files, "image/jpeg"), files, bundle)
    assert max(found.values()) < 0.02, found  # two decoders of one file: levels differ by one or two here and there


def test_first_answer_comes_by_itself(open_site: PageOpener, expect: Any) -> None:
    page = open_site()
    expect(page.get_by_test_id("label").first).to_have_text(re.compile("airplane"))
    assert page.evaluate("window.crossOriginIsolated") is False, "it must do without special headers"
    assert [tab.inner_text() for tab in page.get_by_role("tab").all()] == ["Try", "Poke"]


def test_a_slider_moves_the_answer_and_reset_brings_it_back(open_site: PageOpener, expect: Any) -> None:
    page = open_site()
    go_to(page, "poke")
    label = page.get_by_test_id("poke-label")
    expect(label).to_have_text("airplane")
    share = page.locator(".poke-share")
    before = share.inner_text()
    slider = page.get_by_label("Rotate")
    slider.focus()
    for _ in range(9):
        page.keyboard.press("PageUp")
    expect(share).not_to_have_text(before)
    expect(page).to_have_url(re.compile(r"#/poke\?.*rotate="))
    page.get_by_test_id("poke-reset").click()
    expect(share).to_have_text(before)
    expect(page).to_have_url(re.compile(r"#/poke(\?example=\w+)?$"))


def test_a_weak_spot_is_a_change_of_one_slider(open_site: PageOpener, expect: Any) -> None:
    page = open_site()
    go_to(page, "poke")
    expect(page.get_by_test_id("poke-label")).to_have_text("airplane")
    page.get_by_test_id("poke-search").click()
    expect(page.get_by_test_id("poke-found")).to_contain_text(re.compile("is enough: .* instead of airplane"), timeout=60_000)
    expect(page.get_by_test_id("poke-was")).to_have_text("was airplane")
    expect(page.locator(".slider.changed")).to_have_count(1)


def test_an_address_holds_the_sliders(open_site: PageOpener, expect: Any) -> None:
    page = open_site()
    go_to(page, "poke", "rotate=-40&blur=1.5&quality=30")
    expect(page.get_by_label("Rotate")).to_have_value("-40")
    expect(page.get_by_label("Blur")).to_have_value("1.5")
    expect(page.get_by_label("JPEG quality")).to_have_attribute("aria-valuetext", "30")
    page.wait_for_function("() => document.querySelector('[data-testid=poke-seen]').width === 32")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_poke_is_accessible_and_fits(open_site: PageOpener, expect: Any, width: int, dark: bool) -> None:
    page = open_site(width=width, dark=dark)
    go_to(page, "poke", "rotate=25")
    expect(page.get_by_test_id("poke-label")).not_to_be_empty()
    settle(page)
    assert serious_findings(page) == []
    assert sideways(page) == []


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("model.onnx", Path.unlink, "model.onnx cannot be downloaded: the host answers 404"),
        ("model.onnx", lambda file: file.write_bytes(file.read_bytes()[:-10]), "model.onnx has .* bytes instead of"),
        ("runtime/ort.wasm.js", Path.unlink, "cannot be loaded"),
        ("bundle.json", Path.unlink, "bundle.json cannot be loaded: is the whole folder on the host"),
    ],
)
def test_what_is_missing_is_told(site: Path, tmp_path: Path, browser: Any, expect: Any, name: str, damage: Any, words: str) -> None:
    copy = Path(shutil.copytree(site, tmp_path / "site"))
    damage(copy / name)
    problems = Problems()
    problems.expect("404") if damage is Path.unlink else None
    with hosted(copy) as address, contextlib.closing(PageOpener(browser, problems, address)) as opener:
        page = opener("/")
        expect(page.locator("body")).to_contain_text(re.compile(words))
    problems.check()
