"""Interventions on one layer of a network: what comes before the layer runs once an image, and how far its output moves.

    layer = LayerInterventions(load_model("clip-mini"), "block_4", units=[185, 336])
    for image in layer.see(x_NCHW):
        effect_SU, _ = image.effects([ablate(), amplify()])        # Δ_0 and Δ_2 of METRICS.md, section 2
        image.joint_change({185: ablate(), 336: clamp(0, 1)})      # several units in one run

All effects of the layer that feeds CLIP's attention pool are computed at once (`interventions.attention_pool`); those of any
other layer of any network by running what follows it, for many units and interventions together.

Shapes: S interventions, U units, P positions of the map, E embedding, N images, V variants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from Activation_Extraction.backends.batch_sizes import largest_batch
from Activation_Extraction.backends.plain_network import running, unit_axis
from Activation_Extraction.models.modified_resnet import ModifiedResNet
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.surgery.replay import leaves
from Activation_Extraction.models.surgery.suffix import Suffix
from Activation_Extraction.models.trace import trace
from InterpScore.errors import InputError, shown
from InterpScore.interventions.attention_pool import AttentionPoolUpdate
from InterpScore.interventions.edits import Intervention, Scale

VARIANTS = 32
"""Edited maps that run through the rest of a network together, at most."""

EMBEDDINGS = ("image_embeds", "pooler_output", "logits")
"""What is taken of a network that gives several tensors by name, in this order; else its first tensor."""


def feeds_attention_pool(model: Model, layer: str) -> bool:
    """Whether a layer, by any of its names, is what CLIP's attention pool reads, so that all effects are had at once."""
    tower = model.image_tower
    if type(tower) is not ModifiedResNet:
        return False
    last = f"layer4.{len(tower.layer4) - 1}"
    return model.layers.resolve(layer) in ("layer4", last, f"{last}.relu3")


def unit_count(model: Model, layer: str) -> int:
    """How many units a layer, by any of its names, has.

    Raises:
        InputError: an unknown layer, one without an axis of units, or that runs several times or never.
    """
    name = model.layers.resolve(layer)
    shapes = model.layers.shapes(model.example())
    if name not in shapes:
        calls = [call for call in shapes if call.startswith(f"{name}#")]
        raise InputError(f"layer {shown(layer)} of {model.name}: runs {len(calls)} times; expected {', '.join(calls) or 'one that runs'}")  # fmt: skip
    return shapes[name][unit_axis(model, name, shapes[name])]


class LayerInterventions:
    """Units, or directions, of one layer of a model, ready for interventions. The model itself is never changed.

    Args:
        model: what `load_model` or an adapter gives; what it makes of an image must not depend on the rest of a batch.
        layer: by any of its names.
        units: on which to intervene; None is all of them.
        directions_UC: directions in the space of the layer's C units in their place, such as rows of a dictionary's
            decoder. The activation along a direction d is `x·d / d·d` at each position.
        exact: whether to compute effects by the update of the attention pool; None wherever that is possible.

    Raises:
        InputError: an unknown layer; units and directions both; `exact` where it is not possible.

    Source: METRICS.md, section 2.
    """

    def __init__(
        self,
        model: Model,
        layer: str,
        units: Sequence[int] | None = None,
        directions_UC: Tensor | None = None,
        exact: bool | None = None,
    ) -> None:
        if units is not None and directions_UC is not None:
            raise InputError("units and directions: found both; expected one of them")
        self.model, self.layer = model, model.layers.resolve(layer)
        self.directions_UC = None if directions_UC is None else directions_UC.to(model.device)
        self.units = None if units is None else [int(unit) for unit in units]
        possible = feeds_attention_pool(model, layer)
        if exact and not possible:
            raise InputError(
                f"exact: layer {shown(layer)} of {model.name} does not feed CLIP's attention pool; expected its last "
                "block, or exact=False"
            )
        self.exact = possible if exact is None else exact
        self._update: AttentionPoolUpdate | None = None
        self._suffix: Suffix | None = None
        if self.exact:
            self._update = AttentionPoolUpdate(model.image_tower.attnpool, self.units, self.directions_UC)  # type: ignore[arg-type]
        else:
            self._suffix = Suffix(model.image_tower, self.layer)
        self.variants = 1 if self.exact else min(VARIANTS, largest_batch(model))
        """Edited maps that run together."""

    def __reduce__(self) -> Any:
        """Pickled as what it was made from."""
        return LayerInterventions, (self.model, self.layer, self.units, self.directions_UC, self.exact)

    @property
    def method(self) -> str:
        """How effects are computed, in words."""
        if self._suffix is None:
            return "exact update of the attention pool"
        because = self._suffix.full_run_reason
        return f"the whole network for each unit ({because})" if because else "what follows the layer, for each unit"

    def count(self) -> int:
        """How many units, or directions, there are to intervene on."""
        chosen = self.units if self.directions_UC is None else self.directions_UC
        return self._all_units if chosen is None else len(chosen)

    @cached_property
    def _all_units(self) -> int:
        return unit_count(self.model, self.layer)

    def see(self, x: Tensor) -> Iterator[SeenImage]:
        """Run what comes before the layer, and give each image in turn; use one before asking for the next.

        Args:
            x: a batch as the model takes it, `(N, …)`.

        Raises:
            InputError: a layer without an axis of units; a unit that it does not have; directions of another length.
        """
        x = x.to(self.model.device)
        if self._suffix is None:
            yield from self._before_pool(x)
            return
        for one in x:
            with running(self.model):
                a, output = self._suffix.record(one[None])
                embedding_E = embedding_of(output, 1)[0]
            rest = _embeddings(self._suffix)
            yield SeenImage(self, a, unit_axis(self.model, self.layer, a.shape), rest, embedding_E)

    def _before_pool(self, x: Tensor) -> Iterator[SeenImage]:
        tower: Any = self.model.image_tower
        with running(self.model):
            with trace(tower, self.layer) as retained:
                retained.run(x)
            a_NCHW = retained[self.layer]
            embedding_NE = tower.attnpool(a_NCHW)
        for a_CHW, embedding_E in zip(a_NCHW, embedding_NE, strict=True):
            yield SeenImage(self, a_CHW[None], 1, _embeddings(tower.attnpool), embedding_E, self._update)


class SeenImage:
    """An image up to the layer; made by `LayerInterventions.see`.

    Attributes:
        a: the layer's output, `(1, …)`.
        embedding_E: what the network gives for the image.
    """

    def __init__(
        self,
        layer: LayerInterventions,
        a: Tensor,
        axis: int,
        rest: Callable[[Tensor], Tensor],
        embedding_E: Tensor,
        update: AttentionPoolUpdate | None = None,
    ) -> None:
        self.a, self.embedding_E = a, embedding_E
        self._layer, self._axis, self._rest, self._update = layer, axis, rest, update
        self.map_CP = a.movedim(axis, 1)[0].flatten(1) if a.ndim > 2 else a[0][:, None]
        """The layer's output, unit by position."""
        channels = len(self.map_CP)
        wrong = [unit for unit in layer.units or () if not 0 <= unit < channels]
        if wrong:
            raise InputError(f"unit {wrong[0]}: layer {shown(layer.layer)} has units 0 to {channels - 1}")
        d_UC = layer.directions_UC
        if d_UC is not None and (d_UC.ndim != 2 or d_UC.shape[1] != channels):
            raise InputError(f"directions: found the shape {tuple(d_UC.shape)}; expected (U, {channels})")

    @property
    def activation_UP(self) -> Tensor:
        """Activations of the units, or along the directions, position by position."""
        d_UC, units = self._layer.directions_UC, self._layer.units
        if d_UC is not None:
            return (d_UC @ self.map_CP) / d_UC.square().sum(1, keepdim=True)
        return self.map_CP if units is None else self.map_CP[units]

    def changes(self, interventions: Sequence[Intervention]) -> Iterator[tuple[slice, Tensor]]:
        """How the embedding moves when each intervention is made on each unit alone.

        Yields:
            A slice of the units, and the change of the embedding for them, `(S, U, E)`; exactly 0 where an
            intervention leaves a unit as it is.
        """
        made = self._exact(self._update, interventions) if self._update else self._run(interventions)
        while True:
            with running(self._layer.model):  # while computing, not while the caller works
                part = next(made, None)
            if part is None:
                return
            yield part

    def effects(
        self, interventions: Sequence[Intervention], toward_E: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """`Δ = ‖E' − E‖ / ‖E‖` of each intervention on each unit, `(S, U)`.

        Args:
            toward_E: a direction in the space of embeddings, such as that of a text; the change of the cosine with it
                is given as well, `(S, U)`, else None.
        """
        effects, turns = [], []
        for _, change_SUE in self.changes(interventions):
            effects.append(change_SUE.norm(dim=-1) / self.embedding_E.norm())
            if toward_E is not None:
                turns.append(cosine_change(self.embedding_E, change_SUE, toward_E))
        return torch.cat(effects, 1), torch.cat(turns, 1) if turns else None

    def joint_change(self, interventions: Mapping[int, Intervention]) -> Tensor:
        """How the embedding moves, `(E,)`, when several units change together.

        Args:
            interventions: what to do with which unit; with directions, with which row of them. What each adds is taken
                from the map as the image gave it.
        """
        layer = self._layer
        a_UP, x_CP = self.activation_UP, self.map_CP.clone()
        rows_of = {unit: row for row, unit in enumerate(layer.units or range(len(a_UP)))}
        if unknown := [unit for unit in interventions if unit not in rows_of]:
            raise InputError(f"unit {unknown[0]}: not among the {len(rows_of)} that the layer was prepared for")
        with running(layer.model):
            for unit, intervention in interventions.items():
                row = rows_of[unit]
                self._edit(x_CP, row, intervention(a_UP[row : row + 1])[0], a_UP[row])
            rows = self._rest(torch.cat([self.a, self._shaped(x_CP)]))
            return rows[1] - rows[0]

    def _exact(
        self, update: AttentionPoolUpdate, interventions: Sequence[Intervention]
    ) -> Iterator[tuple[slice, Tensor]]:
        a_UP = self.activation_UP
        if all(isinstance(intervention, Scale) for intervention in interventions):
            strengths = [intervention.by - 1 for intervention in interventions if isinstance(intervention, Scale)]
            yield from update.embedding_changes(self.map_CP, a_UP, strengths)
            return
        added = [intervention(a_UP) - a_UP for intervention in interventions]
        for parts in zip(*(update.embedding_changes(self.map_CP, added_UP, [1.0]) for added_UP in added), strict=True):
            yield parts[0][0], torch.cat([change_SUE for _, change_SUE in parts])

    def _run(self, interventions: Sequence[Intervention]) -> Iterator[tuple[slice, Tensor]]:
        a_UP = self.activation_UP
        wanted_SUP = torch.stack([intervention(a_UP) for intervention in interventions])
        S, U = wanted_SUP.shape[:2]
        at_once = max(1, self._layer.variants // S)
        for start in range(0, U, at_once):
            chosen = slice(start, min(start + at_once, U))
            moved = (wanted_SUP[:, chosen] != a_UP[chosen]).flatten(2).any(2).nonzero().tolist()
            change_SUE = self.embedding_E.new_zeros(S, chosen.stop - start, len(self.embedding_E))
            if moved:
                variants = [self._variant(start + u, wanted_SUP[s, start + u], a_UP[start + u]) for s, u in moved]
                # The map as it was runs along: all rows are computed alike, so what rounding does to them cancels.
                rows = self._rest(torch.cat([self.a, *variants]))
                for row, (s, u) in zip(rows[1:], moved, strict=True):
                    change_SUE[s, u] = row - rows[0]
            yield chosen, change_SUE

    def _variant(self, row: int, wanted_P: Tensor, a_P: Tensor) -> Tensor:
        x_CP = self.map_CP.clone()
        self._edit(x_CP, row, wanted_P, a_P)
        return self._shaped(x_CP)

    def _edit(self, x_CP: Tensor, row: int, wanted_P: Tensor, a_P: Tensor) -> None:
        """Write what a unit, or the activation along a direction, is to be into a map."""
        if self._layer.directions_UC is not None:
            x_CP += self._layer.directions_UC[row][:, None] * (wanted_P - a_P)
        else:
            x_CP[row if self._layer.units is None else self._layer.units[row]] = wanted_P

    def _shaped(self, x_CP: Tensor) -> Tensor:
        """A map as the layer gives it, `(1, …)`."""
        like = self.a.movedim(self._axis, 1)
        return x_CP.reshape(like.shape).movedim(1, self._axis)


def cosine_change(embedding_E: Tensor, change_E: Tensor, toward_E: Tensor) -> Tensor:
    """The change of an embedding's cosine with a direction, without cancellation: exactly 0 where nothing moves.

    Args:
        change_E: `(…, E)`, what is added to the embedding.

    Returns:
        `(…)`, from -2 to 2.
    """
    toward_E = toward_E.to(embedding_E) / toward_E.norm()
    length = embedding_E.norm()
    longer = (embedding_E + change_E).norm(dim=-1)
    growth = (2 * change_E @ embedding_E + change_E.square().sum(-1)) / (longer + length)
    turned: Tensor = (change_E @ toward_E - (embedding_E @ toward_E / length) * growth) / longer
    return turned


def embedding_of(output: Any, images: int) -> Tensor:
    """The embeddings `(N, E)` in what a network gives for N images: a tensor, or the one that `EMBEDDINGS` names.

    Raises:
        InputError: no tensor with a row for each image.
    """
    named = [output[name] for name in EMBEDDINGS if isinstance(output, Mapping) and output.get(name) is not None]
    found = [leaf for leaf in [*named, *leaves(output)] if isinstance(leaf, Tensor) and leaf.ndim]
    if not found or len(found[0]) != images:
        raise InputError(f"the network gives {type(output).__name__}; expected a tensor with a row for each image")
    return found[0].flatten(1) if found[0].ndim > 1 else found[0][:, None]


def _embeddings(rest: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
    return lambda variants: embedding_of(rest(variants), len(variants))
