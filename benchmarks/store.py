"""Reading speed of a layer: the activation store, one big `.npy`, and Parquet with a column per unit.

`python benchmarks/store.py` writes the same numbers three times, some 2 GB each, into a temporary folder that it removes,
and prints one table. Warm: the files are in the page cache; cold: they were dropped from it (`posix_fadvise`). The store
computes top images while it is written; the others have to read everything for them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from Activation_Extraction.images.sets import ImageSet
from Activation_Extraction.store.reader import ActivationStore
from Activation_Extraction.store.writer import StoreWriter

N_IMAGES, N_UNITS, TOP_K, N_ROWS = 200_000, 2560, 100, 100
BLOCK, ROW_GROUP = 2048, 16_384
LAYER = "layer4.5"
WARM_RUNS, COLD_RUNS = 3, 3


def block(start: int, images: int) -> NDArray[np.float32]:
    """Activations of a block of images, the same at each call."""
    count = min(BLOCK, images - start)
    return np.random.default_rng(start).standard_normal((count, N_UNITS), dtype=np.float32)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def write_store(path: Path, images: int) -> float:
    """Seconds of writing, without those of making the numbers."""
    image_list = ImageSet(pa.table({"image": [f"{row:07d}.jpg" for row in range(images)]}), "0" * 64, [], [])
    begun = time.perf_counter()
    with StoreWriter(path, {}, image_list, {LAYER: (N_UNITS,)}, shard_rows=BLOCK, top_k=TOP_K) as writer:
        seconds = time.perf_counter() - begun
        for shard in writer.missing:
            a, n = block(shard.rows.start, images), len(shard.rows)
            seconds += timed(lambda a=a, n=n, shard=shard: writer.commit(shard, {LAYER: a}, ["0" * 64] * n, [""] * n))  # type: ignore[misc]
        return seconds + timed(writer.finish)


def write_npy(path: Path, images: int) -> float:
    whole = np.lib.format.open_memmap(path, "w+", np.float32, (images, N_UNITS))
    seconds = 0.0
    for start in range(0, images, BLOCK):
        a = block(start, images)
        seconds += timed(lambda a=a, start=start: whole.__setitem__(slice(start, start + len(a)), a))  # type: ignore[misc]
    return seconds + timed(whole.flush)


def write_parquet(path: Path, images: int) -> float:
    """Row groups of 168 MB, written one by one to save memory."""
    schema = pa.schema([(str(unit), pa.float32()) for unit in range(N_UNITS)])
    seconds = 0.0
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, images, ROW_GROUP):
            stop = min(start + ROW_GROUP, images)
            a = np.concatenate([block(first, images) for first in range(start, stop, BLOCK)])
            seconds += timed(lambda a=a: writer.write_table(pa.table(list(a.T), schema=schema)))  # type: ignore[misc]
        seconds += timed(writer.close)
    with open(path, "rb") as file:
        return seconds + timed(lambda: os.fsync(file.fileno()))


def top(parts: Iterator[NDArray[np.float32]]) -> NDArray[np.int64]:
    """(U, K): rows of the largest activations of each unit, largest first."""
    value_KU = np.empty((0, N_UNITS), np.float32)
    row_KU = np.empty((0, N_UNITS), np.int64)
    first = 0
    for a_NU in parts:
        # Only the best of this part are merged with the best so far.
        best = np.argpartition(a_NU, -min(TOP_K, len(a_NU)), axis=0)[-TOP_K:]
        value_KU = np.concatenate([value_KU, np.take_along_axis(a_NU, best, 0)])
        row_KU = np.concatenate([row_KU, best + first])
        order = np.argsort(-value_KU, axis=0, kind="stable")[:TOP_K]
        value_KU, row_KU = np.take_along_axis(value_KU, order, 0), np.take_along_axis(row_KU, order, 0)
        first += len(a_NU)
    return row_KU.T


class Store:
    name = "store"

    def __init__(self, path: Path) -> None:
        self.path = path

    def unit(self, unit: int) -> NDArray[Any]:
        return ActivationStore.open(self.path).unit(LAYER, unit)

    def rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        return ActivationStore.open(self.path).rows(LAYER, rows)  # type: ignore[arg-type]

    def top(self) -> NDArray[Any]:
        return ActivationStore.open(self.path).statistics(LAYER).top_image_UK


class Npy:
    name = "one .npy"

    def __init__(self, path: Path) -> None:
        self.path = path

    def unit(self, unit: int) -> NDArray[Any]:
        return np.array(np.load(self.path, mmap_mode="r")[:, unit])

    def rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        return np.array(np.load(self.path, mmap_mode="r")[rows])

    def top(self) -> NDArray[Any]:
        whole = np.load(self.path, mmap_mode="r")
        return top(np.array(whole[start : start + BLOCK]) for start in range(0, len(whole), BLOCK))


class Parquet:
    name = "Parquet"

    def __init__(self, path: Path) -> None:
        self.path = path

    def unit(self, unit: int) -> NDArray[Any]:
        return pq.read_table(self.path, columns=[str(unit)])[0].to_numpy()  # type: ignore[no-any-return]

    def _groups(self) -> Iterator[tuple[int, pa.Table]]:
        first = 0
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                yield first, table
                first += table.num_rows

    def rows(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        found = np.empty((len(rows), N_UNITS), np.float32)
        for first, table in self._groups():
            here = np.flatnonzero((rows >= first) & (rows < first + table.num_rows))
            taken = table.take(rows[here] - first)
            found[here] = np.stack([column.to_numpy() for column in taken.columns], 1)
        return found

    def top(self) -> NDArray[Any]:
        return top(np.stack([column.to_numpy() for column in table.columns], 1) for _, table in self._groups())


def files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def forget(path: Path) -> None:
    """Drop the files from the page cache."""
    for file in files(path):
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measured(work: Callable[[int], object], path: Path) -> tuple[float, float]:
    """Median seconds cold and warm; each run gets its own number."""
    cold = []
    for run in range(COLD_RUNS):
        forget(path)
        cold.append(timed(lambda run=run: work(run)))  # type: ignore[misc]
    for file in files(path):
        with open(file, "rb") as handle:
            while handle.read(1 << 24):
                pass
    warm = [timed(lambda run=run: work(run)) for run in range(WARM_RUNS)]  # type: ignore[misc]
    return median(cold), median(warm)


def shown(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def row(what: str, figures: list[float], text: Callable[[float], str] = shown) -> None:
    """One line of the table, with ratios to the first."""
    others = [f"{text(figure)} ({figure / figures[0]:.3g}×)" for figure in figures[1:]]
    print(f"| {what} | " + " | ".join([text(figures[0]), *others]) + " |")


def main(images: int) -> None:
    generator = np.random.default_rng(1)
    units = generator.choice(N_UNITS, max(WARM_RUNS, COLD_RUNS), replace=False)
    rows = generator.integers(0, images, (max(WARM_RUNS, COLD_RUNS), N_ROWS))
    with tempfile.TemporaryDirectory() as folder:
        readers = [Store(Path(folder, "a.zarr")), Npy(Path(folder, "a.npy")), Parquet(Path(folder, "a.parquet"))]
        writing = [
            write(reader.path, images)
            for write, reader in zip((write_store, write_npy, write_parquet), readers, strict=True)
        ]
        for unit, some in zip(units, rows, strict=True):
            assert all(np.array_equal(reader.unit(int(unit)), readers[0].unit(int(unit))) for reader in readers)
            assert all(np.array_equal(reader.rows(some), readers[0].rows(some)) for reader in readers)
        queries: list[tuple[str, Callable[[Any], Callable[[int], object]]]] = [
            ("one unit on every image", lambda reader: lambda run: reader.unit(int(units[run]))),
            (f"every unit on {N_ROWS} random images", lambda reader: lambda run: reader.rows(rows[run])),
            (f"top {TOP_K} images of every unit", lambda reader: lambda run: reader.top()),
        ]
        print(f"{images:,} images × {N_UNITS:,} units of float32; in brackets, relative to the store\n")
        print("| what | " + " | ".join(reader.name for reader in readers) + " |")
        print("|---|" + "---|" * len(readers))
        for what, query in queries:
            found = [measured(query(reader), reader.path) for reader in readers]
            row(f"{what}, cold", [cold for cold, _ in found])
            row(f"{what}, warm", [warm for _, warm in found])
        tops = [np.sort(reader.top(), 1) for reader in readers]
        assert all((found == tops[0]).mean() > 0.999 for found in tops)  # equal activations may change places
        row("writing, with statistics in the store", writing)
        size = [float(sum(file.stat().st_size for file in files(reader.path))) for reader in readers]
        row("size", size, lambda n: f"{n / 1e6:,.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=N_IMAGES, help="fewer for a trial (default: %(default)s)")
    main(parser.parse_args().images)
