"""A table as it was read: the wanted columns, still with the names and texts of its file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from Activation_Extraction.tables.dialects.options import CsvOptions


@dataclass(frozen=True)
class RawTable:
    """The wanted columns of a table.

    Attributes:
        frame: the columns in the file's row order, text never turned into missing values.
        names: the names of all columns of the file.
        rows: the number of each row in its file, where the header of a plain CSV is row 1.
        read_as: how it was read, where it is no plain CSV.
        is_local: whether its numbers may well be written as in countries with decimal commas, where a point groups digits.
        options: what was told about it.
    """

    frame: pd.DataFrame
    names: list[str]
    rows: NDArray[np.int64]
    read_as: tuple[str, ...] = ()
    is_local: bool = False
    options: CsvOptions = CsvOptions()  # noqa: RUF009 - frozen
