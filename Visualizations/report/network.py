"""Whether a file beside a run is of the network that was scored, as far as hashes tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Activation_Extraction.base.errors import InputError, shown
from Visualizations.run import Run


def check_network(run: Run, about: Mapping[str, Any], source: str) -> None:
    """Refuse activations, renders and tables of another network than that of the run.

    Args:
        about: what the file says, with `model` and `provenance`; source: its name in the message.

    Raises:
        InputError: a hash of weights or of code that both know differs.
    """
    theirs = _hashes(about)
    for measured in run.measured:
        ours = _hashes(measured)
        for name in sorted(ours.keys() & theirs.keys()):
            if ours[name] != theirs[name]:
                raise InputError(
                    f"{source}: of {shown(about.get('model'))} with {name} {theirs[name][:16]}…; "
                    f"{run.path.name} is of {shown(measured.get('model'))} with {ours[name][:16]}…; expected the same network"
                )


def _hashes(about: Mapping[str, Any]) -> dict[str, str]:
    provenance = about.get("provenance")
    found = provenance if isinstance(provenance, Mapping) else {}
    return {key: value for key, value in found.items() if key.endswith("sha256") and isinstance(value, str)}
