"""Pictures of the explorer's pages, for docs/microscope.md: `python docs/make_microscope_pages.py bundle/` (needs Chromium)."""

from __future__ import annotations

import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' server and browser

from tests.browser import chromium
from tests.Microscope.serving_pages import static_site

IMAGES = Path(__file__).parent / "images"
UNIT = 90
PAGES = {
    "browse": "?sort=label_score", "unit": f"?unit={UNIT}", "similar": f"?page=similar&unit={UNIT}",
    "concepts": "?page=concepts&concept=fire", "compare": f"?units={UNIT},185,242", "leaderboard": "?page=leaderboard",
    "atlas": "?page=atlas&by=label_score", "methods": "?page=methods",
}  # fmt: skip
GAP, PAPER = 12, "#c9ced2"


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        chromium() as browser,
        static_site(Path(sys.argv[1]), Path(folder)) as url,
    ):
        unit = screenshots(browser, url, 1280, 1500, "light", ["unit"])
        wide = screenshots(browser, url, 1280, 900, "light", list(PAGES))
        dark = screenshots(browser, url, 1280, 900, "dark", list(PAGES))
        phone = screenshots(browser, url, 360, 740, "light", list(PAGES))
        night = screenshots(browser, url, 360, 740, "dark", list(PAGES))
    sheet(unit, 1, 1000, "microscope_unit.jpg")
    sheet([wide[k] if k % 3 else dark[k] for k in (0, 2, 3, 4, 5, 6, 7)] + [dark[1]], 2, 620, "microscope_pages.jpg")
    sheet([phone[k] if k % 2 else night[k] for k in range(len(phone))], 4, 300, "microscope_phone.jpg")


def screenshots(browser: Any, url: str, width: int, height: int, theme: str, names: list[str]) -> list[Image.Image]:
    """What the window shows of each page."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    page, found = context.new_page(), []
    for name in names:
        page.goto(url + PAGES[name])
        page.locator(".microscope[data-complete]").wait_for()
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(300)
        found.append(Image.open(BytesIO(page.screenshot())).convert("RGB"))
    context.close()
    return found


def sheet(pictures: list[Image.Image], columns: int, width: int, name: str) -> None:
    """Pictures of one size in rows, as one file."""
    height = round(pictures[0].height * width / pictures[0].width)
    rows = -(-len(pictures) // columns)
    made = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), PAPER)
    for k, picture in enumerate(pictures):
        small = picture.resize((width, height), Image.Resampling.LANCZOS)
        made.paste(small, (GAP + k % columns * (width + GAP), GAP + k // columns * (height + GAP)))
    made.save(IMAGES / name, quality=78, optimize=True)


if __name__ == "__main__":
    main()
