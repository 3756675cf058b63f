"""A study at a glance, for those who make it: a sheet of some pictures at every level, and a page with all of them.

Rows are pictures, columns are levels. Under each picture stand its measured strength and, where a network was read, the
activation of the concept's unit relative to its clean version, or to the clean pictures of its concept.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from Human_Experiment_Setup.stimuli.protocol import AdversarialLevel, BenignLevel, Level, Protocol

Row = Mapping[str, str]

TILE, GAP, LABEL, HEAD, CAPTION, MARGIN = 148, 14, 132, 96, 30, 28
ROWS = 10
"""Pictures on the sheet, at most; at least one of each concept."""

INK, SOFT, LINE, PAPER, BAR, ALARM = "#1f2430", "#6b7280", "#e5e7eb", "#ffffff", "#3d7ea6", "#b3261e"
UNITS = {"snr_db": "SNR {} dB", "rms": "RMS {}", "ssim": "SSIM {}", "linf": "max {} / 255", "l2": "RMS {} / 255"}
"""How a strength is said."""


def strength(measure: str, value: str | float) -> str:
    """A strength for people.

    >>> strength("snr_db", "6.0007"), strength("linf", 8.0)
    ('SNR 6.00 dB', 'max 8 / 255')
    """
    number = float(value)
    places = {"snr_db": 2, "rms": 3, "ssim": 3, "linf": 0, "l2": 2}[measure]
    return UNITS[measure].format(f"{round(number, places) + 0.0:.{places}f}")  # no minus before a zero


def draw(folder: Path, protocol: Protocol, rows: Sequence[Row], seed: int) -> Image.Image:
    """The contact sheet: of each concept its first pictures, at every level."""
    lines = list(_chosen(protocol, rows))
    columns = list(protocol.levels.items())
    relative = relative_activations(rows)
    width = 2 * MARGIN + LABEL + len(columns) * (TILE + GAP) - GAP
    top = MARGIN + 52 + HEAD
    sheet = Image.new("RGB", (width, top + len(lines) * (TILE + CAPTION + GAP) + MARGIN - GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    title, bold, plain, small = (ImageFont.load_default(size) for size in (22, 17, 14, 13))
    pen.text((MARGIN, MARGIN - 6), f"Stimuli, protocol {protocol.name}, seed {seed}", INK, title)
    if relative:
        pen.text((MARGIN, MARGIN + 24), "Bars: the activation of the unit, relative to the clean picture", SOFT, plain)
    for place, (number, level) in enumerate(columns):
        x = MARGIN + LABEL + place * (TILE + GAP)
        pen.text((x, MARGIN + 62), f"Level {number}", INK, bold)
        for row, text in enumerate(_heading(level)):
            pen.text((x, MARGIN + 86 + 18 * row), text, SOFT, plain)
    for line, (concept, unit, cells) in enumerate(lines):
        y = top + line * (TILE + CAPTION + GAP)
        pen.line((MARGIN, y - GAP // 2 - 1, width - MARGIN, y - GAP // 2 - 1), LINE)
        pen.text((MARGIN, y + TILE // 2 - 22), concept, INK, bold)
        if unit:
            pen.text((MARGIN, y + TILE // 2 + 2), f"unit {unit}", SOFT, plain)
        for place, cell in enumerate(cells):
            x = MARGIN + LABEL + place * (TILE + GAP)
            if cell is None:
                pen.rectangle((x, y, x + TILE - 1, y + TILE - 1), outline=LINE)
                continue
            with Image.open(folder / cell["image"]) as picture:
                sheet.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), (x, y))
            pen.text((x, y + TILE + 5), _measured(cell), ALARM if cell["reached"] == "false" else SOFT, small)
            if (share := relative.get(cell["image"])) is not None:
                text = f"{share:.0%}"
                pen.text((x + TILE - pen.textlength(text, small), y + TILE + 5), text, INK, small)
                pen.rectangle((x, y + TILE + 23, x + TILE - 1, y + TILE + 25), LINE)
                pen.rectangle((x, y + TILE + 23, x + round((TILE - 1) * min(share, 1)), y + TILE + 25), BAR)
    return sheet


def page(protocol: Protocol, rows: Sequence[Row], seed: int) -> str:
    """The same as HTML, with every picture; it needs the files beside it and nothing else."""
    said = html.escape
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
    "Under each picture: its measured strength (red where it is not what the protocol asks for), and the activation of "
    "the concept's unit relative to the clean picture, or for renders and exemplars to the mean of the concept's clean "
    "pictures. A full bar is the clean activation."
)


def relative_activations(rows: Sequence[Row]) -> dict[str, float]:
    """Image → activation relative to its clean version's, or to the mean of its concept's clean pictures."""
    clean: dict[str, list[float]] = {}
    for row in rows:
        if row["kind"] == "clean" and row["activation_after"]:
            clean.setdefault(row["concept"], []).append(float(row["activation_after"]))
    relative = {}
    for row in rows:
        if row["kind"] == "clean" or not row["activation_after"]:
            continue
        values = clean[row["concept"]]
        before = float(row["activation_before"]) if row["activation_before"] else sum(values) / len(values)
        if before > 0:
            relative[row["image"]] = float(row["activation_after"]) / before
    return relative


def _lines(protocol: Protocol, rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row | None]]]:
    """Concept, unit and a picture a level: the versions of a clean picture, and beside them one of the levels without."""
    for concept, group in groupby(sorted(rows, key=lambda row: row["concept"]), key=lambda row: row["concept"]):
        of_level: dict[int, list[Row]] = {}
        for row in group:
            of_level.setdefault(int(row["level"]), []).append(row)
        unit = of_level[protocol.clean_level][0]["unit"]
        for line in range(max(map(len, of_level.values()))):
            cells = (of_level.get(level, [])[line : line + 1] for level in protocol.levels)
            yield concept, unit, [cell[0] if cell else None for cell in cells]


def _chosen(protocol: Protocol, rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row | None]]]:
    each = max(1, ROWS // len({row["concept"] for row in rows}))
    for _, lines in groupby(_lines(protocol, rows), key=lambda line: line[0]):
        yield from list(lines)[:each]


def _heading(level: Level) -> list[str]:
    """What is done at a level, and how strongly: two lines."""
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
    source = html.escape(f"{cell['source']}: {cell['method'] or 'clean'}", quote=True)
    return (
        f'<td><figure><img loading="lazy" src="{cell["image"]}" title="{source}" alt="{source}">'
        f"<figcaption{alarm}>{html.escape(_measured(cell))}{bar}</figcaption></figure></td>"
    )
