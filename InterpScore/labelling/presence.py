"""Which images show which concepts: 0 or 1, as lists of images, or graded, as a network says. METRICS.md, sections 8 and 10.

Shapes: N images, C concepts, P pairs of a concept and an image that shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from InterpScore.errors import InputError, shown
from InterpScore.helpers import Bools, Floats, Ints
from InterpScore.pairs.formulas import top_count

PRESENT = 0.5
"""Presence from which an image counts as one that shows the concept."""


@dataclass(frozen=True, eq=False)
class Presence:
    """Images that show concepts, or do not.

    Attributes:
        concepts: their names.
        n: number of images.
        image_P: the images of the first concept, then those of the second, …, each rising.
        start_C: where those of each concept begin, and the end of all, `(C + 1,)`.
    """

    concepts: tuple[str, ...]
    n: int
    image_P: NDArray[np.int32]
    start_C: Ints

    @cached_property
    def positives_C(self) -> Ints:
        """Number of images that show each concept."""
        return np.diff(self.start_C)

    @cached_property
    def top_C(self) -> Ints:
        """Number of top images that a unit has for each concept."""
        return np.maximum(self.positives_C, top_count(self.n, 0))

    @cached_property
    def is_shown_CN(self) -> Bools:
        """The same as an array."""
        shown_CN = np.zeros((len(self.concepts), self.n), dtype=bool)
        shown_CN[self.concept_P, self.image_P] = True
        return shown_CN

    def images_of(self, concept: int) -> NDArray[np.int32]:
        """The images that show a concept."""
        return self.image_P[self.start_C[concept] : self.start_C[concept + 1]]

    @cached_property
    def concept_P(self) -> NDArray[np.int32]:
        """The concept of each pair, rising."""
        return np.repeat(np.arange(len(self.concepts), dtype=np.int32), self.positives_C)

    @cached_property
    def _by_image(self) -> tuple[NDArray[np.int32], Ints]:
        """The concepts of the first image, then those of the second, …; and where those of each begin, `(N + 1,)`."""
        ends_N = np.cumsum(np.bincount(self.image_P, minlength=self.n))
        return self.concept_P[np.argsort(self.image_P, kind="stable")], np.append(0, ends_N)

    def concepts_of(self, images: Ints) -> tuple[NDArray[np.int32], Ints]:
        """The concepts that some images show, and the position in `images` of the one that shows each."""
        concept_P, start_N = self._by_image
        first, count = start_N[images], start_N[images + 1] - start_N[images]
        position_P = np.repeat(np.arange(len(images)), count)
        return concept_P[np.arange(len(position_P)) + (first - np.cumsum(count) + count)[position_P]], position_P

    def of(self, concept: int) -> Floats:
        """Presence of a concept in every image, `(N,)`."""
        y_N = np.zeros(self.n)
        y_N[self.images_of(concept)] = 1
        return y_N

    def only(self, rows: Ints) -> Presence:
        """The same of some images, in this order."""
        place_N = np.full(self.n, -1, dtype=np.int32)
        place_N[rows] = np.arange(len(rows), dtype=np.int32)
        place_P = place_N[self.image_P]
        return shown_pairs(self.concepts, len(rows), self.concept_P[place_P >= 0], place_P[place_P >= 0])

    def of_concepts(self, kept_C: Bools) -> Presence:
        """The same of some concepts."""
        names = tuple(name for name, kept in zip(self.concepts, kept_C, strict=True) if kept)
        kept_P = np.repeat(kept_C, self.positives_C)
        starts = np.concatenate([[0], np.cumsum(self.positives_C[kept_C])])
        return Presence(names, self.n, self.image_P[kept_P], starts)


@dataclass(frozen=True, eq=False)
class GradedPresence:
    """Presence of concepts in images as a number from 0 to 1.

    Attributes:
        y_CN: the presence.
        cosine_CN: what it was computed from, where soft-WPMI is asked for.
    """

    concepts: tuple[str, ...]
    y_CN: NDArray[np.floating[Any]]
    cosine_CN: NDArray[np.floating[Any]] | None = None

    @property
    def n(self) -> int:
        """Number of images."""
        return int(self.y_CN.shape[1])

    @cached_property
    def positives_C(self) -> Ints:
        """Number of images in which each concept is at least `PRESENT`."""
        return np.asarray((self.y_CN >= PRESENT).sum(axis=1))

    @cached_property
    def top_C(self) -> Ints:
        """Number of top images that a unit has for each concept."""
        return np.maximum(self.positives_C, top_count(self.n, 0))

    def of(self, concept: int) -> Floats:
        """Presence of a concept in every image, `(N,)`."""
        return np.asarray(self.y_CN[concept], dtype=float)

    def only(self, rows: Ints) -> GradedPresence:
        """The same of some images, in this order."""
        cosine_CN = None if self.cosine_CN is None else np.ascontiguousarray(self.cosine_CN[:, rows])
        return replace(self, y_CN=np.ascontiguousarray(self.y_CN[:, rows]), cosine_CN=cosine_CN)

    def of_concepts(self, kept_C: Bools) -> GradedPresence:
        """The same of some concepts."""
        if kept_C.all():
            return self
        names = tuple(name for name, kept in zip(self.concepts, kept_C, strict=True) if kept)
        cosine_CN = None if self.cosine_CN is None else self.cosine_CN[kept_C]
        return GradedPresence(names, self.y_CN[kept_C], cosine_CN)


AnyPresence = Presence | GradedPresence


def shown_pairs(concepts: Sequence[str], n: int, concept_P: NDArray[Any], image_P: NDArray[Any]) -> Presence:
    """The presence that pairs of a concept and an image say, in any order; a pair may be there twice."""
    concept_P, image_P = distinct_pairs(concept_P, image_P, n)
    starts = np.concatenate([[0], np.cumsum(np.bincount(concept_P, minlength=len(concepts)))])
    return Presence(tuple(concepts), n, image_P.astype(np.int32), starts)


def distinct_pairs(first_P: NDArray[Any], second_P: NDArray[Any], n: int) -> tuple[Ints, Ints]:
    """Pairs of numbers, each once, rising; the second is below n."""
    key_P = np.sort(np.asarray(first_P, dtype=np.int64) * max(n, 1) + second_P)  # np.unique is many times slower
    first_P, second_P = np.divmod(key_P[np.append(True, key_P[1:] != key_P[:-1])[: len(key_P)]], max(n, 1))
    return first_P, second_P


def presence_of(concepts: Any, n: int) -> AnyPresence:
    """The presence that users write down.

    Args:
        concepts: what each of the n images shows: a name, several, or none (None, "" or an empty list); or a table or
            array, images × concepts, of 0 and 1 or of numbers between, whose columns are the names.

    Raises:
        InputError: another number of images, names that are no text, no concept at all, numbers outside 0 to 1.

    >>> presence_of(["cat", ["dog", "cat"], None], 3).images_of(0).tolist()
    [0, 1]
    """
    if isinstance(concepts, Presence | GradedPresence):
        found: AnyPresence = concepts
        images = found.n
    elif isinstance(concepts, pd.DataFrame) or getattr(concepts, "ndim", 1) == 2:
        frame = pd.DataFrame(concepts)
        images, found = len(frame), _of_frame(frame)
    else:
        images, found = len(concepts), _of_names(concepts)
    if images != n:
        raise InputError(f"concepts: of {images} images, and activations of {n}; expected the same images")
    if not found.concepts:
        raise InputError("concepts: none in them; expected what each image shows")
    return found


def _of_names(concepts: Iterable[Any]) -> Presence:
    number: dict[str, int] = {}
    pairs = []
    images = 0
    for image, names in enumerate(concepts):
        images += 1
        for name in [names] if isinstance(names, str) or not isinstance(names, Iterable) else names:
            if name is None or name == "" or (isinstance(name, float) and np.isnan(name)):
                continue
            if not isinstance(name, str):
                raise InputError(f"concepts: found {shown(name)} for image {image}; expected names, or none")
            pairs.append((number.setdefault(name, len(number)), image))
    order = sorted(number)
    place = {number[name]: at for at, name in enumerate(order)}
    concept_P = np.array([place[concept] for concept, _ in pairs], dtype=np.int64)
    return shown_pairs(order, images, concept_P, np.array([image for _, image in pairs], dtype=np.int64))


def _of_frame(frame: pd.DataFrame) -> AnyPresence:
    names = tuple(map(str, frame.columns))
    if len(set(names)) < len(names):
        raise InputError("concepts: two columns of the same name; expected each concept once")
    try:
        y_CN = np.ascontiguousarray(frame.to_numpy(dtype=float).T)
    except (TypeError, ValueError):
        raise InputError("concepts: not numbers; expected presence from 0 to 1, a column a concept") from None
    if not ((y_CN >= 0) & (y_CN <= 1)).all():
        raise InputError("concepts: values outside 0 to 1; expected presence from 0 to 1, a column a concept")
    if np.isin(y_CN, (0, 1)).all():
        concept_P, image_P = np.nonzero(y_CN)
        return shown_pairs(names, y_CN.shape[1], concept_P, image_P)
    return GradedPresence(names, y_CN)


def codes(values: Sequence[Any] | NDArray[Any], n: int) -> Ints:
    """Numbers from 0 of values, equal ones alike, `(n,)`.

    Raises:
        InputError: another number of values.
    """
    if len(values) != n:
        raise InputError(f"groups: {len(values)} for {n} images; expected the source of each image")
    return np.asarray(pd.factorize(np.asarray(values, dtype=object))[0], dtype=np.int64)
