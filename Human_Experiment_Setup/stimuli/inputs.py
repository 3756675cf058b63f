"""Inputs of a study, all read and checked before anything is written: pictures, units, renders, exemplars."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError, did_you_mean, shown
from Activation_Extraction.base.files import check_file
from Activation_Extraction.base.progress import Advance
from Activation_Extraction.images.places import FilePart, ImageError, bytes_of
from Activation_Extraction.images.sets import ImageSet
from Human_Experiment_Setup.stimuli.perturbations import Floats, Pixels
from Human_Experiment_Setup.stimuli.pictures import study_picture
from InterpScore.tables.image_names import rows_of_images
from InterpScore.tables.neuron_map import Concepts, normalised

_SHOWN = 10


@dataclass(frozen=True)
class Source:
    """A picture that a stimulus is made from.

    Attributes:
        name: in its image set; "unit/file" for renders.
        concept: as spelled in the study; for renders and exemplars, the concept of their unit.
        where: its bytes.
        split: of the image set, or "".
        sha256: of its file; "" until it is read.
    """

    name: str
    concept: str
    where: FilePart | bytes
    split: str = ""
    sha256: str = ""

    def picture(self, side: int) -> Pixels:
        """The picture as the study shows it."""
        return study_picture(bytes_of(self.where, self.name), self.name, side)


def rank(*parts: object) -> int:
    """A random number that depends on these parts only.

    >>> rank(0, 5, "fire/1.png") == rank(0, 5, "fire/1.png") != rank(0, 5, "fire/2.png")
    True
    """
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest(), "big")


# Clean pictures -----------------------------------------------------------------------------------------------------


def clean_sources(images: ImageSet, count: int | None, seed: int) -> list[Source]:
    """The clean pictures of an image set, ordered by concept and name.

    Args:
        images: the image set.
        count: pictures per concept, taken at random; None takes all.
        seed: random seed.

    Raises:
        InputError: pictures without a concept, of several levels, or duplicated; a concept with too few.
    """
    columns = {name: images.table[name].to_pylist() for name in images.table.column_names}
    levels = {level for level in columns.get("level", ()) if level not in (None, "")}
    if len(levels) > 1:
        some = ", ".join(sorted(map(str, levels)))
        raise InputError(f"IMAGES: pictures of the levels {some}; expected clean pictures alone")
    concepts = [str(concept or "").strip() for concept in columns.get("concept", [""] * len(images))]
    if nameless := [images.name(row) for row, concept in enumerate(concepts) if not concept]:
        more = f" (and {len(nameless) - 1} more like it)" if nameless[1:] else ""
        raise InputError(
            f"image {shown(nameless[0])}: has no concept{more}; expected a folder for each concept, or a table with "
            "the column 'concept'"
        )
    names = columns["image"]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise InputError(f"image {shown(twice[0])}: appears more than once; expected each picture once")
    spelling: dict[str, str] = {}
    of_concept: dict[str, list[Source]] = defaultdict(list)
    splits = columns.get("split", [""] * len(images))
    for row, (name, concept, split) in enumerate(zip(names, concepts, splits, strict=True)):
        spelled = spelling.setdefault(normalised(concept), concept)
        of_concept[spelled].append(Source(name, spelled, images.where(row), str(split or "")))
    few = [(concept, len(found)) for concept, found in of_concept.items() if count is not None and len(found) < count]
    if few:
        raise InputError(f"concept {shown(concept)}: {n} pictures; expected at least {count}" for concept, n in few)
    chosen = []
    for _, found in sorted(of_concept.items()):
        drawn = sorted(found, key=lambda source: rank(seed, source.name))[:count]
        chosen += sorted(drawn, key=lambda source: source.name)
    return chosen


def read_all(
    sources: Sequence[Source], side: int, advance: Advance, check: Callable[[Source, Pixels], str | None] | None = None
) -> list[Source]:
    """Read every picture once, before anything is written; returns the sources with their hashes.

    Args:
        sources: the pictures.
        side: pixels per side.
        advance: called after each picture.
        check: gives what is wrong with a readable picture, or None.

    Raises:
        InputError: unreadable pictures, and what is wrong with others, by name.
    """
    read, problems = [], []
    for source in sources:
        try:
            data = bytes_of(source.where, source.name)
            picture = study_picture(data, source.name, side)
            if check is not None and (problem := check(source, picture)):
                problems.append(problem)
            read.append(replace(source, sha256=hashlib.sha256(data).hexdigest()))
        except ImageError as error:
            problems.append(str(error))
        advance(1)
    if problems:
        more = [f"{len(problems) - _SHOWN:,} more pictures like these"] if problems[_SHOWN:] else []
        raise InputError(problems[:_SHOWN] + more)
    return read


# Units and renders --------------------------------------------------------------------------------------------------


def units_of_concepts(
    concepts: Iterable[str], neuron_map: Mapping[str, Concepts], layers: Sequence[str]
) -> dict[str, int]:
    """The unit of each concept according to a neuron map (unit → concepts).

    Args:
        concepts: of the study.
        neuron_map: may name units with their layer, as in "layer4.5:89".
        layers: names of the study's layer; units of other layers are ignored.

    Raises:
        InputError: a concept without a unit or with several, or a unit that is not a number.
    """
    of_concept: dict[str, list[str]] = defaultdict(list)
    for neuron, its_concepts in neuron_map.items():
        layer, _, unit = neuron.rpartition(":")
        for concept in its_concepts if not layer or layer in layers else ():
            of_concept[normalised(concept)].append(unit)
    units, problems = {}, []
    for concept in concepts:
        found = of_concept.get(normalised(concept), [])
        if len(found) == 1 and found[0].isdecimal():
            units[concept] = int(found[0])
        elif len(found) == 1:
            problems.append(f"neuron map: unit {shown(found[0])} of {shown(concept)}; expected a whole number")
        elif found:
            problems.append(f"neuron map: concept {shown(concept)} has the units {', '.join(found)}; expected one")
        else:
            hint = did_you_mean(normalised(concept), of_concept)
            problems.append(f"neuron map: no unit for the concept {shown(concept)}{hint}; expected one a concept")
    if problems:
        raise InputError(problems)
    return units


def render_sources(
    renders: Path, places: Sequence[str], units: Mapping[str, int], count: int | None
) -> tuple[list[Source], dict[str, Any]]:
    """The renders of each concept's unit, `<renders>/<unit>/*.png` or `<renders>/<place>/<unit>/*.png`.

    Args:
        renders: the folder.
        places: subfolders to look in as well, such as "clip-mini/layer4".
        units: concept → unit.
        count: renders per unit, the first by name; None takes all.

    Returns:
        The pictures, and the contents of the manifest.json nearest to each unit, by folder.

    Raises:
        InputError: no such folder, or a unit with too few renders.
    """
    if not renders.is_dir():
        raise InputError(
            f"renders {renders}: no such folder; expected <unit>/*.png in it, as `interpscore dream` writes"
        )
    sources, problems = [], []
    said: dict[str, Any] = {}
    for concept, unit in units.items():
        folders = [renders / place / str(unit) for place in ("", *places)]
        folder = next((folder for folder in folders if folder.is_dir()), folders[0])
        files = sorted(folder.glob("*.png"))[:count]
        if len(files) < (count or 1):
            problems.append(
                f"renders {folder}: {len(files)} renders of unit {unit} ({concept}); expected at least {count or 1}"
            )
        problems += [f"renders {problem}" for file in files if (problem := _no_file(file, renders))]
        sources += [Source(f"{unit}/{file.name}", concept, FilePart(str(file))) for file in files]
        for place in (folder, *folder.parents):
            if place.is_relative_to(renders) and (place / "manifest.json").is_file():
                said |= {place.relative_to(renders).as_posix(): read_json(place / "manifest.json", renders)}
                break
    if problems:
        raise InputError(problems)
    return sources, said


def _no_file(path: Path, renders: Path) -> str | None:
    """Why a render is no file of the folder, or None."""
    try:
        check_file(path, renders)
    except OSError as error:
        return f"{path}: {error.strerror}; expected a file"
    return None


# Natural pictures ---------------------------------------------------------------------------------------------------


def exemplar_sources(
    images: ImageSet, activation_IU: Floats, units: Mapping[str, int], most: bool, count: int
) -> list[Source]:
    """The natural pictures that activate each concept's unit most (or least), in order.

    Args:
        images: natural pictures.
        activation_IU: activations of the concepts' units; NaN where unknown.
        units: concept → unit.
        most: the most active rather than the least.
        count: pictures per concept.

    Raises:
        InputError: too few pictures with an activation.
    """
    sources = []
    for u, concept in enumerate(units):
        known = np.flatnonzero(~np.isnan(activation_IU[:, u]))
        if len(known) < count:
            raise InputError(f"exemplars: {len(known)} pictures with an activation; expected at least {count}")
        values = activation_IU[known, u]
        for row in known[np.argsort(-values if most else values, kind="stable")[:count]]:
            sources.append(Source(images.name(int(row)), concept, images.where(int(row))))
    return sources


def stored_activations(images: ImageSet, store: Path, layer: str, units: Sequence[int]) -> Floats:
    """Activations of units on pictures, `(I, U)`, from a store of `interpscore extract`; pictures are matched by name.

    Raises:
        InputError: no store, no such layer or unit in it, or ambiguous names.
    """
    from Activation_Extraction.store.reader import ActivationStore

    opened = ActivationStore.open(store)
    names = [images.name(row) for row in range(len(images))]
    row_I = rows_of_images(names, opened.images["image"].tolist(), "exemplars", str(store))
    stored_RU = np.asarray(opened.units(opened.resolve_layer(layer), units), dtype=np.float64)
    return np.where((row_I >= 0)[:, None], stored_RU[row_I], np.nan)
