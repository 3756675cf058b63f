"""Guards the study in a real browser: what is answered is saved once, whatever the network, the keyboard or the page do."""

from pathlib import Path

import pytest
from sqlalchemy import select

import Human_Experiment_Setup
from Human_Experiment_Setup.study import passwords
from Human_Experiment_Setup.study.database.schema import SavedAnswer, Study, StudySession
from tests.Human_Experiment_Setup.study.small_study import (
    CHECK,
    CODE,
    TRAP,
    prolific_ids,
    serving,
    small_study,
    write_stimuli,
)  # fmt: skip

pytest.importorskip("playwright", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(Human_Experiment_Setup.__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PASSWORD = "correct horse"

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_stimuli(folder / "stimuli", pictures=12, size=64)
    return small_study(folder, ratings_per_image=8, trials_per_participant=4)


@pytest.fixture(scope="module")
def url(study):
    with serving(study) as found:
        yield found


@pytest.fixture(scope="module")
def context(browser):
    found = browser.new_context(viewport={"width": 800, "height": 700}, reduced_motion="reduce")
    yield found
    found.close()


@pytest.fixture
def page(context, url):
    """A tab of a browser that was never here."""
    context.clear_cookies()
    found = context.new_page()
    yield found
    found.close()


def link(url, ids):
    return f"{url}/?" + "&".join(f"{name}={value}" for name, value in ids.items())


def start(page, url, ids=None):
    """Consent, and read the instructions."""
    page.goto(link(url, ids or prolific_ids()))
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("button", name="I have read").click()
    page.get_by_label("Word 1").wait_for()


def at(page):
    return int(page.locator("#progress").get_attribute("aria-valuenow"))


def answer(page, first="fire", second="flame", wait=True):
    """Type two words, each ended by Enter."""
    before = at(page)
    page.get_by_label("Word 1").wait_for()
    page.keyboard.type(first)
    page.keyboard.press("Enter")
    page.keyboard.type(second)
    page.keyboard.press("Enter")
    if wait:
        answered(page, before)


def answered(page, before):
    """Wait until the trial after one is shown, or the end."""
    shown = f"body:has(#progress:not([aria-valuenow='{before}'])):has(form.answer, #stage .card), .code-box"
    page.locator(shown).first.wait_for(state="attached")


def saved(study, ids):
    with study.database.reading() as session:
        return session.scalars(
            select(SavedAnswer).join(StudySession, StudySession.id == SavedAnswer.session_id)
            .where(StudySession.participant == ids["PROLIFIC_PID"]).order_by(SavedAnswer.trial)
        ).all()  # fmt: skip


def words(study, ids):
    return [each.answer.get("words") for each in saved(study, ids)]


def test_reload_at_a_trial_resumes_at_it_and_the_code_comes_last(page, url, study):
    ids = prolific_ids()
    start(page, url, ids)
    for trial in range(4):
        page.reload()
        page.get_by_label("Word 1" if trial else "I have read").or_(
            page.get_by_role("button", name="I have read")
        ).wait_for()
        if trial == 0:
            page.get_by_role("button", name="I have read").click()
        assert at(page) == trial
        assert CODE not in page.content()
        answer(page, f"word{trial}")
    page.get_by_text(CODE).wait_for()
    assert [each[0] for each in words(study, ids)] == ["word0", "word1", "word2", "word3"]
    page.goto(link(url, ids))
    assert page.get_by_text(CODE).is_visible()


def test_no_code_is_shown_until_the_last_save_succeeds(page, url, study):
    ids = prolific_ids()
    start(page, url, ids)
    for _ in range(3):
        answer(page)
    failed = []

    def fail_once(route):
        if failed:
            return route.continue_()
        failed.append(page.content())
        route.abort()

    page.route("**/api/answers", fail_once)
    answer(page, wait=False)
    page.get_by_text("could not be saved yet").wait_for()
    assert CODE not in page.content()
    assert len(saved(study, ids)) == 3
    page.get_by_text(CODE).wait_for()
    assert len(saved(study, ids)) == 4


@pytest.mark.parametrize("failures", [["503", "503"], ["lost"], ["abort", "429"], ["a proxy's page"]])
def test_failures_in_a_row_lose_and_double_nothing(page, url, study, failures):
    ids, left = prolific_ids(), list(failures)
    start(page, url, ids)

    def fail(route):
        match left.pop(0) if left else None:
            case None:
                route.continue_()
            case "lost":  # the server has it, the browser never hears
                route.fetch()
                route.abort()
            case "abort":
                route.abort()
            case "a proxy's page":
                route.fulfill(status=502, body="<html>Bad gateway</html>")
            case status:
                route.fulfill(status=int(status), body="")

    page.route("**/api/answers", fail)
    answer(page, "first")
    answer(page, "second")
    assert [each[0] for each in words(study, ids)] == ["first", "second"]


def test_an_answer_that_was_not_saved_survives_a_reload(page, url, study):
    ids = prolific_ids()
    start(page, url, ids)
    page.route("**/api/answers", lambda route: route.abort())
    answer(page, "kept", wait=False)
    page.get_by_text("could not be saved yet").wait_for()
    page.unroute("**/api/answers")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    answered(page, 0)
    assert [each[0] for each in words(study, ids)] == ["kept"]


def test_the_same_id_in_two_tabs_answers_each_trial_once(page, url, study):
    ids = prolific_ids()
    start(page, url, ids)
    other = page.context.new_page()
    other.goto(link(url, ids))
    other.get_by_role("button", name="I have read").click()
    other.get_by_label("Word 1").wait_for()
    answer(page, "one")
    answer(other, "two")
    assert at(other) == 1
    answer(other, "three")
    other.close()
    assert [each[0] for each in words(study, ids)] == ["one", "three"]


def test_a_missing_picture_never_shows_a_blank_trial(page, url, study):
    ids, blocked = prolific_ids(), [True]
    page.route("**/pictures/*", lambda route: route.abort() if blocked[0] else route.continue_())
    page.goto(link(url, ids))
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("button", name="I have read").click()
    page.get_by_text("The picture could not be loaded.").wait_for()
    assert page.get_by_label("Word 1").count() == 0
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Continue without it").click()
    answered(page, 0)
    page.get_by_text("The picture could not be loaded.").wait_for()
    blocked[0] = False
    page.get_by_role("button", name="Try again").click()
    page.get_by_label("Word 1").wait_for()
    assert page.locator("img.picture").evaluate("image => image.complete && image.naturalWidth") == 64
    answer(page)
    assert [each.shown for each in saved(study, ids)] == [False, True]


def test_enter_twice_at_once_answers_once(page, url, study):
    ids = prolific_ids()
    start(page, url, ids)
    page.keyboard.type("a")
    page.keyboard.press("Enter")
    page.keyboard.type("b")
    enter = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, cancelable: true}))"
    page.evaluate(f"{enter}; setTimeout(() => {enter}, 5)")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    answered(page, 0)
    assert page.get_by_label("Word 1").input_value() == ""
    assert len(saved(study, ids)) == 1


def test_words_are_asked_for_and_cannot_tell_is_an_answer(page, url, study):
    ids = prolific_ids()
    start(page, url, ids)
    page.get_by_role("button", name="Next").click()
    assert "Please type 2 words" in page.get_by_role("alert").inner_text()
    page.get_by_label("Word 1").fill("  x  " + "y" * 100)
    assert len(page.get_by_label("Word 1").input_value()) == 40
    page.get_by_role("button", name="I can’t tell").click()
    answered(page, 0)
    assert saved(study, ids)[0].answer == {"words": [], "cannot_tell": True}


def test_paste_leaving_and_scripts_are_logged(page, url, study):
    ids = prolific_ids()
    start(page, url, ids)
    page.evaluate("window.dispatchEvent(new Event('blur')); window.dispatchEvent(new Event('focus'))")
    page.evaluate("document.querySelector('input').dispatchEvent(new ClipboardEvent('paste', {bubbles: true}))")
    page.evaluate(
        "const field = document.querySelector('input'); field.value = 'pasted'; field.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    page.get_by_label("Word 2").click()
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    answered(page, 0)
    answer(page, "only", "typed")
    first, second = (each.signals for each in saved(study, ids))
    assert (first["pasted"], first["left"], first["synthetic"], first["inputs"]) == (1, 1, 1, 5)
    assert (second["pasted"], second["left"], second["synthetic"], second["inputs"]) == (0, 0, 0, 9)
    assert (second["characters"], second["keys"], len(second["key_gaps_ms"])) == (9, 11, 10)


def test_too_early_an_answer_waits(browser, tmp_path):
    write_stimuli(tmp_path / "stimuli", pictures=4)
    with serving(small_study(tmp_path, timing={"minimum_ms": 60_000})) as url:
        page = browser.new_page()
        start(page, url)
        page.get_by_role("button", name="I can’t tell").click()
        assert "look at the picture first" in page.get_by_role("alert").inner_text()
        assert at(page) == 0
        page.close()


def test_the_slider_of_the_docs_works_in_a_browser(browser, tmp_path):
    from tests.Human_Experiment_Setup.study.test_trial_kinds import installed_slider

    trial = {"kind": "slider", "question": "How well do you recognize it?"}
    with installed_slider(tmp_path / "site"), serving(small_study(tmp_path, trial=trial)) as url:
        page = browser.new_page()
        page.goto(link(url, prolific_ids()))
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name="I agree").click()
        page.get_by_role("button", name="I have read").click()
        page.get_by_role("button", name="Next").click()
        assert "Please type an answer" in page.get_by_role("alert").inner_text()
        page.get_by_role("slider", name="not at all").press("ArrowRight")
        page.get_by_role("button", name="Next").click()
        answered(page, 0)
        page.close()


# Every page, for everyone ---------------------------------------------------------------------------------------------


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "PasswordHasher", lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        with found.database.writing() as session:
            session.get_one(Study, 1).password_hash = passwords.hashed(PASSWORD)
        with serving(found) as url:
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


@pytest.mark.parametrize(("width", "height"), [(360, 740), pytest.param(1280, 800, marks=pytest.mark.slow)])
def test_every_page_is_accessible_fits_its_window_and_keeps_to_the_policy(browser, long_study, width, height):
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm ci)")
    context = browser.new_context(viewport={"width": width, "height": height}, bypass_csp=False)
    page, errors, seen, found = context.new_page(), [], [], {}
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
    session = context.new_cdp_session(page)
    script = AXE.read_text(encoding="utf-8")
    for name in every_page(page, long_study):
        if name in seen:
            continue
        seen.append(name)
        session.send("Runtime.evaluate", {"expression": script})  # as a debugger does: no policy is asked
        result = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", WCAG)
        for each in result["violations"]:
            found[name, each["id"]] = [node["html"] for node in each["nodes"]][:3]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    assert found == {}
    assert errors == []
    assert {"Practice", "Time for a break", TRAP["question"], "What do you see in this picture?"} <= set(seen)
    context.close()


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
