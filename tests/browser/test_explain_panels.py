"""The panels Why, Inside, Poke and Compare: maps, activations, sliders and two models, on the shipped model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from gestures import drop, example, plain_picture
from watched_pages import PageOpener, settle, sideways, until_focused

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# The content of a canvas, and whether it has more than one colour. Read from a copy: the page's own is not slowed down by it.
DRAWN = """canvas => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0);
    const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
    return {content: data.join(), varied: data.some((value, at) => value !== data[at % 4])};
}"""


def drawn(canvas: Locator) -> str:
    found = canvas.evaluate(DRAWN)
    assert found["varied"]
    return str(found["content"])


def class_button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=re.compile(f"^{name}"))


# -- Why ------------------------------------------------------------------------------------------------------------------


def heat(page: Page, target: str) -> Locator:
    """The map of a class, once it is drawn."""
    return page.locator(f"canvas[data-target='{target}']:visible")


def test_grad_cam_is_drawn_and_another_class_has_another_map(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/why?example=cat")
    settle(page)
    expect(heat(page, "cat")).to_be_visible()
    first = drawn(heat(page, "cat"))
    class_button(page, "dog").click()
    expect(heat(page, "dog")).to_be_visible()
    assert drawn(heat(page, "dog")) != first
    assert "target=dog" in page.url
    class_button(page, "cat").click()
    expect(heat(page, "cat")).to_be_visible()
    assert drawn(heat(page, "cat")) == first


def test_the_opacity_slider_fades_the_map(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/why?example=cat")
    settle(page)
    shown = heat(page, "cat")
    expect(shown).to_be_visible()
    page.get_by_test_id("why-opacity").fill("10")
    expect(shown).to_have_css("opacity", "0.1")


def test_occlusion_is_drawn_and_kept_in_the_address(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/why?example=cat")
    settle(page)
    expect(heat(page, "cat")).to_be_visible()
    gradcam = drawn(heat(page, "cat"))
    page.get_by_test_id("why-occlusion").check()
    expect(page.get_by_test_id("why-said")).to_contain_text("patch")
    occlusion = drawn(heat(page, "cat"))
    assert occlusion != gradcam
    page.reload()
    settle(page)
    expect(page.get_by_test_id("why-said")).to_contain_text("patch")
    expect(page.get_by_test_id("why-occlusion")).to_be_checked()
    assert drawn(heat(page, "cat")) == occlusion


def test_hiding_the_picture_with_the_brush_changes_the_answer(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/why?example=cat")
    settle(page)
    expect(heat(page, "cat")).to_be_visible()
    box = heat(page, "cat").bounding_box()
    assert box is not None
    page.get_by_test_id("why-width").fill("12")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
    page.mouse.up()
    expect(page.get_by_test_id("why-change")).to_contain_text("with what is painted")
    page.get_by_test_id("why-undo").click()
    expect(page.get_by_test_id("why-change")).to_be_hidden()


def test_the_brush_paints_by_keys(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/why?example=cat")
    settle(page)
    expect(heat(page, "cat")).to_be_visible()
    until_focused(page, "[data-testid=why-brush]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(page.get_by_test_id("why-change")).to_contain_text("with what is painted")
    page.keyboard.press("Backspace")
    expect(page.get_by_test_id("why-change")).to_be_hidden()


# -- Inside ---------------------------------------------------------------------------------------------------------------


def test_a_layer_s_channels_are_drawn_and_the_address_keeps_it(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/inside?example=cat")
    settle(page)
    layers = page.get_by_test_id("layers").get_by_role("radio")
    channels = page.get_by_test_id("channels").locator("canvas")
    channels.first.wait_for()
    assert layers.count() > 5
    seen = set()
    for number in (1, 4):
        layers.nth(number).click()
        name = layers.nth(number).get_attribute("data-layer")
        expect(page.get_by_test_id("inside-layer")).to_contain_text(str(name))
        expect(page.locator(".channel-grid.stale")).to_have_count(0)
        assert channels.count() >= 8
        seen.add(drawn(channels.nth(3)))
    assert len(seen) == 2
    page.reload()
    settle(page)
    expect(page.get_by_test_id("inside-layer")).to_contain_text(str(name))


def test_a_cell_shows_its_receptive_field_by_pointer_and_keys(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/inside?example=cat")
    settle(page)
    first = page.get_by_test_id("channels").locator("canvas").first
    first.hover(position={"x": 5, "y": 5})
    readout = page.get_by_test_id("readout")
    expect(readout).to_contain_text("Channel 0".lower())
    expect(page.get_by_test_id("field")).to_be_visible()
    before = readout.inner_text()
    until_focused(page, "[data-testid=channels]")
    page.keyboard.press("ArrowDown")
    expect(readout).not_to_have_text(before)


# -- Poke -----------------------------------------------------------------------------------------------------------------


def test_a_slider_moves_the_probabilities_and_reset_puts_them_back(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/poke?example=cat")
    settle(page)
    answer = page.get_by_test_id("poke-answer")
    expect(answer).to_contain_text("%")
    before = answer.inner_text()
    page.get_by_label("Rotate").fill("120")
    expect(answer).not_to_have_text(before)
    page.wait_for_function("() => location.hash.includes('rotate=120')")
    page.get_by_test_id("poke-reset").click()
    page.wait_for_function("() => !location.hash.includes('rotate')")
    assert page.get_by_label("Rotate").input_value() == "0"


def test_an_address_restores_the_sliders(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/poke?example=cat&rotate=-40&blur=1.2")
    settle(page)
    expect(page.get_by_label("Rotate")).to_have_value("-40")
    expect(page.get_by_label("Blur")).to_have_value("1.2")


def test_a_slider_is_worked_by_keys(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/poke?example=cat")
    settle(page)
    until_focused(page, "input[type=range]")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator("input[type=range]:focus")).to_have_value("3")
    page.keyboard.press("Backspace")
    expect(page.locator("input[type=range]:focus")).to_have_value("0")


# -- Compare --------------------------------------------------------------------------------------------------------------


def test_two_models_answer_for_one_picture(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/compare?a=cifar10-fast&b=markup")
    settle(page)
    expect(page.get_by_test_id("agreement")).to_contain_text("cifar10-fast says")
    expect(page.get_by_test_id("compare-label-b")).to_contain_text("window.executed")
    page.get_by_test_id("compare-b").select_option("hundred")
    expect(page.get_by_test_id("compare-label-b")).to_contain_text("kind number")
    drop(page, example("ship"))
    expect(page.get_by_test_id("compare-label-a")).to_have_text("ship")
    assert "b=hundred" in page.url
    assert page.evaluate("window.executed") is None


# -- awkward models in all of them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["hundred", "markup"])
def test_panels_bear_awkward_models_on_a_phone(open_page: PageOpener, expect: Any, model: str) -> None:
    page = open_page(f"/#/try?model={model}", width=390, height=844)
    settle(page)
    drop(page, plain_picture((10, 90, 40)))
    shown = {
        "try": page.get_by_test_id("label"),
        "why": page.get_by_test_id("why-said"),
        "inside": page.get_by_test_id("channels").locator("canvas").first,
        "poke": page.get_by_test_id("poke-answer"),
        "compare": page.get_by_test_id("agreement"),
    }
    for panel, part in shown.items():
        page.get_by_test_id(f"tab-{panel}").click()
        expect(part).to_be_visible()
        settle(page)
        assert sideways(page) == [], panel
    assert page.evaluate("window.executed") is None
    assert page.locator("main img[src='x'], main svg[onload], main [onmouseover]").count() == 0
