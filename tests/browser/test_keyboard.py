"""Without a mouse: everything that can be worked is reached by Tab or arrow keys, and the focus can always be seen."""

from __future__ import annotations

from typing import Any

import pytest
from watched_pages import PageOpener, settle, until_focused

# What has the focus: a name for messages, whether it is shown that it has it, and whether it lies in the window.
FOCUS = """() => {
    const one = document.activeElement;
    if (one === document.body) return null;
    one.dataset.reached = '1';
    const marks = [one, one.nextElementSibling, one.parentElement].filter(Boolean).map(each => getComputedStyle(each));
    const {top, bottom} = one.getBoundingClientRect();
    return {
        name: `${one.tagName.toLowerCase()} ${one.getAttribute('aria-label') ?? one.textContent.trim().slice(0, 30)} ${one.className}`,
        marked: marks.some(style => (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none'),
        inside: bottom > 0 && top < innerHeight,
    };
}"""
# What can be worked and was not reached. Of a group with a roving tabindex, and of radio buttons, one is enough: arrows do the rest.
MISSED = """() => {
    const all = [...document.querySelectorAll('button, a[href], input, select, textarea, summary, [tabindex]')];
    const able = all.filter(one => one.checkVisibility({visibilityProperty: true}) && !one.disabled && !one.dataset.reached);
    const group = one => one.closest('[role=tablist], [role=radiogroup], table.matrix, fieldset');
    const alone = able.filter(one => {
        const roving = one.tabIndex < 0 || one.type === 'radio';
        return !(roving && group(one)?.querySelector('[data-reached]')) && one.id !== 'panels' && one.type !== 'file';
    });
    return alone.map(one => one.outerHTML.slice(0, 120));
}"""
ADDRESSES = {
    "try": "try?example=cat",
    "why": "why?example=cat",
    "inside": "inside?example=cat",
    "poke": "poke?example=cat",
    "runs": "runs?run=digits-a&run=digits-b",
    "errors": "errors?run=digits-a&split=test&true=8&predicted=8",
    "compare": "compare?a=cifar10-fast&b=small",
}


@pytest.mark.parametrize("panel", ADDRESSES)
def test_everything_is_reached_by_tab_and_the_focus_is_seen(open_page: PageOpener, panel: str) -> None:
    page = open_page(f"/#/{ADDRESSES[panel]}", reduced_motion=True)
    settle(page)
    page.wait_for_load_state("networkidle")  # what comes later must not take the focus away on a machine that is busy
    reached = []
    for _ in range(300):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus is None:
            break
        reached.append(focus)
    else:
        raise AssertionError("Tab never leaves the page")
    assert len(reached) > 5
    assert [focus["name"] for focus in reached if not focus["marked"]] == []
    assert [focus["name"] for focus in reached if not focus["inside"]] == []
    assert page.evaluate(MISSED) == []


def test_an_example_is_chosen_by_keys(open_page: PageOpener, expect: Any) -> None:
    page = open_page()
    settle(page)
    until_focused(page, "[data-testid=example]:nth-child(1), li:nth-child(1) [data-testid=example]")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("label")).to_have_text("automobile")
    expect(page.get_by_test_id("live")).to_contain_text("automobile")


def test_a_run_s_curve_is_read_by_arrow_keys(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/runs?run=digits-a")
    settle(page)
    until_focused(page, "[role=slider]")
    page.keyboard.press("Home")
    curve = page.get_by_role("slider", name="Accuracy by epoch")
    first = curve.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    expect(curve).to_have_attribute("aria-valuenow", "2")
    assert curve.get_attribute("aria-valuetext") != first


def test_a_class_is_explained_by_keys(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/why?example=cat")
    settle(page)
    expect(page.locator("canvas[data-target=cat]")).to_be_visible()
    until_focused(page, "[data-testid=bars] li:nth-child(2) button")
    name = page.evaluate("document.activeElement.querySelector('.bar-label').textContent")
    page.keyboard.press("Enter")
    expect(page.locator(f"canvas[data-target='{name}']")).to_be_visible()
