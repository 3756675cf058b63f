"""Pages as HTML: templates, and the texts of a protocol as paragraphs and lists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from Activation_Extraction.base.text import in_html
from Human_Experiment_Setup.study.server.assets import asset_url
from Human_Experiment_Setup.study.server.context import Served

TEMPLATES = Path(__file__).parent / "templates"
STATUS = {
    "link": 400, "lab_link": 400, "no_session": 401, "withdrawn": 410, "twice": 409, "full": 503, "paused": 503,
    "closed": 410, "not_found": 404, "too_many": 429, "error": 500,
}  # fmt: skip
"""Page that ends a visit → its HTTP status."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["paragraphs"] = paragraphs
    environment.filters["visible"] = lambda text: Markup(in_html(text))
    return environment


def page(study: Served, template: str, status: int = 200, *, preview: bool = False, **values: Any) -> HTMLResponse:
    """A page of the study in the wording of its protocol."""
    html = _environment().get_template(f"{template}.html").render(
        url=study.url, asset=lambda name: study.url(asset_url(name)), say=study.protocol.texts, protocol=study.protocol,
        preview=preview, mark=study.mark, **values,
    )  # fmt: skip
    return HTMLResponse(html, status)


def ending_page(study: Served, name: str, *, preview: bool = False) -> HTMLResponse:
    """A page that says why it does not go on here: a name of `STATUS`."""
    title = study.protocol.texts[f"{name}_title"]
    return page(
        study,
        "ending",
        STATUS.get(name, 400),
        preview=preview,
        title=title,
        about=study.protocol.texts.get(f"{name}_about", ""),
    )


def paragraphs(text: str) -> Markup:
    """A text as paragraphs (between blank lines) and lists (lines that start with "- "), **strong** and *emphasized*.

    >>> paragraphs("One <b>\\n\\n- two\\n- **three**")
    Markup('<p>One &lt;b&gt;</p>\\n<ul>\\n<li>two</li>\\n<li><strong>three</strong></li>\\n</ul>')
    """
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        starts = [at for at, line in enumerate(lines) if line.startswith("- ")]
        if not starts:
            blocks.append(f"<p>{_marked(' '.join(lines))}</p>")
            continue
        if starts[0]:
            blocks.append(f"<p>{_marked(' '.join(lines[: starts[0]]))}</p>")
        items = (" ".join(lines[start:end])[2:] for start, end in zip(starts, [*starts[1:], len(lines)]))
        blocks.append("\n".join(["<ul>", *(f"<li>{_marked(item)}</li>" for item in items), "</ul>"]))
    return Markup("\n".join(blocks))


def _marked(text: str) -> str:
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return re.sub(r"\*(.+?)\*", r"<em>\1</em>", text)
