"""The kinds of data that InterpScore reads, and how each is recognised: by its own reader, which says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError
from Activation_Extraction.tables.column_names import ColumnNames
from Activation_Extraction.tables.files import read_table
from InterpScore.tables.effects import ABLATION, ACTIVATION, IMAGE_COLUMNS, read_effects, unit_column
from InterpScore.tables.experiment_rows import CONCEPT_COLUMN, LEVEL_COLUMN, OTHER_CONCEPT_COLUMN
from InterpScore.tables.experiment_table import load_experiment_table
from InterpScore.tables.neuron_map import read_neuron_map

GROUP = "interpscore.data_kinds"
"""Entry points of other rooms and packages: functions as `FolderKind`."""

SCORE_COLUMN = "soft_correct"
_SHOWN_COLUMNS = 6
_UNIT = re.compile(r"(.+:)?\d+(\+\d+)*(\.0)?")


@dataclass(frozen=True)
class Item:
    """Something that InterpScore reads.

    Attributes:
        kind: what it is, in a few words; about: what is in it.
        offers: what it is good for: "images", "concepts", "levels", "store", "table", "ratings", "effects", "map",
            "renders", "results"; of a table also "units", if it has activations.
        names: `model` and `layer`, where it states them; otherwise: the next step with what offers nothing.
        broken: lines on images of it that cannot be read.
    """

    path: Path
    kind: str
    about: str
    offers: frozenset[str]
    names: Mapping[str, str] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    otherwise: str = "nothing: no command reads it"


FolderKind = Callable[[Path, "frozenset[str]"], "Item | None"]
"""A folder and the names in it → what it is; None if it is nothing of that kind; `InputError` if it is broken."""


def store(folder: Path, names: frozenset[str]) -> Item | None:
    """An activation store."""
    from Activation_Extraction.store.files import PROVENANCE
    from Activation_Extraction.store.reader import ActivationStore

    if PROVENANCE not in names:
        return None
    opened = ActivationStore.open(folder)
    missing = sum(len(shard.rows) for shard in opened.missing_shards())
    table = opened.images
    concepts = table["concept"].nunique() if "concept" in table else 0
    model, layer = str(opened.identity.get("model", "MODEL")), opened.layers[0]
    units = ", ".join(f"{name} ({shape[0]:,} units)" for name, shape in opened.shapes.items())
    about = f"{model}, {units}: {counted(len(opened), 'image')}"
    about += f" of {counted(concepts, 'concept')}" if concepts else ""
    if missing:
        about += f", {missing:,} still to be computed"
        again = "the command that made it resumes: interpscore extract …"
        return Item(folder, "unfinished activation store", about, frozenset(), otherwise=again)
    return Item(folder, "activation store", about, frozenset({"store"}), {"model": model, "layer": layer})


def table(path: Path) -> Item | None:
    """A table of any kind, by its columns."""
    columns = ColumnNames(
        {CONCEPT_COLUMN, OTHER_CONCEPT_COLUMN, LEVEL_COLUMN, SCORE_COLUMN, *IMAGE_COLUMNS}, units=True
    )
    raw = read_table(path, lambda name: columns.meant(name) in (LEVEL_COLUMN, *IMAGE_COLUMNS), lambda name: False)
    meant = {columns.meant(name) for name in raw.names} - {None}
    of_unit = {kind: _units(meant, kind) for kind in (ACTIVATION, ABLATION)}
    has_concepts = bool({CONCEPT_COLUMN, OTHER_CONCEPT_COLUMN} & meant)
    if {"Neuron", "InterpScore"} <= set(raw.names):
        about = f"{counted(len(raw.frame), 'neuron')}, ranked"
        return Item(path, "results", about, frozenset({"results"}))
    if has_concepts and LEVEL_COLUMN in meant and (SCORE_COLUMN in meant or of_unit[ACTIVATION]):
        return _experiment(path, of_unit[ACTIVATION], SCORE_COLUMN in meant)
    if of_unit[ABLATION]:
        return _effects(path, of_unit[ABLATION])
    if "image" in raw.names:
        return _image_table(path)
    shown = ", ".join(raw.names[:_SHOWN_COLUMNS]) + (", …" if len(raw.names) > _SHOWN_COLUMNS else "")
    return Item(path, "another table", f"columns {shown}", frozenset())


def _units(columns: set[Any], kind: str) -> list[str]:
    start = unit_column(kind, "")
    return sorted(name.removeprefix(start) for name in columns if name.startswith(start))


def _experiment(path: Path, units: list[str], has_scores: bool) -> Item:
    read = load_experiment_table(path, units, SCORE_COLUMN if has_scores else None)
    levels = sorted(set(read.level_I.tolist()))
    ratings, people = len(read.score_R), len(set(read.participant_R.tolist()))
    has_effects = bool((read.ablation_UI == read.ablation_UI).any())  # not NaN
    about = [
        f"{counted(len(read.images), 'image')} of {counted(len(read.concepts), 'concept')}",
        f"level{'s' if len(levels) > 1 else ''} {' '.join(map(str, levels))}",
        f"activations of {counted(len(units), 'unit')}" if units else "no activations",
        f"{counted(ratings, 'rating')} of {counted(people, 'participant')}" if ratings else "no ratings",
        *(["SIMULATED participants"] if read.simulated else []),
        *(["measured effects"] if has_effects else []),
    ]
    offers = {"table"}
    offers |= {"units"} if units else set()
    offers |= {"concepts"} if len(read.concepts) > 1 else set()
    offers |= {"levels"} if len(levels) > 1 else set()
    offers |= {"ratings"} if ratings else set()
    offers |= {"effects"} if has_effects else set()
    return Item(path, "experiment table", ", ".join(about), frozenset(offers))


def _effects(path: Path, units: list[str]) -> Item:
    (read,) = read_effects(path)
    of = f" of {read.about['model']}, {read.about['layer']}" if read.about else ""
    about = f"{counted(len(units), 'unit')}{of} on {counted(len(read.frame), 'image')}"
    return Item(path, "measured effects", about, frozenset({"effects"}))


def _image_table(path: Path) -> Item:
    from Activation_Extraction.images.sets import image_set

    images = image_set(path)
    columns = images.table.column_names
    concepts = len(images.table["concept"].unique()) if "concept" in columns else 0
    levels = len(images.table["level"].unique()) if "level" in columns else 0
    broken = [line for row in _sample(len(images)) if (line := _broken(images.source(row), images.name(row)))]
    about = counted(len(images), "image") + (
        f" of {counted(concepts, 'concept')}" if concepts else ", without concepts"
    )
    offers = {"images"} | ({"concepts"} if concepts > 1 else set()) | ({"levels"} if levels > 1 else set())
    return Item(
        path, "image table", about + (f", {levels} levels" if levels > 1 else ""), frozenset(offers), {}, tuple(broken)
    )


def document(path: Path) -> Item | None:
    """A neuron map; None for JSON of another kind."""
    keys = read_json(path) or {}
    if not keys or not all(_UNIT.fullmatch(key.strip()) for key in keys):
        return None
    found = read_neuron_map(path)
    concepts = {concept for several in found.values() for concept in several}
    about = f"{counted(len(found), 'neuron')}, {counted(len(concepts), 'concept')}"
    return Item(path, "neuron map", about, frozenset({"map"}))


def images(folder: Path, concepts: Mapping[str, list[str]]) -> Item:
    """A folder of images.

    Args:
        concepts: subfolder → its images' names; "" for the folder itself.
    """
    paths = [folder / concept / name for concept, names in concepts.items() for name in names]
    broken = [line for at in _sample(len(paths)) if (line := _broken(str(paths[at]), str(paths[at])))]
    is_labelled = len(concepts) > 1
    about = counted(len(paths), "image")
    about += f" in {len(concepts):,} subfolders, each a concept" if is_labelled else ", without concepts"
    offers = frozenset({"images", *(["concepts"] if is_labelled else [])})
    return Item(folder, "images", about, offers, {}, tuple(broken))


_OPENED = 20
"""Images that are opened of a set."""


def _sample(count: int) -> list[int]:
    """Positions spread over a list.

    >>> _sample(3), len(_sample(10**6))
    ([0, 1, 2], 20)
    """
    return sorted({at * count // _OPENED for at in range(_OPENED)}) if count else []


def _broken(source: str | bytes, name: str) -> str | None:
    """Why an image cannot be read, if it cannot."""
    from Activation_Extraction.images.reading import read_image

    try:
        read_image(source, name=name)
    except InputError as error:
        return str(error)
    return None


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
