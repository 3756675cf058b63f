"""Guards the study in a real browser: what is answered is saved once, whatever the network, the keyboard or the page do."""

import pytest
from sqlalchemy import select

from Human_Experiment_Setup.study.database.schema import SavedAnswer, StudySession
from tests.browser import chromium, needs_chromium
from tests.Human_Experiment_Setup.study.small_study import (
    CODE,
    prolific_ids,
    serving,
    small_study,
    write_stimuli,
)  # fmt: skip

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


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
