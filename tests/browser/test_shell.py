"""What surrounds the panels: tabs, addresses, themes, widths, what the browser may load, accessibility, and the page's weight."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from served_models import Served
from watched_pages import PageOpener, Problems, go_to, serious_findings, settle, sideways

from cifarlab.bundle.site import PAGE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

PANELS = ("try", "why", "inside", "poke", "runs", "errors", "compare")
MOST_BYTES = 300_000  # of the first load and all panels, example pictures included, uncompressed
PHONE, DESKTOP = 390, 1280
MOVING = """document.getAnimations().filter(one => one.effect.getComputedTiming().activeDuration > 50)
    .map(one => `${one.effect.target.tagName}.${one.effect.target.className}`)"""


def selected(page: Page) -> str | None:
    return page.locator("[role=tab][aria-selected=true]").get_attribute("data-testid")


def test_every_tab_opens_its_panel_and_nothing_goes_wrong(open_page: PageOpener, expect: Any) -> None:
    page = open_page()
    for panel in PANELS:
        page.get_by_test_id(f"tab-{panel}").click()
        expect(page.get_by_test_id(f"tab-{panel}")).to_have_attribute("aria-selected", "true")
        settle(page)
        assert selected(page) == f"tab-{panel}"
        assert urlsplit(page.url).fragment.startswith(f"/{panel}")
        shown = page.locator("[role=tabpanel]:visible")
        assert shown.count() == 1
        assert shown.get_attribute("aria-labelledby") == f"tab-{panel}"
        assert len(shown.inner_text()) > 10


def test_a_page_opened_as_a_file_says_what_it_needs(browser: Browser, tmp_path: Path, expect: Any) -> None:
    shutil.copytree(PAGE, tmp_path / "page")
    shutil.copy(PAGE / "index.html", tmp_path)
    with contextlib.closing(browser.new_page()) as page:
        page.goto((tmp_path / "index.html").as_uri())
        assert not page.locator(".unstarted").is_visible()  # at first: a page that starts never shows it
        expect(page.locator(".unstarted")).to_be_visible()
        expect(page.locator("main")).to_contain_text("python -m http.server")


def test_arrow_keys_walk_the_tabs_and_only_one_is_in_the_tab_order(open_page: PageOpener, expect: Any) -> None:
    page = open_page()
    settle(page)
    page.get_by_test_id("tab-try").focus()
    for key, panel in (("ArrowRight", "why"), ("End", "compare"), ("ArrowRight", "try"), ("ArrowLeft", "compare"), ("Home", "try")):
        page.keyboard.press(key)
        page.wait_for_function("panel => document.activeElement.id === `tab-${panel}`", arg=panel)
        expect(page.get_by_test_id(f"tab-{panel}")).to_have_attribute("aria-selected", "true")
        assert selected(page) == f"tab-{panel}"
        assert page.locator("[role=tab][tabindex='0']").count() == 1


def test_an_address_opens_its_panel_and_back_returns(open_page: PageOpener) -> None:
    page = open_page("/#/errors")
    settle(page)
    assert selected(page) == "tab-errors"
    page.get_by_test_id("tab-why").click()
    settle(page)
    page.go_back()
    page.wait_for_selector("#tab-errors[aria-selected=true]")
    go_to(page, "no-such-panel")
    assert selected(page) == "tab-try"


def test_the_skip_link_goes_to_the_panel_that_is_open(open_page: PageOpener) -> None:
    page = open_page("/#/runs")
    settle(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.closest('main') !== null")
    assert selected(page) == "tab-runs"


def test_the_chosen_theme_outlasts_a_reload(open_page: PageOpener) -> None:
    page = open_page()
    settle(page)
    background = "() => getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(background)
    page.get_by_test_id("theme").click()
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    settle(page)
    assert page.evaluate(background) == dark


def test_the_system_s_dark_theme_is_followed(open_page: PageOpener) -> None:
    tone = "Math.max(...getComputedStyle(document.documentElement).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number))"
    assert open_page(dark=False).evaluate(tone) > 200
    assert open_page(dark=True).evaluate(tone) < 80


@pytest.mark.parametrize("width", [PHONE, 768, DESKTOP])
def test_no_panel_scrolls_sideways(open_page: PageOpener, width: int) -> None:
    page = open_page(width=width, height=844)
    for panel in PANELS:
        go_to(page, panel)
        assert not (wide := sideways(page)), f"{panel} at {width} px: {wide}"


@pytest.mark.parametrize(("width", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop-light", "phone-dark"])
def test_axe_finds_nothing_serious(open_page: PageOpener, width: int, dark: bool) -> None:
    page = open_page(width=width, dark=dark, reduced_motion=True)  # colours in the middle of a fade are nobody's
    found = {}
    for panel in PANELS:
        go_to(page, panel)
        if findings := serious_findings(page):
            found[panel] = findings
    assert not found


def test_reduced_motion_stops_animations(open_page: PageOpener) -> None:
    page = open_page(reduced_motion=True)
    for panel in PANELS:
        go_to(page, panel)
        assert page.evaluate(MOVING) == [], panel


# -- what the browser may load ------------------------------------------------------------------------------------------


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere(open_page: PageOpener, server: Served, problems: Problems) -> None:
    policy = httpx.get(f"{server.url}/", timeout=10).headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "default-src 'none'" in policy or "default-src 'self'" in policy
    page = open_page()
    problems.expect("^console error: CSP: script-src", "^console error: .*Content Security Policy")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.executed = 1'}))")
    page.wait_for_timeout(100)
    assert page.evaluate("window.executed") is None


def test_the_page_has_an_icon(open_page: PageOpener) -> None:
    page = open_page()
    icon = page.locator("link[rel=icon]").evaluate("link => link.href")
    answer = httpx.get(icon, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("image/")


def test_all_of_the_page_weighs_little(open_page: PageOpener) -> None:
    page = open_page("/v2/health/live")
    sizes: dict[str, int] = {}

    def weigh(response: Response) -> None:
        path = urlsplit(response.url).path
        if path == "/" or path.startswith(("/page/", "/examples")):
            sizes[path] = len(response.body())

    page.on("response", weigh)
    for panel in PANELS:
        page.goto(f"/#/{panel}")
        settle(page)
    assert len(sizes) > 20
    assert sum(sizes.values()) <= MOST_BYTES, sorted(sizes.items(), key=lambda item: -item[1])[:10]
