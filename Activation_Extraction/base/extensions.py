"""Objects that other packages register by entry point."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

from Activation_Extraction.base.errors import InputError, first_line


def registered(group: str, what: str) -> Iterator[tuple[str, str, Any]]:
    """Each entry point of a group, by name: its name, how messages call it, and the object.

    Raises:
        InputError: a package's object cannot be loaded.
    """
    for point in sorted(entry_points(group=group)):
        source = f"{what} {point.name} ({point.value})"
        try:
            found = point.load()
        except Exception as error:  # any error of another package's code
            raise InputError(f"{source}: cannot be loaded: {first_line(error)}") from error
        yield point.name, source, found
