"""The result of a scoring run: a ranked table that carries its signature, and the files it is kept in."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from Activation_Extraction.base.files import check_writable, write_together
from InterpScore.errors import OutputError

COLUMNS: dict[str, str] = {
    "Neuron": "the unit, as in the neuron map",
    "Layer": "the layer of the unit; only with activations from stores",
    "Concept": "its concept, as in the neuron map",
    "S": "selectivity, 0 to 1; ½ is none (METRICS 1)",
    "C": "causality, 0 to 1; 0 is none (METRICS 2)",
    "R": "robustness, 0 to 1 (METRICS 3)",
    "H": "human alignment: mean recognition of high-activation ratings, 0 to 1 (METRICS 4)",
    "InterpScore": "weighted mean of S, C, R and H (METRICS 5)",
    "Rank": "1 is the highest InterpScore; ties share a rank",
    "Notes": "why a value is missing, and what is significant",
    "InterpScore_low": "interval of InterpScore, lower end (crossed bootstrap, METRICS 6)",
    "InterpScore_high": "upper end",
    "Rank_low": "interval of Rank, best end",
    "Rank_high": "worst end",
    "S_low": "interval of S, lower end",
    "S_high": "upper end",
    "C_low": "interval of C, lower end (resamples images)",
    "C_high": "upper end",
    "R_low": "interval of R, lower end",
    "R_high": "upper end",
    "H_low": "interval of H, lower end",
    "H_high": "upper end",
    "S_excess": "S minus its mean under labels permuted within level; 0 is chance (METRICS 5)",
    "R_excess": "R minus the same",
    "H_excess": "H minus H_base; 0 is chance (METRICS 4)",
    "I_excess": "weighted mean of S_excess, R_excess and H_excess; 0 is chance (METRICS 5); empty where none has weight",
    "I_excess_low": "its interval, lower end",
    "I_excess_high": "upper end",
    "S_p": "one-sided Mann-Whitney p over clean images: the concept activates the unit more",
    "S_p_adjusted": "S_p adjusted over all neurons of the run",
    "S_significant": "S_p_adjusted is at most --min-p-value",
    "H_p": "one-sided permutation p within level: high-activation images are recognised more; empty where all or none are high",
    "H_p_adjusted": "H_p adjusted over all neurons of the run",
    "H_significant": "H_p_adjusted is at most --min-p-value",
    "d": "Cohen's d of target against other clean images",
    "g": "d with Hedges' small-sample factor",
    "AUROC": "area under the ROC curve on clean images, ties ½",
    "AP": "average precision on clean images",
    "prevalence": "share of the concept among them: AP at chance",
    "C_raw": "mean relative move of the embedding, before C = 1 − exp(−C_raw)",
    "C_specific": "C_raw on the concept's clean images minus C_raw on those of other concepts (METRICS 2)",
    "C_specific_low": "its interval, lower end",
    "C_specific_high": "upper end",
    "C_toward": "how much closer to the concept's text, in cosine, the clean images of it lie than with the unit ablated; empty without a text tower",
    "C_percentile": "share of the 100 units of the layer nearest in mean activation whose C_raw is lower; empty where not all of the layer was measured",
    "R_paired": "R over image pairs (perturbed and its own clean image), recognised or not; empty without known pairs",
    "H_base": "mean recognition of all ratings of the concept that count in H",
    "H_rho": "Spearman's correlation over images of activation and recognition rate; empty where either is constant",
    "H_ceiling": "the highest H_rho that the ratings' reliability allows; empty where that is 0 or not estimable",
    "threshold": "activation above which a rating is high-activation",
    "n_target_images": "clean images of the concept",
    "n_other_images": "clean images of other concepts",
    "n_C_images": "clean images of the concept that C was measured on",
    "n_ratings": "ratings of the concept that count in H",
    "n_high_images": "its rated images above the threshold",
    "n_high_ratings": "their ratings",
}

PATTERNS: dict[str, str] = {
    "effect_<intervention>": "mean relative move of the embedding under another intervention on the concept's clean images: `scale_<λ>`, `mean_ablation`, `resample_ablation` (METRICS 2)",
    "ratio_<group>": "mean activation of recognised images of the group of levels ÷ clean activation (METRICS 3)",
    "AUROC_level_<level>": "AUROC that the unit retains at the level",
    "rho_level_<level>": "Spearman's correlation of perturbed and own clean image's activation at the level; empty below three pairs",
}


@dataclass(frozen=True)
class BenchmarkResult:
    """A ranked table of neurons and how it came about.

    Attributes:
        table: one row a neuron, best first; the columns are described in `COLUMNS` and `PATTERNS`.
        signature: versions, options, seed, the SHA-256 of every input, counts.
        warnings: what changes how the table should be read.
        layers: where there are several, one row a layer: how many neurons it has and how many are scored, the median
            of their InterpScore, its mean and that of I_excess with intervals from the same resamples, and how many
            are significant in S and in H.
    """

    table: pd.DataFrame
    signature: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    layers: pd.DataFrame | None = None

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write the table as CSV and, beside it, everything as JSON, each whole or not at all.

        Returns:
            The paths of the CSV and of the JSON.

        Raises:
            OutputError: they cannot be written; what stood there before still stands.
        """
        csv_path, json_path = result_paths(path)
        check_writable(csv_path)
        write_together({csv_path: self.table.to_csv(index=False, lineterminator="\n"), json_path: self.to_json()})
        return csv_path, json_path

    def to_json(self) -> str:
        """Signature, warnings, what each column means, and the table; missing values are null."""
        described = {**{name: COLUMNS[name] for name in COLUMNS if name in self.table}, **PATTERNS}
        document: dict[str, Any] = {"signature": self.signature, "warnings": self.warnings, "columns": described}
        document |= {} if self.layers is None else {"layers": _records(self.layers)}
        document |= {"neurons": _records(self.table)}
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def result_paths(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Where the table and the JSON beside it go.

    Raises:
        OutputError: a folder, or a name that ends in `.json` and leaves none for the table.
    """
    path = Path(path)
    if not path.name or os.path.isdir(path):
        raise OutputError(f"{path}: is a folder; expected the name of a file to write")
    if path.suffix.lower() == ".json":
        raise OutputError(f"{path}: the JSON is written beside the table; expected a name such as {path.stem}.csv")
    return path, path.with_suffix(".json")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): _plain(value) for key, value in row.items()} for row in table.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
