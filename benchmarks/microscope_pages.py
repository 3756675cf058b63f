"""The explorer in Chromium, beside an empty Streamlit page: a generated bundle of 2,560 units × 50,000 pictures.

Called by `python benchmarks/microscope.py pages`. All times are taken in the page, on one machine that runs browser and server:
from the click until the frame that shows the page, its sprite decoded, is painted; what lies below the window follows when idle.
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

from tests.Microscope.made_bundle import make_bundle
from tests.Microscope.serving_pages import chromium, running, static_site, streamlit_app

UNITS, IMAGES = 2560, 50_000
COLD, USERS, BETWEEN, SECONDS = 5, 5, 3000, 45
EMPTY = """import streamlit as st
st.session_state.n = st.session_state.get("n", 0) + 1
st.button("again")
st.write(f"run {st.session_state.n}")
"""
HELPERS = """
window.painted_ = () => new Promise((done) => requestAnimationFrame(() => {
  const { port1, port2 } = new MessageChannel(); port1.onmessage = () => done(performance.now()); port2.postMessage(0); }));
window.deep_ = (selector, root = document) => root.querySelector(selector)
  ?? [...root.querySelectorAll('*')].map((e) => e.shadowRoot && window.deep_(selector, e.shadowRoot)).find(Boolean);
window.shown_ = () => new Promise((done) => document.addEventListener('microscope:shown', () => done(), { once: true }));
window.timed_ = async (act) => { const from = performance.now(), shown = window.shown_(); act(); await shown; return (await window.painted_()) - from; };
window.bytes_ = (unit) => performance.getEntriesByType('resource').reduce((sum, each) =>
  sum + (unit === undefined || new RegExp(`/(units|sprites|renders|thumbs)/${unit}[._]`).test(each.name) ? each.transferSize : 0), 0);
window.next_ = () => window.timed_(() => window.deep_('[data-focus="Next unit"]').click());
window.goto_ = (unit) => window.timed_(() => { const dialog = [...window.deep_('.microscope').querySelectorAll('dialog')].find((e) => e.ariaLabel === 'Go to a unit');
  dialog.querySelector('input').value = unit; dialog.querySelector('form').requestSubmit(); });
window.search_ = (text) => window.timed_(() => { const box = window.deep_('.search input'); box.value = text; box.dispatchEvent(new Event('input')); });
document.addEventListener('microscope:shown', async () => { window.first_ ??= await window.painted_(); });
performance.setResourceTimingBufferSize(100000);
"""


def measure_pages(switches: int) -> None:
    """Print what a user waits for, in ms and as a ratio to the empty page."""
    print(f"{UNITS:,} units × {IMAGES:,} pictures, {psutil.cpu_count()} cores, {switches} switches of each kind; ms")
    print(f"{'':46}{'p50':>8}{'p95':>8}{'÷ empty page':>16}")
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        empty, empty_first = measure_empty(browser, Path(folder), switches)
        bundle = make_bundle(Path(folder) / "bundle", units=UNITS, images=IMAGES, tile=96, distinct=20)
        with streamlit_app(bundle) as address:
            measure("Streamlit", browser, address, switches, empty, empty_first)
            measure_users(browser, address)
            print(f"{'memory of the server':46}{memory():>8.0f} MB")
        with static_site(bundle, Path(folder) / "site") as address:
            measure("static", browser, address, switches, empty, empty_first)


def measure_empty(browser: Any, folder: Path, switches: int) -> tuple[float, float]:
    """Median ms of an empty Streamlit page: a rerun by a click, and its first load from a cold browser."""
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
    row("empty Streamlit page, rerun by a click", times, statistics.median(times))
    row("empty Streamlit page, first load", first, statistics.median(first))
    return statistics.median(times), statistics.median(first)


RERUN = """async (n) => {
  const from = performance.now(), shown = () => document.querySelector('.stMarkdown').textContent.trim() === `run ${n}`;
  document.querySelector('.stButton button').click();
  await new Promise((done) => new MutationObserver((_, watch) => { if (shown()) { watch.disconnect(); done(); } })
    .observe(document.body, { subtree: true, childList: true, characterData: true }));
  const to = await window.painted_();
  await new Promise((done) => setTimeout(done, 300));
  return to - from;
}"""


def cold(browser: Any, address: str, ready: str) -> float:
    """Ms from the request to the page that a condition is true of, in a browser without a cache."""
    with page_of(browser, address) as page:
        page.wait_for_function(ready, polling="raf", timeout=120_000)
        return float(page.evaluate("() => window.first_ ?? window.painted_()"))


@contextmanager
def page_of(browser: Any, address: str) -> Iterator[Any]:
    """A page in a browser that was never here."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(HELPERS)
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def measure(name: str, browser: Any, address: str, switches: int, empty: float, empty_first: float) -> None:
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
        row(f"{name}, search", [page.evaluate("text => window.search_(text)", text) for text in texts * 2], empty)


LOOP = """([seconds, between]) => { window.loop_ = (async () => {
  const times = [], end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    await new Promise((done) => setTimeout(done, between * (0.8 + 0.4 * Math.random())));
    times.push(await window.goto_(Math.floor(Math.random() * 2560)));
  }
  return times; })(); }"""


def measure_users(browser: Any, address: str) -> None:
    """Users that open another unit every 3 s, each in a browser of their own."""
    medians = []
    for users in (1, USERS):
        contexts = [page_of(browser, f"{address}?unit={user}") for user in range(users)]
        pages = [context.__enter__() for context in contexts]
        for page in pages:
            page.wait_for_function("window.first_")
            page.evaluate(LOOP, [SECONDS, BETWEEN])
        times = [time for page in pages for time in page.evaluate("window.loop_")]
        for context in contexts:
            context.__exit__(None, None, None)
        medians.append(statistics.median(times))
        row(f"Streamlit, {users} user{'s' * (users > 1)}, 3 s between clicks", times, medians[0])


def memory() -> float:
    """MB of this process's Streamlit server."""
    children = [child for child in psutil.Process().children() if child.name().startswith("python")]
    return max(child.memory_info().rss for child in children) / 1e6


def row(name: str, times: list[float], unit: float) -> None:
    p50, p95 = statistics.median(times), sorted(times)[max(0, round(len(times) * 0.95) - 1)]
    print(f"{name:46}{p50:>8.0f}{p95:>8.0f}{p50 / unit:>8.2f}{p95 / unit:>8.2f}", flush=True)
