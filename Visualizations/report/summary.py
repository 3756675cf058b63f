"""The findings of a run in words, each computed from its table, and what the data do not allow to say."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import median
from typing import Any

from markupsafe import Markup

from Activation_Extraction.base.errors import listed_up_to
from InterpScore.metric import components
from InterpScore.scoring.remarks import reasons_missing
from Visualizations.report.levels import group_of_levels
from Visualizations.report.marks import digits, interval, is_missing, named, number
from Visualizations.run import Run

ADJUSTMENTS = {
    "bh": "adjusted after Benjamini and Hochberg", "by": "adjusted after Benjamini and Yekutieli", "holm": "adjusted after Holm",
    "none": "not adjusted",
}  # fmt: skip
FEW_IMAGES, FEW_RATINGS, FEW_PEOPLE, FEW_HIGH = 20, 10, 20, 5
"""Clean images of a concept, ratings an image, participants, high-activation images: fewer are named among the limits."""
CEILING, MOSTLY = 0.99, 0.5
"""A component at least so high in at least such a share of the neurons hardly separates them."""
_SELECTIVE = "are significantly selective for their concept"
_RECOGNISED = (
    "are recognised significantly more often on the images that activate them highly than on the concept’s other images"
)
_CLAIMS = {"S": _SELECTIVE, "H": _RECOGNISED}
Rows = list[dict[str, Any]]


def findings(run: Run) -> list[Markup]:
    """Sentences, the most important first."""
    rows: Rows = run.scored.to_dict("records")
    if not rows:
        return [Markup("No neuron has a score; the notes of each say why.")]
    return [*_first(rows), *_tests(run), *_above_chance(rows), *_above_untrained(run, rows)]


def _of_row(row: dict[str, Any], column: str, decimals: int = 3) -> Markup:
    return Markup('<span data-row="{}">{}</span>').format(row["row"], number(row, column, decimals))


def _who(row: dict[str, Any]) -> Markup:
    return Markup('<strong>{}</strong> (neuron {})').format(named(row["Concept"]), named(row["Neuron"]))  # fmt: skip


def _first(rows: Rows) -> list[Markup]:
    best = [row for row in rows if row["Rank"] == 1]
    if not best:
        return []
    if len(best) > 1:
        said = Markup("{:,} neurons share the highest InterpScore, {}.").format(
            len(best), _of_row(best[0], "InterpScore")
        )
        return [said]
    (top,) = best
    ends = interval(top, "InterpScore")
    said = Markup('{} has the highest InterpScore, <span data-row="{}">{} {}</span>.').format(
        _who(top), top["row"], number(top, "InterpScore"), ends or "(no interval)"
    )
    ranked = [row for row in rows if not is_missing(row["Rank"])]
    may_lead = [row for row in ranked if row.get("Rank_low") == 1]
    if len(ranked) < 2 or is_missing(top.get("Rank_low")):
        return [said]
    if len(may_lead) == 1:
        return [said + Markup(" Its lead is clear: no other rank interval includes first place.")]
    return [
        said + Markup(" Its lead is not clear: the rank intervals of {:,} of {:,} ranked neurons include first place.").format(
            len(may_lead), len(ranked)
        )
    ]  # fmt: skip


def _tests(run: Run) -> list[Markup]:
    told: list[Markup] = []
    for metric in components():
        column = f"{metric.name}_significant"
        if metric.test is None or column not in run.table:
            continue
        tested = run.table[run.table[f"{metric.name}_p_adjusted"].notna()]
        if not len(tested):
            continue
        hits = int((tested[column] == True).sum())  # noqa: E712 - null where not tested
        what = _CLAIMS.get(metric.name, f"are significant in the test of {metric.name}")
        level = "" if told else f" (p ≤ {run.options.min_p_value:g}, {ADJUSTMENTS[run.options.adjust]})"
        told.append(Markup("{:,} of {:,} neurons tested {}{}.").format(hits, len(tested), what, level))
    return told


def _above_chance(rows: Rows) -> list[Markup]:
    known = [row for row in rows if not is_missing(row.get("I_excess_low"))]
    if not known:
        return []
    above = sum(row["I_excess_low"] > 0 for row in known)
    return [Markup("{:,} of {:,} neurons score above chance: the interval of their score above chance lies above 0.").format(above, len(known))]  # fmt: skip


def _above_untrained(run: Run, rows: Rows) -> list[Markup]:
    ends = ("InterpScore_evaluation", "InterpScore_untrained_best")
    known = [row for row in rows if not any(is_missing(row.get(end)) for end in ends)]
    if not known:
        return []
    above = sum(row[ends[0]] > row[ends[1]] for row in known)
    ours, theirs = (digits(median(row[end] for row in known), 2) for end in ends)
    return [
        Markup(
            "{:,} of the {:,} neurons that have both scores are above the unit of an untrained network that was chosen for the same "
            "concept (median {} against {}, on the same images)."
        ).format(above, len(known), ours, theirs)
    ]


# Limits ---------------------------------------------------------------------------------------------------------------


def limits(run: Run, split_of_labels: str | None = None) -> list[str]:
    """What the data do not allow to say, from the table and the warnings of the run; `split_of_labels` as its column says."""
    return [
        *(["The participants are simulated: nothing here says how people would rate."] if run.simulated else []),
        *_few(run),
        *map(_sentence, reasons_missing(run.table, run.component_names)),
        *_ceilings(run),
        *_tails(run),
        *_ranks(run),
        *_levels(run),
        _selection(run, split_of_labels),
        *map(_sentence, _own(run.warnings)),
    ]


def _sentence(line: str) -> str:
    """A line of the run with a full stop, and a capital unless it starts with the name of a file."""
    first = line.partition(" ")[0]
    return f"{line if '.' in first else line[:1].upper() + line[1:]}".rstrip(".") + "."


def _own(warnings: Sequence[str]) -> list[str]:
    """Warnings that no line above repeats."""
    return [line for line in warnings if "SIMULATED" not in line and not re.match(r"\w+ is missing for \d", line)]


def _few(run: Run) -> list[str]:
    told, n = [], run.counts
    fewest, count = _least(run, "n_target_images")
    if fewest is not None and fewest < FEW_IMAGES:
        told.append(f"Few images: {count:,} of {len(run.table):,} neurons rest on fewer than {FEW_IMAGES} clean images of their concept (fewest: {fewest}).")  # fmt: skip
    if n.get("images") and n["ratings"] / n["images"] < FEW_RATINGS:
        told.append(f"Few raters: {n['ratings'] / n['images']:.1f} ratings an image on average.")
    if 0 < n.get("participants", 0) < FEW_PEOPLE:
        told.append(f"Few participants: {n['participants']}.")
    high = run.table["n_high_images"].dropna() if "n_high_images" in run.table else []
    if low := sum(0 < value < FEW_HIGH for value in high):
        told.append(f"H of {low} neurons rests on fewer than {FEW_HIGH} images above the activation threshold.")
    return told


def _least(run: Run, column: str) -> tuple[int | None, int]:
    """The smallest value of a count, and how many neurons have fewer than `FEW_IMAGES`."""
    values = run.table[column].dropna() if column in run.table else []
    return (int(min(values)), sum(value < FEW_IMAGES for value in values)) if len(values) else (None, 0)


def _ceilings(run: Run) -> list[str]:
    told = []
    for name in run.component_names:
        values = run.table[name].dropna()
        at_top = int((values >= CEILING).sum())
        if len(values) > 1 and at_top / len(values) >= MOSTLY:
            other = "; a score of METRICS 8 in its place (--selectivity f1_images, say) would" if name == "S" and run.options.selectivity == "cles" else ""  # fmt: skip
            told.append(f"{name} is saturated: at least {CEILING} for {at_top:,} of {len(values):,} neurons, which it hardly separates{other}.")  # fmt: skip
    return told


def _tails(run: Run) -> list[str]:
    heavy = int(run.table["Notes"].fillna("").str.contains("S: heavy tails").sum())
    return (
        [f"Activations of {heavy} neurons have heavy tails: intervals of their S may be too narrow."] if heavy else []
    )


def _ranks(run: Run) -> list[str]:
    if not run.options.resamples:
        return ["No intervals: the run has no resamples."]
    if "Rank_low" not in run.table:
        return []
    known = run.table[run.table["Rank_low"].notna() & run.table["Rank_high"].notna()]
    if len(known) < 2:
        return []
    width = float((known["Rank_high"] - known["Rank_low"] + 1).median())
    return (
        [f"The order is uncertain: half of the rank intervals span {width:g} or more of {len(known):,} places."]
        if width > math.sqrt(len(known))
        else []
    )


def _levels(run: Run) -> list[str]:
    told = []
    groups = run.options.robustness_groups()
    if len(groups) == 1 and run.table["R"].notna().any():
        told.append(
            f"R rests on a single group of images, {group_of_levels(*next(iter(groups.items())), run.options)}."
        )
    if not run.options.level_kinds and run.options.preset == "default":
        told.append("No kinds of levels were declared (--level-kinds), so all perturbed levels count as benign.")
    return told


def _selection(run: Run, split: str | None) -> str:
    if split == "none":
        return "Labels were chosen on all images (--split none): scores of the labels on the same images are too high."
    return (
        "The results do not record how concepts were chosen for neurons. If it was on the images that are scored here, S, its "
        "p-values and everything above chance are too high; `interpscore label` keeps images apart for scoring."
    )


def missing_names(run: Run) -> str:
    """Neurons without a score, for a line below the ranking."""
    without = run.table[run.table["InterpScore"].isna()]["name"].tolist()
    return ", ".join(listed_up_to(without, 5)) if without else ""
