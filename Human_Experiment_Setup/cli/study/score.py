"""`interpscore study score`: typed words into hard_correct and soft_correct."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from Activation_Extraction.base.text import say

if TYPE_CHECKING:
    from Human_Experiment_Setup.scoring.comparison import Comparison
    from Human_Experiment_Setup.scoring.scored_table import ScoredTable

score_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

PARTIAL = 1
"""Exit code of a table with answers that people have to decide on."""
_SHOWN_WORDS, _SHOWN_CONCEPTS = 4, 40


@score_app.command(no_args_is_help=True)
def score(
    answers: Annotated[Path, typer.Argument(help="One row an answer, CSV or Parquet: ground_truth (the concept), and the words in word_1, word_2 …, or separated by commas in annotation_string or response.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The scored table, .csv or .parquet; beside it a .json says what it was made with.")],
    synonyms: Annotated[Path | None, typer.Option(help="Reviewed table of accepted words: concept, word and, where known, verdict (accept or reject) and version.", show_default="labels alone")] = None,
    protocol: Annotated[Path | None, typer.Option(help="YAML whose key scoring holds the rules: language, words, heads, spelling, known_words, empty.", show_default="English, two words a trial")] = None,
    decisions: Annotated[Path | None, typer.Option(help="What raters decided, from `interpscore study adjudicate --filled`.", show_default="none")] = None,
    words: Annotated[list[str] | None, typer.Option(help="A column with typed words; repeatable.", show_default="found by name")] = None,
    differences: Annotated[Path | None, typer.Option(help="Where the table has soft_correct already: also write the words of answers that are scored differently now, with their frequency, to this CSV.")] = None,
    csv: Annotated[str | None, typer.Option("--csv", help="How to read a CSV, where it can't be found out: sep=; decimal=, encoding=latin-1.", show_default="found out")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:  # fmt: skip
    """Score typed words: hard_correct (the label) and soft_correct (an accepted word).

    [bold]interpscore study score answers.csv --synonyms synonyms.csv -o scored.csv[/bold]

    Each word is compared with the label and the accepted words of its own picture's concept: exact, divided
    differently (sail boat), singular or plural, synonym, misspelled. Choices, phrases and near misses are for people
    to decide: soft_correct is empty, and `interpscore study adjudicate` writes a sheet of them.

    All columns and rows of the table are kept. Exit code 1: answers are undecided.
    """
    from Activation_Extraction.base.errors import InputError
    from Activation_Extraction.base.files import check_writable, write_together
    from Activation_Extraction.base.progress import doing
    from Activation_Extraction.base.text import as_csv
    from Human_Experiment_Setup.scoring.adjudication import read_decisions
    from Human_Experiment_Setup.scoring.answers import read_answers, refuse_same_file
    from Human_Experiment_Setup.scoring.comparison import compared
    from Human_Experiment_Setup.scoring.rules import read_rules
    from Human_Experiment_Setup.scoring.scored_table import ScoredTable, score_answers, signature_of, table_paths
    from Human_Experiment_Setup.scoring.synonyms import read_synonyms
    from Human_Experiment_Setup.scoring.words.matching import Matcher

    written = [*table_paths(output), *([differences] if differences else [])]
    refuse_same_file(written, [answers, synonyms, protocol, decisions])
    for path in written:
        check_writable(path)
    rules = read_rules(protocol)
    table = read_synonyms(synonyms, rules.language)
    given = read_answers(answers, words or (), csv)
    labels = list(dict.fromkeys(filter(None, [*given.concepts, *(given.targets or [])])))
    decided = read_decisions(decisions, labels, rules.language)
    matcher = Matcher(table.accepted(labels, rules.language), rules, decided)
    with doing("Scoring", shown=not quiet):
        frame = score_answers(given, matcher, table)
    inputs = {"answers": answers, "synonyms": synonyms, "protocol": protocol, "decisions": decisions}
    scored = ScoredTable(frame, {})
    signature = signature_of(given, rules, table, inputs, matcher.vocabulary.not_available(), scored.kinds)
    scored = ScoredTable(frame, signature)
    comparison = compared(frame)
    if differences is not None:
        if comparison is None:
            raise InputError(f"--differences: {answers} has no column soft_correct; expected scores to compare with")
        write_together({differences: as_csv(comparison.differences, index=False)})
    scored.save(output)
    if not quiet:
        for remark in (*given.remarks, *(f"{synonyms}: {line}" for line in table.unused(labels))):
            say(f"note: {remark}")
        for lacking in signature["not_available"]:
            say(f"note: not available for the language {rules.language}: {lacking}")
        _print_scores(scored)
        _print_comparison(comparison)
    if scored.undecided:
        say(
            f"{scored.undecided:,} answers are undecided: interpscore study adjudicate {output} -o sheet.csv",
            error=True,
        )
    raise typer.Exit(PARTIAL if scored.undecided else 0)


def _print_scores(scored: ScoredTable) -> None:
    from Activation_Extraction.base.errors import listed_up_to
    from Activation_Extraction.tables.identifiers import as_words
    from Human_Experiment_Setup.scoring.answers import HARD, SOFT
    from Human_Experiment_Setup.scoring.printing import grid
    from Human_Experiment_Setup.scoring.scored_table import most_common_words
    from Human_Experiment_Setup.scoring.words.kinds import KINDS, Match
    from InterpScore.tables.experiment_rows import CONCEPT_COLUMN

    frame = scored.frame
    rows = []
    for concept, group in frame.groupby(as_words(frame[CONCEPT_COLUMN]), sort=True):
        known = group[group[SOFT].notna()]
        share = [f"{group[column].dropna().astype(float).mean():.3f}" if len(known) else "–" for column in (HARD, SOFT)]
        rows.append([concept, f"{len(group):,}", *share, f"{len(group) - len(known):,}"])
    grid(["Concept", "Answers", "hard_correct", "soft_correct", "Unknown"], rows[:_SHOWN_CONCEPTS])
    if len(rows) > _SHOWN_CONCEPTS:
        say(f"… and {len(rows) - _SHOWN_CONCEPTS:,} more concepts")
    shown = [[Match(kind).verdict, kind, f"{n:,}", KINDS[kind]] for kind, n in scored.kinds.items()]
    grid(["", "Match", "Answers", "Meaning"], shown, text=(0, 1, 3))
    common = most_common_words(frame, "unlisted", _SHOWN_WORDS)
    if common:
        say("Most frequent words of answers without an accepted one:")
    lines = [f"  {concept}: " + ", ".join(f"{word} {n}" for word, n in words) for concept, words in common.items()]
    for line in listed_up_to(lines, _SHOWN_CONCEPTS, "more concepts"):
        say(line)


def _print_comparison(comparison: Comparison | None) -> None:
    if comparison is None or not comparison.same + comparison.different:
        return
    total = comparison.same + comparison.different
    say(
        f"The table's own soft_correct agrees in {comparison.same:,} of {total:,} answers "
        f"({comparison.same / total:.1%}); it is kept as given_soft_correct"
    )
