"""A layer's own files: what it is, and the values of all its units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from Microscope.bundle import atlas, columns
from Microscope.bundle.distributions import BINS, Distributions, Floats
from Microscope.bundle.evidence.known import Known
from Microscope.bundle.format import Index, Layer, Notable, Null, Numbers, Sprite
from Microscope.bundle.layers import SourceLayer
from Microscope.bundle.options import Options
from Microscope.bundle.pictures import COLUMNS
from Microscope.bundle.similarity import REDUNDANT

FEW_IMAGES = 1000
_NOTABLE = 12
_SEARCHED = 8


@dataclass(frozen=True)
class UnitFiles:
    """The files of a unit, below the layer's folder."""

    unit: str
    sprite: str | None
    rest: str | None
    thumb: str | None


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of all units together.

    Attributes:
        nulls: kind of similarity → what chance gives.
        place_U2: on the map; redundant: pairs of units.
        nearest_U: the highest correlation of each unit.
    """

    nulls: Mapping[str, Null]
    place_U2: Floats
    redundant: Sequence[tuple[int, int]]
    nearest_U: Floats
    shown: int
    """Pictures that were found."""
    wanted: int


def add_store_values(known: Known, source: SourceLayer, d: Distributions, measured: Measured) -> None:
    """Note what the store alone says of units."""
    there_U = d.count_U > 0
    known.columns |= columns.of_store(len(source.store), source.store.path.name)
    for name, value_U in {
        "mean": d.mean_U, "maximum": d.maximum_U, "minimum": d.minimum_U, "deviation": d.deviation_U,
        "inactive": d.inactive_U / np.maximum(d.count_U, 1), "dead": dead(d).astype(float),
        "constant": constant(d).astype(float), "nearest_correlation": measured.nearest_U,
    }.items():  # fmt: skip
        known.column(name)[:] = np.where(there_U, value_U, np.nan)


def dead(d: Distributions) -> Any:
    """Units that are never above 0."""
    return (d.count_U > 0) & (d.maximum_U <= 0)


def constant(d: Distributions) -> Any:
    """Units that have one activation on all images."""
    return (d.count_U > 0) & (d.maximum_U == d.minimum_U)


def index_of(known: Known, files: Sequence[UnitFiles]) -> Index:
    """The files of a layer's units, and their labels."""
    labels = [known.labels.get(unit) for unit in range(len(files))]
    return Index(
        unit_file=[each.unit for each in files],
        sprite_file=[each.sprite for each in files],
        rest_file=[each.rest for each in files],
        thumb_file=[each.thumb for each in files],
        label=[label.text if label else None for label in labels],
    )


def numbers_of(known: Known, source: SourceLayer, d: Distributions, place_U2: Floats) -> Numbers:
    """What the pages of all units search, sort and draw."""
    searched = []
    for unit in range(source.units):
        label = known.labels.get(unit)
        names = [runner.text for runner in label.runners_up] if label else []
        names += [source.concepts[row] or "" for row in d.top_row_UK[unit].tolist() if row >= 0]
        own = label.text if label else None
        searched.append([name for name in dict.fromkeys(names) if name and name != own][:_SEARCHED])
    has_map = bool(np.isfinite(place_U2).any())
    return Numbers(
        concepts=searched,
        columns={name: value_U.tolist() for name, value_U in known.values.items()},
        map={"x": place_U2[:, 0].tolist(), "y": place_U2[:, 1].tolist()} if has_map else None,
    )


def layer_of(
    known: Known, source: SourceLayer, d: Distributions, measured: Measured, options: Options, files: Mapping[str, str | None]
) -> Layer:  # fmt: skip
    """The file of a layer.

    Args:
        files: `index`, `numbers` and `concepts`, below the layer's folder.
    """
    identity, images = source.store.identity, len(source.store)
    found = statistics(known, source, d, measured)
    known_columns = {**known.columns, "map": columns.described("map", f"units that correlate lie near each other; axes have no unit: {atlas.method(source.units)}", source.store.path.name)}  # fmt: skip
    return Layer(
        key=source.key,
        model=source.model,
        layer=source.layer,
        title=f"{source.model} · {source.layer}",
        units=source.units,
        images=images,
        sprite=Sprite(tile=options.tile, columns=COLUMNS, first=options.top),
        index=str(files["index"]),
        numbers=str(files["numbers"]),
        concepts=files["concepts"],
        sources=[source.source, *known.sources],
        columns=known_columns | columns.of_layer(found, known_columns, source.store.path.name),
        not_measured=dict(sorted(known.not_measured.items())),
        preprocessing=str(identity.get("preprocessing") or "not stated"),
        input=str(identity.get("input") or "not stated"),
        histogram_edges=np.linspace(0, 1, BINS + 1).tolist(),
        nulls=dict(measured.nulls),  # type: ignore[arg-type]
        statistics=found,
        notable=notable(known, d, measured),
        weights=known.weights,
        rights=source.rights[0],
        limits=limits(known, source, measured),
        citation=citation(source),
    )


def statistics(
    known: Known, source: SourceLayer, d: Distributions, measured: Measured
) -> dict[str, float | int | None]:
    """Of the layer."""
    labels = [label.text for label in known.labels.values() if label.text is not None]
    concepts = {concept for concept in source.concepts if concept is not None}
    null = measured.nulls.get("correlation")
    chance = null.nearest_95 if null else np.nan
    found: dict[str, float | int | None] = {
        "dead": int(dead(d).sum()), "constant": int(constant(d).sum()), "redundant": len(measured.redundant),
        "images": len(source.store), "unreadable_images": sum(not digest for digest in source.hashes),
        "pictures_shown": measured.shown, "pictures_not_found": measured.wanted - measured.shown,
        "nearest_above_chance": int((measured.nearest_U > chance).sum()) if np.isfinite(chance) else None,
        "labelled": len(labels) if known.labels else None,
        "concepts_of_labels": len(set(labels)) if known.labels else None,
        "concepts_of_images": len(concepts) if concepts else None,
        "concepts_covered": len(concepts & set(labels)) / len(concepts) if concepts and known.labels else None,
        "scored": sum("InterpScore" in scores for scores in known.scores.values()) or None,
    }  # fmt: skip
    for name in ("inactive", "sparsity", "entropy", "kurtosis", "MS", "MS_top", "clarity", "redundancy"):
        if name in known.values and np.isfinite(known.values[name]).any():
            found[f"median_{name}"] = float(np.nanmedian(known.values[name]))
    return found


def notable(known: Known, d: Distributions, measured: Measured) -> list[Notable]:
    """Units worth a look."""
    found = [*known.notable]
    ranked = (
        ("InterpScore", "highest InterpScore"), ("S", "most selective"), ("label_score", "clearest label"),
        ("MS_top", "most monosemantic"), ("kurtosis", "heaviest tail: few pictures, far above the rest"),
        ("deviation", "largest range of activation"),
    )  # fmt: skip
    for name, why in ranked:
        value_U = known.values.get(name)
        if value_U is not None and np.isfinite(value_U).any():
            order = np.argsort(-np.nan_to_num(value_U, nan=-np.inf), kind="stable")
            units = [int(unit) for unit in order[:_NOTABLE] if np.isfinite(value_U[unit])]
            found.append(Notable(why=why, units=units))
    if "MS_top" in known.values and known.labels:
        order = np.argsort(-np.nan_to_num(known.values["MS_top"], nan=-np.inf), kind="stable")
        unlabelled = [int(u) for u in order if np.isfinite(known.values["MS_top"][u]) and not _has_label(known, int(u))]
        if unlabelled:
            found.append(Notable(why="no label but high monosemanticity", units=unlabelled[:_NOTABLE]))
    for a, b in measured.redundant[:_NOTABLE]:
        found.append(Notable(why=f"a redundant pair: correlation of at least {REDUNDANT}", units=[a, b]))
    for name, flags in (("dead: never above 0", dead(d)), ("constant: the same on all images", constant(d))):
        if flags.any():
            found.append(Notable(why=name, units=np.flatnonzero(flags)[:_NOTABLE].tolist()))
    return found


def _has_label(known: Known, unit: int) -> bool:
    return unit in known.labels and known.labels[unit].text is not None


def limits(known: Known, source: SourceLayer, measured: Measured) -> list[str]:
    """What the data impose."""
    found, images = [], len(source.store)
    if images < FEW_IMAGES:
        found.append(f"{images:,} images: percentiles, histograms and neighbours are of these few alone.")
    if unread := sum(not digest for digest in source.hashes):
        found.append(f"{unread:,} of {images:,} images could not be read and have no activation.")
    if measured.shown < measured.wanted:
        found.append(f"{measured.wanted - measured.shown:,} of {measured.wanted:,} pictures were not found or are other files than those that were measured; they are not shown.")  # fmt: skip
    if known.simulated:
        found.append("The participants are SIMULATED: no person rated anything.")
    return [*found, *known.limits]


def citation(source: SourceLayer) -> str:
    """BibTeX of the software, with what it was used on in the note."""
    from importlib.metadata import version

    note = f"{source.model}, layer {source.layer}, store {source.sha256[:12]}".translate(_NOT_IN_BIBTEX)
    return f"@software{{interpscore,\n  title = {{InterpScore}},\n  version = {{{version('interpscore')}}},\n  note = {{{note}}}\n}}\n"  # fmt: skip


_NOT_IN_BIBTEX = str.maketrans(
    {"{": "(", "}": ")", "\\": "/", "\n": " ", "%": "\\%", "_": "\\_", "&": "\\&", "#": "\\#"}
)
