#!/usr/bin/env python3
"""The documented benchmark command: `python interpretability_score.py data.csv neuron_map.json results.csv`.

The same as `interpscore score`.
"""

from Activation_Extraction.base.commands import run
from InterpScore.cli.score import score_app

if __name__ == "__main__":
    run(score_app)
