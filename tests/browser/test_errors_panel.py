"""The panel Errors: from the confusion matrix to the pictures behind a cell, and from a picture to Try."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from served_models import MARKUP
from watched_pages import PageOpener, Problems, go_to, settle

from cifarlab.runs import Predictions, RunDirectory

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def counts(runs: Path) -> Any:
    """The confusion matrix of digits-a on the test split, from its predictions file."""
    found = Predictions.load(RunDirectory.open(runs / "digits-a").predictions_file("test"))
    matrix = np.zeros((10, 10), dtype=int)
    said = (found.logits if found.logits_tta is None else found.logits_tta).argmax(1)
    np.add.at(matrix, (found.labels, said), 1)
    return matrix


def cell(page: Page, row: int, column: int) -> Any:
    return page.locator(f"button.cell[data-row='{row}'][data-column='{column}']")


def most_confused(counts: Any) -> tuple[int, int]:
    wrong = counts - np.diag(np.diag(counts))
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    return int(row), int(column)


def test_the_matrix_holds_what_the_predictions_file_does(open_page: PageOpener, counts: Any) -> None:
    page = open_page("/#/errors?run=digits-a&split=test")
    settle(page)
    cell(page, 9, 9).wait_for()
    shown = [[cell(page, row, column).inner_text().strip() for column in range(10)] for row in range(10)]
    assert [[0 if text == "·" else int(text) for text in line] for line in shown] == counts.tolist()


def test_a_cell_leads_to_its_pictures_and_a_picture_to_try(open_page: PageOpener, expect: Any, counts: Any) -> None:
    row, column = most_confused(counts)
    page = open_page("/#/errors?run=digits-a&split=test")
    settle(page)
    cell(page, row, column).click()
    title = page.get_by_test_id("gallery-title")
    expect(title).to_have_text(re.compile(f"^{row} taken for {column}: {counts[row, column]} picture"))
    pictures = page.get_by_test_id("gallery").get_by_role("button")
    expect(pictures).to_have_count(int(counts[row, column]))
    page.wait_for_function("() => document.querySelector('[data-testid=gallery] img')?.naturalWidth > 0")
    assert f"true={row}" in page.url
    assert f"predicted={column}" in page.url
    page.get_by_test_id("model-chooser").select_option("digits-a")
    pictures.first.click()
    expect(page.get_by_test_id("tab-try")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_test_id("label")).to_have_text(str(column))
    expect(page.get_by_test_id("truth")).to_contain_text(f"shows {row}")
    expect(page.get_by_test_id("said")).to_contain_text(f"From the run digits-a, which said {column} with")
    page.go_back()
    settle(page)
    expect(title).to_have_text(re.compile(f"^{row} taken for {column}"))


def test_an_address_restores_run_split_and_cell(open_page: PageOpener, expect: Any, counts: Any) -> None:
    row, column = most_confused(counts)
    page = open_page(f"/#/errors?run=digits-a&split=test&true={row}&predicted={column}")
    settle(page)
    expect(cell(page, row, column)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_test_id("errors-run")).to_have_value("digits-a")
    expect(page.get_by_test_id("errors-split")).to_have_value("test")
    expect(page.get_by_test_id("gallery").get_by_role("listitem")).to_have_count(int(counts[row, column]))


def test_the_matrix_is_walked_by_keys(open_page: PageOpener, expect: Any, counts: Any) -> None:
    row, column = most_confused(counts)
    page = open_page("/#/errors?run=digits-a&split=test")
    settle(page)
    cell(page, 0, 0).focus()
    for _ in range(row):
        page.keyboard.press("ArrowDown")
    for _ in range(column):
        page.keyboard.press("ArrowRight")
    expect(cell(page, row, column)).to_be_focused()
    assert page.locator("button.cell[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("gallery-title")).to_have_text(re.compile(f"^{row} taken for {column}"))


def test_the_reliability_diagram_is_told_in_words_too(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/errors?run=digits-a&split=test")
    settle(page)
    expect(page.get_by_role("img", name="Reliability diagram")).to_be_visible()
    expect(page.locator("main")).to_contain_text("Calibration error")


def test_markup_in_the_class_names_of_a_run_stays_text(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/errors?run=markup")
    settle(page)
    expect(page.locator("table.matrix th[scope=row]")).to_have_text(sorted(MARKUP))
    cell(page, 0, 0).click()
    expect(page.get_by_test_id("gallery-title")).to_contain_text(sorted(MARKUP)[0])
    page.get_by_test_id("gallery").get_by_role("button").first.click()
    expect(page.get_by_test_id("truth")).to_be_visible()
    assert page.evaluate("window.executed") is None
    assert page.locator("main img[src='x'], main svg[onload], main [onmouseover]").count() == 0


def test_a_run_without_mistakes_has_no_empty_parts(open_page: PageOpener, expect: Any) -> None:
    def right_alone(route: Any) -> None:
        answer = route.fetch().json()
        answer["matrix"] = [
            [count if row == column else 0 for column, count in enumerate(line)] for row, line in enumerate(answer["matrix"])
        ]
        route.fulfill(json=answer)

    page = open_page("/#/try")
    settle(page)
    page.route("**/runs/digits-a/confusion*", right_alone)
    page.route("**/runs/digits-a/errors*", lambda route: route.fulfill(json={**route.fetch().json(), "rows": [], "total": 0}))
    go_to(page, "errors", "run=digits-a")
    expect(page.get_by_test_id("gallery-title")).to_have_text("No mistakes at all")
    expect(page.get_by_label("Order")).to_be_hidden()
    expect(page.get_by_role("heading", name="Most often confused")).to_be_hidden()


def test_a_run_without_predictions_is_said(open_page: PageOpener, problems: Problems, expect: Any) -> None:
    problems.expect("^status 4", "^console error: Failed to load resource")
    page = open_page("/#/errors?run=half-written")
    settle(page)
    expect(page.locator("main .problem")).to_contain_text("half-written")
    page.get_by_test_id("errors-run").select_option("digits-a")
    expect(page.get_by_test_id("errors-headline")).to_contain_text("mistakes in")
