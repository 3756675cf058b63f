"""The files of a reliability report: JSON, the same rows as CSV, and a script for a mixed model in R."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from Activation_Extraction.base.errors import OutputError
from Activation_Extraction.base.files import as_json, sha256_of, write_together
from Activation_Extraction.base.text import as_csv
from Human_Experiment_Setup.scoring.reliability.groups import ReportOptions
from Human_Experiment_Setup.scoring.reliability.report import COLUMNS, Report
from InterpScore.tables.effects import IMAGE_COLUMNS
from InterpScore.tables.experiment_rows import CONCEPT_COLUMN, LEVEL_COLUMN, PARTICIPANT_COLUMNS

FORMAT = "InterpScore study report 1"


def report_paths(path: Path) -> tuple[Path, Path, Path]:
    """The paths of the JSON, the CSV and the R script.

    Raises:
        OutputError: the name ends neither in .json nor in .csv.
    """
    if path.suffix.lower() not in (".json", ".csv"):
        raise OutputError(f"{path}: expected a name that ends in .json or .csv; both are written")
    return path.with_suffix(".json"), path.with_suffix(".csv"), path.with_suffix(".R")


def save_report(
    report: Report, scored: Path, frame: pd.DataFrame, options: ReportOptions, path: Path
) -> tuple[Path, ...]:
    """Write a report beside each other as JSON, CSV and R script; return the paths.

    Raises:
        OutputError: they cannot be written; existing files are unchanged.
    """
    json_path, csv_path, script_path = report_paths(path)
    rows = [
        {name: None if value is pd.NA else value for name, value in row.items()}
        for row in report.frame.to_dict("records")
    ]
    document = {
        "format": FORMAT,
        "interpscore": version("interpscore"),
        "scored": {"file": scored.name, "sha256": sha256_of(scored)},
        "options": asdict(options),
        "remarks": [remark.replace(str(scored), scored.name) for remark in report.remarks],
        "columns": COLUMNS,
        "groups": rows,
    }
    script = mixed_model_script(scored.name, frame, options.human_score_col)
    write_together({json_path: as_json(document), csv_path: as_csv(report.frame, index=False), script_path: script})
    return json_path, csv_path, script_path


def mixed_model_script(file_name: str, frame: pd.DataFrame, score: str) -> str:
    """An R script that fits the crossed logistic mixed model to a scored table; nothing of ours depends on R.

    Source: METRICS.md, section 14.
    """
    names = [
        next((name for name in names if name in frame), names[0]) for names in (PARTICIPANT_COLUMNS, IMAGE_COLUMNS)
    ]
    participant, image = map(_column, names)
    level, concept, score = map(_column, (LEVEL_COLUMN, CONCEPT_COLUMN, score))
    parquet = file_name.lower().endswith(".parquet")
    read = (
        "as.data.frame(arrow::read_parquet(file))"
        if parquet
        else 'read.csv(file, na.strings = "", check.names = FALSE)'
    )
    packages = "lme4 and arrow" if parquet else "lme4"
    return f"""# Crossed logistic mixed model of recognition. Run it with Rscript, or on another table: Rscript <this file> <table>; needs {packages}.
library(lme4)
arguments <- commandArgs(trailingOnly = TRUE)
file <- if (length(arguments) > 0) arguments[1] else {in_r(file_name)}
answers <- {read}
if ("excluded" %in% names(answers)) {{
  answers <- answers[!(tolower(answers$excluded) %in% c("true", "1", "yes")), ]
}}
if ("trial_category" %in% names(answers) && any(answers$trial_category == "experiment", na.rm = TRUE)) {{
  answers <- answers[answers$trial_category %in% "experiment", ]
}}
answers$recognized <- as.integer(tolower(as.character(answers{score})) %in% c("true", "1"))
answers$recognized[is.na(answers{score}) | as.character(answers{score}) == ""] <- NA
answers$level <- factor(answers{level})
answers$participant <- factor(answers{participant})
answers$image <- factor(answers{image})
answers$concept <- factor(answers{concept})
model <- glmer(
  recognized ~ level + (1 | participant) + (1 | image) + (1 | concept),
  data = answers, family = binomial, control = glmerControl(optimizer = "bobyqa")
)
print(summary(model))
print(exp(fixef(model)))  # odds ratios
"""


def _column(name: str) -> str:
    return f"[[{in_r(name)}]]"


def in_r(text: str) -> str:
    r"""Text as a string of R.

    >>> in_r('a"b\n é')
    '"a\\"b\\u{a} \\u{e9}"'
    """
    plain = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(plain.get(c, c if " " <= c <= "~" else _escaped(c)) for c in text) + '"'


def _escaped(character: str) -> str:
    code = f"{ord(character):x}"
    return f"\\u{{{code}}}" if len(code) <= 4 else f"\\U{{{code}}}"
