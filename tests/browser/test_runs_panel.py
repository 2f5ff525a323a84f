"""The panel Runs: its table, curves that grow while a network trains, differences, and run folders that are empty or half written."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from served_models import training
from watched_pages import PageOpener, Problems, settle

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

LAST_EPOCH = "Number(document.querySelector('[role=slider][aria-label^=Accuracy]')?.getAttribute('aria-valuemax'))"


def row(page: Page, run: str) -> Locator:
    return page.locator(f"tr[data-run='{run}']")


def curve(page: Page) -> Locator:
    """The stage of the accuracy's chart, a slider over epochs."""
    return page.get_by_role("slider", name="Accuracy by epoch")


def test_the_table_lists_the_runs_and_nothing_else(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/runs")
    settle(page)
    for run in ("digits-a", "digits-b", "markup"):
        expect(row(page, run)).to_contain_text("done")
        expect(row(page, run)).to_contain_text("%")
    expect(row(page, "half-written")).to_contain_text("half-written")
    assert page.locator("tr[data-run]").count() == 4
    assert "notes.txt" not in page.locator("main").inner_text()


def test_a_half_written_run_says_what_is_missing(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/runs?run=half-written")
    settle(page)
    shown = page.locator("li[data-run='half-written']")
    expect(shown).to_contain_text("status.json")
    assert page.get_by_test_id("notices").inner_text() == ""


def test_runs_are_filtered_and_sorted(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/runs")
    settle(page)
    page.get_by_test_id("runs-filter").fill("digits-")
    expect(page.locator("tr[data-run]")).to_have_count(2)
    heading = page.locator("main th button", has_text="Test").first
    heading.click()
    best_first = shares(page)
    assert best_first == sorted(best_first, reverse=True)
    heading.click()
    assert shares(page) == best_first[::-1]
    page.get_by_test_id("runs-filter").fill("no such run")
    expect(page.locator("tr[data-run]")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("No run has these words")


def shares(page: Page) -> list[float]:
    cells = page.locator("tr[data-run] td:nth-child(6)").all_inner_texts()
    return [float(text.split()[0]) for text in cells]


def test_two_runs_are_overlaid_and_their_difference_is_told(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/runs?run=digits-a&run=digits-b")
    settle(page)
    expect(page.locator("li[data-run]")).to_have_count(2)
    chosen = page.get_by_test_id("runs-chosen")
    expect(chosen).to_contain_text("optim.lr")
    expect(chosen).to_contain_text("seed")
    expect(chosen).to_contain_text("cifarlab train")
    curve(page).focus()
    page.keyboard.press("Home")
    expect(curve(page)).to_have_attribute("aria-valuetext", re.compile("epoch 1: digits-[ab], validation .* %"))
    row(page, "digits-b").get_by_role("checkbox").uncheck()
    expect(page.locator("li[data-run]")).to_have_count(1)
    assert "digits-b" not in page.url
    page.reload()
    settle(page)
    expect(page.locator("li[data-run='digits-a']")).to_be_visible()


def test_a_curve_grows_while_its_network_trains(open_page: PageOpener, expect: Any, runs: Path) -> None:
    with training(runs / "live", epochs=2000) as process:
        while not (runs / "live" / "metrics.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.05)
        page = open_page("/#/runs")  # a run that trains is chosen by itself
        page.wait_for_function(f"epochs => {LAST_EPOCH} > epochs", arg=1, timeout=60_000)
        before = page.evaluate(LAST_EPOCH)
        page.wait_for_function(f"epochs => {LAST_EPOCH} > epochs", arg=before + 2, timeout=60_000)
        expect(row(page, "live")).to_contain_text("running")
        assert process.poll() is None
    expect(page.locator("li[data-run='live']")).to_contain_text("interrupted", timeout=60_000)
    shutil.rmtree(runs / "live")


def test_the_command_can_be_copied(open_page: PageOpener, expect: Any) -> None:
    page = open_page("/#/runs?run=digits-a", permissions=["clipboard-read", "clipboard-write"])
    settle(page)
    command = page.locator(".command").first
    command.get_by_role("button").click()
    expect(command).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("cifarlab train")
    assert copied == command.locator("code").inner_text()


def test_a_run_that_does_not_exist_is_said(open_page: PageOpener, problems: Problems, expect: Any) -> None:
    problems.expect("^status 404", "^console error: Failed to load resource")
    page = open_page("/#/runs?run=digits-c")
    settle(page)
    expect(page.get_by_test_id("runs-hint")).to_have_text("There is no run digits-c in this folder. Choose a run to see it.")
    row(page, "digits-a").locator("td").nth(3).click()  # anywhere on the row
    expect(page.locator("li[data-run='digits-a']")).to_be_visible()
    expect(page.get_by_test_id("runs-hint")).to_be_hidden()


def test_a_run_that_is_deleted_while_it_is_shown_is_said_to_be_gone(open_page: PageOpener, expect: Any, runs: Path) -> None:
    shutil.copytree(runs / "digits-a", runs / "doomed")
    time.sleep(1.2)  # the server looks at its folder once a second
    page = open_page("/#/runs?run=doomed")
    settle(page)
    shown = page.locator("li[data-run='doomed']")
    expect(shown).to_contain_text("done")
    shutil.rmtree(runs / "doomed")
    expect(shown).to_contain_text("no longer in the folder")
    assert shown.get_by_role("button", name="Errors").count() == 0
    assert page.locator(".command:visible").count() == 0
