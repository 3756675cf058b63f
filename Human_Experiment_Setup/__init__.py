"""Human_Experiment_Setup: what people are shown in a study, and what they say of it.

Importing this package loads nothing heavy.
"""

from __future__ import annotations

from Activation_Extraction.base.lazy import lazy_names

_HOME = {
    "build_stimuli": "stimuli.build",
    "check_stimuli": "stimuli.manifest",
    "read_protocol": "stimuli.protocol",
    "available_protocols": "stimuli.protocol",
    "Protocol": "stimuli.protocol",
}

__all__ = sorted(_HOME)
__getattr__ = lazy_names("Human_Experiment_Setup", _HOME)
