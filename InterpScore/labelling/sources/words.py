"""Words as concepts: how present each is in an image, by a network with a text tower. METRICS.md, section 10.

y = softmax over the words of scale × cosine(image, template with the word). Shapes: N images, C words, E embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from Activation_Extraction.base.errors import first_line
from Activation_Extraction.base.files import check_file, read_bytes
from InterpScore.errors import InputError, shown
from InterpScore.helpers import Ints
from InterpScore.labelling.presence import GradedPresence
from InterpScore.labelling.sources.activations import refuse_different_images
from InterpScore.tables.neuron_map import normalised

if TYPE_CHECKING:
    from Activation_Extraction.models.registry import Model
    from Activation_Extraction.store.reader import ActivationStore

WORDS = ".txt"
TEMPLATE = "a photo of a {word}"
EMBEDDING = "attnpool"
"""The layer that is the embedding in a CLIP with a ResNet."""
LARGEST = 16 * 2**20
_TEXTS_AT_ONCE, _IMAGES_AT_ONCE = 256, 8192


@dataclass(frozen=True)
class WordOptions:
    """How words are compared with images.

    Attributes:
        embedding: store of the embeddings of the images; None: the store that is labelled.
        images: the pictures, to compute embeddings where no store has them.
        model: network with a text tower; None: that of the embeddings.
        weights: of the model; device: where it runs.
        template: the text, with `{word}`; scale: of cosines; None: the network's own.
    """

    embedding: Path | None = None
    images: str | None = None
    model: str | None = None
    weights: str | None = None
    device: str = "cpu"
    template: str = TEMPLATE
    scale: float | None = None


def read_words(path: Path) -> list[str]:
    """The words of a file, one a line, each once.

    Raises:
        InputError: it cannot be read, is no text, has fewer than two words or one twice.
    """
    try:
        if (size := check_file(path).st_size) > LARGEST:
            raise InputError(f"{path}: {size:,} bytes; expected words, one a line, of up to {LARGEST:,} bytes")
        text = read_bytes(path).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected words, one a line") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8 ({first_line(error)}); expected words, one a line") from None
    words: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not (word := " ".join(line.split())):
            continue
        if not word.isprintable():
            raise InputError(f"{path}, line {number}: {shown(word)}; expected a word in printable text")
        if normalised(word) in words:
            raise InputError(f"{path}, line {number}: {shown(word)} appears twice; expected each word once")
        words[normalised(word)] = word
    if len(words) < 2:
        raise InputError(
            f"{path}: {len(words) or 'no'} word{'s' if not words else ''} in it; expected at least two, one a line"
        )
    return list(words.values())


def words_presence(
    words: Sequence[str], store: ActivationStore, output: Path, options: WordOptions, keep_cosines: bool, quiet: bool
) -> tuple[GradedPresence, dict[str, Any]]:
    """The presence of words in every image of a store, NaN for images without an embedding, and where it comes from.

    Args:
        output: the labels, beside which embeddings are written where they have to be computed.
        keep_cosines: for soft-WPMI.

    Raises:
        InputError: no text tower, no embeddings, those of another network or of other images, wrong template or scale.
    """
    if "{word}" not in options.template:
        raise InputError(f"--template: found {shown(options.template)}; expected a text with {{word}} in it")
    if options.scale is not None and not (np.isfinite(options.scale) and options.scale > 0):
        raise InputError(f"--scale: found {options.scale:g}; expected a number above 0")
    source = store if options.embedding is None else _complete(options.embedding)
    if options.embedding is not None:
        refuse_different_images([store, source])
    model = _model(source, options)
    text_CE = embedded_texts(model, [options.template.replace("{word}", word) for word in words])
    scale = _scale(model) if options.scale is None else options.scale
    layer = embedding_layer(source, text_CE.shape[1], required=options.embedding is not None)
    if layer is None:
        source, layer = _computed(store, model, output, options, quiet), EMBEDDING
    refuse_other_network(source, model)
    cosine_CN = np.empty((len(words), len(store)), dtype=np.float32)
    for start in range(0, len(store), _IMAGES_AT_ONCE):
        rows = list(range(start, min(start + _IMAGES_AT_ONCE, len(store))))
        cosine_CN[:, rows] = text_CE @ unit_length(source.rows(layer, rows)).T
    presence = GradedPresence(tuple(words), presence_of_cosines(cosine_CN, scale), cosine_CN if keep_cosines else None)
    about = {"model": model.identity, "template": options.template, "scale": scale, "embedding": f"{source.path.name}: {layer}"}  # fmt: skip
    return presence, about


def presence_of_cosines(cosine_CN: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """The share of each word among all in each image, `(C, N)`: softmax of scale × cosine."""
    y_CN = cosine_CN * np.float32(scale)
    y_CN -= y_CN.max(axis=0)
    np.exp(y_CN, out=y_CN)
    y_CN /= y_CN.sum(axis=0)
    return y_CN


def unit_length(x_NE: NDArray[Any]) -> NDArray[np.float32]:
    """Embeddings of length 1; NaN where they are 0 or missing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(x_NE / np.linalg.norm(x_NE, axis=1, keepdims=True), dtype=np.float32)


def rows_with_presence(presence: GradedPresence) -> Ints:
    """Images that have one."""
    return np.flatnonzero(np.isfinite(presence.y_CN[0]))


def _complete(path: Path) -> ActivationStore:
    from Activation_Extraction.store.reader import ActivationStore

    store = ActivationStore.open(path)
    if not store.is_complete:
        raise InputError(f"{path}: unfinished; expected a complete store of embeddings")
    return store


def _model(source: ActivationStore, options: WordOptions) -> Model:
    from Activation_Extraction.models.own_file import names_a_file
    from Activation_Extraction.models.registry import load_model

    name = options.model or str(source.identity.get("model"))
    if options.model is None and names_a_file(name):
        raise InputError(
            f"--model: not given, and the store is of the model {shown(name)}; expected --model with this file's path, as a "
            "file that a store names is never run"
        )
    return load_model(name, weights=options.weights, device=options.device)


def embedded_texts(model: Model, texts: list[str]) -> NDArray[np.float32]:
    """Embeddings of texts, of length 1, `(C, E)`."""
    from Activation_Extraction.backends.plain_network import running

    with running(model):
        parts = [
            model.encode_text(texts[at : at + _TEXTS_AT_ONCE]).float().cpu().numpy()
            for at in range(0, len(texts), _TEXTS_AT_ONCE)
        ]
    return unit_length(np.concatenate(parts))


def _scale(model: Model) -> float:
    logit_scale: Any = getattr(model.module, "logit_scale", None)
    if logit_scale is None:
        raise InputError(f"--scale: none given, and {model.name} has no logit scale; expected one, such as 100")
    return float(logit_scale.exp())


def embedding_layer(source: ActivationStore, width: int, required: bool) -> str | None:
    """The layer of a store that is the embedding; None where it has none.

    Raises:
        InputError: it has none, or of another width, where one is required.
    """
    layer = (
        EMBEDDING if EMBEDDING in source.shapes else source.layers[0] if required and len(source.layers) == 1 else None
    )
    if layer is None and not required:
        return None
    if layer is None:
        raise InputError(
            f"{source.path}: its layers are {', '.join(source.layers)}; expected {EMBEDDING}, or one layer alone"
        )
    if source.shapes[layer] != (width,):
        found = "×".join(map(str, source.shapes[layer]))
        raise InputError(
            f"{source.path}: layer {layer} has {found} units, texts have {width}; expected embeddings of the same network"
        )
    return layer


def _computed(store: ActivationStore, model: Model, output: Path, options: WordOptions, quiet: bool) -> ActivationStore:
    """Embeddings, computed from the pictures into a store beside the labels, which interruptions do not harm."""
    from Activation_Extraction.extract_full_layer_activations import extract_full_layer_activations
    from Activation_Extraction.images.sets import image_set

    if options.images is None:
        raise InputError(
            f"{store.path}: has no layer {EMBEDDING}, the embedding that words are compared with; expected --embedding, a store "
            "that has it, or --images, the pictures to compute it from"
        )
    place = output.with_name(f"{output.stem}.embedding.zarr")
    pictures = image_set(options.images)
    report = extract_full_layer_activations(pictures, EMBEDDING, place, model, progress=not quiet)
    refuse_different_images([store, report.store])
    return report.store


def refuse_other_network(source: ActivationStore, model: Model) -> None:
    """Refuse texts of another network than that of the embeddings, as far as hashes tell."""
    ours, theirs = source.identity.get("provenance") or {}, model.identity["provenance"]
    hashes = [name for name in ("weights_sha256", "file_sha256", "state_sha256") if name in ours and name in theirs]
    compared = hashes or sorted({*ours, *theirs})
    for name in compared:
        if ours.get(name) != theirs.get(name):
            raise InputError(
                f"{source.path}: embeddings of {source.identity.get('model')} with {name} {ours.get(name)}, and texts of "
                f"{model.name} with {theirs.get(name)}; expected the same network"
            )
