"""Interventions on the units of a layer: the public names of `InterpScore.interventions`.

layer = LayerInterventions(load_model("clip-mini"), "block_4", units=[185, 336])
for image in layer.forward_to_layer(x_NCHW):
    effect_SU, _ = image.effects([ablate(), amplify()])
"""

from __future__ import annotations

from InterpScore.interventions.edits import Intervention, ablate, amplify, clamp
from InterpScore.interventions.layer import ImageState, LayerInterventions

__all__ = ["ImageState", "Intervention", "LayerInterventions", "ablate", "amplify", "clamp"]
