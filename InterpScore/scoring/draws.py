"""The draws of a run, and the file that keeps them: what figures, live weights and comparisons of neurons are computed from.

Shapes: N neurons, C components, B draws. METRICS.md, section 6.
"""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.documents import parse_npz, read_json
from Activation_Extraction.base.errors import did_you_mean
from Activation_Extraction.base.files import read_bytes
from InterpScore.errors import InputError
from InterpScore.helpers import Floats
from InterpScore.intervals import around_estimate

FORMAT = "interpscore-draws/1"
_BESIDE = "the JSON beside the CSV of `interpscore score`"
LARGEST_RESULTS = 2**29
"""Bytes of the JSON: some 3,000 a neuron."""
ENDING = ".draws.npz"
KEPT_OF_MANY, MANY = 200, 200
"""Draws kept of each neuron by default where a run has more than so many neurons; all are kept otherwise."""


@dataclass(frozen=True)
class Draws:
    """Resamples of every component of every neuron; draw b is of the same resampled study for all of them.

    Attributes:
        neurons: as in the neuron map, with the layer before a colon where activations come from stores; best first.
        components: the metrics, then `InterpScore`.
        estimate_NC: from the data as they are; NaN where missing.
        values_NCB: in every draw; NaN where it cannot be computed.
    """

    neurons: tuple[str, ...]
    components: tuple[str, ...]
    estimate_NC: Floats
    values_NCB: NDArray[np.float32]

    def of(self, component: str) -> Floats:
        """The draws of one component, `(N, B)`.

        Raises:
            InputError: no such component.
        """
        if component not in self.components:
            near = did_you_mean(component, self.components)
            raise InputError(f"{component}: no such component{near}; expected one of {', '.join(self.components)}")
        return self.values_NCB[:, self.components.index(component)].astype(np.float64)

    def around(self, component: str) -> Floats:
        """The same, shifted so that each neuron's median is its estimate: for ranks, differences and means over neurons."""
        return around_estimate(self.estimate_NC[:, self.components.index(component)], self.of(component))

    @cached_property
    def file(self) -> bytes:
        """The file: a NumPy archive, the same bytes for the same draws."""
        arrays = {
            "format": np.array(FORMAT),
            "neuron": np.array(self.neurons),
            "component": np.array(self.components),
            "estimate": self.estimate_NC,
            "draws": self.values_NCB,
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        return buffer.getvalue()

    @property
    def description(self) -> dict[str, Any]:
        """What the results say of the file."""
        return {"kept": self.values_NCB.shape[2], "sha256": sha256(self.file).hexdigest()}


def read_draws(results: str | os.PathLike[str]) -> Draws:
    """The draws of a run.

    Args:
        results: its results, the CSV or the JSON; the draws lie beside them.

    Raises:
        InputError: no results, results without draws, draws that are missing, damaged or of other results.
    """
    json_path, path = Path(results).with_suffix(".json"), draws_path(results)
    match read_json(json_path, expected=_BESIDE, largest=LARGEST_RESULTS):
        case None:
            raise InputError(f"{json_path}: no such file; expected {_BESIDE}")
        case {"signature": {"draws": {"sha256": str(recorded)}}}:
            pass
        case {"signature": {}, "neurons": _}:
            raise InputError(
                f"{json_path}: these results keep no draws; score again with --resamples and --draws above 0"
            )
        case _:
            raise InputError(f"{json_path}: no scoring results; expected {_BESIDE}")
    if not path.is_file():
        raise InputError(
            f"{path}: not found; expected the draws beside the results, as `interpscore score` writes them"
        )
    try:
        content = read_bytes(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected the draws of a run") from None
    damaged = InputError(f"{path}: damaged, or the draws of other results than {json_path.name}; score again")
    if sha256(content).hexdigest() != recorded:
        raise damaged
    try:
        arrays = parse_npz(content)
        estimate, values = arrays["estimate"], arrays["draws"]
        neurons, components = (tuple(map(str, arrays[name].reshape(-1).tolist())) for name in ("neuron", "component"))
    except (ValueError, KeyError):
        raise damaged from None
    shape = (len(neurons), len(components))
    if estimate.shape != shape or values.shape[:-1] != shape or estimate.dtype.kind + values.dtype.kind != "ff":
        raise damaged
    return Draws(neurons, components, estimate, values)


def draws_path(results: str | os.PathLike[str]) -> Path:
    """Where the draws of results lie."""
    return Path(results).with_suffix(ENDING)


def number_kept(asked: int | None, n_neurons: int, resamples: int) -> int:
    """How many draws a run keeps.

    Raises:
        InputError: more than there are.
    """
    if asked is not None and asked > resamples:
        raise InputError(f"--draws: found {asked}; expected at most the {resamples} of --resamples")
    if asked is not None:
        return asked
    return resamples if n_neurons <= MANY else min(resamples, KEPT_OF_MANY)
