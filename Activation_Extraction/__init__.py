"""Activation_Extraction: networks, their layers, and what their units do on images.

Importing this package loads nothing heavy; torch comes with the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "extract_activations": "activation_extractor",
    "extract_layer_activations": "activation_extractor",
    "load_model": "models.registry",
    "register_model": "models.registry",
    "Model": "models.registry",
    "trace": "models.trace",
    "InterpScoreError": "errors",
    "InputError": "errors",
    "OutputError": "errors",
    "UnreadableImageWarning": "errors",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"Activation_Extraction.{_HOME[name]}"), name)
    raise AttributeError(f"module 'Activation_Extraction' has no attribute {name!r}")
