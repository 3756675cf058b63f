"""Guards how figures look: small pictures in `references/`, compared with a tolerance. After a change that is meant, look at the
figures and run pytest on this file with INTERPSCORE_NEW_REFERENCES=1."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from Visualizations.kinds import figure_kinds

REFERENCES = Path(__file__).parent / "references"
DPI, MOST = 60, 6.0
"""The largest root mean square difference, of 255; other versions of Matplotlib and FreeType stay below, a moved panel or a
changed colour does not."""
SHOWN = tuple(kind.name for kind in figure_kinds() if kind.is_ours)


def picture(drawing):
    buffer = BytesIO()
    drawing.figure.savefig(buffer, dpi=DPI, format="png")
    return Image.open(buffer).convert("RGB")


def difference(a, b):
    """Root mean square of two pictures, blurred a little, so that a text moved by a pixel counts little."""
    if a.size != b.size:
        return np.inf
    blurred = [np.asarray(each.filter(ImageFilter.GaussianBlur(1)), float) for each in (a, b)]
    return float(np.sqrt(np.mean((blurred[0] - blurred[1]) ** 2)))


@pytest.mark.parametrize("name", SHOWN)
def test_figures_look_as_they_did(drawn, name):
    if os.environ.get("INTERPSCORE_NEW_REFERENCES"):
        picture(drawn(name)).quantize(64).save(REFERENCES / f"{name}.png", optimize=True)
    reference = Image.open(REFERENCES / f"{name}.png").convert("RGB")
    assert difference(picture(drawn(name)), reference) < MOST


def test_a_change_is_noticed(drawn):
    reference = Image.open(REFERENCES / "layers.png").convert("RGB")
    moved = Image.new("RGB", reference.size, "white")
    moved.paste(reference, (6, 0))
    assert difference(moved, reference) > MOST


def test_references_are_small():
    sizes = {path.name: path.stat().st_size for path in REFERENCES.iterdir()}
    assert sizes.keys() == {f"{name}.png" for name in SHOWN}
    assert max(sizes.values()) < 30_000
