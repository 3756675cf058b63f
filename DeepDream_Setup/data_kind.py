"""Renders as `interpscore data check` recognises them."""

from __future__ import annotations

from pathlib import Path

from InterpScore.journey.kinds import Item, counted


def renders(folder: Path, names: frozenset[str]) -> Item | None:
    """Renders of a layer, by their manifest; None for other folders."""
    if "manifest.json" not in names:
        return None
    from DeepDream_Setup.manifest import read_manifest  # late: few folders have one

    found = read_manifest(folder)
    count = sum(map(len, found["units"].values()))
    about = f"{found['model']}, {found['layer']}: {counted(count, 'image')} of {counted(len(found['units']), 'unit')}"
    return Item(folder, "renders", about, frozenset({"renders"}))
