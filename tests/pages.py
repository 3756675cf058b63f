"""Documentation pages whose commands are run: their blocks, and following them in the working folder."""

import re
import shlex
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def blocks_of(page):
    """The blocks of a page in order: language, title (the file that the block is) or nothing, content."""
    return re.findall(r'^```(\w+)(?: title="([\w.]+)")?\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)


def follow(blocks, command, changes):
    """Run blocks in the working folder; `command` runs one line and gives its output. Gives what they show and what came."""
    shown, came = [], []
    for kind, title, content in blocks:
        for old, new in changes.items():
            content = content.replace(old, new)
        if title:
            Path(title).write_text(content)
        elif kind == "sh":
            came += [line for part in content.splitlines() for line in command(shlex.split(part)).splitlines()]
        else:
            shown += [line for line in content.splitlines() if line.strip() not in ("", "…")]
    return shown, came
