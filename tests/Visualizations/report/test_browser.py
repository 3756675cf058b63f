"""Guards the report in a real browser: opened from disk it is complete, silent, accessible, and fits a phone and paper."""

import pytest

from tests.browser import chromium, needs_chromium, violations
from Visualizations.report.page import make_report
from Visualizations.run import Run

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def address(everything, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(make_report(Run(everything), neurons=["1", "4"]), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def opened(browser, address):
    """Opens the report; gives the page and what the console said."""
    contexts = []

    def open_page(width, scheme):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page, said = context.new_page(), []
        page.on("console", lambda line: said.append(line.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request", lambda request: said.append(request.url) if request.url[:5] not in ("data:", "file:") else None
        )
        page.goto(address)
        return page, said

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def wide(opened):
    return opened(1280, "light")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), pytest.param(1280, "light", marks=pytest.mark.slow)])
def test_the_page_is_silent_fits_its_window_and_is_accessible(opened, width, scheme):
    page, said = opened(width, scheme)
    if width < 500:
        page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    assert said == []
    assert violations(page) == {}
    page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    assert violations(page, {"type": "rule", "values": ["color-contrast"]}) == {}


def test_a_ranking_is_sorted_by_a_press_and_back_by_another(wide):
    page, _ = wide
    values = "[...document.querySelectorAll('.ranking tbody tr')].map((r) => r.querySelector('[data-column=H]')?.textContent)"
    page.get_by_role("button", name="H", exact=True).press("Enter")
    down = page.evaluate(values)
    assert down == sorted(down, reverse=True)
    assert page.get_by_role("columnheader", name="H", exact=True).get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="H", exact=True).press("Enter")
    assert page.evaluate(values) == sorted(down)


def test_names_are_found_as_they_are_typed(wide):
    page, _ = wide
    rows = page.locator(".ranking tbody tr:visible")
    page.get_by_label("Find").fill("CAT 4")
    assert rows.count() == 1
    assert page.locator("output").text_content() == "1 of 5"
    page.get_by_label("Find").fill("")
    assert rows.count() == 5


def test_paper_has_no_controls_and_cuts_no_card(wide):
    page, _ = wide
    page.emulate_media(media="print")
    assert page.locator("nav, input, details").evaluate_all("(all) => all.every((each) => !each.offsetParent)")
    cards = page.locator(".card").evaluate_all("(all) => all.map((each) => getComputedStyle(each).breakInside)")
    assert set(cards) == {"avoid"}
    page.set_viewport_size({"width": 680, "height": 980})  # A4 within its margins
    heights = page.locator(".card").evaluate_all("(all) => all.map((each) => each.offsetHeight)")
    assert max(heights) < 980
    assert page.evaluate("document.documentElement.scrollWidth") <= 680
    page.emulate_media(media="screen")
