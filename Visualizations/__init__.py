"""Visualizations: figures, tables and a report of a scoring run, for papers and for reading.

Importing this package loads nothing heavy; Matplotlib comes with the first name that needs it.
"""

from __future__ import annotations

from Activation_Extraction.base.lazy import lazy_names

_HOME = {
    "Drawing": "kinds",
    "FigureKind": "kinds",
    "Need": "needs",
    "Run": "run",
    "Sources": "run",
    "Style": "styles",
    "make_figures": "making",
    "make_report": "report.page",
}

__all__ = sorted(_HOME)
__getattr__ = lazy_names("Visualizations", _HOME)
