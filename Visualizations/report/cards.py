"""A card for each neuron: its pictures, renders, components, baselines, labels, profile and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from Activation_Extraction.base.errors import InputError, did_you_mean
from Activation_Extraction.base.progress import StageProgress, in_stage
from Activation_Extraction.images.sets import image_set
from Activation_Extraction.tables.dialects.options import Given
from Visualizations.report.beside import UnitTable, labels_of, profile_of, split_of_labels
from Visualizations.report.marks import digits, is_missing, named
from Visualizations.report.pictures import Pictures, TopPictures
from Visualizations.report.renders import Renders
from Visualizations.run import Run

MANY, CARDS_OF_MANY = 200, 10
"""Neurons from which on not every one has a card, but those that are named or the first ones."""
_PROFILE = {
    "MS_top": "monosemanticity of the top",
    "clarity": "clarity",
    "redundancy": "redundancy",
}
_ENDS = ("_low", "_high")
_ELSEWHERE = {"Neuron", "Layer", "Concept", "Rank", "Notes", "InterpScore", "I_excess", "name", "row"}


@dataclass(frozen=True)
class Card:
    """What a card shows.

    Attributes:
        row: of the results; single: rows of its concepts, where there are several.
        top, renders: its pictures; a line says why there are none; None where none were given.
        label, profile: lines; statistics: further columns that have a value.
        notes: of the run.
    """

    row: Mapping[str, Any]
    single: Sequence[Mapping[str, Any]]
    top: Pictures | str | None
    renders: Pictures | str | None
    label: Markup | str | None
    profile: Sequence[Mapping[str, str]] | str | None
    statistics: Sequence[str]
    untrained: Sequence[str]
    notes: Sequence[str]


@dataclass(frozen=True)
class Cards:
    """The cards of a page.

    Attributes:
        cards: in the order of the ranking; total: neurons there are.
        left_out: what was not given, and what to add.
        split_of_labels: how labels were chosen, where a table of them was given.
    """

    cards: Sequence[Card]
    total: int
    left_out: Sequence[str] = field(default=())
    split_of_labels: str | None = None


def make_cards(run: Run, neurons: Sequence[str] = (), csv: Sequence[Given] | None = None, progress: StageProgress | None = None) -> Cards:  # fmt: skip
    """Cards of the named neurons; of all where none are named, or the first ten of more than `MANY`.

    Raises:
        InputError: no such neuron; files that are damaged, of another network or others than they say.
    """
    rows = _chosen(run, neurons)
    sources = run.sources
    images = image_set(sources.images, csv=csv) if sources.images else None
    top = TopPictures(run, images) if sources.stores and images else None
    renders = Renders(run, Path(sources.renders)) if sources.renders else None
    labels, profile = labels_of(run), profile_of(run)
    singles = run.all_rows.drop(index=run.table["row"]).assign(row=lambda frame: frame.index)
    by_neuron: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for row in singles.to_dict("records"):
        by_neuron.setdefault((row.get("Layer"), row["Neuron"]), []).append(row)
    advance = in_stage(progress, "cards", len(rows))
    cards = []
    for row in rows:
        statistics, untrained = _statistics(run, row)
        cards.append(
            Card(
                row, by_neuron.get((row.get("Layer"), row["Neuron"]), []), top.of(row) if top else None,
                renders.of(row) if renders else None, _label(labels, row) if labels else None,
                _profile(profile, row) if profile else None, statistics, untrained, _notes(row),
            )
        )  # fmt: skip
        advance(1)
    return Cards(cards, len(run.table), _left_out(run), split_of_labels(run))


def _chosen(run: Run, neurons: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run.table.to_dict("records")
    if not neurons:
        return rows[:CARDS_OF_MANY] if len(rows) > MANY else rows
    names = [{row["Neuron"], f"{row.get('Layer')}:{row['Neuron']}"} for row in rows]
    for wanted in neurons:
        if not any(wanted in each for each in names):
            hint = did_you_mean(wanted, [name for each in names for name in each])
            raise InputError(
                f"--neurons: no neuron {wanted!r} in {run.path.name}{hint}; expected neurons of the results"
            )
    return [row for row, each in zip(rows, names, strict=True) if each & {*neurons}]


def _left_out(run: Run) -> list[str]:
    sources = run.sources
    told = []
    if not (sources.stores and sources.images):
        add = " and ".join(f"--{name}" for name, there in (("store", sources.stores), ("images", sources.images)) if not there)  # fmt: skip
        told.append(f"The pictures that activate each neuron most: add {add}.")
    for there, what, option, made_by in (
        (sources.renders, "Images that each neuron prefers", "--renders", "dream"),
        (sources.labels, "Labels of the units", "--labels", "label"),
        (sources.profile, "What the units do, without labels", "--profile", "profile"),
    ):
        if not there:
            told.append(f"{what}: add {option}, of `interpscore {made_by}`.")
    if "baseline" not in run.signature:
        told.append("The same scores of untrained networks: score with --baseline, of `interpscore baseline`.")
    if not sources.data:
        told.append("Images, ratings and recognition at each level: add --data.")
    return told


def _statistics(run: Run, row: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Further columns of the results with a value, in their order; and the scores that untrained networks have."""
    shown = _ELSEWHERE | {*run.component_names}
    further = [
        str(name)
        for name, value in row.items()
        if not is_missing(value) and name not in shown and not isinstance(value, bool | str)
        and not str(name).endswith(_ENDS) and not any(end in str(name) for end in ("_untrained", "_evaluation"))
    ]  # fmt: skip
    scores = [*run.component_names, "InterpScore"]
    return further, [name for name in scores if not is_missing(row.get(f"{name}_untrained_best"))]


def _notes(row: Mapping[str, Any]) -> list[str]:
    return [note for note in str(row["Notes"] or "").split("; ") if note]


def _label(labels: UnitTable, row: Mapping[str, Any]) -> Markup | str:
    found = labels.of(row)
    if found is None:
        return "Not among the labels."
    if not found["concept"]:
        return f"No label: {found.get('reason') or 'none better than chance'}" + (
            f" (best candidate: {found['candidate']})." if found.get("candidate") else "."
        )
    ends = ""
    if found["score_low"] is not None and found["score_high"] is not None:
        ends = f" [{digits(found['score_low'], 2)}, {digits(found['score_high'], 2)}]"
    score = digits(found["score"], 3) if found["score"] is not None else "–"
    said = Markup("<strong>{}</strong>, score {}{}").format(named(found["concept"]), score, ends)
    if found["p_adjusted"] is not None:
        said += Markup(", adjusted p = {}").format(f"{found['p_adjusted']:.2g}")
    if found["n_images"] is not None:
        said += Markup(", on {} images").format(digits(int(found["n_images"])))
    if found["polysemy"] is not None and found["polysemy"] > 1:
        said += Markup("; it needs {} concepts").format(int(found["polysemy"]))
    return said + Markup(".")


def _profile(profile: UnitTable, row: Mapping[str, Any]) -> list[dict[str, str]] | str:
    """A line for each score: its value, what chance gives, and the share of untrained units above it."""
    found = profile.of(row)
    if found is None:
        return "Not in the profile."
    lines = []
    for name, what in _PROFILE.items():
        if found[name] is None:
            continue
        beside = []
        if found.get(f"{name}_chance") is not None and found.get(f"{name}_spread") is not None:
            beside.append(f"chance {digits(found[f'{name}_chance'], 2)} ± {digits(found[f'{name}_spread'], 2)}")
        if found.get(f"{name}_with") is not None:
            beside.append(f"with unit {int(found[f'{name}_with'])}")
        if found.get(f"{name}_untrained_higher") is not None:
            beside.append(f"{found[f'{name}_untrained_higher']:.0%} of untrained units are higher")
        lines.append({"what": what, "value": digits(found[name], 3), "beside": "; ".join(beside)})
    return lines or str(found.get("Notes") or "No score of it can be computed.")
