"""Ground truth that the metrics must pass, in simulated studies and in edited networks. METRICS.md, section 7."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import pandas as pd

from Activation_Extraction.base.progress import StageProgress
from InterpScore.sanity.coverage_table import check_ends
from InterpScore.sanity.labels import check_labels
from InterpScore.sanity.simulated import (
    check_causality,
    check_coverage,
    check_dose,
    check_invariance,
    check_null_p_values,
    check_null_scores,
    check_synthetic_level,
)
from InterpScore.sanity.verdict import Check


def run_sanity_checks(
    simulations: int = 1000, seed: int = 0, progress: StageProgress | None = None, *, network: bool = False
) -> pd.DataFrame:
    """Run every check.

    Args:
        network: also run the checks that intervene on clip-mini, which need torch.
        simulations: simulated studies behind the coverage of intervals; a tenth of them behind the rest.
        seed: of all simulations.
        progress: progress callback (stage, completed, total).

    Returns:
        One row a check and way of scoring: `section` of METRICS.md, `check`, `variant`, `figure`, `expected`, `passed`,
        and whether passing is `required` (it is never of `published`, whose failures are shown for comparison).
    """
    tell = progress or (lambda *_: None)
    few = max(simulations // 10, 20)
    steps: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("null p-values", lambda: check_null_p_values(few, seed)),
        ("null scores", lambda: check_null_scores(few, seed)),
        ("dose", lambda: check_dose(few, seed)),
        ("causality", lambda: check_causality(seed)),
        ("labels", lambda: check_labels(seed)),
        ("invariance", lambda: check_invariance(seed)),
        ("ends of scales", lambda: check_ends(max(simulations // 2, 50), seed)),
        ("DeepDream", lambda: check_synthetic_level(seed)),
        ("coverage", lambda: check_coverage(simulations, seed, tell)),
    ]
    if network:
        from InterpScore.sanity.network import check_network  # late: it loads torch

        steps.append(("network", lambda: check_network(seed)))
    checks: list[Check] = []
    for done, (_, run) in enumerate(steps):
        tell("checks", done, len(steps))
        checks.extend(run())
    tell("checks", len(steps), len(steps))
    return (
        pd.DataFrame([asdict(check) for check in checks]).sort_values("section", kind="stable").reset_index(drop=True)
    )


def failures(checks: pd.DataFrame) -> pd.DataFrame:
    """The checks that had to pass and did not."""
    return checks[checks["required"].astype(bool) & ~checks["passed"].astype(bool)]
