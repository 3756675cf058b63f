"""A study of activation stores: their units, and what their images show. METRICS.md, section 10.

Shapes: U units, N images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from Activation_Extraction.base.progress import StageProgress, in_stage
from InterpScore.errors import InputError
from InterpScore.helpers import Ints
from InterpScore.labelling.labels import Study
from InterpScore.labelling.presence import AnyPresence, GradedPresence
from InterpScore.labelling.sources.activations import activations_of, refuse_different_images
from InterpScore.labelling.sources.images import LabelledImages, images_of_store, labelled_images
from InterpScore.labelling.sources.words import WORDS, WordOptions, read_words, rows_with_presence, words_presence
from InterpScore.tables.from_stores import StoredLayer, StoredNeurons, neurons_in_stores


@dataclass(frozen=True, eq=False)
class StoredStudy:
    """What is labelled, and the images that it is of."""

    study: Study
    images: LabelledImages
    paths: list[Path]

    def halves(self, evaluation: Ints) -> dict[str, Any]:
        """The names of the images that labels were tested on."""
        return {"tested_on": self.images.counted["image"].iloc[np.sort(evaluation)].astype(str).tolist()}


def level_numbers(text: str) -> list[int]:
    """Levels such as `5 1`.

    Raises:
        InputError: no whole numbers.
    """
    try:
        if numbers := [int(part) for part in text.replace(",", " ").split()]:
            return numbers
    except ValueError:
        pass
    raise InputError(f"--levels: found {text!r}; expected whole numbers such as 5 1")


def stored_study(
    stores: Sequence[Path],
    layers: Sequence[str],
    concepts: str | None,
    levels: Sequence[int],
    *,
    separator: str | None = None,
    images_root: Path | None = None,
    csv: Sequence[str] | None = None,
    words: WordOptions | None = None,
    output: Path = Path("labels.parquet"),
    keep_cosines: bool = False,
    progress: StageProgress | None = None,
) -> StoredStudy:
    """The units of stores, with the concepts that a folder, an image table, the store's own table or words give their images.

    Args:
        stores: complete, of the same images; layers: of them, none means all.
        concepts: a folder, an image table, or words in a `.txt`; None for the column `concept` of the first store.
        words, output, keep_cosines: as of `words_presence`, for words; `words` is None where none of its options is given.
        levels, separator, images_root, csv: as of `interpscore label`.

    Raises:
        InputError: as the functions that it calls.
    """
    neurons = neurons_in_stores(stores, layers, {})
    opened = list({id(layer.store): layer.store for layer in neurons.layers}.values())
    refuse_different_images(opened)
    if concepts is not None and Path(concepts).suffix.lower() == WORDS:
        if any(option is not None for option in (separator, images_root, csv)):
            raise InputError(
                f"{concepts}: words, and --separator, --images-root or --csv; expected these with image tables alone"
            )
        listed, chosen = read_words(Path(concepts)), words or WordOptions()
        graded, about = words_presence(listed, opened[0], output, chosen, keep_cosines, progress is None)
        found, presence = _with_embeddings(images_of_store(opened[0], levels), graded)
        return joined(neurons, found, presence, progress, about)
    if words is not None:
        raise InputError(f"{concepts or 'the concepts of the store'}: no words, which --embedding, --images, --model, --model-weights, --template and --scale are for; expected a .txt with one a line")  # fmt: skip
    found = _labelled(opened, concepts, levels, separator, images_root, csv, progress)
    if not len(found.counted):
        raise InputError(f"{concepts or stores[0]}: none of its images was read when the store was made")
    return joined(neurons, found, found.presence(concepts or str(stores[0])), progress)


def _with_embeddings(found: LabelledImages, presence: GradedPresence) -> tuple[LabelledImages, GradedPresence]:
    """The images of a store that have an embedding, and the presence of words in those that count."""
    has = np.zeros(presence.n, dtype=bool)
    has[rows_with_presence(presence)] = True
    kept = found.frame[has[found.frame["row"]]].reset_index(drop=True)
    lost = [f"{name}: no embedding" for name in found.frame["image"][~has[found.frame["row"]]]]
    found = replace(found, frame=kept, unreadable=[*found.unreadable, *lost])
    return found, presence.only(found.counted["row"].to_numpy(dtype=np.int64))


def _labelled(
    opened: list[Any],
    concepts: str | None,
    levels: Sequence[int],
    separator: str | None,
    images_root: Path | None,
    csv: Sequence[str] | None,
    progress: StageProgress | None,
) -> LabelledImages:
    from Activation_Extraction.images.sets import image_set
    from Activation_Extraction.tables.dialects.options import table_options

    if concepts is None:
        table_options(csv).refuse_unused([])
        return labelled_images(opened[0], None, str(opened[0].path), levels, separator)
    images = image_set(concepts, images_root=images_root, csv=csv)
    advance = in_stage(progress, "Comparing", len(images))
    found = labelled_images(opened[0], images, concepts, levels, separator, advance)
    return replace(found, remarks=[*images.remarks, *found.remarks])


def joined(
    neurons: StoredNeurons,
    found: LabelledImages,
    presence: AnyPresence,
    progress: StageProgress | None,
    about: Mapping[str, Any] | None = None,
) -> StoredStudy:
    """The activations of the images, and where everything is from."""
    counted = found.counted
    rows = counted["row"].to_numpy(dtype=np.int64)
    total = sum(len(layer.store) for layer in neurons.layers)
    a_UN = activations_of(neurons.layers, rows, in_stage(progress, "Reading", total))
    group_N = counted["group"].to_numpy(dtype=np.int64)
    inputs = {"stores": neurons.signature(), "concepts": _digest(presence), "images": _digest_of(list(counted["image"].astype(str)), group_N.tolist())}  # fmt: skip
    inputs |= {"words": dict(about)} if about else {}
    paths = list(dict.fromkeys(layer.store.path for layer in neurons.layers))
    return StoredStudy(Study(a_UN, presence, group_N, _units(neurons.layers), inputs), found, paths)


def _units(layers: Sequence[StoredLayer]) -> pd.DataFrame:
    counts = [layer.store.shapes[layer.layer][0] for layer in layers]
    names = np.repeat([layer.label for layer in layers], counts)
    return pd.DataFrame({"layer": names, "unit": np.concatenate([np.arange(count) for count in counts])})


def _digest(presence: AnyPresence) -> dict[str, Any]:
    """The concepts and a hash of what shows them."""
    values = presence.y_CN if isinstance(presence, GradedPresence) else presence.is_shown_CN
    digest = hashlib.sha256("\0".join(presence.concepts).encode(errors="backslashreplace"))
    digest.update(np.ascontiguousarray(values).data)
    return {"count": len(presence.concepts), "sha256": digest.hexdigest()}


def _digest_of(names: list[str], groups: list[int]) -> dict[str, Any]:
    lines = "\n".join(f"{name}\0{group}" for name, group in zip(names, groups, strict=True))
    return {"count": len(names), "sha256": hashlib.sha256(lines.encode(errors="backslashreplace")).hexdigest()}
