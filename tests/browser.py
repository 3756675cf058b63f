"""A real browser for tests: Debian's Chromium through Playwright, and axe-core for accessibility. Each is skipped where it is absent.
The shell without windows is taken where it is installed: it takes half the processor time, most of all for a new page."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("chromium-headless-shell", "chromium")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)
AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium-headless-shell)"
)


@contextmanager
def chromium(program=CHROMIUM):
    """The browser; the test is skipped where Playwright is not installed."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


def violations(page, what=WCAG):
    """What axe-core finds on a page: rule → elements and why, at most three of each.

    Args:
        what: tags of rules, or as axe's `runOnly` takes it.
    """
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm ci)")
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})  # no policy is asked
    session.detach()
    result = page.evaluate("what => axe.run(document, {runOnly: what, resultTypes: ['violations']})", what)
    return {
        each["id"]: [(node["html"], node["failureSummary"]) for node in each["nodes"]][:3]
        for each in result["violations"]
    }
