#!/usr/bin/env python3
"""The documented benchmark command: `python interpretability_score.py data.csv neuron_map.json results.csv`.

The same as `interpscore score`.
"""

from Activation_Extraction.base.start import start

if __name__ == "__main__":
    start("InterpScore.cli.score:score_app")
