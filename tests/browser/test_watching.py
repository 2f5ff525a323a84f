"""The fixtures notice what goes wrong in a page: without this, all other tests here could pass over anything."""

from __future__ import annotations

import pytest
from watched_pages import PageOpener, Problems

ADDRESS = "/v2/health/live"
OUTSIDE = "http://127.0.0.1:9/x"  # nothing listens there


@pytest.mark.parametrize(
    ("script", "pattern"),
    [
        ("console.error('a' + 'larm')", "^console error: alarm"),
        ("console.warn('care')", "^console warning: care"),
        ("setTimeout(() => { throw new Error('thrown') })", "^exception: .*thrown"),
        ("fetch('/nothing-here')", "nothing-here"),
    ],
)
def test_what_goes_wrong_is_seen(open_page: PageOpener, problems: Problems, script: str, pattern: str) -> None:
    page = open_page(ADDRESS)
    with pytest.raises(AssertionError, match="expected and not seen"):
        Problems.check(problems_expecting(pattern))
    page.evaluate(f"() => {{ {script} }}")
    page.wait_for_timeout(200)
    problems.expect(pattern)


def problems_expecting(pattern: str) -> Problems:
    problems = Problems()
    problems.expect(pattern)
    return problems


def test_a_request_that_leaves_the_server_is_seen(open_page: PageOpener, problems: Problems) -> None:
    page = open_page(ADDRESS)
    page.evaluate("url => fetch(url, {mode: 'no-cors'}).catch(() => null)", OUTSIDE)
    assert f"foreign request: {OUTSIDE}" in problems.seen
    with pytest.raises(AssertionError, match="foreign request"):
        problems.check()
    problems.expect("^foreign request", "^request failed", "^console error: Failed to load resource")


def test_the_server_runs_all_models(open_page: PageOpener) -> None:
    page = open_page(ADDRESS)
    names = page.evaluate("async () => (await (await fetch('/openapi.json')).text())")
    for name in ("cifar10-fast", "digits-a", "small", "hundred", "markup"):
        assert f'"{name}"' in names
