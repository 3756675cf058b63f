"""Units that are closest to any text, by the formula of a bundle's words; for servers that have the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from Activation_Extraction.base.documents import parse_npz
from Activation_Extraction.base.errors import InputError, shown
from Microscope.bundle.evidence.embeddings import MEAN, closest_units
from Microscope.bundle.evidence.matching import WEIGHTS
from Microscope.bundle.format import Words

if TYPE_CHECKING:
    from Activation_Extraction.models.registry import Model


def network_of_words(words: Words) -> Model:
    """The network that embedded a bundle's words.

    Raises:
        InputError: none of ours (a file that a bundle names is never run), not on this machine, or with other weights.
        MissingPackageError: what runs it is not installed.
    """
    from Activation_Extraction.models.registry import available_models, load_model

    if words.model not in available_models():
        raise InputError(f"{shown(words.model)} is no model of this server; expected one of `interpscore models list`")
    model = load_model(words.model)
    ours = model.identity["provenance"].get(WEIGHTS)
    if words.weights_sha256 and ours and ours != words.weights_sha256:
        raise InputError(f"{words.model}: weights with hash {ours[:12]}…; expected {words.weights_sha256[:12]}…")
    return model


def units_of_text(words: Words, embedding: bytes, model: Model, text: str) -> list[tuple[int, float]]:
    """The units whose top pictures are closest to a text, best first, with the cosine above the mean over units.

    Args:
        embedding: the file that `words` names.

    Raises:
        InputError: that file is damaged, or of another network.
    """
    from InterpScore.labelling.sources.words import embedded_texts

    try:
        mean_UD = parse_npz(embedding)[MEAN]
    except (ValueError, LookupError) as error:
        raise InputError(f"{words.embedding}: damaged ({error}); expected the file that the bundle was built with") from None  # fmt: skip
    text_WD = embedded_texts(model, [words.template.replace("{word}", text)])
    if mean_UD.ndim != 2 or mean_UD.shape[1] != text_WD.shape[1]:
        raise InputError(f"{words.embedding}: found {'×'.join(map(str, mean_UD.shape))}; expected {text_WD.shape[1]} dimensions")  # fmt: skip
    found = closest_units(text_WD, mean_UD)
    return list(zip(found["unit_WK"][0].tolist(), found["score_WK"][0].tolist(), strict=True))
