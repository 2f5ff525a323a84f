"""Pages in a real browser that are watched: whatever goes wrong in one fails its test, unless the test expected it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
WAIT = 15_000  # ms, for what a test waits for: generous, since two cores may be shared
# Each violation of the Content-Security-Policy, with what was blocked: the console's own text differs between versions.
CSP = "addEventListener('securitypolicyviolation', event => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));"


class Problems:
    """What went wrong in a test's pages: console errors and warnings, exceptions, CSP violations, failed and foreign requests."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._expected: list[str] = []

    def expect(self, *patterns: str) -> None:
        """Problems that the test brings about, as regular expressions. One that does not occur fails the test as well."""
        self._expected += patterns

    def check(self) -> None:
        unexpected = [problem for problem in self.seen if not any(re.search(pattern, problem) for pattern in self._expected)]
        missing = [pattern for pattern in self._expected if not any(re.search(pattern, problem) for problem in self.seen)]
        assert not unexpected, "the browser reports:\n" + "\n".join(unexpected)
        assert not missing, f"expected and not seen: {missing}; seen: {self.seen}"

    def watch(self, page: Page, base: str) -> None:
        def console(message: ConsoleMessage) -> None:
            where = message.location.get("url", "")
            # Browsers ask for an icon only now and then; that the page names its own is tested by itself.
            if message.type in ("error", "warning") and not where.endswith("/favicon.ico"):
                self.seen.append(f"console {message.type}: {message.text} ({where})")

        def failed(request: Request) -> None:
            # A request that the page itself gives up, because a newer one supersedes it, is no failure.
            if request.failure != "net::ERR_ABORTED":
                self.seen.append(f"request failed: {request.method} {request.url}: {request.failure}")

        def asked(request: Request) -> None:
            if not request.url.startswith((f"{base}/", "data:", "blob:")):
                self.seen.append(f"foreign request: {request.url}")

        def answered(response: Response) -> None:
            if response.status >= 400 and not response.url.endswith("/favicon.ico"):
                self.seen.append(f"status {response.status}: {response.request.method} {response.url}")

        page.on("console", console)
        page.on("pageerror", lambda error: self.seen.append(f"exception: {error}"))
        page.on("requestfailed", failed)
        page.on("request", asked)
        page.on("response", answered)
        page.add_init_script(CSP)


class PageOpener:
    """Opens pages, each in a context of its own (no storage or cache in common), and closes them all."""

    def __init__(self, browser: Browser, problems: Problems, base: str) -> None:
        self._browser, self._problems, self._base = browser, problems, base
        self._contexts: list[BrowserContext] = []

    def __call__(
        self,
        path: str = "/",
        *,
        base: str | None = None,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        reduced_motion: bool = False,
        **more: Any,
    ) -> Page:
        """The page at `path` of the server `base` (default: the one with all models), loaded. more: options of a new context."""
        base = base or self._base
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if reduced_motion else "no-preference",
            locale="en-GB",
            base_url=base,
            **more,
        )
        self._contexts.append(context)
        context.set_default_timeout(WAIT)
        page = context.new_page()
        self._problems.watch(page, base)
        page.goto(path)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


_SETTLED = """() => {
    const area = document.querySelector('main');
    const visible = element => element.checkVisibility();
    const filled = element => visible(element) && element.innerText.trim() !== '';
    return area !== null && [...area.querySelectorAll('[role=tabpanel]')].some(filled)
        && ![...area.querySelectorAll('.loading, [aria-busy=true]')].some(visible);
}"""
_SIDEWAYS = """() => {
    const root = document.scrollingElement;
    if (root.scrollWidth <= root.clientWidth) return [];
    const wide = [...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > root.clientWidth + 1);
    return wide.slice(0, 8).map(one => `${one.tagName}.${one.className} to ${Math.round(one.getBoundingClientRect().right)} px`);
}"""


def settle(page: Page) -> None:
    """Wait until a panel is there with something in it, and nothing says that it is loading."""
    page.wait_for_function(_SETTLED)


def go_to(page: Page, panel: str, query: str = "") -> None:
    """Open a panel by its address."""
    page.evaluate("hash => { location.hash = hash; }", f"#/{panel}{'?' if query else ''}{query}")
    page.wait_for_timeout(50)
    settle(page)


def sideways(page: Page) -> list[str]:
    """What makes the page scroll sideways, if anything does."""
    found: list[str] = page.evaluate(_SIDEWAYS)
    return found


def serious_findings(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical: rule, element and reason of each."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page).response["violations"]
    return [
        f"{found['id']} ({found['impact']}): {node['target']} {node.get('failureSummary', '')}"
        for found in violations
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]


def until_focused(page: Page, selector: str) -> None:
    """Press Tab until an element that matches has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} is not reached by Tab")
