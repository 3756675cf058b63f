"""What an activation store says that it holds, validated. This file loads pydantic; it is imported when a store is opened."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

MOST_ROWS, MOST_SHARDS, MOST_NUMBERS = 10**10, 1_000_000, 10**8
"""Limits of a store: images, shards, and numbers of an image in a layer."""

_Count = Annotated[StrictInt, Field(ge=1, le=MOST_ROWS)]


def _of_one_image(shape: list[int]) -> list[int]:
    if prod(shape) > MOST_NUMBERS:
        raise ValueError
    return shape


_Shape = Annotated[
    list[_Count],
    Field(
        min_length=1, max_length=3, description=f"units, and 1 or 2 axes of positions, up to {MOST_NUMBERS:,} in all"
    ),
    AfterValidator(_of_one_image),
]


class Identity(BaseModel):
    """What was asked for; further keys are compared and shown alone."""

    model_config = ConfigDict(extra="allow")

    images: StrictStr
    rows: _Count
    shard_rows: _Count
    top_k: _Count
    backend: StrictStr | None = None
    batch_size: _Count | None = None
    provenance: dict[StrictStr, Any] = Field(default_factory=dict)


class Provenance(BaseModel):
    """`provenance.json` of a store."""

    identity: Identity
    layers: dict[StrictStr, _Shape]
    aliases: dict[StrictStr, StrictStr]
