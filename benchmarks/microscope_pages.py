"""The explorer in Chromium, beside an empty Streamlit page: a generated bundle of 2,560 units × 50,000 pictures.

Called by `python benchmarks/microscope.py pages`. All times are taken in the page, on one machine that runs browser and server:
from the click until what it asks for is in the page, decoded and laid out, and again until the frame that shows it is painted:
most of the difference is the wait for the screen's next frame. The empty page is timed in the same way, from the click until
what its rerun writes is laid out and painted. What lies below a unit's first sections follows when the browser is idle.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' generator and servers

from tests.browser import chromium
from tests.Microscope.made_bundle import make_bundle
from tests.Microscope.serving_pages import running, static_site, streamlit_app

UNITS, IMAGES = 2560, 50_000
COLD, USERS, BETWEEN, SECONDS = 5, 5, 3000, 45
EMPTY = """import streamlit as st
st.session_state.n = st.session_state.get("n", 0) + 1
st.button("again")
st.write(f"run {st.session_state.n}")
"""
HELPERS = """
window.deep_ = (selector, root = document) => root.querySelector(selector)
  ?? [...root.querySelectorAll('*')].map((e) => e.shadowRoot && window.deep_(selector, e.shadowRoot)).find(Boolean);
window.seen_ = () => {  // now that something is in the page: when it is laid out, and when its frame is painted
  (window.deep_('.microscope') ?? document.body).getBoundingClientRect();
  const laidOut = performance.now();
  return new Promise((done) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel(); port1.onmessage = () => done([laidOut, performance.now()]); port2.postMessage(0); }));
};
window.timed_ = async (act) => {
  const seen = new Promise((done) => document.addEventListener('microscope:shown', () => done(window.seen_()), { once: true }));
  const from = performance.now(); act();
  return (await seen).map((to) => to - from); };
window.bytes_ = (unit) => performance.getEntriesByType('resource').reduce((sum, each) =>
  sum + (unit === undefined || new RegExp(`/(units|sprites|rest|renders|thumbs)/${unit}[._]`).test(each.name) ? each.transferSize : 0), 0);
window.next_ = () => { const link = window.deep_('.content [data-focus="Next unit"]'); return window.timed_(() => link.click()); };
window.goto_ = (unit) => { const dialog = [...window.deep_('.microscope').querySelectorAll('dialog')].find((e) => e.ariaLabel === 'Go to a unit');
  dialog.querySelector('input').value = unit; return window.timed_(() => dialog.querySelector('form').requestSubmit()); };
window.search_ = (text) => { const box = window.deep_('.search input'); box.value = text; return window.timed_(() => box.dispatchEvent(new Event('input'))); };
document.addEventListener('microscope:shown', async () => { window.first_ ??= (await window.seen_())[1]; });
performance.setResourceTimingBufferSize(100000);
"""


def measure_pages(switches: int) -> None:
    """Print what a user waits for, in ms and as a ratio to the empty page."""
    print(f"{UNITS:,} units × {IMAGES:,} pictures, {psutil.cpu_count()} cores, {switches} switches of each kind; ms")
    print(f"{'':46}{'laid out: p50, p95, ÷ empty page':>36}{'painted: p50, p95, ÷ empty page':>36}")
    with tempfile.TemporaryDirectory() as folder, chromium("/usr/bin/chromium") as browser:
        empty, empty_first = measure_empty(browser, Path(folder), switches)
        bundle = make_bundle(Path(folder) / "bundle", units=UNITS, images=IMAGES, tile=96, distinct=20)
        with streamlit_app(bundle) as address:
            measure("Streamlit", browser, address, switches, empty, empty_first)
            measure_users(browser, address)
            print(f"{'memory of the server':46}{memory():>8.0f} MB")
        with static_site(bundle, Path(folder) / "site") as address:
            measure("static", browser, address, switches, empty, empty_first)


def measure_empty(browser: Any, folder: Path, switches: int) -> tuple[list[float], list[float]]:
    """Median ms of an empty Streamlit page: a rerun by a click, laid out and painted, and its first load from a cold browser."""
    script = folder / "empty.py"
    script.write_text(EMPTY)
    with running(str(script)) as address:
        first = [
            cold(browser, address, "window.deep_('.stButton') && window.deep_('.stMarkdown')") for _ in range(COLD)
        ]
        with page_of(browser, address) as page:
            page.get_by_text("run 1", exact=True).wait_for()
            page.get_by_role("button", name="again").wait_for()
            times = [page.evaluate(RERUN, n) for n in range(2, switches + 2)]
    rerun, load = medians(times), medians(first)
    row("empty Streamlit page, rerun by a click", times, rerun)
    row("empty Streamlit page, first load", first, load)
    return rerun, load


RERUN = """async (n) => {
  const from = performance.now(), shown = () => document.querySelector('.stMarkdown').textContent.trim() === `run ${n}`;
  document.querySelector('.stButton button').click();
  const to = await new Promise((done) => new MutationObserver((_, watch) => { if (shown()) { watch.disconnect(); done(window.seen_()); } })
    .observe(document.body, { subtree: true, childList: true, characterData: true }));
  await new Promise((done) => setTimeout(done, 700));
  return to.map((each) => each - from);
}"""


def cold(browser: Any, address: str, ready: str) -> list[float]:
    """Ms from the request to the page that a condition is true of, in a browser without a cache."""
    with page_of(browser, address) as page:
        page.wait_for_function(ready, polling="raf", timeout=120_000)
        return [float(page.evaluate("async () => window.first_ ?? (await window.seen_())[1]"))]


@contextmanager
def page_of(browser: Any, address: str) -> Iterator[Any]:
    """A page in a browser that was never here."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(HELPERS)
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def measure(name: str, browser: Any, address: str, switches: int, empty: list[float], empty_first: list[float]) -> None:
    first = [cold(browser, f"{address}?unit={unit}", "window.first_") for unit in range(100, 100 + COLD)]
    row(f"{name}, first unit page from a cold browser", first, empty_first)
    rng = random.Random(0)
    with page_of(browser, f"{address}?unit=1000") as page:
        page.wait_for_function("window.first_")
        timed = []
        for _ in range(switches):
            page.wait_for_timeout(700)  # a look at the page; neighbours are fetched meanwhile
            timed.append(page.evaluate("window.next_()"))
        row(f"{name}, neighbour", timed, empty)
        timed, own = [], []
        for unit in rng.sample(range(UNITS), switches):
            page.wait_for_timeout(700)
            timed.append(page.evaluate("unit => window.goto_(unit)", unit))
            own.append(page.evaluate("unit => window.bytes_(unit)", unit))
        row(f"{name}, any other unit", timed, empty)
        print(
            f"{f'{name}, files of a unit':46}{max(own) / 1000:>8.0f} kB at most; as much for each neighbour, fetched when idle"
        )
        page.wait_for_timeout(1500)
        before = page.evaluate("window.bytes_()")
        page.evaluate("unit => window.goto_(unit)", 1003)
        page.wait_for_timeout(1500)
        print(f"{f'{name}, bytes of a unit seen before':46}{page.evaluate('window.bytes_()') - before:>8} B")
    with page_of(browser, address) as page:
        page.wait_for_function("window.first_")
        texts = [text for word in ("fire", "ocean", "spider", "wheels") for text in (word[:2], word[:3], word, "")]
        timed = []
        for text in texts * 2:
            page.wait_for_timeout(150)  # between two letters
            timed.append(page.evaluate("text => window.search_(text)", text))
        row(f"{name}, search", timed, empty)


LOOP = """([seconds, between]) => { window.loop_ = (async () => {
  const times = [], end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    await new Promise((done) => setTimeout(done, between * (0.8 + 0.4 * Math.random())));
    times.push(await window.goto_(Math.floor(Math.random() * 2560)));
  }
  return times; })(); }"""


def measure_users(browser: Any, address: str) -> None:
    """Users that open another unit every 3 s, each in a browser of their own."""
    one: list[float] = []
    for users in (1, USERS):
        contexts = [page_of(browser, f"{address}?unit={user}") for user in range(users)]
        pages = [context.__enter__() for context in contexts]
        for page in pages:
            page.wait_for_function("window.first_")
            page.evaluate(LOOP, [SECONDS, BETWEEN])
        times = [time for page in pages for time in page.evaluate("window.loop_")]
        for context in contexts:
            context.__exit__(None, None, None)
        one = one or medians(times)
        row(f"Streamlit, {users} user{'s' * (users > 1)}, 3 s between clicks", times, one)


def memory() -> float:
    """MB of this process's Streamlit server."""
    children = [child for child in psutil.Process().children() if child.name().startswith("python")]
    return max(child.memory_info().rss for child in children) / 1e6


def medians(times: list[list[float]]) -> list[float]:
    """Of each of the moments that were timed."""
    return [statistics.median(of) for of in zip(*times)]


def row(name: str, times: list[list[float]], unit: list[float]) -> None:
    """A line: for each moment, median and 95th percentile in ms, and divided by those of the empty page."""
    cells = []
    for of, one in zip(zip(*times), unit):
        p50, p95 = statistics.median(of), sorted(of)[max(0, round(len(of) * 0.95) - 1)]
        cells.append(f"{p50:>12.0f}{p95:>6.0f}{p50 / one:>10.2f}{p95 / one:>8.2f}")
    print(f"{name:46}" + "".join(cells), flush=True)
