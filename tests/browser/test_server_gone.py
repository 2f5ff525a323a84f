"""The server ends while the page is open, and starts again; a server that asks for a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from gestures import drop, plain_picture
from served_models import Served, serving
from watched_pages import PageOpener, Problems, go_to, serious_findings, settle

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TOKEN = "a-token-of-more-than-sixteen-characters"
REFUSED = ("^request failed: .*ERR_CONNECTION_REFUSED", "^console error: Failed to load resource: net::ERR_CONNECTION_REFUSED")


def test_a_server_that_ends_is_told_and_its_return_noticed(
    open_page: PageOpener, problems: Problems, models: dict[str, Path], tmp_path: Path, expect: Any
) -> None:
    problems.expect(*REFUSED)
    with serving(models["small"], log=tmp_path / "log") as first:
        page = open_page(base=first.url)
        settle(page)
        drop(page, plain_picture((200, 30, 30), name="red.png"))
        answer = page.get_by_test_id("answer")
        expect(answer).to_contain_text("%")
        go_to(page, "runs")
        expect(page.get_by_test_id("runs-empty")).to_contain_text("cifarlab serve --runs DIR")
        go_to(page, "try")
        first.kill()
        drop(page, plain_picture((30, 30, 200), name="blue.png"))
        expect(page.get_by_test_id("offline")).to_be_visible()
        expect(page.get_by_test_id("offline")).to_contain_text("cifarlab serve")
        for panel in ("runs", "errors", "why", "try"):
            page.get_by_test_id(f"tab-{panel}").click()
        port = urlsplit(first.url).port
        assert port is not None
        with serving(models["small"], log=tmp_path / "second", port=port):
            expect(page.get_by_test_id("offline")).to_be_hidden()
            expect(answer).to_contain_text("%")  # the picture that was dropped meanwhile
            for panel in ("why", "inside", "runs", "errors", "compare", "try"):
                page.get_by_test_id(f"tab-{panel}").click()
                settle(page)


def test_a_panel_first_chosen_while_the_server_is_gone_comes_with_its_return(
    open_page: PageOpener, problems: Problems, models: dict[str, Path], tmp_path: Path, expect: Any
) -> None:
    problems.expect(*REFUSED)
    with serving(models["small"], log=tmp_path / "log") as first:
        page = open_page(base=first.url)
        settle(page)
        first.kill()
        page.get_by_test_id("tab-compare").click()
        expect(page.get_by_test_id("panel-problem")).to_contain_text("Compare cannot be loaded")
        expect(page.get_by_test_id("offline")).to_be_visible()
        port = urlsplit(first.url).port
        assert port is not None
        with serving(models["small"], log=tmp_path / "second", port=port):
            expect(page.get_by_test_id("compare-empty")).to_contain_text("One model is served")
            assert page.get_by_test_id("panel-problem").count() == 0


@pytest.fixture(scope="module")
def guarded(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(TOKEN)
    (folder / "runs").mkdir()
    with serving(models["small"], "--token-file", folder / "token", "--runs", folder / "runs", log=folder / "log") as running:
        yield running


def test_a_token_is_asked_for_once_and_wrong_ones_are_refused(
    open_page: PageOpener, problems: Problems, guarded: Served, expect: Any
) -> None:
    problems.expect("^status 401", "^console error: Failed to load resource: .* 401")
    page = open_page(base=guarded.url)
    asked = page.get_by_role("dialog")
    expect(asked).to_be_visible()
    assert serious_findings(page) == []
    for given in ("a wrong token, long enough", TOKEN):
        asked.get_by_role("textbox").or_(asked.locator("input")).first.fill(given)
        page.keyboard.press("Enter")
    expect(asked).to_be_hidden()
    settle(page)
    drop(page, plain_picture((200, 30, 30), name="red.png"))
    expect(page.get_by_test_id("answer")).to_contain_text("%")
    assert TOKEN not in page.url
    page.reload()
    settle(page)
    expect(page.get_by_test_id("model-name")).to_have_text("small")
    assert page.get_by_role("dialog").count() == 0


def test_an_empty_folder_of_runs_is_told_with_the_way_on(open_page: PageOpener, guarded: Served, expect: Any) -> None:
    page = open_page("/#/runs", base=guarded.url, extra_http_headers={"Authorization": f"Bearer {TOKEN}"})
    expect(page.get_by_test_id("runs-empty")).to_contain_text("cifarlab train digits --runs")
    go_to(page, "errors")
    expect(page.get_by_test_id("errors-empty")).to_contain_text("cifarlab train digits")
    go_to(page, "compare")
    expect(page.get_by_test_id("compare-empty")).to_contain_text("One model is served")
