"""What to type where a package of an extra is not installed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from Activation_Extraction.base.errors import MissingPackageError

DISTRIBUTION = "interpscore"
_PACKAGE_OF = {"PIL": "pillow", "argon2": "argon2-cffi", "google": "protobuf", "resvg_py": "resvg-py", "yaml": "pyyaml"}
"""Module → package, where the names differ."""
_NOT_FOR_USERS = ("all", "dev")
_REQUIREMENT = re.compile(r"(?P<package>[\w.-]+).*;\s*extra\s*==\s*['\"](?P<extra>[\w-]+)['\"]")


@contextmanager
def naming_extras() -> Iterator[None]:
    """Turn the `ModuleNotFoundError` of a package that an extra brings into an error that says what to type.

    Raises:
        MissingPackageError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        package = _PACKAGE_OF.get(module, module)
        if extras := extras_with(package):
            raise MissingPackageError(f"{package} is not installed; type: {install_command(extras[0])}") from error
        raise


def extras_with(package: str) -> list[str]:
    """The extras that bring a package, the smallest first."""
    found: dict[str, set[str]] = {}
    ours = _distribution()
    for requirement in (ours.requires or []) if ours else []:
        if match := _REQUIREMENT.match(requirement):
            found.setdefault(match["extra"], set()).add(match["package"].lower())
    fitting = [
        extra for extra, packages in found.items() if package.lower() in packages and extra not in _NOT_FOR_USERS
    ]
    return sorted(fitting, key=lambda extra: (len(found[extra]), extra))


def install_command(extra: str) -> str:
    """How to install an extra where this installation came from: a clone, a wheel, or an index.

    >>> install_command("models").startswith("pip install ")
    True
    """
    from urllib.parse import unquote, urlparse

    ours = _distribution()
    origin = json.loads(ours.read_text("direct_url.json") or "{}") if ours else {}
    url = str(origin.get("url", ""))
    place = unquote(urlparse(url).path) if url.startswith("file:") else DISTRIBUTION
    editable = "--editable " if origin.get("dir_info", {}).get("editable") else ""
    return f"pip install {editable}'{place}[{extra}]'"


def _distribution() -> Any:
    """Our installed package, or None where the code only lies on the path."""
    from importlib.metadata import PackageNotFoundError, distribution  # late: every import of ours comes here

    try:
        return distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return None
