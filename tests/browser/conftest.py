"""A real Chromium, a server with all models and runs, and pages that are watched.

Skipped, with the reason, where Playwright's Python package (extra `test`) or a system Chromium is absent.
"""

from __future__ import annotations

import contextlib
import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from served_models import HUNDRED, MARKUP, SMALL, Served, serving, train_briefly, write_model, write_pictures
from watched_pages import FLAGS, WAIT, PageOpener, Problems

from cifarlab.cli.serve import serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests come last: while Playwright is open, its event loop runs in this thread, and asyncio.run would refuse."""
    items.sort(key=lambda item: HERE in item.path.parents)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install 'cifarlab[test]'")
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        pytest.skip("no Chromium on PATH: on Debian or Ubuntu, sudo apt-get install chromium")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=chromium, args=FLAGS)
        playwright.expect.set_options(timeout=WAIT)
        yield running
        running.close()


@pytest.fixture(scope="session")
def expect(browser: Browser) -> Any:
    """Playwright's assertions, which wait; imported here, so that these files can be collected without it."""
    from playwright.sync_api import expect

    return expect


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """A folder of runs: two that differ, one with markup in its classes, one that is half written, and things that are no runs."""
    folder = tmp_path_factory.mktemp("page") / "runs"
    train_briefly(folder / "digits-a")
    train_briefly(folder / "digits-b", seed=1, **{"optim.lr": 0.02})
    pictures = write_pictures(folder.parent / "pictures", MARKUP)
    train_briefly(folder / "markup", data=str(pictures), **{"data.train_size": None, "train.batch_size": 16, "data.validation": 0.3})
    half = Path(shutil.copytree(folder / "digits-b", folder / "half-written"))
    lines = (half / "metrics.jsonl").read_text()
    (half / "metrics.jsonl").write_text(lines[: len(lines) - 30])
    for name in ("status.json", "bundle.json", "metrics.json"):
        (half / name).unlink()
    shutil.rmtree(half / "predictions")
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("no run")
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained models by name: ordinary classes, a hundred of them, and such with markup in their names."""
    root = tmp_path_factory.mktemp("page-models")
    classes = {"small": SMALL, "hundred": HUNDRED, "markup": MARKUP}
    return {name: write_model(root / name, named, seed=seed) for seed, (name, named) in enumerate(classes.items())}


@pytest.fixture(scope="session")
def server(models: dict[str, Path], runs: Path, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Served]:
    """The shipped model first, then a trained run and the untrained models; the run folder beside."""
    log = tmp_path_factory.mktemp("server") / "log"
    shown = ("--runs", runs) if "runs" in inspect.signature(serve).parameters else ()  # until the command has it
    with serving("cifar10-fast", runs / "digits-a", *models.values(), *shown, log=log) as running:
        yield running


@pytest.fixture
def problems() -> Problems:
    return Problems()


@pytest.fixture
def open_page(browser: Browser, server: Served, problems: Problems) -> Iterator[PageOpener]:
    """Opens a page of the server; after the test, whatever the browser reported and nobody expected fails it."""
    with contextlib.closing(PageOpener(browser, problems, server.url)) as opener:
        yield opener
    problems.check()
