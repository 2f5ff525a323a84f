"""From panel to panel: links between them, addresses, scroll and focus, and styles that stay with their panels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gestures import drop, example
from watched_pages import PageOpener, go_to, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Where every visible element of a panel lies across the page, and how large it is.
PLACES = """panel => [...document.querySelectorAll(`#panel-${panel} *`)].filter(each => each.checkVisibility()).map(each => {
    const {x, width, height} = each.getBoundingClientRect();
    return [each.className, x, width, height].join(' ');
}).join('\\n')"""


def test_a_class_in_try_leads_to_why(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/try?example=cat")
    settle(page)
    second = page.get_by_test_id("panel-try").locator("[data-testid=bars] li").nth(1)
    expect(second.get_by_role("button")).to_be_visible()
    name = second.locator(".bar-label").text_content()
    second.get_by_role("button").click()
    expect(page.locator(f"canvas[data-target={name}]")).to_be_visible()
    expect(page).to_have_url(re.compile(rf"#/why\?.*target={name}"))
    expect(page.get_by_test_id("panel-why").locator("button[aria-pressed=true] .bar-label")).to_have_text(name or "")


def test_another_picture_is_explained_by_its_own_answer(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/why?example=cat&target=dog")
    settle(page)
    expect(page.locator("canvas[data-target=dog]")).to_be_visible()
    page.get_by_test_id("panel-why").get_by_role("button", name="Example: frog").click()
    expect(page.locator("canvas[data-target=frog]")).to_be_visible()
    expect(page).to_have_url(re.compile(r"example=frog"))
    assert "target" not in page.url


def test_a_panel_looks_the_same_whatever_was_seen_before(open_page: PageOpener, expect: Any) -> None:
    def looked(page: Page) -> str:
        expect(page.locator("canvas[data-target=cat]")).to_be_visible()
        return str(page.evaluate(PLACES, "why"))

    page = open_page("/#/why?example=cat")
    settle(page)
    first = looked(page)
    for panel in ("try", "inside", "poke", "runs", "errors", "compare"):
        go_to(page, panel)
    go_to(page, "why", "example=cat")
    assert looked(page) == first


def test_each_panel_keeps_its_place_and_the_focus_is_never_lost(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/why?example=cat", height=300)
    settle(page)
    expect(page.locator("canvas[data-target=cat]")).to_be_visible()
    page.evaluate("scrollTo(0, 200)")
    page.get_by_test_id("why-clear").evaluate("button => { button.disabled = false; button.focus({preventScroll: true}); }")
    go_to(page, "inside")
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.activeElement.id") == "panels"
    go_to(page, "why")
    page.wait_for_function("() => scrollY === 200")


def test_the_address_names_the_example_and_is_followed(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/")
    settle(page)
    page.get_by_role("button", name="Example: horse").click()
    expect(page.get_by_test_id("original")).to_have_attribute("alt", re.compile("^horse"))
    page.get_by_test_id("tab-inside").click()
    expect(page).to_have_url(re.compile(r"#/inside\?.*example=horse"))
    go_to(page, "try", "example=ship")
    expect(page.get_by_test_id("original")).to_have_attribute("alt", re.compile("^ship"))
    drop(page, example("cat"))
    expect(page.get_by_test_id("original")).to_have_attribute("alt", "cat.png")
    expect(page).not_to_have_url(re.compile("example="))


def test_the_address_names_the_model_and_is_followed(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/try?model=small")
    settle(page)
    expect(page.get_by_test_id("model-chooser")).to_have_value("small")
    page.get_by_test_id("tab-why").click()
    expect(page).to_have_url(re.compile(r"#/why\?.*model=small"))
    go_to(page, "try", "model=cifar10-fast")
    expect(page.get_by_test_id("model-chooser")).to_have_value("cifar10-fast")
