"""Keeps where in its top images each unit is active: a second pass over the images that are among the top of any unit.

keep_top_maps(ActivationStore.open("acts.zarr"), image_set("photos/"), load_model("clip-rn50x4"), k=16)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.backends.runner import Runner, prepare_runner
from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.engine import Engine, local
from Activation_Extraction.base.errors import InputError, shown
from Activation_Extraction.base.files import as_json
from Activation_Extraction.base.progress import Advance, image_progress
from Activation_Extraction.base.run_folder import RunFolder
from Activation_Extraction.decoding.decoders import Decoders
from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.models.registry import Model
from Activation_Extraction.store.maps import FOLDER, IDENTITY, as_part, in_steps, maps_identity
from Activation_Extraction.store.reader import ActivationStore

PART_IMAGES = 256
"""Images in a part, the unit of work."""
_CLOSE = {"fp32": 2e-3, "bf16": 3e-2}
"""How far a map's mean may be from the activation in the store, relative to the unit's largest."""


def keep_top_maps(
    store: ActivationStore,
    images: ImageSet,
    model: Model,
    k: int = 16,
    *,
    workers: int | None = None,
    progress: bool = True,
    engine: Engine = local,
) -> int:
    """Run the images that are among the k best of any unit once more, and keep the maps of those units in the store.

    Args:
        store: a complete store, pooled over positions.
        images: what it was made from; found by name, checked by hash.
        model: what it was made with.
        k: top images of each unit.
        workers: decoding processes; None takes one a processor.

    Returns:
        The number of images that were run; 0 where all maps are there.

    Raises:
        InputError: another network or images than the store's, layers without maps, more images than the store keeps.
        OutputError: the store cannot be written, or another run is writing it.
    """
    identity = store.identity
    if identity["pooling"] == "none":
        raise InputError(
            f"--maps: {store.path} keeps all positions of all images; expected a store with pooling mean or max"
        )
    kept = int(identity["top_k"])
    if not 1 <= k <= kept:
        raise InputError(f"--maps: found {k}; expected 1 to {kept}, the top images that {store.path} keeps (--top-k)")
    found = _needed(store, images, k)
    parts = [range(i, min(i + PART_IMAGES, len(found.rows))) for i in range(0, len(found.rows), PART_IMAGES)]
    asked = maps_identity(store, k) | {"parts": len(parts)}
    runner = prepare_runner(
        model, store.layers, pooling="none", backend=identity["backend"], precision=identity["precision"],
        batch_size=identity["batch_size"],
    )  # fmt: skip
    for layer, shape in runner.shapes.items():
        if len(shape) != 3:
            raise InputError(f"--maps: layer {layer} has no positions in two dimensions; expected layers with maps")
    with RunFolder(store.path / FOLDER, {**model.made_with, **runner.provenance}) as folder:
        if read_json(folder.path / IDENTITY, store.path) != asked:  # none yet, or of the store before it grew
            for record in folder.records():
                folder.remove(record)
            folder.write(IDENTITY, as_json(asked))
        missing = folder.missing(parts, _name)
        left = sum(map(len, missing))
        if left:
            job = _Maps(runner, found, identity["preprocessing"], workers)
            with image_progress("Maps", len(found.rows), done=len(found.rows) - left, shown=progress) as advance:
                engine(
                    [job], missing, lambda part, made: folder.keep(_name(part), {f"{_name(part)}.npz": made}), advance
                )
    return left


def _name(part: range) -> str:
    return f"{part.start:08d}"


@dataclass(frozen=True, eq=False)
class _Needed:
    """The images that are among the top of any unit.

    Attributes:
        rows: in the store, ascending; images: the same, as an image set.
        wanted: layer → for each of them the units and ranks that want its map.
        activation: layer → the stored activations of the top images, `(U, K)`.
        precision: of the store; pooling: "mean" or "max".
    """

    rows: Sequence[int]
    images: ImageSet
    sha256: Sequence[str | None]
    wanted: dict[str, list[list[tuple[int, int]]]]
    activation: dict[str, NDArray[np.float32]]
    precision: str
    pooling: str


def _needed(store: ActivationStore, images: ImageSet, k: int) -> _Needed:
    top = {layer: store.statistics(layer).top_image_UK[:, :k] for layer in store.layers}
    rows = sorted({int(row) for row_UK in top.values() for row in row_UK.ravel() if row >= 0})
    place = {row: i for i, row in enumerate(rows)}
    wanted: dict[str, list[list[tuple[int, int]]]] = {layer: [[] for _ in rows] for layer in store.layers}
    for layer, row_UK in top.items():
        for unit, rank in zip(*np.nonzero(row_UK >= 0)):
            wanted[layer][place[int(row_UK[unit, rank])]].append((int(unit), int(rank)))
    table = store.images
    in_set = {name: i for i, name in enumerate(images.table["image"].to_pylist())}
    names = [str(table["image"][row]) for row in rows]
    if lost := [name for name in names if name not in in_set]:
        raise InputError(
            f"{len(lost)} images of {store.path} are not among those given, such as {shown(lost[0])}; expected the same images"
        )
    return _Needed(
        rows, images.chosen([in_set[name] for name in names]), [table["sha256"][row] for row in rows], wanted,
        {layer: store.statistics(layer).top_activation_UK[:, :k] for layer in store.layers},
        str(store.identity["precision"]), str(store.identity["pooling"]),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Maps:
    """The job whose parts are consecutive needed images; a result is the file of the part."""

    runner: Runner
    needed: _Needed
    preset: str
    workers: int | None

    def compute(self, parts: Iterator[range], advance: Advance) -> Generator[tuple[range, bytes]]:
        """Run the network on parts, one after another, while images of the next batches are decoded."""
        size, begun = self.runner.batch_size, deque[range]()

        def spans() -> Iterator[range]:
            for part in parts:
                begun.append(part)
                for start in range(part.start, part.stop, size):
                    yield range(start, min(start + size, part.stop))

        made: dict[str, list[tuple[int, int, int, NDArray[np.float32]]]] = {layer: [] for layer in self.runner.shapes}
        image_input = self.runner.model.image_input
        with Decoders(self.needed.images, image_input, self.preset, batch_size=size, workers=self.workers) as decoders:
            for batch in decoders.batches(spans()):
                self._refuse_changed(batch.rows, batch.sha256)
                of_layer = self.runner(batch.pixels_NHWC)
                for layer, map_NUhw in of_layer.items():
                    for i, at in enumerate(batch.rows):
                        for unit, rank in self.needed.wanted[layer][at]:
                            made[layer].append((unit, rank, self.needed.rows[at], map_NUhw[i, unit].copy()))
                advance(len(batch.rows))
                if batch.rows.stop == begun[0].stop:
                    yield begun.popleft(), as_part({layer: self._arrays(layer, of) for layer, of in made.items() if of})
                    made = {layer: [] for layer in made}

    def _refuse_changed(self, rows: range, sha256: Sequence[str | None]) -> None:
        for at, digest in zip(rows, sha256, strict=True):
            if digest != self.needed.sha256[at]:
                raise InputError(
                    f"{self.needed.images.name(at)}: not the image that the store was made from; expected the same file"
                )

    def _arrays(self, layer: str, made: Sequence[tuple[int, int, int, NDArray[np.float32]]]) -> dict[str, NDArray[Any]]:
        unit_M, rank_M, row_M = (np.array(column, np.int64) for column in list(zip(*made))[:3])
        map_Mhw = np.stack([one[3] for one in made])
        pooled_M = map_Mhw.mean((1, 2)) if self.needed.pooling == "mean" else map_Mhw.max((1, 2))
        stored_M = self.needed.activation[layer][unit_M, rank_M]
        scale_M = np.maximum(np.abs(self.needed.activation[layer]).max(1)[unit_M], 1e-6)
        if np.any(np.abs(pooled_M - stored_M) > _CLOSE[self.needed.precision] * scale_M):
            raise InputError(
                f"--maps: {layer} is not what the store has of these images; expected the network that made it"
            )
        return {"unit": unit_M, "rank": rank_M, "row": row_M, **in_steps(map_Mhw)}
