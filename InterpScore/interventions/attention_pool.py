"""Effects of all units before CLIP's attention pool on the image embedding, exact and computed at once.

An intervention on one unit u adds the rank-1 change `s·f_u(t)·d_u` to token t: d_u is the unit's axis (or any direction),
f_u the pattern over positions (the unit's own activation, to scale it), s the strength. Queries, keys and values are linear
in the tokens, so the logits of head h change by

    s·f_u(t)·(q_h·K_h d_u) + s·f_u(0)·(Q_h d_u·k_h(t)) + s²·f_u(0)·f_u(t)·(Q_h d_u·K_h d_u),     all over √D,

and the pooled value becomes the new attention applied to the old values, plus `s·(Σ_t p_t f_u(t))·V_h d_u`. METRICS.md,
section 2.

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
"""With 40 heads and 82 tokens each array takes 0.8 MB and fits in cache."""

_SAFE_EXPONENT = 60.0
"""`exp` of this, summed over all tokens, is far from the largest float32."""


class AttentionPoolUpdate:
    """The attention pool of a CLIP, prepared for interventions on units of its input.

    Args:
        pool: never run or changed.
        units: channels of its input to intervene on; None is all.
        directions_UC: directions to use instead, such as rows of a dictionary's decoder.

    Raises:
        InputError: both units and directions; a unit that does not exist; directions of another length.

    Source: METRICS.md, section 2.
    """

    def __init__(
        self, pool: AttentionPool2d, units: Sequence[int] | None = None, directions_UC: Tensor | None = None
    ) -> None:
        check_axes("the attention pool", pool.k_proj.in_features, units, directions_UC)
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
        """Change of one image's embedding when something is added to its map.

        Args:
            map_CP: the pool's input.
            added_UP: added along each unit's axis at strength 1; the unit's activations scale it by 1 + strength.

        Yields:
            A slice of the units, and their changes `(S, U, E)`.

        Raises:
            InputError: shapes that do not match the pool and the units.
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
        attention = _Attention(query_H1D @ key_HTD.mT, value_HTD)
        added_UT = torch.cat([added_UP.mean(1, keepdim=True), added_UP], 1)
        for start in range(0, len(added_UT), UNITS_AT_ONCE):
            chosen = slice(start, min(start + UNITS_AT_ONCE, len(added_UT)))
            f_UT, value_HUD = added_UT[chosen], self.value_HUD[:, chosen]
            attended_HU1 = f_UT @ attention.p_HT1
            # Moving all logits of a query alike changes nothing, so both parts of the move get a mean of 0.
            first_HUT = (self.query_HUD[:, chosen] * (self.scale * f_UT[:, :1])) @ key_HTD.mT
            first_HUT.addcmul_(f_UT, self.key_HUD[:, chosen] @ query_H1D.mT)
            first_HUT.sub_(first_HUT @ attention.p_HT1)
            second_HUT = (f_UT - attended_HU1).mul_(f_UT[:, :1] * self.both_HU1[:, chosen])
            largest = (float(first_HUT.abs().max()), float(second_HUT.abs().max()))
            changes = []
            for s in strengths:
                moved_HUT = torch.add(first_HUT, second_HUT, alpha=s).mul_(s)
                safe = abs(s) * largest[0] + s * s * largest[1] < _SAFE_EXPONENT
                change_HUD, more_HU1 = attention.changes(moved_HUT, f_UT, attended_HU1, safe)
                change_HUD.addcmul_(attended_HU1 + more_HU1, value_HUD, value=s)
                changes.append(change_HUD.transpose(0, 1).flatten(1))
            yield chosen, torch.stack(changes) @ self.output[0].T


class _Attention:
    """The pool's attention in one image, from the logits of token 0's query."""

    def __init__(self, logits_H1T: Tensor, value_HTD: Tensor) -> None:
        self.logits_H1T, self.value_HTD = logits_H1T, value_HTD
        p_H1T = logits_H1T.softmax(dim=2)
        self.p_HT1 = p_H1T.mT.contiguous()
        self.pooled_H1D = p_H1T @ value_HTD
        self.weighted_HTD = self.p_HT1 * value_HTD

    def changes(self, moved_HUT: Tensor, f_UT: Tensor, mean_HU1: Tensor, safe: bool) -> tuple[Tensor, Tensor]:
        """Changes of Σ_t p_t v_t and Σ_t p_t f_t when the logits change by `moved_HUT`, which is overwritten.

        With e = exp(move) - 1 and z = Σ_t p_t e_t, p_t becomes p_t (1 + e_t) / (1 + z). A move with mean 0 has z ≥ 0, so
        nothing cancels in 1 + z, and small changes keep their digits.

        Args:
            moved_HUT: has mean 0 under p.
            mean_HU1: mean of `f_UT` under p.
            safe: no `exp` of a move overflows; otherwise large moves take the difference of two attentions.
        """
        direct: tuple[Tensor, Tensor, Tensor] | None = None
        if not safe:
            change_HUT = (moved_HUT + self.logits_H1T).softmax(dim=2) - self.p_HT1.mT
            large_HU1 = moved_HUT.amax(dim=2, keepdim=True) > _SAFE_EXPONENT
            direct = large_HU1, change_HUT @ self.value_HTD, (change_HUT * f_UT).sum(dim=2, keepdim=True)
        e_HUT = moved_HUT.expm1_()
        z_HU1 = e_HUT @ self.p_HT1
        change_HUD = (e_HUT @ self.weighted_HTD).addcmul_(z_HU1, self.pooled_H1D, value=-1).div_(1 + z_HU1)
        of_f_HU1 = (e_HUT.mul_(f_UT) @ self.p_HT1).addcmul_(z_HU1, mean_HU1, value=-1).div_(1 + z_HU1)
        if direct is None:
            return change_HUD, of_f_HU1
        large_HU1, direct_HUD, direct_HU1 = direct
        return torch.where(large_HU1, direct_HUD, change_HUD), torch.where(large_HU1, direct_HU1, of_f_HU1)


def refuse_both(units: Sequence[int] | None, directions_UC: Tensor | None) -> None:
    if units is not None and directions_UC is not None:
        raise InputError("units and directions: found both; expected one of them")


def check_axes(where: str, channels: int, units: Sequence[int] | None, directions_UC: Tensor | None) -> None:
    """Refuse units and directions that a layer of so many channels does not have."""
    refuse_both(units, directions_UC)
    if wrong := [unit for unit in units or () if not 0 <= unit < channels]:
        raise InputError(f"unit {wrong[0]}: {where} has units 0 to {channels - 1}")
    if directions_UC is not None and (directions_UC.ndim != 2 or directions_UC.shape[1] != channels):
        raise InputError(f"directions: found the shape {tuple(directions_UC.shape)}; expected (U, {channels})")


def _columns(weight_CC: Tensor, units: Sequence[int] | None) -> Tensor:
    return weight_CC.T if units is None else weight_CC.T[torch.as_tensor(units, device=weight_CC.device)]
