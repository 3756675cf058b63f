"""Interventions on one layer of a network: the layers before it run once per image, then the effect of every unit is measured.

    layer = LayerInterventions(load_model("clip-mini"), "block_4", units=[185, 336])
    for image in layer.forward_to_layer(x_NCHW):
        effect_SU, _ = image.effects([ablate(), amplify()])        # Δ_0 and Δ_2 of METRICS.md, section 2
        image.joint_change({185: ablate(), 336: clamp(0, 1)})      # several units in one run

For the layer that feeds CLIP's attention pool, all effects are computed at once (`interventions.attention_pool`). For any
other layer, the rest of the network runs on batches of edited maps.

Shapes: S interventions, U units, P positions of the map, E embedding, N images, V variants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from Activation_Extraction.backends.batch_sizes import largest_batch
from Activation_Extraction.backends.plain_network import checked_axes, running
from Activation_Extraction.models.modified_resnet import ModifiedResNet
from Activation_Extraction.models.registry import Model
from Activation_Extraction.models.surgery.replay import leaves
from Activation_Extraction.models.surgery.suffix import Suffix
from Activation_Extraction.models.trace import trace
from InterpScore.errors import InputError, shown
from InterpScore.interventions.attention_pool import AttentionPoolUpdate, check_axes, refuse_both
from InterpScore.interventions.edits import Intervention, Scale

VARIANTS = 32
"""Largest batch of edited maps."""

EMBEDDINGS = ("image_embeds", "pooler_output", "logits")
"""The outputs taken as the embedding of a network with named outputs, by priority; else its first tensor."""


def feeds_attention_pool(model: Model, layer: str) -> bool:
    """Whether a layer, by any of its names, is the input of CLIP's attention pool."""
    if type(model.image_tower) is not ModifiedResNet:
        return False
    last = f"layer4.{len(model.image_tower.layer4) - 1}"
    return model.layers.resolve(layer) in ("layer4", last, f"{last}.relu3")


def unit_count(model: Model, layer: str) -> int:
    """Number of units of a layer, by any of its names.

    Raises:
        InputError: an unknown layer, one without an axis of units, or that runs several times or never.
    """
    name = model.layers.resolve(layer)
    shapes = model.layers.shapes_of_batches(model.example())
    if name not in shapes:
        calls = [call for call in shapes if call.startswith(f"{name}#")]
        raise InputError(f"layer {shown(layer)} of {model.name}: runs {len(calls)} times; expected {', '.join(calls) or 'one that runs'}")  # fmt: skip
    one, *_ = shapes[name].values()
    return one[model.layers.axes(name, shapes[name]).units]


class LayerInterventions:
    """Units, or directions, of one layer of a model, ready for interventions. The model is never changed.

    Args:
        model: from `load_model` or an adapter; its output for an image must not depend on the rest of the batch.
        layer: by any of its names.
        units: the units to intervene on; None is all.
        directions_UC: directions to use instead, such as rows of a dictionary's decoder. The activation along a
            direction d is `x·d / d·d` at each position.
        exact: use the update of the attention pool; None uses it wherever possible.

    Raises:
        InputError: unknown layer; both units and directions; `exact` where it is not possible; without `exact`, a layer
            that runs several times, or whose axes `checked_axes` refuses.

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
        refuse_both(units, directions_UC)
        self.model, self.layer = model, model.layers.resolve(layer)
        self.directions_UC = None if directions_UC is None else directions_UC.to(model.device)
        self.units = None if units is None else [int(unit) for unit in units]
        possible = feeds_attention_pool(model, layer)
        if exact and not possible:
            raise InputError(f"exact: layer {shown(layer)} of {model.name} does not feed CLIP's attention pool; expected its last block, or exact=False")  # fmt: skip
        self.exact = possible if exact is None else exact
        tower: Any = model.image_tower
        self._update = AttentionPoolUpdate(tower.attnpool, self.units, self.directions_UC) if self.exact else None
        self._suffix: Suffix | None = None
        self._unit_axis = 1
        if not self.exact:
            axes = checked_axes(model, [self.layer])[self.layer]
            self._unit_axis, self._suffix = axes.units_after_images, Suffix(tower, self.layer, axes)
        self.variants = 1 if self.exact else min(VARIANTS, largest_batch(model))
        """Batch size for edited maps."""

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
        """Number of units, or directions, to intervene on."""
        chosen = self.units if self.directions_UC is None else self.directions_UC
        return self._all_units if chosen is None else len(chosen)

    @cached_property
    def _all_units(self) -> int:
        return unit_count(self.model, self.layer)

    def forward_to_layer(self, x: Tensor) -> Iterator[ImageState]:
        """Run the network up to the layer and yield the state of each image; use one before asking for the next.

        Args:
            x: a batch of inputs, `(N, …)`.

        Raises:
            InputError: a layer without an axis of units; a unit it does not have; directions of another length.
        """
        x, tower = x.to(self.model.device), self.model.image_tower
        if self._suffix is not None:
            for one in x:
                with running(self.model):
                    a, output = self._suffix.record(one[None])
                    embedding_E = embedding_of(output, 1)[0]
                yield ImageState(self, a, self._unit_axis, self._suffix, embedding_E)
            return
        pool: Any = tower.attnpool
        with running(self.model):
            with trace(tower, self.layer) as retained:
                retained.run(x)
            a_NCHW = retained[self.layer]
            embedding_NE = pool(a_NCHW)
        for a_CHW, embedding_E in zip(a_NCHW, embedding_NE, strict=True):
            yield ImageState(self, a_CHW[None], self._unit_axis, pool, embedding_E)


class ImageState:
    """The forward pass of one image up to the layer; made by `LayerInterventions.forward_to_layer`.

    Attributes:
        a: the layer's output, the image first, `(1, …)`; map_CP: the same, unit by position.
        embedding_E: the network's output for the unedited image.
    """

    def __init__(
        self,
        layer: LayerInterventions,
        a: Tensor,
        axis: int,
        rest: Callable[[Tensor], Any],
        embedding_E: Tensor,
    ) -> None:
        self.a, self.embedding_E = a, embedding_E
        self._layer, self._axis, self._rest = layer, axis, rest
        self.map_CP = a.movedim(axis, 1)[0].flatten(1) if a.ndim > 2 else a[0][:, None]
        check_axes(f"layer {shown(layer.layer)}", len(self.map_CP), layer.units, layer.directions_UC)

    @property
    def activation_UP(self) -> Tensor:
        """Activations of the units, or along the directions, at each position."""
        d_UC, units = self._layer.directions_UC, self._layer.units
        if d_UC is not None:
            return (d_UC @ self.map_CP) / d_UC.square().sum(1, keepdim=True)
        return self.map_CP if units is None else self.map_CP[units]

    def changes(self, interventions: Sequence[Intervention]) -> Iterator[tuple[slice, Tensor]]:
        """Change of the embedding under each intervention on each unit alone.

        Yields:
            A slice of the units, and their changes `(S, U, E)`; exactly 0 where an intervention changes nothing.
        """
        update = self._layer._update
        made = self._exact(update, interventions) if update else self._run(interventions)
        while True:
            with running(self._layer.model):  # not while the caller works
                part = next(made, None)
            if part is None:
                return
            yield part

    def effects(
        self, interventions: Sequence[Intervention], toward_E: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """`Δ = ‖E' − E‖ / ‖E‖` of each intervention on each unit, `(S, U)`.

        Args:
            toward_E: a direction in embedding space, such as a text; the change of the cosine with it is returned
                too, `(S, U)`, else None.
        """
        effects, turns = [], []
        for _, change_SUE in self.changes(interventions):
            effects.append(change_SUE.norm(dim=-1) / self.embedding_E.norm())
            if toward_E is not None:
                turns.append(cosine_change(self.embedding_E, change_SUE, toward_E))
        return torch.cat(effects, 1), torch.cat(turns, 1) if turns else None

    def joint_change(self, interventions: Mapping[int, Intervention]) -> Tensor:
        """Change of the embedding, `(E,)`, when several units change together.

        Args:
            interventions: unit, or row of the directions → intervention; each reads the unedited map.
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
            return self._moved([x_CP])[0]

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
                edited = [self.map_CP.clone() for _ in moved]
                for x_CP, (s, u) in zip(edited, moved, strict=True):
                    self._edit(x_CP, start + u, wanted_SUP[s, start + u], a_UP[start + u])
                s, u = torch.tensor(moved).T
                change_SUE[s, u] = self._moved(edited)
            yield chosen, change_SUE

    def _edit(self, x_CP: Tensor, row: int, wanted_P: Tensor, a_P: Tensor) -> None:
        """Set a unit, or the activation along a direction, in a map."""
        if self._layer.directions_UC is not None:
            x_CP += self._layer.directions_UC[row][:, None] * (wanted_P - a_P)
        else:
            x_CP[row if self._layer.units is None else self._layer.units[row]] = wanted_P

    def _moved(self, edited: Sequence[Tensor]) -> Tensor:
        """Change of the embedding for each edited map; the unedited one runs in the same batch, so rounding cancels."""
        like = self.a.movedim(self._axis, 1)
        maps = torch.cat([self.a, *(x_CP.reshape(like.shape).movedim(1, self._axis) for x_CP in edited)])
        embedding_NE = embedding_of(self._rest(maps), len(maps))
        return embedding_NE[1:] - embedding_NE[0]


def cosine_change(embedding_E: Tensor, change_E: Tensor, toward_E: Tensor) -> Tensor:
    """Change of an embedding's cosine with a direction, `(…)`, from -2 to 2; exactly 0 where `change_E`, `(…, E)`, is 0."""
    toward_E = toward_E.to(embedding_E) / toward_E.norm()
    length = embedding_E.norm()
    longer = (embedding_E + change_E).norm(dim=-1)
    growth = (2 * change_E @ embedding_E + change_E.square().sum(-1)) / (longer + length)
    turned: Tensor = (change_E @ toward_E - (embedding_E @ toward_E / length) * growth) / longer
    return turned


def embedding_of(output: Any, images: int) -> Tensor:
    """The embeddings `(N, E)` in a network's output for N images: a tensor, or the one that `EMBEDDINGS` names.

    Raises:
        InputError: no tensor with a row for each image.
    """
    named = [output[name] for name in EMBEDDINGS if isinstance(output, Mapping) and output.get(name) is not None]
    found = [leaf for leaf in [*named, *leaves(output)] if isinstance(leaf, Tensor) and leaf.ndim]
    if not found or len(found[0]) != images:
        raise InputError(f"the network gives {type(output).__name__}; expected a tensor with a row for each image")
    return found[0].flatten(1) if found[0].ndim > 1 else found[0][:, None]
