"""What every unit of the layer before CLIP's attention pool does to the image embedding, exactly and all at once.

An intervention on one unit u adds `s·f_u(t)·d_u` to token t: a change that has rank 1, d_u being the axis of the unit (or
any direction), f_u what is added at each position (its own activation, to scale it) and s how much of it. Queries, keys
and values are linear in the tokens, so the logits of head h change by

    s·f_u(t)·(q_h·K_h d_u) + s·f_u(0)·(Q_h d_u·k_h(t)) + s²·f_u(0)·f_u(t)·(Q_h d_u·K_h d_u),     all over √D,

and the pooled value by what the new attention makes of the old values plus `s·(Σ_t p_t f_u(t))·V_h d_u`. No unit needs
a run of the pool. METRICS.md, section 2.

Shapes: U units, P positions of the map, T = 1 + P tokens (token 0 is the mean over positions), C channels, H heads,
D channels of a head, E embedding, S strengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from Activation_Extraction.models.modified_resnet import AttentionPool2d
from InterpScore.errors import InputError

UNITS_AT_ONCE = 64
"""With 40 heads and 82 tokens each array takes 0.8 MB, which stays in a processor's cache."""

_SAFE_EXPONENT = 60.0
"""`exp` of this, summed over all tokens, is far from the largest float32."""


class AttentionPoolUpdate:
    """The attention pool of a CLIP, prepared for interventions on units of the map that it reads.

    Args:
        pool: the attention pool, with the weights that it has now; it is never run or changed.
        units: channels of its input to intervene on; None is all of them.
        directions_UC: directions in their place, such as rows of a dictionary's decoder.

    Raises:
        InputError: units and directions both; a unit that the pool does not read; directions of another length.

    Source: METRICS.md, section 2.
    """

    def __init__(
        self, pool: AttentionPool2d, units: Sequence[int] | None = None, directions_UC: Tensor | None = None
    ) -> None:
        _check_axes(pool.k_proj.in_features, units, directions_UC)
        self.heads = pool.num_heads
        self.query, self.key, self.value, self.output = (
            (layer.weight.detach(), layer.bias.detach())
            for layer in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj)
        )
        self.positional_TC = pool.positional_embedding.detach()
        self.scale = (self.query[0].shape[0] // self.heads) ** -0.5
        self.query_HUD, self.key_HUD, self.value_HUD = (
            self._by_head(_columns(weight, units) if directions_UC is None else directions_UC @ weight.T)
            for weight, _ in (self.query, self.key, self.value)
        )
        self.both_HU1 = self.scale * (self.query_HUD * self.key_HUD).sum(dim=2, keepdim=True)

    def _by_head(self, x_UC: Tensor) -> Tensor:
        return x_UC.reshape(len(x_UC), self.heads, -1).transpose(0, 1).contiguous()

    def embedding_changes(
        self, map_CP: Tensor, added_UP: Tensor, strengths: Sequence[float]
    ) -> Iterator[tuple[slice, Tensor]]:
        """How the embedding of one image moves when something is added to its map.

        Args:
            map_CP: what the pool reads of the image.
            added_UP: what is added along each unit's axis at strength 1; its activations, to scale it by 1 + strength.
            strengths: how much of it is added.

        Yields:
            A slice of the units, and the change of the embedding for them, `(S, U, E)`.

        Raises:
            InputError: a map, or something to add, of another shape than the pool and the units have.
        """
        tokens, channels = self.positional_TC.shape
        for what, given, rows in (("map", map_CP, channels), ("what is added", added_UP, self.both_HU1.shape[1])):
            if given.shape != (rows, tokens - 1):
                raise InputError(f"{what}: found the shape {tuple(given.shape)}; expected {(rows, tokens - 1)}")
        return self._changes(map_CP, added_UP, strengths)

    def _changes(self, map_CP: Tensor, added_UP: Tensor, strengths: Sequence[float]) -> Iterator[tuple[slice, Tensor]]:
        tokens_TC = torch.cat([map_CP.mean(1, keepdim=True), map_CP], 1).T + self.positional_TC
        query_H1D = self.scale * self._by_head(torch.addmv(self.query[1], self.query[0], tokens_TC[0])[None])
        key_HTD, value_HTD = (self._by_head(torch.addmm(b, tokens_TC, w.T)) for w, b in (self.key, self.value))
        logits_H1T = query_H1D @ key_HTD.mT
        attention_H1T = logits_H1T.softmax(dim=2)
        added_UT = torch.cat([added_UP.mean(1, keepdim=True), added_UP], 1)
        for start in range(0, len(added_UT), UNITS_AT_ONCE):
            chosen = slice(start, min(start + UNITS_AT_ONCE, len(added_UT)))
            f_UT, value_HUD = added_UT[chosen], self.value_HUD[:, chosen]
            first_HUT = (self.query_HUD[:, chosen] * (self.scale * f_UT[:, :1])) @ key_HTD.mT
            first_HUT.addcmul_(f_UT, self.key_HUD[:, chosen] @ query_H1D.mT)
            second_HU1 = f_UT[:, :1] * self.both_HU1[:, chosen]
            attended_HU1 = f_UT @ attention_H1T.mT
            changes = []
            for s in strengths:
                moved_HUT = torch.addcmul(s * first_HUT, f_UT, s * s * second_HU1)
                moved_HUT = _attention_changes(moved_HUT, logits_H1T, attention_H1T)
                change_HUD = moved_HUT @ value_HTD
                attended = attended_HU1 + moved_HUT.mul_(f_UT).sum(dim=2, keepdim=True)
                change_HUD.addcmul_(attended, value_HUD, value=s)
                changes.append(change_HUD.transpose(0, 1).flatten(1))
            yield chosen, torch.stack(changes) @ self.output[0].T


def _check_axes(channels: int, units: Sequence[int] | None, directions_UC: Tensor | None) -> None:
    if units is not None and directions_UC is not None:
        raise InputError("units and directions: found both; expected one of them")
    if wrong := [unit for unit in units or () if not 0 <= unit < channels]:
        raise InputError(f"unit {wrong[0]}: the attention pool reads units 0 to {channels - 1}")
    if directions_UC is not None and (directions_UC.ndim != 2 or directions_UC.shape[1] != channels):
        raise InputError(f"directions: found the shape {tuple(directions_UC.shape)}; expected (U, {channels})")


def _columns(weight_CC: Tensor, units: Sequence[int] | None) -> Tensor:
    return weight_CC.T if units is None else weight_CC.T[torch.as_tensor(units, device=weight_CC.device)]


def _attention_changes(moved_HUT: Tensor, logits_H1T: Tensor, attention_H1T: Tensor) -> Tensor:
    """How attention changes where logits move; written over `moved_HUT`.

    Small changes keep their digits: only of large ones is it the difference of two attentions.
    """
    # Moving all logits alike changes nothing. With a mean of 0 the sum below is 0 or more, so nothing cancels in 1 + sum.
    moved_HUT.sub_(moved_HUT @ attention_H1T.mT)
    direct: tuple[Tensor, Tensor] | None = None
    if float(moved_HUT.max()) > _SAFE_EXPONENT:
        large_HU1 = moved_HUT.amax(dim=2, keepdim=True) > _SAFE_EXPONENT
        direct = large_HU1, (moved_HUT + logits_H1T).softmax(dim=2) - attention_H1T
    moved_HUT.expm1_().mul_(attention_H1T)
    sum_HU1 = moved_HUT.sum(dim=2, keepdim=True)
    moved_HUT.addcmul_(sum_HU1, attention_H1T, value=-1).div_(1 + sum_HU1)
    return moved_HUT if direct is None else torch.where(*direct, moved_HUT)
