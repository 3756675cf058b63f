"""DeepDream_Setup: images that a unit prefers, and numbers that say whether they can be trusted.

Importing this package loads nothing heavy; torch comes with the first name that needs it.
"""

from __future__ import annotations

from Activation_Extraction.base.lazy import lazy_names

_HOME = {
    "channel": "objectives",
    "cosine": "objectives",
    "diversity": "objectives",
    "l2_to_grey": "objectives",
    "layer_energy": "objectives",
    "neuron": "objectives",
    "total_variation": "objectives",
    "facet": "facets",
    "train_probes": "facets",
    "CutNetwork": "network",
    "Transforms": "transforms",
    "Recipe": "recipes",
    "read_recipe": "recipes",
    "optimise": "render",
    "render_units": "render",
    "Request": "session",
    "run_session": "session",
}

__all__ = sorted(_HOME)
__getattr__ = lazy_names("DeepDream_Setup", _HOME)
