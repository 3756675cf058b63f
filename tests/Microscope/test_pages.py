"""Guards the explorer in a real browser, as a static site and inside Streamlit: the address is what is shown."""

import csv
import json
import re
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser import chromium, needs_chromium, violations
from tests.hostile import NAMES
from tests.Microscope.made_bundle import make_bundle
from tests.Microscope.serving_pages import static_site, streamlit_app

pytest.importorskip("streamlit", reason="Streamlit is not installed")
pytestmark = needs_chromium

UNITS, LAYER = 130, "layer4.5"
PAGES = {
    "browse": "", "filters": "?min.S=0.3&dead=0&sort=S", "unit": "?unit=8", "enlarged": "?unit=8&tile=top-2&heat=1",
    "similar": "?page=similar&unit=8", "not measured": "?page=similar&unit=8&kind=effect", "concepts": "?page=concepts&concept=ocean&word=flame",
    "compare": "?units=1,2,3", "leaderboard": "?page=leaderboard", "weights": "?page=leaderboard&weights=0.1,0.5,0.2,0.2",
    "atlas": "?page=atlas", "methods": "?page=methods", "wrong": "?unit=99999", "nothing": "?q=nothingatall",
}  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("made") / "bundle", units=UNITS, layers=(LAYER, "layer3.1"))


@pytest.fixture(scope="module")
def known(bundle):
    """What the bundle says of a layer's units, by column, and of one unit."""
    index, numbers = (
        json.loads(next((bundle / LAYER).glob(f"{name}.*.json")).read_bytes()) for name in ("index", "numbers")
    )
    index |= numbers
    return index, lambda unit: json.loads((bundle / LAYER / index["unit_file"][unit]).read_bytes())


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module", params=["static", pytest.param("app", marks=pytest.mark.slow)])
def url(request, bundle, tmp_path_factory):
    opened = (
        static_site(bundle, tmp_path_factory.mktemp("site")) if request.param == "static" else streamlit_app(bundle)
    )
    with opened as address:
        yield address


@pytest.fixture(scope="module")
def context(browser):
    found = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    yield found
    found.close()


@pytest.fixture(scope="module")
def tab(context):
    """A tab that tests use in turns: most go to an address as Back and Forward do, which loads nothing."""
    with Watched(context) as found:
        yield found


@pytest.fixture
def page(tab):
    with tab.nothing_wrong():
        yield tab.page


class Watched:
    """A tab in which nothing may go wrong."""

    def __init__(self, context):
        self.page, self.errors = context.new_page(), []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda line: self.errors.append(line.text) if line.type in ("error", "warning") else None
        )
        self.page.on("dialog", lambda dialog: (self.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.page.close()

    @contextmanager
    def nothing_wrong(self):
        self.errors.clear()
        yield self.page
        assert self.errors == []


@contextmanager
def fresh(context):
    """A tab of its own, in which nothing may go wrong."""
    with Watched(context) as tab, tab.nothing_wrong() as page:
        yield page


def opened(page, url, query=""):
    """Show an address: without loading anything where the page is there already."""
    if page.url.startswith(url) and page.locator(".microscope[data-complete]").count():
        before = page.locator(".microscope").get_attribute("data-complete")
        page.evaluate("query => { history.pushState({}, '', query || location.pathname); dispatchEvent(new PopStateEvent('popstate')); }", query)  # fmt: skip
        page.locator(f".microscope[data-complete]:not([data-complete='{before}'])").wait_for()
    else:
        loaded(page, url + query)
    return page


def loaded(page, address):
    """Load a page, until it is complete."""
    page.goto(address)
    page.locator(".microscope[data-complete]").wait_for(timeout=60_000)


def heading(page, text):
    page.get_by_role("heading", name=text, level=1).wait_for()


def cards(page):
    return [int(text) for text in page.locator(".wall .card b").all_text_contents()]


# The address ----------------------------------------------------------------------------------------------------------


def test_back_forward_reload_and_a_shared_address_show_what_was_shown(page, context, url):
    opened(page, url)
    page.locator(".card").nth(5).click()
    heading(page, "Unit 5 ")
    page.keyboard.press("ArrowRight")
    heading(page, "Unit 6 ")
    page.get_by_role("link", name="Similar units", exact=True).click()
    page.locator(".content [data-neighbour='9'] a").click()
    heading(page, "Unit 9 ")
    shared = page.url
    assert "page=similar" in shared
    for expected in ("Unit 6 ", "Unit 6 ", "Unit 5 "):
        page.go_back()
        heading(page, expected)
    page.go_back()
    page.locator(".wall").wait_for()
    page.go_forward()
    heading(page, "Unit 5 ")
    page.reload()
    heading(page, "Unit 5 ")
    with fresh(context) as other:
        opened(other, shared)
        heading(other, "Unit 9 ")


def test_switching_units_loads_no_page(page, url):
    opened(page, url, "?unit=8")
    page.evaluate("window.stays = true")
    page.get_by_role("link", name="Next unit").click()
    heading(page, "Unit 9 ")
    assert page.evaluate("window.stays")
    assert page.url.endswith(f"?unit={LAYER}:9")


def test_a_page_drawn_over_another_is_the_page_drawn_alone(page, url):
    drawn = """(content) => { const copy = content.cloneNode(true);
      copy.querySelectorAll('.guess').forEach((each) => each.remove()); return copy.innerHTML; }"""
    for path in (("?unit=8", "?unit=9"), ("?unit=9", "?unit=11"), ("?unit=8&heat=1", "?unit=10&heat=1"), ("", "?q=oce"), ("?q=snow", "?at=2"), ("?q=nothing", "")):  # fmt: skip
        for query in path:
            opened(page, url, query)
        over = page.locator(".content").evaluate(drawn)
        page.reload()
        page.locator(".microscope[data-complete]").wait_for()
        assert page.locator(".content").evaluate(drawn) == over, path


def test_a_picture_that_is_enlarged_at_once_or_left_open_spoils_no_page(context, url):
    with fresh(context) as page:
        loaded(page, url)
        held = []
        page.route("**/rest/3.*", lambda route: held.append(route))
        page.locator(".card").nth(3).click()
        page.locator(".content [data-tile='top-1']").click()
        page.locator(".content .lightbox[open]").wait_for()
        assert page.locator(".content .guess").count() == 0
        for route in held:
            route.continue_()
        page.locator(".content .guess").wait_for(state="attached")
        page.evaluate("history.go(-2)")
        page.locator(".content .wall").wait_for()
        page.locator(".card").nth(4).click()
        heading(page, "Unit 4 ")


def test_neighbours_are_drawn_before_they_are_asked_for(page, url):
    opened(page, url, "?unit=30")
    page.locator(".ahead .unit").nth(1).wait_for(state="attached")
    page.locator(".ahead [data-unit='31']").evaluate("unit => { unit.drawn_ahead = true }")
    page.mouse.wheel(0, 1500)
    page.wait_for_function(
        "document.scrollingElement.scrollTop > 1000 || document.querySelector('.stMain')?.scrollTop > 1000"
    )
    scrolled = "Math.max(document.scrollingElement.scrollTop, document.querySelector('.stMain')?.scrollTop ?? 0)"
    at = page.evaluate(scrolled)
    page.keyboard.press("ArrowRight")
    heading(page, "Unit 31 ")
    assert page.locator(".content [data-unit='31']").evaluate("unit => unit.drawn_ahead")
    assert page.evaluate(scrolled) == pytest.approx(at, abs=40)
    page.keyboard.press("b")
    page.get_by_role("button", name="★ Bookmarked").wait_for()
    page.keyboard.press("ArrowRight")
    heading(page, "Unit 32 ")
    page.keyboard.press("ArrowLeft")
    heading(page, "Unit 31 ")
    page.get_by_role("button", name="★ Bookmarked").click()
    page.get_by_role("button", name="☆ Bookmark").wait_for()
    assert page.locator(".pane").count() <= 6


@pytest.mark.parametrize(
    ("query", "says", "offers"),
    [
        ("?unit=99999", "There is no unit 99999", f"Unit {UNITS - 1}"),
        ("?unit=-1", "There is no unit -1", "Unit 0"),
        ("?unit=abc", "There is no unit abc", "Search for “abc”"),
        ("?unit=1e3", "There is no unit 1e3", f"Unit {UNITS - 1}"),
        ("?unit=", "There is no unit", "Unit 0"),
        ("?unit=layer4.4:3", "There is no layer layer4.4", f"Unit {LAYER}:3"),
        ("?page=nowhere", "There is no page nowhere", "Browse all units"),
        ("?page=methods&layer=x", "There is no layer x", "Browse layer"),
    ],
)
def test_a_wrong_address_gets_a_page_that_leads_on(page, url, query, says, offers):
    opened(page, url, query)
    assert says in page.locator(".content h1").inner_text()
    page.locator("a.button", has_text=offers).first.click()
    page.locator(".content .unit, .browse").wait_for()


def test_layers_are_chosen_and_named_in_the_address(page, url):
    opened(page, url)
    page.get_by_label("Layer").select_option("layer3.1")
    heading(page, "clip-mini, layer3.1")
    page.locator(".card").first.click()
    heading(page, "Unit 0 ")
    assert "unit=layer3.1:0" in page.url


# Keys -----------------------------------------------------------------------------------------------------------------


def test_keys_do_what_their_list_says(page, url):
    opened(page, url, "?unit=8")
    heading(page, "Unit 8 ")
    page.keyboard.press("ArrowLeft")
    heading(page, "Unit 7 ")
    page.keyboard.press("g")
    page.get_by_label("Number of the unit").fill("20")
    page.keyboard.press("Enter")
    heading(page, "Unit 20 ")
    page.keyboard.press("b")
    page.get_by_role("button", name="★ Bookmarked").wait_for()
    page.keyboard.press("?")
    page.get_by_text("bookmark the unit").wait_for()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    heading(page, "Unit 20 ")
    page.keyboard.press("/")
    page.keyboard.type("snow b")
    page.locator(".browse").wait_for()
    assert page.get_by_role("searchbox", name="Search labels").input_value() == "snow b"
    opened(page, url, "?marked=1")
    assert cards(page) == [20]
    page.locator(".card").click()
    page.get_by_role("button", name="★ Bookmarked").click()
    page.get_by_role("button", name="☆ Bookmark").wait_for()


# Browse ---------------------------------------------------------------------------------------------------------------


def test_walls_show_the_units_that_search_filters_and_order_ask_for(page, url, known):
    index, _ = known
    columns = {name: np.array(values, float) for name, values in index["columns"].items()}
    text = [" ".join([label or "", *concepts]).lower() for label, concepts in zip(index["label"], index["concepts"])]
    everything = np.arange(UNITS)
    expected = {
        "": everything,
        "?at=2": everything[120:],
        "?q=oce": np.array([u for u in everything if "oce" in text[u]]),
        "?sort=S": np.argsort(-columns["S"], kind="stable"),
        "?sort=S&order=up": np.argsort(columns["S"], kind="stable"),
        "?sort=Rank": np.argsort(columns["Rank"], kind="stable"),
        "?min.MS=0.4&max.sparsity=0.5": everything[(columns["MS"] >= 0.4) & (columns["sparsity"] <= 0.5)],
        "?dead=1": everything[columns["dead"] == 1],
        "?labelled=0": np.array([u for u in everything if index["label"][u] is None]),
        "?notable=0": np.argsort(-columns["S"])[:8],
    }
    for query, units in expected.items():
        opened(page, url, query)
        assert cards(page) == units[:60].tolist(), query
    opened(page, url, "?sort=random&seed=7")
    first = cards(page)
    page.reload()
    page.locator(".microscope[data-complete]").wait_for()
    assert cards(page) == first != everything[:60].tolist()
    opened(page, url, "?sort=published_InterpScore")
    assert cards(page)[:10] == sorted(range(10), key=lambda u: -columns["published_InterpScore"][u])


def test_filters_are_set_shown_and_removed(page, url):
    opened(page, url)
    page.get_by_text("Filters").click()
    page.get_by_label("Selectivity, at least").fill("0.5")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove filter Selectivity ≥ 0.5").wait_for()
    assert page.get_by_label("Selectivity, at least").input_value() == "0.5"
    assert "min.S=0.5" in page.url
    page.get_by_role("button", name="Remove filter Selectivity ≥ 0.5").click()
    page.get_by_text(f"{UNITS} units shown").wait_for()
    page.get_by_role("button", name="Next page").click()
    page.get_by_text("2 of 3").wait_for()
    assert cards(page)[0] == 60


# A unit ---------------------------------------------------------------------------------------------------------------


def test_tiles_show_their_part_of_a_sprite(page, url, bundle, known):
    index, _ = known
    opened(page, url, "?unit=8")
    for place, tile, file in (
        ("top-0", 0, "sprite"),
        ("top-27", 27, "sprite"),
        ("s0-0", 0, "rest"),
        ("s5-9", 59, "rest"),
    ):
        sprite = Image.open(bundle / LAYER / index[f"{file}_file"][8])
        shot = page.locator(f".content [data-tile='{place}']").screenshot()
        found = np.asarray(Image.open(BytesIO(shot)).convert("RGB"), float)
        found = found[: found.shape[1]]  # its caption is below
        y, x = tile // 10 * 32, tile % 10 * 32
        part = np.asarray(sprite.convert("RGB"), float)[y : y + 32, x : x + 32]
        middle = found[len(found) // 4 : -len(found) // 4, len(found) // 4 : -len(found) // 4]
        np.testing.assert_allclose(middle.mean((0, 1)), part[8:24, 8:24].mean((0, 1)), atol=8)


def test_numbers_of_a_unit_are_the_bundle_s_and_say_formula_n_and_file(page, url, known):
    _, unit = known
    opened(page, url, "?unit=8")
    scores = unit(8)["scores"]
    for name in ("S", "InterpScore", "MS"):
        assert page.locator(f".content [data-score='{name}'] .number").inner_text() == f"{scores[name]['value']:.3f}"
    page.locator(".content [data-score='S'] .number").click()
    said = page.locator(".popover").inner_text()
    for part in (
        str(scores["S"]["value"]),
        "Φ(g / √2)",
        "8 images of the concept, 88 others",
        "acts.zarr",
        "abababababab",
    ):
        assert part in said
    page.keyboard.press("Escape")
    opened(page, url, "?unit=10")
    page.locator(".content [data-score='H'] .number", has_text="not measured").click()
    assert "no rating of a high-activation image" in page.locator(".popover").inner_text()


def test_a_picture_is_enlarged_by_its_address_and_closed_by_escape(page, url, known):
    _, unit = known
    tile = unit(8)["top"][3]
    opened(page, url, "?unit=8")
    page.locator(".content [data-tile='top-2']").click()
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name=tile["image"]).wait_for()
    assert f"{tile['activation']:.2f}" in page.locator(".content .lightbox").inner_text()
    assert "CC0-1.0" in page.locator(".content .lightbox").inner_text()
    page.get_by_role("button", name="Where it fires").last.click()
    page.locator(".content .lightbox canvas.heat").wait_for()
    assert "tile=top-3" in page.url
    page.reload()
    page.get_by_role("heading", name=tile["image"]).wait_for()
    page.keyboard.press("Escape")
    page.locator(".content .lightbox").wait_for(state="hidden")
    page.wait_for_url(lambda address: "tile=" not in address)


def test_guesses_are_judged_by_the_activations(page, url):
    opened(page, url, "?unit=8")
    box = page.locator(".content .guess")
    for asked in range(1, 4):
        box.get_by_role("button", name="The first picture").click()
        first, second = (float(text) for text in box.locator(".amount").all_inner_texts())
        verdict = box.locator(".verdict").inner_text()
        assert verdict.startswith("Right" if first > second else "Wrong")
        assert f"of {asked}" in verdict
        box.get_by_role("button", name="Next").click()


def test_exports_of_a_unit_equal_what_is_shown(page, url, known):
    _, unit = known
    known_unit = unit(8)
    opened(page, url, "?unit=8")
    files = {}
    for kind in ("JSON", "CSV", "PNG", "BibTeX"):
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        files[kind] = Path(download.value.path()).read_bytes()
    assert {key: json.loads(files["JSON"])[key] for key in known_unit} == known_unit
    rows = list(csv.DictReader(StringIO(files["CSV"].decode())))
    tops = [float(row["value"]) for row in rows if row["kind"] == "top picture"]
    shown = [float(text) for text in page.locator(".content [data-tile^='top-'] .amount").all_inner_texts()]
    assert tops == pytest.approx(shown, rel=5e-3)
    assert [row["name"] for row in rows if row["kind"] == "top picture"] == [
        tile["image"] for tile in known_unit["top"]
    ]
    assert Image.open(BytesIO(files["PNG"])).size[0] == 1000
    assert files["BibTeX"].startswith(b"@misc{made")


# Other pages ----------------------------------------------------------------------------------------------------------


def test_neighbours_stand_beside_chance_and_their_network_is_followed(page, url, known):
    _, unit = known
    near = unit(8)["similar"]["correlation"]
    opened(page, url, "?page=similar&unit=8")
    assert page.locator(".content [data-neighbour] .number").all_inner_texts() == [
        f"{each['value']:.3f}" for each in near
    ]
    assert page.locator(".content [data-neighbour] .tag.good").count() == sum(each["value"] > 0.35 for each in near)
    assert page.locator(".content .network .link:not(.own)").count() == 2
    page.locator(".content .network .node[aria-label^='Unit 11,']").click()
    heading(page, "Unit 11 ")
    opened(page, url, "?page=similar&unit=8&kind=effect")
    page.get_by_text("no file of `interpscore causality` was given").wait_for()


def test_concepts_rank_units_and_words_find_them(page, url, bundle):
    concepts = json.loads(next((bundle / LAYER).glob("concepts.*.json")).read_bytes())
    ocean = next(each for each in concepts["concepts"] if each["name"] == "ocean")
    opened(page, url, "?page=concepts")
    page.get_by_label("Filter concepts").fill("oce")
    page.get_by_role("link", name=re.compile("^ocean")).click()
    page.locator("h3", has_text="ocean").wait_for()
    assert [int(text) for text in page.locator(".ranked .card b").all_text_contents()] == ocean["units"]
    page.get_by_label("A word").fill("sea")
    page.keyboard.press("Enter")
    page.locator(".content [data-word=sea]").wait_for()
    assert [int(text) for text in page.locator(".content [data-word] .card b").all_text_contents()] == concepts[
        "words"
    ]["units"][2]
    page.get_by_label("A word").fill("flam")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="flame", exact=True).wait_for()
    assert page.locator(".clusters").count() == 8


def test_units_are_compared_and_notes_leave_with_them_and_come_back(page, url, known):
    from playwright.sync_api import expect

    _, unit = known
    opened(page, url, f"?units={LAYER}:1,2,77777,abc")
    page.get_by_text("Not in this bundle: 77777, abc").wait_for()
    page.get_by_label("Unit to add").fill("5")
    page.keyboard.press("Enter")
    page.get_by_role("columnheader", name="Unit 5").wait_for()
    shown = page.locator(".compared tr", has_text="Selectivity").locator(".number").all_inner_texts()
    assert shown == [f"{unit(u)['scores']['S']['value']:.3f}" for u in (1, 2, 5)]
    page.get_by_label("Notes on these units").fill("=1+1 is no formula")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    rows = list(csv.DictReader(StringIO(Path(download.value.path()).read_text())))
    assert [float(row["S"]) for row in rows] == [unit(u)["scores"]["S"]["value"] for u in (1, 2, 5)]
    assert {row["note"] for row in rows} == {"'=1+1 is no formula"}
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON", exact=True).click()
    exported = Path(download.value.path()).read_bytes()
    page.get_by_label("Notes on these units").fill("")
    other = json.dumps({"note": "x", "units": [{"place": f"{LAYER}:77"}, None]}).encode()
    for content, says in (
        (b"\x89PNG", "has no notes"),
        (b"[1]", "has no notes"),
        (other, f"notes are on {LAYER}:77"),
        (exported, ""),
    ):
        page.locator(".content input[type=file]").set_input_files(
            {"name": "notes.json", "mimeType": "application/json", "buffer": content}
        )
        page.locator(".content [role=status]", has_text=says).last.wait_for(state="attached")
    expect(page.get_by_label("Notes on these units")).to_have_value("=1+1 is no formula")
    page.reload()
    page.get_by_label("Notes on these units").wait_for()
    assert page.get_by_label("Notes on these units").input_value() == "=1+1 is no formula"


def test_live_weights_give_the_weighted_mean_and_bounds_of_the_components(page, url, known):
    index, _ = known
    weights = {"S": 0.1, "C": 0.5, "R": 0.2, "H": 0.2}
    of = {
        end: sum(w * np.array(index["columns"][name + end]) for name, w in weights.items())
        for end in ("", "_low", "_high")
    }
    opened(page, url, "?page=leaderboard&weights=" + ",".join(map(str, weights.values())))
    order = np.argsort(-of[""])[:50]
    assert [
        int(row) for row in page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.dataset.unit)")
    ] == order.tolist()
    best = order[0]
    cells = page.locator("tbody tr").first.locator("td").all_inner_texts()
    assert cells[1] == f"{of[''][best]:.3f}"
    assert cells[3] == f"[{of['_low'][best]:.3f}, {of['_high'][best]:.3f}]"
    last = UNITS - int((of["_high"] < of["_low"][best]).sum())
    assert cells[0] == f"1 1–{last}"
    page.get_by_role("button", name="As in the run").click()
    page.get_by_text("the run's own").wait_for()
    assert page.locator("tbody tr").first.get_attribute("data-unit") == str(int(np.argmin(index["columns"]["Rank"])))
    page.get_by_label("Weight of S").fill("0.9")
    page.wait_for_url("**weights=0.9**")


def test_the_atlas_is_walked_by_keys(page, url):
    opened(page, url, "?page=atlas")
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    chosen = page.locator(".tip b").inner_text()
    page.keyboard.press("Enter")
    heading(page, f"Unit {chosen} ")


def test_methods_show_hashes_formulas_and_what_is_missing(page, url):
    opened(page, url, "?page=methods")
    said = page.locator(".content").inner_text()
    for part in (
        "ab" * 32,
        "Φ(g / √2)",
        "no file of `interpscore causality` was given",
        "CC0-1.0",
        "permuted activations",
        "resize to 288",
    ):
        assert part in said


# Everyone ------------------------------------------------------------------------------------------------------------


def test_two_users_see_what_each_asked_for(browser, url):
    contexts = [browser.new_context() for _ in range(2)]
    with fresh(contexts[0]) as one, fresh(contexts[1]) as two:
        opened(one, url, "?unit=3")
        opened(two, url, "?unit=40")
        one.keyboard.press("ArrowRight")
        two.keyboard.press("ArrowRight")
        heading(one, "Unit 4 ")
        heading(two, "Unit 41 ")
        one.keyboard.press("b")
        one.get_by_role("button", name="★ Bookmarked").wait_for()
        opened(two, url, "?marked=1")
        assert cards(two) == []
    for context in contexts:
        context.close()


def test_the_theme_follows_the_system_the_address_and_the_button(browser, url):
    context = browser.new_context(color_scheme="dark")
    ground = "() => getComputedStyle((document.querySelector('.microscope') ?? [...document.querySelectorAll('*')].map(e => e.shadowRoot?.querySelector('.microscope')).find(Boolean))).backgroundColor"
    dark, light = "rgb(19, 22, 25)", "rgb(246, 247, 247)"
    with fresh(context) as page:
        opened(page, url)
        assert page.evaluate(ground) == dark
        page.get_by_role("button", name="Colours: as the system").click()
        page.get_by_role("button", name="Colours: light").wait_for()
        assert page.evaluate(ground) == light
        opened(page, url, "?theme=dark&unit=3")
        assert page.evaluate(ground) == dark
    context.close()


QUICK = ("leaderboard", "wrong")
slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("width", "theme", "names"),
    [
        (360, "light", QUICK),
        *(pytest.param(width, theme, tuple(PAGES), marks=slow) for width in (360, 1280) for theme in ("light", "dark")),
    ],
)
def test_every_page_is_accessible_and_fits_its_window(browser, url, width, theme, names):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
    found = {}
    for name in names:
        with fresh(context) as page:
            opened(page, url, PAGES[name])
            found |= {(name, rule): elements for rule, elements in violations(page).items()}
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    assert found == {}
    context.close()


def test_the_app_switches_units_without_a_rerun(context, bundle):
    with streamlit_app(bundle) as address, fresh(context) as page:
        sent = []
        page.on("websocket", lambda socket: socket.on("framesent", lambda _: sent.append(1)))
        opened(page, address, "?unit=8")
        heading(page, "Unit 8 ")
        page.wait_for_timeout(300)
        before = len(sent)
        page.keyboard.press("ArrowRight")
        heading(page, "Unit 9 ")
        assert (len(sent), page.url) == (before, f"{address}?unit={LAYER}:9")
        page.go_back()
        heading(page, "Unit 8 ")


FRAME = """<!doctype html><title>host</title><link rel="icon" href="data:,"><iframe src="below/a%20path/?unit=8" style="width: 900px; height: 600px"></iframe>
<script>window.heard = []; addEventListener("message", (event) => heard.push(event.data));</script>"""


def test_in_a_frame_the_page_around_it_keeps_the_address(context, bundle, tmp_path):
    with static_site(bundle, tmp_path) as address, fresh(context) as page:
        (tmp_path / "host.html").write_text(FRAME)
        page.goto(address.replace("below/a%20path/", "host.html"))
        inside = page.frames[1]
        heading(inside, "Unit 8 ")
        inside.get_by_role("link", name="Next unit").click()
        heading(inside, "Unit 9 ")
        message = {"stCommVersion": 1, "type": "SET_QUERY_PARAM", "queryParams": f"?unit={LAYER}:9"}
        assert page.evaluate("heard") == [message]
        page.evaluate("frames[0].postMessage({type: 'UPDATE_FROM_QUERY_PARAMS', queryParams: 'unit=3'}, '*')")
        heading(inside, "Unit 3 ")


# Other bundles --------------------------------------------------------------------------------------------------------

EVERY = (
    "",
    "?unit=1",
    "?page=similar&unit=1",
    "?page=concepts",
    "?units=0,1",
    "?page=leaderboard",
    "?page=atlas",
    "?page=methods",
)


@pytest.mark.parametrize(
    "query", ["", "?unit=1", "?page=similar&unit=1", "?page=concepts", "?units=0,1", "?page=methods"]
)
def test_names_from_outside_are_text_on_every_page(context, hostile_url, query):
    with fresh(context) as page:
        opened(page, hostile_url, query)
        assert page.locator(".microscope script, .microscope img[onerror]").count() == 0
        assert page.locator(".content h1").count() == 1
        assert (
            "<script>alert(1)</script>" in page.locator(".microscope").evaluate("e => e.textContent")
            or query != "?page=concepts"
        )


@pytest.fixture(scope="module")
def hostile_url(tmp_path_factory):
    names = [name.replace("\0", "") for name in NAMES]
    bundle = make_bundle(tmp_path_factory.mktemp("hostile") / "bundle", units=40, tile=16, distinct=1, names=names)
    with static_site(bundle, tmp_path_factory.mktemp("site")) as address:
        yield address


def test_what_was_not_measured_is_said_with_the_reason(context, tmp_path_factory):
    bundle = make_bundle(tmp_path_factory.mktemp("bare") / "bundle", units=3, tile=16, distinct=1, bare=True)
    with static_site(bundle, tmp_path_factory.mktemp("site")) as address, fresh(context) as page:
        for query in EVERY:
            opened(page, address, query)
            said = page.locator(".content").inner_text()
            assert query == "" or "no such file was given" in said or "not measured" in said.lower(), query


def test_an_empty_bundle_and_a_missing_one_are_said_in_words(context, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with static_site(make_bundle(tmp_path_factory.mktemp("empty") / "bundle", layers=()), folder) as address:
        with fresh(context) as page:
            opened(page, address)
            heading(page, "This bundle has no layers")
        (folder / "below" / "a path" / "bundle" / "bundle.json").unlink()
        page = context.new_page()  # the browser itself logs the answer 404
        opened(page, address)
        heading(page, "This bundle cannot be opened")
        assert "404" in page.locator(".content").inner_text()
        page.close()


def test_cells_of_exports_are_no_formulas(context, hostile_url):
    with fresh(context) as page:
        opened(page, hostile_url)
        rows = [["=1+1", "-2", "@x", "a,b", 'q"q', None, 3.5, "two\nlines"]]
        text = page.evaluate("async rows => (await import(new URL('numbers.js', location.href))).csv(rows)", rows)
    assert list(csv.reader(StringIO(text, newline=""))) == [
        ["'=1+1", "-2", "'@x", "a,b", 'q"q', "", "3.5", "two\nlines"]
    ]
