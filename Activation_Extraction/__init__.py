"""Activation_Extraction: networks, their layers, and what their units do on images.

Importing this package loads nothing heavy; torch comes with the first name that needs it.
"""

from __future__ import annotations

from Activation_Extraction.base.lazy import lazy_names

_HOME = {
    "extract_activations": "activation_extractor",
    "extract_layer_activations": "activation_extractor",
    "extract_full_layer_activations": "extract_full_layer_activations",
    "image_set": "images.sets",
    "ActivationStore": "store.reader",
    "load_model": "models.registry",
    "register_model": "models.registry",
    "Model": "models.registry",
    "trace": "models.trace",
    "InterpScoreError": "base.errors",
    "InputError": "base.errors",
    "OutputError": "base.errors",
    "UnreadableImageWarning": "base.errors",
}

__all__ = sorted(_HOME)
__getattr__ = lazy_names("Activation_Extraction", _HOME)
