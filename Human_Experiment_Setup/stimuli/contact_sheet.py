"""Contact sheets of a study for its makers: an image with a sample of every level, and a page with all pictures.

Rows are pictures, columns are levels. Below each picture are its measured strength and, with a network, the activation of
the concept's unit relative to the clean version, or to the mean of the concept's clean pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice, zip_longest
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from Activation_Extraction.base.text import in_html, printable
from Human_Experiment_Setup.stimuli.protocol import AdversarialLevel, BenignLevel, Level, Protocol

Row = Mapping[str, str]

TILE, GAP, LABEL, HEAD, CAPTION, MARGIN = 148, 14, 132, 96, 30, 28
ROWS = 10
"""Pictures on the sheet, at most; at least one of each concept."""

INK, SOFT, LINE, PAPER, BAR, ALARM = "#1f2430", "#6b7280", "#e5e7eb", "#ffffff", "#3d7ea6", "#b3261e"
_FORMATS = {
    "snr_db": ("SNR {} dB", 2), "rms": ("RMS {}", 3), "ssim": ("SSIM {}", 3), "linf": ("max {} / 255", 0),
    "l2": ("RMS {} / 255", 2),
}  # fmt: skip
"""Measure → how its strengths are shown, and with how many decimal places."""


def strength(measure: str, value: str | float) -> str:
    """A strength for people.

    >>> strength("snr_db", "6.0007"), strength("linf", 8.0), strength("snr_db", "-0.004")
    ('SNR 6.00 dB', 'max 8 / 255', 'SNR 0.00 dB')
    """
    text, places = _FORMATS[measure]
    return text.format(f"{round(float(value), places) + 0.0:.{places}f}")  # + 0.0 turns -0.00 into 0.00


def draw(folder: Path, protocol: Protocol, rows: Sequence[Row], seed: int) -> Image.Image:
    """The contact sheet: the first pictures of each concept, at every level."""
    relative = relative_activations(rows)
    lines = list(_lines(protocol, rows, max(1, ROWS // len({row["concept"] for row in rows}))))
    step, top = TILE + GAP, MARGIN + 52 + HEAD
    width = 2 * MARGIN + LABEL + len(protocol.levels) * step - GAP
    sheet = Image.new("RGB", (width, top + len(lines) * (step + CAPTION) + MARGIN - GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    title, bold, plain, small = (ImageFont.load_default(size) for size in (22, 17, 14, 13))
    pen.text((MARGIN, MARGIN - 6), f"Stimuli, protocol {protocol.name}, seed {seed}", INK, title)
    legend = [
        "Bars: activation of the unit relative to the clean pictures." * bool(relative),
        "Red: not what the protocol asks for." * any(row["reached"] == "false" for row in rows),
    ]
    pen.text((MARGIN, MARGIN + 24), " ".join(filter(None, legend)), SOFT, plain)
    for column, (number, level) in enumerate(protocol.levels.items()):
        x = MARGIN + LABEL + column * step
        pen.text((x, MARGIN + 62), f"Level {number}", INK, bold)
        for row, text in enumerate(_heading(level)):
            pen.text((x, MARGIN + 86 + 18 * row), text, SOFT, plain)
    before = None
    for line, (concept, unit, cells) in enumerate(lines):
        y = top + line * (step + CAPTION)
        if concept != before:
            pen.line((MARGIN, y - GAP // 2 - 1, width - MARGIN, y - GAP // 2 - 1), LINE)
            pen.text((MARGIN, y), printable(concept), INK, bold)
            pen.text((MARGIN, y + 24), unit and f"unit {unit}", SOFT, plain)
        before = concept
        for column, cell in enumerate(cells):
            if cell is not None:
                _draw_cell(
                    sheet, pen, small, (MARGIN + LABEL + column * step, y), folder, cell, relative.get(cell["image"])
                )
    return sheet


def _draw_cell(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, font: Any, at: tuple[int, int], folder: Path, cell: Row, share: float | None
) -> None:  # fmt: skip
    x, y = at
    with Image.open(folder / cell["image"]) as picture:
        sheet.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), at)
    pen.text((x, y + TILE + 5), _measured(cell), ALARM if cell["reached"] == "false" else SOFT, font)
    if share is not None:
        pen.text((x + TILE - 1, y + TILE + 5), f"{share:.0%}", INK, font, anchor="ra")
        pen.rectangle((x, y + TILE + 23, x + TILE - 1, y + TILE + 25), LINE)
        pen.rectangle((x, y + TILE + 23, x + round((TILE - 1) * min(share, 1)), y + TILE + 25), BAR)


def page(protocol: Protocol, rows: Sequence[Row], seed: int) -> str:
    """The contact sheet as HTML, with all pictures; it needs only the files next to it."""
    said = in_html
    relative = relative_activations(rows)
    heads = "".join(
        f"<th>Level {number}<small>{'<br>'.join(map(said, _heading(level)))}</small></th>"
        for number, level in protocol.levels.items()
    )
    body = []
    for (concept, unit), group in groupby(_lines(protocol, rows), key=lambda line: line[:2]):
        lines = ["".join(_cell(cell, relative) for cell in cells) for _, _, cells in group]
        of_unit = f"<small>unit {said(unit)}</small>" if unit else ""
        lines[0] = f'<th rowspan="{len(lines)}"><div>{said(concept)}{of_unit}</div></th>{lines[0]}'
        body.append(f"<tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody>")
    return f"""<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Stimuli, protocol {said(protocol.name)}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; color: {INK}; margin: 28px }}
h1 {{ font-size: 20px; font-weight: 600 }}
table {{ border-collapse: collapse }}
th {{ text-align: left; vertical-align: top; padding: 8px 14px 8px 0; background: {PAPER} }}
thead th {{ position: sticky; top: 0; z-index: 1; box-shadow: 0 1px {LINE} }}
tbody th {{ position: sticky; left: 0 }}
th div {{ position: sticky; top: 84px }}
tbody {{ border-top: 1px solid {LINE} }}
p {{ max-width: 70ch }}
td {{ padding: 8px 14px 8px 0; vertical-align: top }}
img {{ width: {TILE}px; height: {TILE}px; display: block }}
small, figcaption {{ color: {SOFT}; font-size: 12px; font-weight: 400; display: block }}
figcaption {{ min-height: 1.4em }}
figure {{ margin: 0; width: {TILE}px }}
b {{ float: right; font-weight: 500; color: {INK} }}
i {{ display: block; clear: both; height: 3px; background: linear-gradient({BAR}, {BAR}) no-repeat {LINE} }}
.alarm {{ color: {ALARM} }}
@media (max-width: 700px) {{ body {{ margin: 16px }} img, figure {{ width: 112px; height: auto }} b {{ float: none; display: block }} }}
</style>
<h1>Stimuli, protocol {said(protocol.name)}, seed {seed}</h1>
<p>{said(_LEGEND)}</p>
<table><thead><tr><th></th>{heads}</tr></thead>
{chr(10).join(body)}
</table>
"""


_LEGEND = (
    "Below each picture: the strength measured on the file (red where it is not what the protocol asks for), and the "
    "activation of the concept's unit relative to the clean version; for renders and exemplars, to the mean of the "
    "concept's clean pictures. A full bar is 100% or more."
)


def relative_activations(rows: Sequence[Row]) -> dict[str, float]:
    """Image → activation relative to its clean version, or to the mean of its concept's clean pictures."""
    clean = defaultdict(list)
    for row in rows:
        if row["kind"] == "clean" and row["activation_after"]:
            clean[row["concept"]].append(float(row["activation_after"]))
    relative = {}
    for row in rows:
        if row["kind"] != "clean" and row["activation_after"]:
            before = float(row["activation_before"] or fmean(clean[row["concept"]]))
            if before > 0:
                relative[row["image"]] = float(row["activation_after"]) / before
    return relative


def _lines(
    protocol: Protocol, rows: Sequence[Row], per_concept: int | None = None
) -> Iterator[tuple[str, str, tuple[Row | None, ...]]]:
    """Concept, unit and a picture per level, side by side; None where a level has fewer."""
    for concept, group in groupby(sorted(rows, key=itemgetter("concept")), itemgetter("concept")):
        of_level: dict[int, list[Row]] = {level: [] for level in protocol.levels}
        for row in group:
            of_level[int(row["level"])].append(row)
        unit = of_level[protocol.clean_level][0]["unit"]
        for cells in islice(zip_longest(*of_level.values()), per_concept):
            yield concept, unit, cells


def _heading(level: Level) -> list[str]:
    """What a level does and how strongly, in up to two lines."""
    if isinstance(level, AdversarialLevel):
        return [f"{level.direction}s the {level.target}", strength(*level.strength)]
    if isinstance(level, BenignLevel):
        return [level.title, strength(*level.strength)]
    return [level.title or "clean"]


def _measured(cell: Row) -> str:
    return strength(cell["measure"], cell["strength_measured"]) if cell["measure"] else ""


def _cell(cell: Row | None, relative: Mapping[str, float]) -> str:
    if cell is None:
        return "<td></td>"
    share = relative.get(cell["image"])
    alarm = ' class="alarm"' if cell["reached"] == "false" else ""
    bar = "" if share is None else f'<b>{share:.0%}</b><i style="background-size: {100 * min(share, 1):.0f}% 100%"></i>'
    source = in_html(f"{cell['source']}: {cell['method'] or 'clean'}")
    return (
        f'<td><figure><img loading="lazy" src="{in_html(cell["image"])}" title="{source}" alt="{source}">'
        f"<figcaption{alarm}>{in_html(_measured(cell))}{bar}</figcaption></figure></td>"
    )
