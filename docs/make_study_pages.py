"""Pictures of every page of a study, for docs/study.md: `python docs/make_study_pages.py` (needs Chromium)."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
from PIL import Image
from playwright.sync_api import Page

from Activation_Extraction.models.clip_mini.world.scenes import draw_scene
from Human_Experiment_Setup.study import passwords
from Human_Experiment_Setup.study.database.schema import Study
from Human_Experiment_Setup.study.protocol import PLACE_TO_FILL, StudyProtocol, read_study_protocol
from tests.browser import chromium
from tests.Human_Experiment_Setup.study.small_study import CHECK, FAST, TRAP, serving, small_study
from tests.Human_Experiment_Setup.study.test_pages import PASSWORD, every_page, other_pages

IMAGES = Path(__file__).parent / "images"
CONCEPTS = ("fire", "puppy", "mushroom", "sailboat")
FILLED = {
    "researcher": "the Perception Lab, Example University", "minutes": "12", "payment": "£2.40", "who approved": "The ethics "
    "committee of Example University approved the study (2026-17).", "name and": "Ada Example, ada@example.org",
    "when": "30 days after payment", "years": "ten",
}  # fmt: skip


def write_stimuli(folder: Path) -> None:
    """Drawings at 288 pixels, clean and with noise."""
    folder.mkdir()
    rows = []
    generator = np.random.default_rng(0)
    for concept in CONCEPTS:
        for at in range(6):
            scene = draw_scene(Random(f"{concept} {at}"), [concept]).render(288)
            clean = np.asarray(scene, float)
            for level, strength in ((5, 0), (1, 90), (2, 45)):
                name = f"{concept}_{at}_{level}.png"
                noisy = np.clip(clean + generator.normal(0, strength, clean.shape), 0, 255) if strength else clean
                Image.fromarray(noisy.astype(np.uint8)).save(folder / name)
                rows.append({"image": name, "concept": concept, "level": level, "clean_image": f"{concept}_{at}_5.png"})
    pd.DataFrame(rows).to_csv(folder / "images.csv", index=False)


def texts() -> dict[str, object]:
    """The published protocol's texts, filled in."""
    published = read_study_protocol("published").as_dict()

    def fill(text: str) -> str:
        return PLACE_TO_FILL.sub(
            lambda found: next(v for k, v in FILLED.items() if found[0].startswith(f"[FILL IN: {k}")), text
        )

    kept = {name: published[name] for name in ("information", "retention", "instructions", "debrief")}
    return {name: fill(str(text)) for name, text in kept.items()}


def photograph(page: Page, pages: Iterable[str], width: int) -> dict[str, Image.Image]:
    """Pages as they are shown, by name."""
    found = {}
    for name in pages:
        if name == "welcome" or name not in found:
            page.wait_for_timeout(150)
            full = name in ("welcome", "admin", "done") or width < 500
            found[name] = Image.open(io.BytesIO(page.screenshot(full_page=full))).convert("RGB")
    return found


def trimmed(picture: Image.Image) -> Image.Image:
    """A page without the empty ground at its end."""
    rows_HWC = np.asarray(picture)
    different = np.flatnonzero((rows_HWC != rows_HWC[-1:, :1]).any(axis=(1, 2)))
    return picture.crop((0, 0, picture.width, min(picture.height, int(different.max(initial=0)) + 40)))


def sheet(pictures: list[Image.Image], columns: int, width: int, name: str) -> None:
    """Pictures side by side in columns, each where there is most room."""
    gap, pictures = 16, [trimmed(each) for each in pictures]
    scaled = [
        each.resize((width, round(each.height * width / each.width)), Image.Resampling.LANCZOS) for each in pictures
    ]
    heights, placed = [gap] * columns, []
    for each in scaled:
        column = heights.index(min(heights))
        placed.append((each, (gap + column * (width + gap), heights[column])))
        heights[column] += each.height + gap
    whole = Image.new("RGB", (gap + columns * (width + gap), max(heights)), (120, 130, 134))
    for each, place in placed:
        whole.paste(each, place)
    whole.save(IMAGES / name, quality=76, optimize=True, progressive=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary, chromium() as browser:
        folder = Path(temporary)
        write_stimuli(folder / "stimuli")
        study = small_study(
            folder, levels=[5, 1, 2], trials_per_participant=6, ratings_per_image=2, practice=1, break_every=4, checks=[CHECK],
            traps=[TRAP], catch={"trials": 1, "accepted": {"fire": ["fire", "flame"]}}, exclusions={"program_answers": 1},
            consent=["I am at least 18 years old.", "I have read the information above, and I take part voluntarily."], **texts(),
        )  # fmt: skip
        assert isinstance(study.protocol, StudyProtocol)
        with study.database.writing() as session:
            session.get_one(Study, 1).password_hash = passwords.hashed(PASSWORD)
        lab = small_study(
            folder, str(folder / "lab.db"), state=folder / "lab", mark="pilot", levels=[5, 1, 2], trials_per_participant=1,
            completion={"path": "lab"}, consent=study.protocol.consent[:1], **texts(),
        )  # fmt: skip
        with serving(study, logins=FAST) as url, serving(lab) as lab_url:
            for name, width, height, columns, scaled in (("phone", 360, 740, 6, 216), ("desktop", 1280, 800, 3, 520)):
                page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
                for _ in range(3):  # a few participants before the pages are kept
                    pages = photograph(page, every_page(page, url), width)
                    page.context.clear_cookies()
                admin = pages.pop("admin")
                sheet(list(pages.values()), columns, scaled, f"study_{name}.jpg")
                admin.save(IMAGES / f"study_admin_{name}.jpg", quality=80, optimize=True, progressive=True)
                amiss = photograph(page, other_pages(page, url, lab_url), width)
                sheet(list(amiss.values()), columns, scaled, f"study_{name}_amiss.jpg")


if __name__ == "__main__":
    main()
