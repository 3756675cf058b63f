"""InterpScore: how interpretable the single units of a vision network are, in numbers that hold up.

Importing a metric loads NumPy, SciPy's special functions and pandas, and nothing heavier.
"""

from __future__ import annotations

from Activation_Extraction.base.lazy import lazy_names

_HOME = {
    "calculate_selectivity_score": "selectivity",
    "calculate_causality_score": "causality",
    "calculate_robustness_score": "robustness",
    "calculate_human_consistency_score": "human_alignment",
    "calculate_interpretability_score": "aggregated_measure",
    "calculate_interpretability_metrics": "layer_scores",
    "run_interpretability_benchmark": "benchmark",
    "label_units": "labelling.labels",
    "UnitLabels": "labelling.results",
    "BenchmarkResult": "scoring.results",
    "profile_units": "profiles.units",
    "ScoringOptions": "options",
    "InterpScoreError": "errors",
    "InputError": "errors",
    "OutputError": "errors",
    "MissingScoreWarning": "errors",
    "TableWarning": "errors",
}

__all__ = sorted(_HOME)
__getattr__ = lazy_names("InterpScore", _HOME)
