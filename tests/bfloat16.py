"""Marks tests that compute in bfloat16, which not every processor does."""

import pytest
import torch

from Activation_Extraction.models.resources import PRECISIONS, computes_bfloat16

needs_bfloat16 = pytest.mark.skipif(
    not computes_bfloat16(torch.device("cpu")), reason="this processor does not compute in bfloat16"
)
EVERY_PRECISION = [pytest.param(name, marks=needs_bfloat16 if name == "bf16" else ()) for name in PRECISIONS]
