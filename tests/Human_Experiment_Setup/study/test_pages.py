"""Guards every page of a study: no violation of WCAG 2.2 AA, nothing wider than the window, and nothing that the policy forbids."""

import secrets
from unittest.mock import patch

import pytest

from Human_Experiment_Setup.study import passwords
from Human_Experiment_Setup.study.database.schema import Study
from Human_Experiment_Setup.study.operations import RefusedError
from Human_Experiment_Setup.study.server import participant
from Human_Experiment_Setup.study.server.pages import STATUS
from tests.browser import needs_chromium, violations
from tests.Human_Experiment_Setup.study.small_study import (
    CHECK,
    CODE,
    FAST,
    TRAP,
    prolific_ids,
    serving,
    small_study,
    write_stimuli,
)  # fmt: skip
from tests.Human_Experiment_Setup.study.test_browser import answer, answered, at, browser, link

__all__ = ["browser"]

pytestmark = needs_chromium
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def long_study(tmp_path_factory):
    """With every kind of page, and an admin page that has something to show."""
    from argon2 import PasswordHasher

    folder = tmp_path_factory.mktemp("long")
    write_stimuli(folder / "stimuli", pictures=6, size=64)
    found = small_study(
        folder, checks=[CHECK], practice=1, break_every=2, traps=[TRAP], catch={"trials": 1, "accepted": {"fire": ["fire"]}},
        exclusions={"program_answers": 1}, timing={"minimum_ms": 0},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(
            passwords, "PasswordHasher", lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        )
        with found.database.writing() as session:
            session.get_one(Study, 1).password_hash = passwords.hashed(PASSWORD)
        with serving(found, logins=FAST) as url:
            yield url


@pytest.fixture(scope="module")
def lab_study(tmp_path_factory):
    """In the lab, one trial long, its sessions marked as pilots."""
    folder = tmp_path_factory.mktemp("lab")
    write_stimuli(folder / "stimuli", pictures=6, size=64)
    lab = small_study(
        folder, mark="pilot", completion={"path": "lab"}, trials_per_participant=1, timing={"minimum_ms": 0}
    )
    with serving(lab) as url:
        yield url


def every_page(page, url):
    """Go through a whole study and its other pages; yields the name of each page as it is shown."""
    page.goto(f"{url}/?PROLIFIC_PID=%7B%7B%25PROLIFIC_PID%25%7D%7D")
    yield "link"
    page.goto(link(url, prolific_ids()))
    yield "welcome"
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("button", name="I have read").wait_for()
    yield "instructions"
    for option in ("One", "Two"):
        page.get_by_role("button", name="I have read").click()
        page.get_by_label(option).check()
        yield f"checks {option}"
        page.get_by_role("button", name="Check my answers").click()
        if option == "One":
            page.get_by_text("Not every answer was right").wait_for()
            yield "instructions again"
    while not page.url.endswith("/done"):
        page.locator("form.answer, #stage .card button, .code-box").first.wait_for()
        if page.url.endswith("/done"):
            break
        heading, before = page.get_by_role("heading").first.inner_text(), at(page)
        yield heading
        if page.get_by_role("button", name="Go on").count():
            page.get_by_role("button", name="Go on").click()
            page.wait_for_selector("form.answer")
        else:
            page.get_by_role("button", name="I can’t tell").click()
            answered(page, before)
    page.get_by_text(CODE).wait_for()
    yield "done"
    page.goto(f"{url}/withdraw")
    yield "withdraw"
    page.goto(f"{url}/admin")
    yield "login"
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    yield "admin"


def other_pages(page, url, lab_url):
    """What participants see when something is amiss, and the pages of the lab; yields the name of each as it is shown."""
    for name in STATUS:
        with patch.object(participant, "_at_the_door", side_effect=RefusedError(name)):
            page.goto(link(url, prolific_ids()))
        yield f"ending {name}"
    page.goto(f"{url}/preview")
    page.evaluate("document.forms[0].noValidate = true")
    page.get_by_role("button", name="I agree").click()
    yield "consent missing"
    yield from _amiss(page, url)
    page.goto(f"{url}/admin")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    yield "wrong password"
    page.goto(lab_url)
    yield "lab"
    page.get_by_label("Your participant code").fill(secrets.token_hex(4))
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("button", name="I have read").click()
    answer(page, wait=False)
    page.get_by_text("tell the experimenter").wait_for()
    yield "lab done"


def _amiss(page, url):
    """Within a study: the picture, a word, or the server is missing."""
    held = []
    page.route("**/pictures/*", lambda route: held.append(route))
    page.goto(link(url, prolific_ids()))

    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("button", name="I have read").click()
    page.get_by_label(CHECK["right"]).check()
    page.get_by_role("button", name="Check my answers").click()
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("Loading the picture").wait_for()
    yield "loading"
    for route in held:
        route.abort()
    page.get_by_text("could not be loaded").wait_for()
    yield "picture failed"
    page.unroute("**/pictures/*")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Next").click()
    yield "words missing"
    page.route("**/api/answers", lambda route: route.abort())
    answer(page, wait=False)
    page.get_by_text("could not be saved yet").wait_for()
    yield "save failed"
    page.unroute("**/api/answers")
    page.get_by_role("button", name="Go on").click()
    page.route("**/api/answers", lambda route: route.fulfill(status=422, body="{}"))
    answer(page, wait=False)
    page.get_by_text("did not accept").wait_for()
    yield "save refused"
    page.unroute("**/api/answers")


def amiss(browser, pages, width, height):
    """What axe-core, the policy and the window's width find on pages: page and rule → elements; and the pages' names."""
    context = browser.new_context(viewport={"width": width, "height": height}, bypass_csp=False)
    page, seen, found = context.new_page(), [], {}
    page.on("pageerror", lambda error: found.setdefault((str(seen[-1:]), "error"), str(error)))
    page.on(
        "console",
        lambda line: (
            found.setdefault((str(seen[-1:]), "policy"), line.text) if "Content Security Policy" in line.text else None
        ),
    )
    for name in pages(page):
        if name in seen:
            continue
        seen.append(name)
        found |= {(name, rule): elements for rule, elements in violations(page).items()}
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found[name, "width"] = wide
    context.close()
    return found, seen


WINDOWS = pytest.mark.parametrize(("width", "height"), [(360, 740), pytest.param(1280, 800, marks=pytest.mark.slow)])


@WINDOWS
def test_every_page_is_accessible_fits_its_window_and_keeps_to_the_policy(browser, long_study, width, height):
    found, seen = amiss(browser, lambda page: every_page(page, long_study), width, height)
    assert found == {}
    assert {"Practice", "Time for a break", TRAP["question"], "What do you see in this picture?"} <= set(seen)


@WINDOWS
def test_so_is_every_page_that_says_what_is_amiss(browser, long_study, lab_study, width, height):
    found, seen = amiss(browser, lambda page: other_pages(page, long_study, lab_study), width, height)
    assert found == {}
    assert len(seen) == len(STATUS) + 9


def test_a_study_is_taken_by_keyboard_alone(browser, long_study):
    page = browser.new_page()
    page.goto(link(long_study, prolific_ids()))
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="I have read").wait_for()
    for keys in (["Tab", "Enter"], ["Tab", "Space", "ArrowDown", "Tab", "Enter"], ["Tab", "Enter"]):
        page.locator("h1:focus").wait_for()
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_timeout(100)
    answer(page, wait=False)
    page.get_by_text("Practice is over").wait_for()
    assert at(page) == 1
    page.close()
