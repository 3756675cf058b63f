"""Scores of pairs of a unit and a concept that notice wrong labels: formulas, exact chance levels, metrics of a run. METRICS.md, section 8."""
