"""Human_Experiment_Setup: what people are shown in a study, and what they say of it.

Importing this package loads nothing heavy.
"""

from __future__ import annotations

from Activation_Extraction.base.lazy import lazy_names

_HOME = {
    "build_stimuli": "stimuli",
    "check_stimuli": "manifest",
    "read_protocol": "protocol",
    "available_protocols": "protocol",
    "Protocol": "protocol",
}

__all__ = sorted(_HOME)
__getattr__ = lazy_names("Human_Experiment_Setup", _HOME)
