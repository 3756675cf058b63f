"""One check of the sanity checks: what was measured, what was expected, and the verdict. METRICS.md, section 7."""

from __future__ import annotations

from dataclasses import dataclass

VARIANTS = ("default", "published", "ours")
MUST_PASS = ("default", "ours")


@dataclass(frozen=True)
class Check:
    """One check of one way of scoring."""

    section: str
    check: str
    variant: str
    figure: str
    expected: str
    passed: bool
    required: bool


def judged(
    section: str, check: str, variant: str, figure: str, expected: str, passed: bool, required: bool | None = None
) -> Check:
    """A check; passing is required of the variants `MUST_PASS`, unless said otherwise."""
    must = variant in MUST_PASS if required is None else required
    return Check(section, check, variant, figure, expected, bool(passed), must)
