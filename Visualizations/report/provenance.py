"""Where the numbers come from: files by name and hash, versions, and the commands that make them again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from Activation_Extraction.base.files import sha256_of
from Activation_Extraction.base.text import printable
from InterpScore.options import ScoringOptions, scoring_options
from Visualizations.run import Run

_USERS = (
    "clean_level", "threshold_percentile", "recognizable_levels", "level_kinds", "min_p_value", "human_score_col", "weights",
    "selectivity", "on_missing", "resamples", "draws", "confidence", "adjust", "seed", "unit_of_analysis", "per_concept",
    "rank_all",
)  # fmt: skip
"""Options of the command that a preset gives a default."""


@dataclass(frozen=True)
class File:
    """A file of the run: what it is, its name, and its SHA-256 where it is known."""

    what: str
    name: str
    sha256: str = ""


def files(run: Run) -> list[File]:
    """The files that were scored, and the results themselves."""
    found = [
        File(what.replace("_", " "), str(one["name"]), str(one.get("sha256") or ""))
        for what, one in _inputs(run).items()
    ]
    stores = [one for one in run.measured if "name" in one]
    found += [File("activation store", str(one["name"]), str(one.get("sha256") or "")) for one in stores]
    baseline = run.signature.get("baseline")
    if isinstance(baseline, dict) and "name" in baseline:
        found.append(File("untrained networks", str(baseline["name"]), str(baseline.get("sha256") or "")))
    for one in run.measured:
        for key, value in _provenance(one).items():
            if key.endswith("sha256") and not any(each.sha256 == value for each in found):
                name = _provenance(one).get(key.removesuffix("_sha256"), one.get("model"))
                found.append(File(f"network {one.get('model')}, {key.removesuffix('_sha256')}", str(name), str(value)))  # fmt: skip
    return [*found, File("results", run.path.name, sha256_of(run.path))]


def _provenance(one: Mapping[str, Any]) -> Mapping[str, Any]:
    found = one.get("provenance")
    return found if isinstance(found, Mapping) else {}


def _inputs(run: Run) -> dict[str, dict[str, Any]]:
    inputs = run.signature.get("inputs")
    return {name: one for name, one in inputs.items() if isinstance(one, dict) and "name" in one} if isinstance(inputs, dict) else {}  # fmt: skip


def score_command(run: Run) -> str:
    """`interpscore score` with the files and options of the run; files by name, to be run beside them."""
    inputs = _inputs(run)
    named = {name: str(one["name"]) for name, one in inputs.items()}
    options = _options(run.options)
    for name, one in inputs.items():
        if isinstance(one.get("csv"), dict):
            pairs = "; ".join(f"{key}={value}" for key, value in one["csv"].items())
            options.append(("csv", pairs if name == "data" else f"file={named[name]} {pairs}"))
    stores = [str(one["name"]) for one in run.measured if "name" in one]
    options += [("store", store) for store in stores]
    options += [("layer", layer) for layer in run.table["Layer"].unique()] if stores and "Layer" in run.table else []
    options += [("causality", named[name]) for name in inputs if name.startswith("causality")]
    for one in run.measured:
        model, _, folder = str(one.get("source", "")).partition(" on ")
        if folder and model == one.get("model"):
            options += [("images", folder), ("model", model)]
    baseline = run.signature.get("baseline")
    if isinstance(baseline, dict) and "name" in baseline:
        options.append(("baseline", str(baseline["name"])))
    files = [
        named.get("data", "DATA.csv"),
        named.get("neuron_map", "NEURON_MAP.json"),
        run.path.with_suffix(".csv").name,
    ]
    return _line("score", files, options)


def report_command(run: Run, neurons: Sequence[str] = ()) -> str:
    """`interpscore report` with the files that this page was made from."""
    sources = run.sources
    given = [
        *(("images", path) for path in sources.images), ("renders", sources.renders),
        *(("store", path) for path in sources.stores), ("data", sources.data), ("labels", sources.labels),
        ("profile", sources.profile),
    ]  # fmt: skip
    options: list[tuple[str, str | None]] = [(name, Path(path).name) for name, path in given if path is not None]
    options += [("neurons", name) for name in neurons]
    return _line("report", [run.path.with_suffix(".csv").name], [*options, ("output", "report.html")])


def _options(options: ScoringOptions) -> list[tuple[str, str | None]]:
    """The options that differ from the defaults of their preset; None is the value of those that take none."""
    defaults = scoring_options(options.preset)
    found: list[tuple[str, str | None]] = [] if options.preset == "default" else [("preset", options.preset)]
    for name in _USERS:
        value = getattr(options, name)
        if value == getattr(defaults, name):
            continue
        if isinstance(value, bool):
            found.append((name if value else f"no-{name}", None))
        elif isinstance(value, Mapping):
            found.append((name, " ".join(f"{level}={kind}" for level, kind in value.items())))
        elif isinstance(value, tuple):
            found.append((name, " ".join(f"{each:g}" for each in value)))
        else:
            found.append((name, str(value)))
    return found


def _line(command: str, files: Sequence[str], options: Sequence[tuple[str, str | None]]) -> str:
    """A command for a shell, an option a line."""
    words = [shlex.quote(f"./{name}" if name.startswith("-") else name) for name in map(printable, files)]
    lines = [" ".join(["interpscore", command, *words])]
    for name, value in options:
        option = f"--{name.replace('_', '-')}"
        lines.append(option if value is None else f"{option} {shlex.quote(printable(value))}")
    return " \\\n    ".join(lines)


def when(run: Run) -> str:
    """The day of the run, as people write it; "" where it is not known."""
    try:
        made = datetime.fromisoformat(str(run.signature.get("created")))
    except ValueError:
        return ""
    return f"{made.day} {made:%B %Y}"


def versions(run: Run) -> str:
    """Names and versions of what computed."""
    found = run.signature.get("versions")
    return ", ".join(f"{name} {version}" for name, version in found.items()) if isinstance(found, dict) else ""
