"""Everything that is known of a unit, as its file says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from Microscope.bundle.distributions import Distributions, Ints
from Microscope.bundle.evidence.known import Known
from Microscope.bundle.format import Neighbour, Similar, Stratum, Tile, Unit
from Microscope.bundle.layers import SourceLayer


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest units of one kind of similarity, `(U, K)`."""

    unit_UK: Ints
    value_UK: Any

    def of(self, unit: int) -> list[Neighbour]:
        """Of a unit, nearest first."""
        pairs = zip(self.unit_UK[unit].tolist(), self.value_UK[unit].tolist(), strict=True)
        return [Neighbour(unit=other, value=value) for other, value in pairs if other >= 0]


@dataclass(frozen=True, eq=False)
class LayerFacts:
    """What the files of a layer's units are made from.

    Attributes:
        place_N: where the tile of each image is; -1 where its picture was not found, or is not shown.
        neighbours: kind of similarity → the nearest units; what is missing is not measured.
        edges: of each unit, among its neighbours by correlation.
    """

    source: SourceLayer
    distributions: Distributions
    known: Known
    place_N: Ints
    neighbours: Mapping[str, Neighbours]
    edges: Sequence[Sequence[tuple[int, int, float]]]

    def tiles(self, unit: int) -> list[int]:
        """Images whose tiles are in the sprites of a unit, in order, each once."""
        d = self.distributions
        rows = [*d.top_row_UK[unit].tolist(), *d.stratum_row_UST[unit].ravel().tolist()]
        return [row for row in dict.fromkeys(rows) if row >= 0 and self.place_N[row] >= 0]

    def unit(self, unit: int) -> Unit:
        """A unit's file."""
        d, known = self.distributions, self.known
        clusters = known.clusters.get(unit)
        places = {row: at for at, row in enumerate(self.tiles(unit))}
        nearest = {kind: self.neighbours[kind].of(unit) if kind in self.neighbours else None for kind in ("correlation", "weights", "effect")}  # fmt: skip
        n = int(d.count_U[unit])
        return Unit(
            unit=unit,
            layer=self.source.key,
            tiles=len(places),
            label=known.labels.get(unit),
            scores=known.scores.get(unit, {}),
            notes=known.notes.get(unit, []),
            top=[
                self._tile(row, a, percentile, places, clusters[1] if clusters else {}, known.heat.get(unit, {}))
                for row, a, percentile in _triples(d.top_row_UK[unit], d.top_activation_UK[unit], d.top_percentile_UK[unit])
            ],
            strata=[self._stratum(unit, s, places) for s in range(d.stratum_row_UST.shape[1]) if d.stratum_row_UST[unit, s, 0] >= 0],
            histogram=d.histogram_UB[unit].tolist(),
            minimum=_number(d.minimum_U[unit]),
            maximum=_number(d.maximum_U[unit]),
            mean=_number(d.mean_U[unit]),
            inactive=int(d.inactive_U[unit]) / n if n else None,
            unreadable=len(self.source.store) - n,
            renders=known.renders.get(unit, []),
            similar=Similar(edges=list(self.edges[unit]), **nearest),
            dose=known.dose.get(unit),
            clusters=clusters[0] if clusters else None,
        )  # fmt: skip

    def _stratum(self, unit: int, s: int, places: Mapping[int, int]) -> Stratum:
        d = self.distributions
        strata = d.stratum_row_UST.shape[1]
        low, high = d.stratum_end_USE[unit, s].tolist()
        found = _triples(
            d.stratum_row_UST[unit, s], d.stratum_activation_UST[unit, s], d.stratum_percentile_UST[unit, s]
        )
        heat = self.known.heat.get(unit, {})
        tiles = [self._tile(row, a, percentile, places, {}, heat) for row, a, percentile in found]
        return Stratum(from_quantile=s / strata, to_quantile=(s + 1) / strata, low=low, high=high, tiles=tiles)

    def _tile(
        self, row: int, a: float, percentile: float, places: Mapping[int, int], cluster_of: Mapping[int, int],
        heat_of: Mapping[int, tuple[str, tuple[int, int]]],
    ) -> Tile:  # fmt: skip
        source = self.source
        heat, shape = heat_of.get(row, (None, None))
        return Tile(
            tile=places.get(row), image=source.names[row], activation=a, percentile=percentile,
            concept=source.concepts[row], rights=source.rights[1][row], cluster=cluster_of.get(row),
            heat=heat, heat_shape=shape,
        )  # fmt: skip


def _triples(row_k: Any, a_k: Any, percentile_k: Any) -> list[tuple[int, float, float]]:
    pairs = zip(row_k.tolist(), a_k.tolist(), percentile_k.tolist(), strict=True)
    return [triple for triple in pairs if triple[0] >= 0]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
